"""How far a skeleton's bones are from the model's."""

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
