"""How unusual a pose is, as one Gaussian."""

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.body_models.data import BodyModelData
from smilfit.losses.base import BaseLoss
from smilfit.registry import LOSSES


@LOSSES.register_module()
class PoseRegLoss(BaseLoss):
    """Squared axis-angle components of the joints: how far from the rest pose, rad^2."""

    def forward(
        self,
        body_pose: Float[Tensor, 'B j 3'],
        loss_weight_override: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Score joint rotations."""
        return self.reduce(body_pose.square(), None, loss_weight_override, reduction_override)

    def residual(
        self,
        body_pose: Float[Tensor, 'B j 3'],
        loss_weight_override: float | None = None,
        reduction_override: str | None = None,
    ) -> Float[Tensor, 'B R']:
        """Give the weighted components, whose squares sum to the loss."""
        return self.root(body_pose, None, loss_weight_override, reduction_override)

    def curvature(
        self,
        body_pose: Float[Tensor, 'B j 3'],
        loss_weight_override: float | None = None,
        reduction_override: str | None = None,
    ) -> Float[Tensor, '1 j 3 3']:
        """Give the second derivative, joint by joint."""
        share = self.share(body_pose, None, loss_weight_override, reduction_override)
        eye = torch.eye(3, dtype=body_pose.dtype, device=body_pose.device)
        return (2 * share * eye).expand(1, body_pose.shape[1], 3, 3)


@LOSSES.register_module()
class MahalanobisPosePriorLoss(BaseLoss):
    """Squared Mahalanobis distance of the pose, by the mean and precision that the model file carries."""

    def __init__(self, reduction: str = 'mean', loss_weight: float = 1.0) -> None:
        super().__init__(reduction, loss_weight)
        self.register_buffer('mean', None, persistent=False)
        self.register_buffer('factor', None, persistent=False)

    def bind_body(self, data: BodyModelData) -> None:
        """Take the pose prior of a model.

        Raises:
            ValueError: the model carries none, or one that is not positive semi-definite.
        """
        if data.pose_prior_precision is None:
            raise ValueError(
                f'MahalanobisPosePriorLoss: the model file must carry a pose_prior; {data.name} has none. '
                'Use PoseRegLoss instead.'
            )
        precision = torch.as_tensor(data.pose_prior_precision, dtype=torch.float64)
        values, vectors = torch.linalg.eigh(0.5 * (precision + precision.t()))
        if values.min() < -1e-6 * values.max():
            raise ValueError(
                f'{data.name}: the pose prior must be positive semi-definite; got {values.min():.3g}.'
            )
        # precision = factor factor^T, so that the terms are squares of independent components.
        self.factor = (vectors * values.clamp_min(0).sqrt()).float()
        mean = data.pose_prior_mean
        self.mean = (
            torch.zeros(len(precision)) if mean is None else torch.as_tensor(mean, dtype=torch.float32)
        )

    def forward(
        self,
        body_pose: Float[Tensor, 'B j 3'],
        loss_weight_override: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Score joint rotations."""
        return self.reduce(self._white(body_pose).square(), None, loss_weight_override, reduction_override)

    def residual(
        self,
        body_pose: Float[Tensor, 'B j 3'],
        loss_weight_override: float | None = None,
        reduction_override: str | None = None,
    ) -> Float[Tensor, 'B R']:
        """Give the weighted whitened pose, whose squares sum to the loss."""
        return self.root(self._white(body_pose), None, loss_weight_override, reduction_override)

    def curvature(
        self,
        body_pose: Float[Tensor, 'B j 3'],
        loss_weight_override: float | None = None,
        reduction_override: str | None = None,
    ) -> Float[Tensor, '1 n n']:
        """Give the second derivative, which couples all joints."""
        share = self.share(self._white(body_pose), None, loss_weight_override, reduction_override)
        factor = self.factor.to(body_pose)
        return (2 * share * factor @ factor.t()).unsqueeze(0)

    def _white(self, body_pose: Tensor) -> Tensor:
        if self.factor is None:
            raise ValueError('MahalanobisPosePriorLoss: call bind_body(data) with the model first.')
        return (body_pose.flatten(1) - self.mean.to(body_pose)) @ self.factor.to(body_pose)
