"""How different two silhouettes are; one class a measure."""

from abc import abstractmethod

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.losses.base import BaseLoss, Energies
from smilfit.registry import LOSSES


class SilhouetteLoss(BaseLoss):
    """Compares soft silhouettes with masks, view by view.

    The terms are one number a view: a mean over its pixels (for IoU: over its union), so the image's size does
    not matter. `'mean'` divides by the sum of the views' weights.
    """

    def energy(
        self,
        alpha: Float[Tensor, 'B C H W'],
        mask: Float[Tensor, 'B C H W'],
        view_weight: Float[Tensor, 'B C'] | None = None,
    ) -> Energies:
        """Score silhouettes; a view of weight 0 takes no part."""
        return Energies(self.views(alpha, mask), view_weight)

    @abstractmethod
    def views(self, alpha: Float[Tensor, 'B C H W'], mask: Float[Tensor, 'B C H W']) -> Float[Tensor, 'B C']:
        """Return every view's term."""


@LOSSES.register_module()
class SilhouetteL2Loss(SilhouetteLoss):
    """Squared difference."""

    def views(self, alpha: Float[Tensor, 'B C H W'], mask: Float[Tensor, 'B C H W']) -> Float[Tensor, 'B C']:
        """Mean over pixels."""
        return (alpha - mask).square().mean((2, 3))


@LOSSES.register_module()
class SilhouetteL1Loss(SilhouetteLoss):
    """Absolute difference."""

    def views(self, alpha: Float[Tensor, 'B C H W'], mask: Float[Tensor, 'B C H W']) -> Float[Tensor, 'B C']:
        """Mean over pixels."""
        return (alpha - mask).abs().mean((2, 3))


@LOSSES.register_module()
class SilhouetteBCELoss(SilhouetteLoss):
    """Binary cross-entropy.

    Args:
        reduction: over views.
        loss_weight: factor on the result.
        eps: a silhouette is never surer than this.
    """

    def __init__(self, reduction: str = 'mean', loss_weight: float = 1.0, eps: float = 1e-4) -> None:
        super().__init__(reduction, loss_weight)
        self.eps = eps

    def views(self, alpha: Float[Tensor, 'B C H W'], mask: Float[Tensor, 'B C H W']) -> Float[Tensor, 'B C']:
        """Mean over pixels."""
        sure = self.eps + (1 - 2 * self.eps) * alpha
        return -(mask * sure.log() + (1 - mask) * torch.log1p(-sure)).mean((2, 3))


@LOSSES.register_module()
class SilhouetteIoULoss(SilhouetteLoss):
    """One less the intersection over the union, of soft areas."""

    def views(self, alpha: Float[Tensor, 'B C H W'], mask: Float[Tensor, 'B C H W']) -> Float[Tensor, 'B C']:
        """One number a view; two empty silhouettes are equal."""
        common = (alpha * mask).sum((2, 3))
        union = (alpha + mask - alpha * mask).sum((2, 3))
        empty = union == 0
        return torch.where(empty, torch.zeros_like(union), 1 - common / torch.where(empty, 1.0, union))


@LOSSES.register_module()
class SilhouetteDistanceTransformLoss(SilhouetteLoss):
    """Difference weighted by the distance to the mask's outline: `|phi| |alpha - mask|`.

    `phi` is the distance of a pixel's centre to the nearest of the mask if it is outside, and to the nearest of what
    is not mask if it is inside, less the half pixel to the outline between; in units of half the image's shorter
    side. So what sticks out pays by how far it sticks out, what is missing by how deep inside it is missed; at the
    true place the gradient is zero, and it grows linearly with the outline's error (the boundary loss of Kervadec et
    al. 2019, with its constant). A mask that is empty, or that fills the image, has the image's diagonal for `phi`.

    Args:
        reduction: over views.
        loss_weight: factor on the result.
        outside_weight: factor where there is no mask.
        inside_weight: factor inside the mask; less where masks cover too much, 0 where they may.
    """

    def __init__(
        self,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        outside_weight: float = 1.0,
        inside_weight: float = 1.0,
    ) -> None:
        super().__init__(reduction, loss_weight)
        if min(outside_weight, inside_weight) < 0:
            raise ValueError(
                'SilhouetteDistanceTransformLoss: outside_weight and inside_weight must not be negative; '
                f'got {outside_weight} and {inside_weight}.'
            )
        self.outside_weight, self.inside_weight = outside_weight, inside_weight
        # The masks seen last: a fit looks at the same ones over and over.
        self._known: tuple[Tensor, Tensor] | None = None

    def views(self, alpha: Float[Tensor, 'B C H W'], mask: Float[Tensor, 'B C H W']) -> Float[Tensor, 'B C']:
        """Mean over pixels."""
        factor = torch.where(mask > 0.5, self.inside_weight, self.outside_weight)
        return (factor * self._distance(mask) * (alpha - mask).abs()).mean((2, 3))

    def _distance(self, mask: Tensor) -> Tensor:
        known = self._known
        if known is None or known[0].shape != mask.shape or not torch.equal(known[0], mask):
            known = self._known = (mask.detach().clone(), outline_distance(mask))
        return known[1].to(mask)


def outline_distance(mask: Float[Tensor, 'B C H W']) -> Float[Tensor, 'B C H W']:
    """Return every pixel's distance to the mask's outline, in units of half the image's shorter side."""
    # Imported late: scipy takes a third of a second, and few ask for this.
    from scipy.ndimage import distance_transform_edt

    height, width = mask.shape[2:]
    inside = (mask > 0.5).cpu().numpy()
    result = np.full(inside.shape, np.hypot(height, width))
    for at in np.ndindex(inside.shape[:2]):
        if inside[at].any() and not inside[at].all():
            result[at] = distance_transform_edt(inside[at]) + distance_transform_edt(~inside[at]) - 0.5
    return torch.as_tensor(result * (2 / min(height, width))).to(mask)
