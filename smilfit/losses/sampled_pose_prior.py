"""A Gaussian over poses that nobody has recorded: those that a source of poses draws."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.body_models import LimitPoses, PoseSource
from smilfit.body_models.data import BodyModelData
from smilfit.losses.base import BaseLoss
from smilfit.losses.pose_gaussian import PoseGaussian, fit_pose_gaussian, read_pose_gaussian
from smilfit.losses.residuals import Residuals
from smilfit.registry import LOSSES


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
