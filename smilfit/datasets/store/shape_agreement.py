"""Are labels on the joints that they are named after? Distances between 3D points go with those of the body at rest.

No reprojection shows labels that are mixed up in 2D and 3D alike; the body's shape does.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

# Fewer points than this have no shape to speak of.
LEAST_POINTS = 6
_DRAWS, _SEED, _BEST = 1000, 0, 0.99


@dataclass(frozen=True)
class ShapeAgreement:
    """How well distances between points go with those of the body (correlation), and what chance reaches.

    `chance` is the 99 % quantile over joints that were drawn at random.
    """

    correlation: float
    chance: float

    @property
    def is_chance(self) -> bool:
        """Whether labels that are given to joints at random do as well."""
        return self.correlation <= self.chance


def shape_agreement(
    xyz: Float[np.ndarray, 'n K 3'], known: Bool[np.ndarray, 'n K'], rest: Float[np.ndarray, 'K 3']
) -> ShapeAgreement | None:
    """Compare median distances between points with those of the body at rest; None of too few points.

    Args:
        xyz: 3D points of n samples.
        known: which of them there are.
        rest: where the body has them at rest.
    """
    points = np.where(known[..., None], xyz, np.nan)
    used = np.flatnonzero(known.mean(0) > 0.5)
    if len(used) < LEAST_POINTS:
        return None
    first, second = np.triu_indices(len(used), 1)
    between = np.linalg.norm(points[:, used[first]] - points[:, used[second]], axis=-1)
    both = np.isfinite(between).any(0)
    distances = np.zeros((len(used), len(used)))
    distances[first[both], second[both]] = np.nanmedian(between[:, both], 0)
    distances += distances.T
    body = np.linalg.norm(rest[used[first]] - rest[used[second]], axis=-1)
    rng = np.random.default_rng(_SEED)
    drawn = [rng.permutation(len(used)) for _ in range(_DRAWS)]
    chance = [_correlation(distances[np.ix_(p, p)][first, second], body) for p in drawn]
    return ShapeAgreement(_correlation(distances[first, second], body), float(np.quantile(chance, _BEST)))


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm > 0 else 0.0
