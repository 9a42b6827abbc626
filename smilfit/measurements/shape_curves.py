"""How good a shape space is: compactness, generalisation and specificity by the number of components.

Davies, Twining and Taylor (2008), Statistical Models of Shape, ch. 9. Errors are root mean squares over vertices, and
all three are computed from the products of specimens with each other alone.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import stdtrit

DRAWS = 1000
_SHARE = 0.95


@dataclass(frozen=True)
class Curve:
    """A number by the count of components 1, 2, ..., with its 95 % interval."""

    value: Float[np.ndarray, ' K']
    low: Float[np.ndarray, ' K']
    high: Float[np.ndarray, ' K']

    def times(self, factor: float) -> 'Curve':
        """Give it in another unit."""
        return Curve(factor * self.value, factor * self.low, factor * self.high)


@dataclass(frozen=True)
class Curves:
    """Curves of one block.

    Args:
        compactness: share of the variance; its interval is the jackknife's over specimens.
        generalisation: error of a specimen that the components were not made from; interval of its mean.
        specificity: how far animals drawn from the space are from the nearest specimen; interval of its mean.
        spread: root mean square distance of specimens from the mean of the others.
    """

    compactness: Curve
    generalisation: Curve
    specificity: Curve
    spread: float


def shape_curves(rows: Float[np.ndarray, 'N D'], n_vertices: int, seed: int = 0) -> Curves:
    """Compute the curves of specimens' rows.

    Args:
        rows: of the specimens, weighted so that their lengths are movements of vertices.
        n_vertices: by whose root errors are divided.
        seed: of what is drawn.
    """
    rng = np.random.default_rng(seed)
    centred = rows - rows.mean(0)
    products = centred @ centred.T
    n = len(rows)
    most = n - 2
    left_out, spread = _left_out(products, most)
    root = np.sqrt(n_vertices)
    return Curves(
        _compactness(products, most),
        _mean_curve(np.sqrt(left_out.clip(0)) / root),
        _specificity(products, most, rng, root),
        float(np.sqrt(spread.mean()) / root),
    )


def _left_out(products: Float[np.ndarray, 'N N'], most: int) -> tuple[np.ndarray, np.ndarray]:
    """Give each specimen's squared errors by components of the others, and its squared distance from their mean."""
    n = len(products)
    errors, distances = np.zeros((n, most)), np.zeros(n)
    for i in range(n):
        others = np.arange(n) != i
        inner = products[np.ix_(others, others)]
        to_it = products[others, i]
        means = inner.mean(0)
        centred = inner - means - means[:, None] + means.mean()
        distances[i] = products[i, i] - 2 * to_it.mean() + means.mean()
        ahead = to_it - to_it.mean() - means + means.mean()
        values, vectors = np.linalg.eigh(centred)
        values, vectors = values[::-1][:most], vectors[:, ::-1][:, :most]
        there = values > 1e-12 * max(values[0], 1e-300)
        along = np.where(there, vectors.T @ ahead / np.sqrt(np.where(there, values, 1.0)), 0.0)
        errors[i] = distances[i] - np.cumsum(along**2)
    return errors, distances


def _mean_curve(values: Float[np.ndarray, 'n K']) -> Curve:
    n = len(values)
    mean, half = values.mean(0), stdtrit(n - 1, 0.5 + _SHARE / 2) * values.std(0, ddof=1) / np.sqrt(n)
    return Curve(mean, (mean - half).clip(0), mean + half)


def _shares(products: np.ndarray, most: int) -> np.ndarray:
    means = products.mean(0)
    values = np.linalg.eigvalsh(products - means - means[:, None] + means.mean())[::-1].clip(0)
    return np.cumsum(values)[:most] / max(values.sum(), 1e-300)


def _compactness(products: np.ndarray, most: int) -> Curve:
    """Give shares of the variance, with the jackknife's interval: specimens drawn twice would make spaces compact."""
    n = len(products)
    value, others = _shares(products, most), ~np.eye(n, dtype=bool)
    found = np.stack([_shares(products[np.ix_(rows, rows)], most) for rows in others])
    error = np.sqrt((n - 1) * found.var(0))
    half = stdtrit(n - 1, 0.5 + _SHARE / 2) * error
    return Curve(value, (value - half).clip(0), (value + half).clip(None, 1))


def _specificity(products: np.ndarray, most: int, rng: np.random.Generator, root: float) -> Curve:
    n = len(products)
    values, vectors = np.linalg.eigh(products)
    values, vectors = values[::-1].clip(0), vectors[:, ::-1]
    scores = vectors * np.sqrt(values)
    drawn = rng.normal(size=(DRAWS, most)) * np.sqrt(values[:most] / (n - 1))
    found = np.zeros((DRAWS, most))
    for k in range(1, most + 1):
        inside = ((drawn[:, None, :k] - scores[None, :, :k]) ** 2).sum(-1)
        found[:, k - 1] = np.sqrt((inside + (scores[:, k:] ** 2).sum(1)).min(1)) / root
    return _mean_curve(found)
