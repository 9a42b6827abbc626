"""How far a skeleton's bones are from the model's."""

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.losses.base import BaseLoss
from smilfit.registry import LOSSES


class _JointSquaresLoss(BaseLoss):
    """Squared numbers of every joint."""

    def forward(
        self,
        extras: Float[Tensor, 'B J 3'],
        loss_weight_override: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Score the numbers."""
        return self.reduce(extras.square(), None, loss_weight_override, reduction_override)

    def residual(
        self,
        extras: Float[Tensor, 'B J 3'],
        loss_weight_override: float | None = None,
        reduction_override: str | None = None,
    ) -> Float[Tensor, 'B R']:
        """Give the weighted components, whose squares sum to the loss."""
        return self.root(extras, None, loss_weight_override, reduction_override)

    def gradient(
        self,
        extras: Float[Tensor, 'B J 3'],
        loss_weight_override: float | None = None,
        reduction_override: str | None = None,
    ) -> Float[Tensor, 'B n']:
        """Give the derivative of the loss, frame by frame."""
        share = self.share(extras, None, loss_weight_override, reduction_override)
        return 2 * share * extras.flatten(1)

    def curvature(
        self,
        extras: Float[Tensor, 'B J 3'],
        loss_weight_override: float | None = None,
        reduction_override: str | None = None,
    ) -> Float[Tensor, '1 n n']:
        """Give the second derivative."""
        share = self.share(extras, None, loss_weight_override, reduction_override)
        count = extras.shape[1] * 3
        return (2 * share * torch.eye(count, dtype=share.dtype, device=share.device)).unsqueeze(0)


@LOSSES.register_module()
class JointScalePriorLoss(_JointSquaresLoss):
    """Squared logarithms of the joints' scales: bones half or twice as long cost the same."""


@LOSSES.register_module()
class JointOffsetPriorLoss(_JointSquaresLoss):
    """Squared joint offsets as shares of the body's length, so that the model's unit does not matter."""
