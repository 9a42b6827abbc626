"""How far joint scales are from 1."""

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
