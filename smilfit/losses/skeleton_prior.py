"""How far a skeleton's bones are from the model's."""

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.losses.base import BaseLoss
from smilfit.registry import LOSSES


@LOSSES.register_module()
class JointScalePriorLoss(BaseLoss):
    """Squared logarithms of the joints' scales: bones half or twice as long cost the same."""

    def forward(
        self,
        log_joint_scales: Float[Tensor, 'B J 3'],
        loss_weight_override: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Score joint scales."""
        return self.reduce(log_joint_scales.square(), None, loss_weight_override, reduction_override)

    def residual(
        self,
        log_joint_scales: Float[Tensor, 'B J 3'],
        loss_weight_override: float | None = None,
        reduction_override: str | None = None,
    ) -> Float[Tensor, 'B R']:
        """Give the weighted components, whose squares sum to the loss."""
        return self.root(log_joint_scales, None, loss_weight_override, reduction_override)

    def gradient(
        self,
        log_joint_scales: Float[Tensor, 'B J 3'],
        loss_weight_override: float | None = None,
        reduction_override: str | None = None,
    ) -> Float[Tensor, 'B n']:
        """Give the derivative of the loss, frame by frame."""
        share = self.share(log_joint_scales, None, loss_weight_override, reduction_override)
        return 2 * share * log_joint_scales.flatten(1)

    def curvature(
        self,
        log_joint_scales: Float[Tensor, 'B J 3'],
        loss_weight_override: float | None = None,
        reduction_override: str | None = None,
    ) -> Float[Tensor, '1 n n']:
        """Give the second derivative."""
        share = self.share(log_joint_scales, None, loss_weight_override, reduction_override)
        count = log_joint_scales.shape[1] * 3
        return (2 * share * torch.eye(count, dtype=share.dtype, device=share.device)).unsqueeze(0)


@LOSSES.register_module()
class JointOffsetPriorLoss(BaseLoss):
    """Squared joint offsets as shares of the body's length, so that the model's unit does not matter."""

    def forward(
        self,
        offsets_by_length: Float[Tensor, 'B J 3'],
        loss_weight_override: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Score joint offsets, given in body lengths."""
        return self.reduce(offsets_by_length.square(), None, loss_weight_override, reduction_override)

    def residual(
        self,
        offsets_by_length: Float[Tensor, 'B J 3'],
        loss_weight_override: float | None = None,
        reduction_override: str | None = None,
    ) -> Float[Tensor, 'B R']:
        """Give the weighted components, whose squares sum to the loss."""
        return self.root(offsets_by_length, None, loss_weight_override, reduction_override)

    def gradient(
        self,
        offsets_by_length: Float[Tensor, 'B J 3'],
        loss_weight_override: float | None = None,
        reduction_override: str | None = None,
    ) -> Float[Tensor, 'B n']:
        """Give the derivative of the loss, frame by frame."""
        share = self.share(offsets_by_length, None, loss_weight_override, reduction_override)
        return 2 * share * offsets_by_length.flatten(1)

    def curvature(
        self,
        offsets_by_length: Float[Tensor, 'B J 3'],
        loss_weight_override: float | None = None,
        reduction_override: str | None = None,
    ) -> Float[Tensor, '1 n n']:
        """Give the second derivative."""
        share = self.share(offsets_by_length, None, loss_weight_override, reduction_override)
        count = offsets_by_length.shape[1] * 3
        return (2 * share * torch.eye(count, dtype=share.dtype, device=share.device)).unsqueeze(0)
