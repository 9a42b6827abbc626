"""Points and the ground they stand on."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from smilfit.losses.base import BaseLoss
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

    def forward(
        self,
        height: Float[Tensor, 'B K'],
        points: Float[Tensor, 'B K 3'] | None = None,
        contact: Float[Tensor, 'B K'] | None = None,
        continuous: Bool[Tensor, ' B'] | None = None,
        loss_weight_override: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Score points.

        Args:
            height: above the ground, world unit; negative below.
            points: world points, for sliding.
            contact: how sure it is that a point stands, 0 to 1; None where nothing is known.
            continuous: whether a frame follows the one before it.
            loss_weight_override: used instead of `loss_weight`.
            reduction_override: used instead of `reduction`.
        """
        terms = self.heights_weight(height, contact) * height.square()
        if contact is not None and self.slip_weight:
            way = slid(points).square().sum(-1)
            weight = self.slip_weight * contacts_kept(contact, continuous)
            # A way belongs to both its frames.
            terms = terms + 0.5 * (weight * way + _earlier(weight * way))
        return self.reduce(terms, None, loss_weight_override, reduction_override)

    def heights_weight(
        self, height: Float[Tensor, 'B K'], contact: Float[Tensor, 'B K'] | None
    ) -> Float[Tensor, 'B K']:
        """Give the factor on each squared height: 1 below the ground, the contact's above it."""
        below = (height < 0).to(height)
        if contact is None:
            return below
        return torch.maximum(below, self.contact_weight * contact)


def slid(points: Float[Tensor, 'B K 3']) -> Float[Tensor, 'B K 3']:
    """Give the way from the frame before; 0 for the first."""
    return torch.cat((torch.zeros_like(points[:1]), points.diff(dim=0)))


def contacts_kept(
    contact: Float[Tensor, 'B K'], continuous: Bool[Tensor, ' B'] | None
) -> Float[Tensor, 'B K']:
    """Say how sure it is that a point stands in a frame and in the one before; 0 over a gap."""
    both = torch.cat((torch.zeros_like(contact[:1]), contact[1:] * contact[:-1]))
    return both if continuous is None else both * continuous.to(both).unsqueeze(1)


def _earlier(values: Tensor) -> Tensor:
    """Move values one frame back in time."""
    return torch.cat((values[1:], torch.zeros_like(values[:1])))
