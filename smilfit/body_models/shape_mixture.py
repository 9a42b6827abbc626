"""Several kinds of animals in one shape space: a mixture of Gaussians over shape coefficients."""

from dataclasses import dataclass

import numpy as np

from smilfit.registry import UnknownNameError, did_you_mean

# Files hold rounded numbers.
WEIGHT_SUM_TOLERANCE = 1e-4
# Of the largest entry: how far rounding may push a covariance from being symmetric or below zero.
COVARIANCE_TOLERANCE = 1e-6


@dataclass(frozen=True, eq=False)
class ShapeMixture:
    """M kinds (species, breeds, castes), each a Gaussian over S shape coefficients.

    Args:
        names: of the kinds.
        weights: (M,) shares, above 0; they sum to 1.
        means: (M, S).
        covs: (M, S, S), symmetric, no variance below 0.

    Raises:
        ValueError: a rule that is broken.
    """

    names: tuple[str, ...]
    weights: np.ndarray
    means: np.ndarray
    covs: np.ndarray

    def __post_init__(self) -> None:
        count = len(self.names)
        if not count or len(set(self.names)) != count:
            _fail('names must differ, and be one or more', self.names)
        if self.means.ndim != 2 or len(self.means) != count:
            _fail(f'means must have shape ({count}, S)', self.means.shape)
        n_betas = self.means.shape[1]
        for name, shape in (('weights', (count,)), ('covs', (count, n_betas, n_betas))):
            if getattr(self, name).shape != shape:
                _fail(f'{name} must have shape {shape}', getattr(self, name).shape)
        for name in ('weights', 'means', 'covs'):
            if not np.isfinite(getattr(self, name)).all():
                _fail(f'{name} must be finite', 'NaN or inf')
        total = self.weights.sum()
        if not (self.weights > 0).all() or abs(total - 1) > WEIGHT_SUM_TOLERANCE:
            _fail('weights must be above 0 and sum to 1', f'{self.weights.tolist()}, in all {total:.6g}')
        for name, cov in zip(self.names, self.covs):
            slack = COVARIANCE_TOLERANCE * np.abs(cov).max(initial=0.0)
            if np.abs(cov - cov.T).max(initial=0.0) > slack:
                _fail(f'the covariance of {name!r} must be symmetric', 'one that is not')
            if n_betas and np.linalg.eigvalsh(cov)[0] < -slack:
                _fail(f'the covariance of {name!r} must have no variance below 0', np.linalg.eigvalsh(cov)[0])

    @property
    def n_betas(self) -> int:
        """S."""
        return self.means.shape[1]

    def index(self, name: str) -> int:
        """Find a kind by name.

        Raises:
            UnknownNameError: no such kind (with the near ones).
        """
        if name not in self.names:
            raise UnknownNameError(f'ShapeMixture: no kind {name!r}. {did_you_mean(name, self.names)}')
        return self.names.index(name)

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean (S,) and covariance (S, S) over all kinds: spread within them and between their means."""
        mean = self.weights @ self.means
        off = self.means - mean
        within = np.einsum('m,mst->st', self.weights, self.covs)
        return mean, within + np.einsum('m,ms,mt->st', self.weights, off, off)


def _fail(rule: str, got: object) -> None:
    raise ValueError(f'ShapeMixture: {rule}; got {str(got)[:200]}. Mend the mixture.')
