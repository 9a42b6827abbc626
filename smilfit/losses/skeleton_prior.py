"""How far a skeleton's bones are from the model's."""

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.losses.base import BaseLoss
from smilfit.losses.residuals import Residuals
from smilfit.registry import LOSSES


class _JointSquaresLoss(BaseLoss):
    """Squared numbers of every joint."""

    def residual(self, extras: Float[Tensor, 'B J 3']) -> Residuals:
        """Return the numbers."""
        eye = torch.eye(3, dtype=extras.dtype, device=extras.device)
        return Residuals(extras, pointwise=True, slope=eye)


@LOSSES.register_module()
class JointScalePriorLoss(_JointSquaresLoss):
    """Squared logarithms of the joints' scales: bones half or twice as long cost the same."""


@LOSSES.register_module()
class JointOffsetPriorLoss(_JointSquaresLoss):
    """Squared joint offsets as shares of the body's length, so that the model's unit does not matter."""
