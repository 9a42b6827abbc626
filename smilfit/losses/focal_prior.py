"""How far a focal length is from what was guessed."""

from jaxtyping import Float
from torch import Tensor

from smilfit.losses.base import BaseLoss
from smilfit.registry import LOSSES


@LOSSES.register_module()
class FocalPriorLoss(BaseLoss):
    """Squared logarithm of the factor on focal lengths, in standard deviations.

    Args:
        sd: of the logarithm; 0.3 thinks two thirds of all focal lengths to be within a third of the guess.
        reduction: over frames.
        loss_weight: factor on the result.
    """

    def __init__(self, sd: float = 0.3, reduction: str = 'mean', loss_weight: float = 1.0) -> None:
        super().__init__(reduction, loss_weight)
        if sd <= 0:
            raise ValueError(f'FocalPriorLoss: sd must be positive; got {sd}.')
        self.sd = sd

    def residual(self, log_focal: Float[Tensor, 'B 1']) -> Float[Tensor, 'B 1']:
        """Return logarithms of factors on focal lengths, in standard deviations."""
        return log_focal / self.sd
