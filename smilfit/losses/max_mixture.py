"""A Gaussian mixture over poses, of which the nearest component counts."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.body_models.data import BodyModelData
from smilfit.body_models.files.model_arrays import as_array, read_pickle
from smilfit.files import reading, replacing
from smilfit.files.pickles import shown, shown_names
from smilfit.losses.base import BaseLoss, Residuals
from smilfit.losses.pose_prior import flat_poses, read_marked
from smilfit.registry import LOSSES

FORMAT = 'smilfit-pose-mixture'
# Rounds of k-means before the first expectation.
KMEANS_ROUNDS = 10


@dataclass(frozen=True)
class PoseMixture:
    """M Gaussians over D numbers of a pose: means (M, D) rad, covariances (M, D, D) rad^2, weights (M,)."""

    means: np.ndarray
    covariances: np.ndarray
    weights: np.ndarray

    def __post_init__(self) -> None:
        """Check that they fit."""
        m, d = self.means.shape if self.means.ndim == 2 else (0, 0)
        if not m or self.covariances.shape != (m, d, d) or self.weights.shape != (m,):
            raise ValueError(
                f'PoseMixture: means (M, D), covariances (M, D, D), weights (M,) must fit; got {self.means.shape}, '
                f'{self.covariances.shape}, {self.weights.shape}.'
            )

    def log_densities(self, poses: Tensor | np.ndarray) -> np.ndarray:
        """Return the logarithm of every component's weighted density at every pose (N, M)."""
        flat = flat_poses(poses, 1, 'PoseMixture')
        rows = []
        for mean, covariance, weight in zip(self.means, self.covariances, self.weights):
            factor = np.linalg.cholesky(covariance)
            white = np.linalg.solve(factor, (flat - mean).T)
            log_volume = np.log(np.diag(factor)).sum() + 0.5 * len(mean) * math.log(2 * math.pi)
            # A component that lost all its poses has no weight, and no density anywhere.
            log_weight = math.log(weight) if weight > 0 else -math.inf
            rows.append(log_weight - log_volume - 0.5 * np.square(white).sum(0))
        return np.stack(rows, 1)

    def log_likelihood(self, poses: Tensor | np.ndarray) -> float:
        """Return the mean logarithm of the density at poses."""
        return float(np.logaddexp.reduce(self.log_densities(poses), 1).mean())

    def save(self, path: str | Path) -> Path:
        """Write an .npz."""
        path = Path(path).with_suffix('.npz')
        with replacing(path) as temporary:
            np.savez(
                temporary,
                format=FORMAT,
                means=self.means,
                covariances=self.covariances,
                weights=self.weights,
            )
        return path


def read_pose_mixture(path: str | Path) -> PoseMixture:
    """Read what `PoseMixture.save` wrote, or SMPLify's pickle with means, covars and weights.

    Raises:
        ValueError: another kind of file.
    """
    path = Path(path)
    if path.suffix == '.npz':
        with reading(path, 'a pose prior'):
            arrays = read_marked(path, FORMAT, ('means', 'covariances', 'weights'))
            return PoseMixture(arrays['means'], arrays['covariances'], arrays['weights'])
    raw = read_pickle(path)
    if not isinstance(raw, dict) or not {'means', 'covars', 'weights'} <= set(raw):
        result = shown_names(raw) if isinstance(raw, dict) else shown(raw)
        raise ValueError(
            f'{path}: a mixture must be a dict with means, covars and weights; got {result}. Is it a mixture?'
        )
    keys = ('means', 'covars', 'weights')
    means, covars, weights = (as_array(raw[k], f'{path}: {k}').astype(np.float64) for k in keys)
    try:
        return PoseMixture(means, covars, weights)
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from None


def fit_pose_mixture(
    poses: Tensor | np.ndarray,
    num_gaussians: int = 8,
    n_iter: int = 200,
    tolerance: float = 1e-6,
    least_variance: float = 1e-4,
    n_starts: int = 4,
    seed: int = 0,
) -> PoseMixture:
    """Fit a mixture of Gaussians to poses (Dempster, Laird and Rubin 1977), for `MaxMixturePriorLoss`.

    Args:
        poses: (N, J-1, 3) or (N, D) axis-angle, rad.
        num_gaussians: M.
        n_iter: most rounds of a start.
        tolerance: rise of the mean log-likelihood below which a start has converged.
        least_variance: rad^2; no direction of a component varies less, so that few poses make no needle.
        n_starts: k-means++ starts (Arthur and Vassilvitskii 2007), of which the likeliest is kept.
        seed: of the starts.

    Raises:
        ValueError: fewer poses than Gaussians, or settings that are not positive.
    """
    if min(num_gaussians, n_iter, n_starts) < 1 or least_variance <= 0:
        raise ValueError(
            'fit_pose_mixture: num_gaussians, n_iter, n_starts and least_variance must be positive; got '
            f'{num_gaussians}, {n_iter}, {n_starts}, {least_variance}.'
        )
    flat = flat_poses(poses, num_gaussians, 'fit_pose_mixture')
    draw = np.random.default_rng(seed)
    ends = []
    for _ in range(n_starts):
        mixture, likelihood = _start(flat, num_gaussians, least_variance, draw), -math.inf
        for _ in range(n_iter):
            changed, before = em_step(mixture, flat, least_variance)
            if before - likelihood < tolerance:
                break
            mixture, likelihood = changed, before
        ends.append((likelihood, mixture))
    return max(ends, key=lambda end: end[0])[1]


def em_step(mixture: PoseMixture, poses: np.ndarray, least_variance: float) -> tuple[PoseMixture, float]:
    """Do one round of expectation and maximisation.

    Returns:
        The new mixture, and the mean log-likelihood of the old one; the new one's is never lower, for the bound on
        the variances is part of the maximisation.
    """
    densities = mixture.log_densities(poses)
    total = np.logaddexp.reduce(densities, 1)
    return _maximise(poses, np.exp(densities - total[:, None]), least_variance), float(total.mean())


def _maximise(poses: np.ndarray, responsibility: np.ndarray, least_variance: float) -> PoseMixture:
    count = responsibility.sum(0)
    # A component that lost all its poses stays as a component of weight 0 at the mean of all.
    share = np.where(count > 0, responsibility / np.maximum(count, 1e-300), 1 / len(poses))
    means = share.T @ poses
    covariances = []
    for k, mean in enumerate(means):
        centred = poses - mean
        values, vectors = np.linalg.eigh((share[:, k, None] * centred).T @ centred)
        # Of all covariances with no variance below the bound, this one is the likeliest.
        covariances.append((vectors * np.maximum(values, least_variance)) @ vectors.T)
    return PoseMixture(means, np.stack(covariances), count / count.sum())


def _start(poses: np.ndarray, m: int, least_variance: float, draw: np.random.Generator) -> PoseMixture:
    """Choose far-apart poses as centres, let k-means settle, and take its clusters."""
    centres = poses[draw.integers(len(poses))][None]
    while len(centres) < m:
        away = _squared_distances(poses, centres).min(1)
        odds = away / away.sum() if away.sum() > 0 else None
        centres = np.concatenate((centres, poses[draw.choice(len(poses), p=odds)][None]))
    for _ in range(KMEANS_ROUNDS):
        member = np.eye(m)[_squared_distances(poses, centres).argmin(1)]
        count = member.sum(0)[:, None]
        centres = np.where(count > 0, member.T @ poses / np.maximum(count, 1), centres)
    return _maximise(poses, member, least_variance)


def _squared_distances(poses: np.ndarray, centres: np.ndarray) -> np.ndarray:
    return np.stack([np.square(poses - c).sum(1) for c in centres], 1)


@LOSSES.register_module()
class MaxMixturePriorLoss(BaseLoss):
    """The nearest Gaussian's negative log-likelihood (Olson and Agarwal 2013; Bogo et al. 2016).

    `min_m 0.5 d' P_m d - log w_m`, with `w_m` the component's weight over its volume relative to the smallest.

    Args:
        prior_folder: holds `gmm_{num_gaussians:02d}.pkl` with `means` (M, D), `covars` (M, D, D), `weights` (M,);
            the licensed file is the user's own and is read by the allow-list reader.
        num_gaussians: M, part of the file's name.
        reduction: over the batch.
        loss_weight: factor on the result.
        prior_path: a mixture's file, `.npz` or pickle, instead of one in `prior_folder`.
        mixture: the mixture itself, as `fit_pose_mixture` gives it, instead of a file.
    """

    means: Tensor
    factors: Tensor
    offsets: Tensor

    def __init__(
        self,
        prior_folder: str | Path = './data',
        num_gaussians: int = 8,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        prior_path: str | Path | None = None,
        mixture: PoseMixture | None = None,
    ) -> None:
        super().__init__(reduction, loss_weight)
        if prior_path is not None and mixture is not None:
            raise ValueError('MaxMixturePriorLoss: give either prior_path or mixture; got both.')
        if mixture is None:
            usual = Path(prior_folder) / f'gmm_{num_gaussians:02d}.pkl'
            path = usual if prior_path is None else Path(prior_path)
            if not path.is_file():
                raise FileNotFoundError(
                    f"MaxMixturePriorLoss: {path} is not there. SMPLify's is licensed: get it there, or fit one to "
                    'poses of your own with smilfit.losses.fit_pose_mixture.'
                )
            mixture = read_pose_mixture(path)
        # A component without weight is nowhere the nearest.
        used = mixture.weights > 0
        means, covars, weights = mixture.means[used], mixture.covariances[used], mixture.weights[used]
        log_volume = 0.5 * np.linalg.slogdet(covars)[1]
        constant = 0.5 * means.shape[1] * math.log(2 * math.pi) + (log_volume - log_volume.min())
        factors = np.linalg.cholesky(np.linalg.inv(covars))
        self.register_buffer('means', torch.as_tensor(means, dtype=torch.float32), persistent=False)
        self.register_buffer('factors', torch.as_tensor(factors, dtype=torch.float32), persistent=False)
        offsets = constant - np.log(weights)
        if offsets.min() < 0:
            raise ValueError(
                f'MaxMixturePriorLoss: weights must be shares of one; got {weights.max():.3g}. '
                'Divide them by their sum.'
            )
        self.register_buffer('offsets', torch.as_tensor(offsets, dtype=torch.float32), persistent=False)

    def bind_body(self, data: BodyModelData) -> None:
        """Check that the mixture is over this model's poses.

        Raises:
            ValueError: of another number of joints.
        """
        if self.means.shape[1] != 3 * (data.n_joints - 1):
            raise ValueError(
                f'MaxMixturePriorLoss: the mixture must have 3 (J - 1) = {3 * (data.n_joints - 1)} dimensions for '
                f'{data.name}; got {self.means.shape[1]}. Fit a mixture to poses of this model.'
            )

    def residual(self, body_pose: Float[Tensor, 'B j 3']) -> Residuals:
        """Return the nearest component's whitened pose, and the root of its offset, a constant; one term a frame."""
        centred = body_pose.flatten(1).unsqueeze(1) - self.means.to(body_pose)
        factors, offsets = self.factors.to(body_pose), self.offsets.to(body_pose)
        white = math.sqrt(0.5) * torch.einsum('bmd,mde->bme', centred, factors)
        nearest = (white.detach().square().sum(-1) + offsets).argmin(1)
        rows = torch.arange(len(nearest), device=nearest.device)
        value = torch.cat((white[rows, nearest], offsets[nearest].sqrt().unsqueeze(1)), 1)
        slope = math.sqrt(0.5) * factors[nearest].transpose(1, 2)
        slope = torch.cat((slope, torch.zeros_like(slope[:, :1])), 1)
        return Residuals(value, torch.ones_like(value[:, 0]), slope=slope)
