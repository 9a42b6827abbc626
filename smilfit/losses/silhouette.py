"""How different two silhouettes are; one class a measure."""

from abc import abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.losses.base import BaseLoss
from smilfit.registry import LOSSES


class SilhouetteLoss(BaseLoss):
    """Compares soft silhouettes with masks, view by view.

    The terms are one number a view: a mean over its pixels (for IoU: over its union), so the picture's size does
    not matter. `'mean'` divides by the sum of the views' weights.
    """

    def forward(
        self,
        alpha: Float[Tensor, 'B C H W'],
        mask: Float[Tensor, 'B C H W'],
        view_weight: Float[Tensor, 'B C'] | None = None,
        loss_weight_override: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Score silhouettes; a view of weight 0 takes no part."""
        return self.reduce(self.views(alpha, mask), view_weight, loss_weight_override, reduction_override)

    @abstractmethod
    def views(self, alpha: Float[Tensor, 'B C H W'], mask: Float[Tensor, 'B C H W']) -> Float[Tensor, 'B C']:
        """Give every view's term."""


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
