"""Several kinds of animals in one shape space: a mixture of Gaussians over shape coefficients, and its learning."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from smilfit.registry import UnknownNameError, did_you_mean

# Files hold rounded numbers.
WEIGHT_SUM_TOLERANCE = 1e-4
# Of the largest entry: how far rounding may push a covariance from being symmetric or below zero.
COVARIANCE_TOLERANCE = 1e-6
# A share must be above 0: a kind of which no sample is keeps so much.
LEAST_WEIGHT = 1e-6


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

    @classmethod
    def drawn(
        cls, count: int, mean: Float[np.ndarray, ' S'], cov: Float[np.ndarray, 'S S'], seed: int = 0
    ) -> 'ShapeMixture':
        """Make kinds to begin with where none are known: one of this Gaussian, or several with means drawn of it."""
        draws = np.random.default_rng(seed).multivariate_normal(
            np.zeros(len(mean)), cov, count, method='eigh'
        )
        names = ('all',) if count == 1 else tuple(f'kind_{m}' for m in range(1, count + 1))
        means = mean + (0.0 if count == 1 else 1.0) * draws
        return cls(names, np.full(count, 1 / count), means, np.repeat(cov[None], count, 0))

    @property
    def n_betas(self) -> int:
        """S."""
        return self.means.shape[1]

    def record(self) -> list[dict[str, Any]]:
        """Return the kinds as plain values, as in a model file."""
        return [
            {'name': name, 'weight': float(weight), 'mean': mean.tolist(), 'covariance': cov.tolist()}
            for name, weight, mean, cov in zip(self.names, self.weights, self.means, self.covs)
        ]

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
        return mean, self.within() + np.einsum('m,ms,mt->st', self.weights, off, off)

    def within(self) -> np.ndarray:
        """Return the mean covariance (S, S) within kinds."""
        return np.einsum('m,mst->st', self.weights, self.covs)


def _fail(rule: str, got: object) -> None:
    raise ValueError(f'ShapeMixture: {rule}; got {str(got)[:200]}. Mend the mixture.')


# What becomes of kinds of too few samples.
EMPTY_KINDS = ('keep', 'reseed')


@dataclass(frozen=True, eq=False)
class EMRules:
    """What keeps kinds from collapsing onto few samples.

    Args:
        floor: the least variance of a kind in any direction, above 0.
        cov: (S, S), what a kind's covariance is drawn to; None if `cov_count` is 0.
        cov_count: as how many samples `cov` counts in every kind (an inverse Wishart prior).
        weight_count: how many samples every kind has besides (a Dirichlet prior of its share).
        least: a kind with fewer samples, shares of samples summed, is empty.
        empty: 'keep' leaves mean and covariance of an empty kind as they were; 'reseed' begins it again at the sample
            that the other kinds explain worst, with their mean covariance and the share of one among M.

    Raises:
        ValueError: a rule that is broken.
    """

    floor: float
    cov: np.ndarray | None = None
    cov_count: float = 0.0
    weight_count: float = 0.0
    least: float = 1.0
    empty: str = 'keep'

    def __post_init__(self) -> None:
        if not 0 < self.floor < np.inf or not self.least > 0:
            raise ValueError(
                f'EMRules: floor and least must be above 0; got {self.floor} and {self.least}. Correct them.'
            )
        if not (self.cov_count >= 0 and self.weight_count >= 0) or (self.cov_count > 0 and self.cov is None):
            raise ValueError(
                f'EMRules: counts must not be negative, and cov_count needs a cov; got {self.cov_count} and '
                f'{self.weight_count}. Correct them.'
            )
        if self.empty not in EMPTY_KINDS:
            raise ValueError(f"EMRules: empty must be 'keep' or 'reseed'; got {self.empty!r}. Choose one.")


@dataclass(frozen=True, eq=False)
class EMStep:
    """One step of expectation and maximisation.

    Args:
        mixture: the new one.
        shares: (N, M), which kind each sample is of, under the mixture before; rows sum to 1.
        log_likelihood: of all samples, under the mixture before.
        objective: with the priors of the rules: what no step lowers, unless kinds are reseeded.
        empty: names of kinds that had too few samples.
    """

    mixture: ShapeMixture
    shares: Float[np.ndarray, 'N M']
    log_likelihood: float
    objective: float
    empty: tuple[str, ...]


def log_densities(
    mixture: ShapeMixture, betas: Float[np.ndarray, 'N S'], floor: float
) -> Float[np.ndarray, 'N M']:
    """Return `log w_m + log N(x; mean_m, C_m)` of each sample and kind; no variance counts as less than `floor`."""
    result = np.empty((len(betas), len(mixture.names)))
    for m, (weight, mean, cov) in enumerate(zip(mixture.weights, mixture.means, mixture.covs)):
        variances, axes = np.linalg.eigh(cov)
        variances = np.maximum(variances, floor)
        white = (betas - mean) @ axes / np.sqrt(variances)
        constant = np.log(weight) - 0.5 * np.log(2 * np.pi * variances).sum()
        result[:, m] = constant - 0.5 * (white**2).sum(1)
    return result


def em_step(mixture: ShapeMixture, betas: Float[np.ndarray, 'N S'], rules: EMRules) -> EMStep:
    """Find which kinds samples are of, and the kinds that explain them best.

    The new covariance maximises the objective among those without a variance below the floor: eigenvalues of the
    samples' (and the prior's) covariance that are less are raised to it.

    Raises:
        ValueError: no sample, or samples of another shape space, or that are not finite.
    """
    if betas.ndim != 2 or betas.shape[1] != mixture.n_betas or not len(betas) or not np.isfinite(betas).all():
        _fail(f'samples must be (N, {mixture.n_betas}), one or more, and finite', betas.shape)
    betas = betas.astype(np.float64)
    dense = log_densities(mixture, betas, rules.floor)
    top = dense.max(1, keepdims=True)
    total = top + np.log(np.exp(dense - top).sum(1, keepdims=True))
    shares = np.exp(dense - total)
    count, M = shares.sum(0), len(mixture.names)
    live = count >= rules.least
    weights = (count + rules.weight_count) / (len(betas) + M * rules.weight_count)
    means, covs = mixture.means.copy(), mixture.covs.copy()
    for m in np.flatnonzero(live):
        means[m] = shares[:, m] @ betas / count[m]
        off = betas - means[m]
        scatter = (shares[:, m, None] * off).T @ off
        if rules.cov is not None:
            scatter = scatter + rules.cov_count * rules.cov
        covs[m] = _floored(scatter / (count[m] + rules.cov_count), rules.floor)
    likelihood = float(total.sum())
    empty = tuple(name for name, is_live in zip(mixture.names, live) if not is_live)
    result = _mixture_of(mixture.names, weights, means, covs)
    if empty and rules.empty == 'reseed' and live.any():
        result = _reseeded(result, live, betas, rules)
    return EMStep(result, shares, likelihood, likelihood + _log_prior(mixture, rules), empty)


def _mixture_of(
    names: tuple[str, ...], weights: np.ndarray, means: np.ndarray, covs: np.ndarray
) -> ShapeMixture:
    weights = np.maximum(weights, LEAST_WEIGHT)
    return ShapeMixture(names, weights / weights.sum(), means, covs)


def _floored(cov: np.ndarray, floor: float) -> np.ndarray:
    cov = (cov + cov.T) / 2
    variances, axes = np.linalg.eigh(cov)
    if variances[0] >= floor:
        return cov
    raised = axes * np.maximum(variances, floor) @ axes.T
    return (raised + raised.T) / 2


def _log_prior(mixture: ShapeMixture, rules: EMRules) -> float:
    """Return what the rules say of a mixture, up to a constant."""
    result = rules.weight_count * float(np.log(mixture.weights).sum())
    if rules.cov is not None and rules.cov_count:
        for cov in mixture.covs:
            raised = _floored(cov, rules.floor)
            spread = float(np.trace(np.linalg.solve(raised, rules.cov)))
            result -= 0.5 * rules.cov_count * (float(np.linalg.slogdet(raised)[1]) + spread)
    return result


def _reseeded(mixture: ShapeMixture, live: np.ndarray, betas: np.ndarray, rules: EMRules) -> ShapeMixture:
    """Begin the other kinds again where the live ones explain samples worst, each at a sample of its own."""
    weights, means, covs = mixture.weights.copy(), mixture.means.copy(), mixture.covs.copy()
    within = np.einsum('m,mst->st', weights[live] / weights[live].sum(), covs[live])
    dense = log_densities(mixture, betas, rules.floor)[:, live].max(1)
    for m, sample in zip(np.flatnonzero(~live), np.argsort(dense, kind='stable')):
        weights[m], means[m], covs[m] = 1 / len(weights), betas[sample], within
    return _mixture_of(mixture.names, weights, means, covs)
