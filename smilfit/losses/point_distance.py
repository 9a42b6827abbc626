"""Squared distances of points that were matched: robust, trimmed, truncated."""

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.geometry.robust import GemanMcClure
from smilfit.losses.base import BaseLoss
from smilfit.losses.residuals import Residuals
from smilfit.registry import LOSSES


@LOSSES.register_module()
class PointDistanceLoss(BaseLoss):
    """Squared distance of each point to its match, which a handler finds.

    A mean divides by the weight of all points, trimmed and far ones too: otherwise a body could lower
    its loss by moving away.

    Args:
        sigma: distance in the points' unit beyond which a point counts less and less (Geman-McClure); None never.
        trim: share of each frame's points, the farthest, that do not count.
        max_distance: farther points pay for this distance and have no gradient; None for no limit.
        reduction: `'mean'` divides by the sum of weights.
        loss_weight: factor on the result.
        frame_means: divide the weights of a frame's points by their sum: with reduction `'sum'` each frame counts
            alike, however many points it has and however many frames there are.
    """

    def __init__(
        self,
        sigma: float | None = None,
        trim: float = 0.0,
        max_distance: float | None = None,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        frame_means: bool = False,
    ) -> None:
        super().__init__(reduction, loss_weight)
        for name, value in (('sigma', sigma), ('max_distance', max_distance)):
            if value is not None and value <= 0:
                raise ValueError(f'PointDistanceLoss: {name} must be positive or None; got {value}.')
        if not 0 <= trim < 1:
            raise ValueError(f'PointDistanceLoss: trim must be in [0, 1); got {trim}.')
        self.sigma = sigma
        self.trim = trim
        self.limit = max_distance
        self.frame_means = frame_means

    def residual(
        self, difference: Float[Tensor, 'B *n D'], weight: Float[Tensor, 'B *n'], slope: Tensor | None = None
    ) -> Residuals:
        """Score the differences of points and their matches.

        Args:
            difference: from the match.
            weight: 0 is no point.
            slope: of the difference by the points, where it is not their own.
        """
        if self.frame_means:
            weight = weight.expand(difference.shape[:-1])
            total = weight.sum(tuple(range(1, weight.ndim)), keepdim=True)
            weight = weight / total.clamp_min(torch.finfo(weight.dtype).tiny)
        kept = weight * self._kept(difference.square().sum(-1), weight)
        if slope is None:
            slope = torch.eye(difference.shape[-1], dtype=difference.dtype, device=difference.device)
        robust = GemanMcClure(self.sigma, self.limit)
        count = weight.expand(difference.shape[:-1]).sum(dtype=torch.float64)
        return Residuals(difference, kept, robust, float(count), pointwise=True, slope=slope)

    @torch.no_grad()
    def _kept(self, squared: Tensor, weight: Tensor) -> Tensor:
        """Mark the nearest `1 - trim` of each frame's points."""
        if self.trim == 0:
            return torch.ones_like(squared)
        present = weight.flatten(1) > 0
        sortable = squared.flatten(1).masked_fill(~present, torch.inf)
        rank = sortable.argsort(1).argsort(1)
        keep = ((1 - self.trim) * present.sum(1, keepdim=True)).ceil()
        return (rank < keep).to(squared).reshape(squared.shape)
