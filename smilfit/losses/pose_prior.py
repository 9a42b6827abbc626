"""Gaussians over poses: fitted to a user's own, read from a file, the model's, or of poses that nobody recorded."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.body_models import LimitPoses, PoseSource
from smilfit.body_models.data import BodyModelData
from smilfit.body_models.files.smal_parts import read_pose_prior
from smilfit.files import BadFileError, reading, replacing, shorten
from smilfit.files.numpy_files import read_npz
from smilfit.losses.base import BaseLoss, Residuals
from smilfit.registry import LOSSES

FORMAT = 'smilfit-pose-gaussian'


@dataclass(frozen=True)
class PoseGaussian:
    """Mean (D,) rad and covariance (D, D) rad^2 of axis-angle poses.

    D is 3 (J - 1), or 3 J where the root comes first, as in SMAL's files; the root is then left out.
    """

    mean: np.ndarray
    covariance: np.ndarray

    def __post_init__(self) -> None:
        """Check shapes and values."""
        d = self.mean.size
        if not d or self.mean.shape != (d,) or self.covariance.shape != (d, d):
            raise ValueError(
                f'PoseGaussian: mean (D,) and covariance (D, D) must fit; got {self.mean.shape} and '
                f'{self.covariance.shape}.'
            )
        if not (np.isfinite(self.mean).all() and np.isfinite(self.covariance).all()):
            raise ValueError('PoseGaussian: mean and covariance must be finite; some numbers are not.')

    def of_joints(self, data: BodyModelData, where: str) -> 'PoseGaussian':
        """Return the distribution of the joints below the root.

        Raises:
            ValueError: it is over another number of joints.
        """
        wanted, d = 3 * (data.n_joints - 1), len(self.mean)
        if d == wanted:
            return self
        if d == wanted + 3:
            return PoseGaussian(self.mean[3:], self.covariance[3:, 3:])
        raise ValueError(
            f'{where}: the prior must have 3 (J - 1) = {wanted} dimensions for {data.name}, or {wanted + 3} with the '
            f'root; got {d}. Fit a prior to poses of this model.'
        )

    def save(self, path: str | Path) -> Path:
        """Write an .npz."""
        path = Path(path).with_suffix('.npz')
        with replacing(path) as temporary:
            np.savez(temporary, format=FORMAT, mean=self.mean, covariance=self.covariance)
        return path


def fit_pose_gaussian(poses: Tensor | np.ndarray, shrinkage: float | None = None) -> PoseGaussian:
    """Fit mean and covariance to poses.

    The covariance is drawn towards a multiple of the identity with the same trace, so that few poses do not make
    other poses impossible.

    Args:
        poses: (N, J-1, 3) or (N, D) axis-angle, rad.
        shrinkage: 0 keeps the covariance, 1 leaves only the identity; None takes Ledoit and Wolf's (2004).

    Raises:
        ValueError: fewer than two poses, or a shrinkage outside [0, 1].
    """
    flat = flat_poses(poses, 2, 'fit_pose_gaussian')
    mean = flat.mean(0)
    centred = flat - mean
    n, d = centred.shape
    covariance = centred.T @ centred / n
    level = np.trace(covariance) / d
    target = level * np.eye(d)
    if shrinkage is None:
        spread = np.square(covariance - target).sum()
        # sum_k |x_k x_k' - S|^2 / n^2, without making the outer products.
        error = (np.square(np.square(centred).sum(1)).sum() / n - np.square(covariance).sum()) / n
        shrinkage = float(np.clip(error / spread, 0, 1)) if spread > 0 else 1.0
    if not 0 <= shrinkage <= 1:
        raise ValueError(f'fit_pose_gaussian: shrinkage must be in [0, 1] or None; got {shrinkage}.')
    return PoseGaussian(mean, (1 - shrinkage) * covariance + shrinkage * target)


def read_pose_gaussian(path: str | Path) -> PoseGaussian:
    """Read what `PoseGaussian.save` wrote, or a pickle with `mean_pose` and `cov` or `pic`.

    `pic` is the lower Cholesky factor of the precision. Pickles go through the allow-list reader.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another kind of file, or one that is not whole.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f'MahalanobisPosePriorLoss: {path} is not there. Give the path of a pose prior.'
        )
    if path.suffix == '.npz':
        with reading(path, 'a pose prior'):
            arrays = read_marked(path, FORMAT, ('mean', 'covariance'))
            return PoseGaussian(arrays['mean'], arrays['covariance'])
    return PoseGaussian(*read_pose_prior(path))


def read_marked(path: Path, wanted_format: str, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Read the arrays of an .npz that states its format; float64.

    Raises:
        BadFileError: another format, or an array that is missing, no numbers or not finite.
    """
    arrays = read_npz(path, ('format', *names), 'a pose prior')
    result = str(arrays.get('format'))
    if result != wanted_format:
        raise BadFileError(
            f'{path}: format must be {wanted_format!r}; got {shorten(result)!r}. Is it the file of another prior?'
        )
    for name in names:
        if name not in arrays or arrays[name].dtype.kind not in 'iuf' or not np.isfinite(arrays[name]).all():
            raise BadFileError(
                f'{path}: {name} must be an array of finite numbers. Fit and save the prior anew.'
            )
    return {name: arrays[name].astype(np.float64) for name in names}


def flat_poses(poses: Tensor | np.ndarray, least: int, where: str) -> np.ndarray:
    """Return poses as float64 rows.

    Raises:
        ValueError: too few of them, or numbers that are not finite.
    """
    array = np.asarray(poses.detach().cpu() if isinstance(poses, Tensor) else poses, dtype=np.float64)
    if array.ndim not in (2, 3) or len(array) < least:
        raise ValueError(
            f'{where}: poses must be (N, J-1, 3) or (N, D) with at least {least} rows; got {array.shape}.'
        )
    if not np.isfinite(array).all():
        raise ValueError(f'{where}: poses must be finite; some numbers are not. Leave such frames out.')
    return array.reshape(len(array), -1)


@LOSSES.register_module()
class PoseRegLoss(BaseLoss):
    """Squared axis-angle components of the joints: how far from the rest pose, rad^2."""

    def residual(self, body_pose: Float[Tensor, 'B j 3']) -> Residuals:
        """Return the components."""
        eye = torch.eye(3, dtype=body_pose.dtype, device=body_pose.device)
        return Residuals(body_pose, pointwise=True, slope=eye)


@LOSSES.register_module()
class MahalanobisPosePriorLoss(BaseLoss):
    """Squared Mahalanobis distance of the pose.

    Mean and covariance come from a file, from poses of the user's own, or else from the model file.

    Args:
        reduction: over frames and independent components.
        loss_weight: factor on the result.
        prior_path: `.npz` of `PoseGaussian.save`, or a pickle with `mean_pose` and `cov` or `pic`.
        prior: the distribution itself, instead of a file.
        least_sd_rad: standard deviation below which no direction of a file's or of given poses varies; joints
            that never moved there have this one.
    """

    def __init__(
        self,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        prior_path: str | Path | None = None,
        prior: PoseGaussian | None = None,
        least_sd_rad: float = 0.01,
    ) -> None:
        super().__init__(reduction, loss_weight)
        if prior_path is not None and prior is not None:
            raise ValueError('MahalanobisPosePriorLoss: give either prior_path or prior; got both.')
        if least_sd_rad <= 0:
            raise ValueError(f'MahalanobisPosePriorLoss: least_sd_rad must be positive; got {least_sd_rad}.')
        self.prior = prior if prior_path is None else read_pose_gaussian(prior_path)
        self.least_sd_rad = least_sd_rad
        self.register_buffer('mean', None, persistent=False)
        self.register_buffer('factor', None, persistent=False)

    @classmethod
    def from_poses(
        cls, poses: Tensor | np.ndarray, shrinkage: float | None = None, **kwargs: Any
    ) -> 'MahalanobisPosePriorLoss':
        """Fit the prior to poses (N, J-1, 3), rad; see `fit_pose_gaussian`."""
        return cls(prior=fit_pose_gaussian(poses, shrinkage), **kwargs)

    def bind_body(self, data: BodyModelData) -> None:
        """Take the pose prior of a model, or check that the given one is over this model's poses.

        Raises:
            ValueError: there is none, it is over other joints, or it is not positive semi-definite.
        """
        mean: np.ndarray | None
        if self.prior is not None:
            given = self.prior.of_joints(data, 'MahalanobisPosePriorLoss')
            variance, vectors = _eigen(given.covariance, f'the pose prior for {data.name}')
            sd = variance.clamp_min(0).sqrt().clamp_min(self.least_sd_rad)
            self.factor, mean = (vectors / sd).float(), given.mean
        elif data.pose_prior_precision is None:
            raise ValueError(
                f'MahalanobisPosePriorLoss: the model file must carry a pose_prior; {data.name} has none. '
                'Give prior_path, fit one with from_poses, or use PoseRegLoss instead.'
            )
        else:
            values, vectors = _eigen(data.pose_prior_precision, f'{data.name}: the pose prior')
            self.factor, mean = (vectors * values.clamp_min(0).sqrt()).float(), data.pose_prior_mean
        # precision = factor factor^T, so that the terms are squares of independent components.
        self.mean = (
            torch.zeros(len(self.factor)) if mean is None else torch.as_tensor(mean, dtype=torch.float32)
        )

    def residual(self, body_pose: Float[Tensor, 'B j 3']) -> Residuals:
        """Return the whitened pose, which couples all joints."""
        if self.factor is None:
            raise ValueError('MahalanobisPosePriorLoss: call bind_body(data) with the model first.')
        factor = self.factor.to(body_pose)
        white = (body_pose.flatten(1) - self.mean.to(body_pose)) @ factor
        return Residuals(white, slope=factor.t().unsqueeze(0))


def _eigen(matrix: np.ndarray, what: str) -> tuple[Tensor, Tensor]:
    """Return eigenvalues and eigenvectors of a positive semi-definite matrix.

    Raises:
        ValueError: it is not.
    """
    square = torch.as_tensor(matrix, dtype=torch.float64)
    values, vectors = torch.linalg.eigh(0.5 * (square + square.t()))
    if values.min() < -1e-6 * values.max():
        raise ValueError(f'{what} must be positive semi-definite; got {values.min():.3g}.')
    return values, vectors


N_DRAWN = 2000


@LOSSES.register_module()
class SampledPosePriorLoss(MahalanobisPosePriorLoss):
    """Squared Mahalanobis distance of the pose from those that a source draws.

    Args:
        poses: draws poses, such as those that a lifter is trained on; `LimitPoses` if None: any model has a prior.
        **kwargs: of `MahalanobisPosePriorLoss`.
    """

    def __init__(self, poses: PoseSource | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.poses = LimitPoses() if poses is None else poses

    def bind_body(self, data: BodyModelData) -> None:
        """Draw poses of the model and fit the Gaussian to them."""
        self.poses.bind(data)
        self.prior = fit_pose_gaussian(self.poses(N_DRAWN, torch.Generator().manual_seed(0)))
        super().bind_body(data)
