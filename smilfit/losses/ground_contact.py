"""Points and the ground they stand on."""

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.losses.base import BaseLoss
from smilfit.losses.residuals import Residuals
from smilfit.registry import LOSSES


@LOSSES.register_module()
class GroundContactLoss(BaseLoss):
    """Squared depth below the ground; where contact is known, squared height above it too, and squared sliding.

    Args:
        contact_weight: factor on the height of points that stand.
        slip_weight: factor on the squared way that a point goes along with contact before and after.
        reduction: `'mean'` over frames and points.
        loss_weight: factor on the whole.
    """

    def __init__(
        self,
        contact_weight: float = 1.0,
        slip_weight: float = 0.0,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(reduction, loss_weight)
        if contact_weight < 0 or slip_weight < 0:
            raise ValueError(
                f'GroundContactLoss: weights must not be negative; got {contact_weight} and {slip_weight}.'
            )
        self.contact_weight = contact_weight
        self.slip_weight = slip_weight
        # Where sliding counts, a frame's terms depend on the one before.
        self.frame_order = int(slip_weight > 0)

    def residual(
        self,
        height: Float[Tensor, 'B K'],
        points: Float[Tensor, 'B K 3'] | None = None,
        contact: Float[Tensor, 'B K'] | None = None,
    ) -> tuple[Residuals, ...]:
        """Return heights, and with contacts the points, whose way from frame to frame counts.

        Args:
            height: above the ground, world unit; negative below.
            points: world points, for sliding.
            contact: how sure it is that a point stands, 0 to 1; None where nothing is known.
        """
        below, count = (height < 0).to(height), float(height.numel())
        weight = below if contact is None else torch.maximum(below, self.contact_weight * contact)
        heights = Residuals(height, weight, count=count)
        if contact is None or points is None or not self.slip_weight:
            return (heights,)
        both = torch.cat((torch.zeros_like(contact[:1]), contact[1:] * contact[:-1]))
        return heights, Residuals(points, self.slip_weight * both, count=count, order=1)
