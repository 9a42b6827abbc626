"""Difference of limb lengths: shape and scale without pose."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from smilfit.losses.base import BaseLoss
from smilfit.losses.residuals import Residuals
from smilfit.registry import LOSSES


@LOSSES.register_module()
class LimbLengthLoss(BaseLoss):
    """Squared difference of the lengths of rigid limbs.

    Which limbs are rigid follows from the kinematic tree; the handler hands them in.

    Args:
        convention: the keypoint set to compare in; None for the input's own.
        reduction: `'mean'` divides by the sum of the limbs' confidences.
        loss_weight: factor on the result.
        eps: keeps the gradient of a length finite at length 0, in the world's unit.
    """

    def __init__(
        self,
        convention: str | None = None,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        eps: float = 1e-4,
    ) -> None:
        super().__init__(reduction, loss_weight)
        self.convention = convention
        self.eps = eps

    def residual(
        self,
        pred: Float[Tensor, 'B K 3'],
        target: Float[Tensor, 'B K 3'],
        limbs: Int[Tensor, 'L 2'],
        pred_conf: Float[Tensor, 'B K'] | None = None,
        target_conf: Float[Tensor, 'B K'] | None = None,
    ) -> Residuals:
        """Compare the lengths of `limbs` (pairs of keypoint indices); a limb is as sure as its worse end."""
        weight = torch.ones_like(pred[:, limbs[:, 0], 0]).detach()
        for confidence in (pred_conf, target_conf):
            if confidence is not None:
                weight = weight * confidence[:, limbs].amin(-1)
        seen = (weight != 0).unsqueeze(-1).unsqueeze(-1)
        return Residuals(self._lengths(pred, limbs, seen) - self._lengths(target, limbs, seen), weight)

    def _lengths(self, points: Tensor, limbs: Tensor, seen: Tensor) -> Tensor:
        # What takes no part may be no number, and has no gradient.
        ends = torch.where(seen, points[:, limbs], 0.0)
        return ((ends[:, :, 0] - ends[:, :, 1]).square().sum(-1) + self.eps**2).sqrt()
