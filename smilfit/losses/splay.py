"""Joints that turn about axes they hardly turn about in life."""

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.losses.base import BaseLoss
from smilfit.losses.residuals import Residuals
from smilfit.registry import LOSSES


@LOSSES.register_module()
class SplayPriorLoss(BaseLoss):
    """Squared axis-angle components about some axes, rad^2: legs that spread, or twist, in a view that cannot tell.

    With the axes x and z it is SMALify's (Biggs et al. 2018): a quadruped's legs swing about y.

    Args:
        axes: of `'x'`, `'y'` and `'z'`, those of the model's rest frame.
        reduction: `'mean'` divides by the number of frames, joints and named axes.
        loss_weight: factor on the result.
    """

    def __init__(
        self, axes: tuple[str, ...] = ('x', 'z'), reduction: str = 'mean', loss_weight: float = 1.0
    ) -> None:
        super().__init__(reduction, loss_weight)
        if not axes or set(axes) - set('xyz'):
            raise ValueError(f"SplayPriorLoss: axes must be some of 'x', 'y' and 'z'; got {axes}.")
        self.axes = ['xyz'.index(axis) for axis in sorted(set(axes))]

    def residual(self, body_pose: Float[Tensor, 'B j 3']) -> Residuals:
        """Return the components about the named axes."""
        named = torch.eye(3, dtype=body_pose.dtype, device=body_pose.device)[self.axes]
        return Residuals(body_pose[..., self.axes], pointwise=True, slope=named)
