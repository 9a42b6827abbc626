"""Squared distances of points that were matched: robust, trimmed, truncated."""

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.losses.base import BaseLoss, geman_mcclure
from smilfit.registry import LOSSES


@LOSSES.register_module()
class PointDistanceLoss(BaseLoss):
    """Squared distance of each point to its match, which a handler finds.

    A mean divides by the weight of all points, trimmed and far ones too: otherwise a body could lower
    its loss by moving away.

    Args:
        sigma: distance in the points' unit beyond which a point counts less and less (Geman-McClure); None never.
        trim: share of each frame's points, the farthest, that do not count.
        max_distance: farther points pay for this distance and pull no more; None for no limit.
        reduction: `'mean'` divides by the sum of weights.
        loss_weight: factor on the result.
    """

    def __init__(
        self,
        sigma: float | None = None,
        trim: float = 0.0,
        max_distance: float | None = None,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(reduction, loss_weight)
        for name, value in (('sigma', sigma), ('max_distance', max_distance)):
            if value is not None and value <= 0:
                raise ValueError(f'PointDistanceLoss: {name} must be positive or None; got {value}.')
        if not 0 <= trim < 1:
            raise ValueError(f'PointDistanceLoss: trim must be in [0, 1); got {trim}.')
        self.sigma = sigma
        self.trim = trim
        self.max_distance = max_distance

    def forward(
        self,
        squared: Float[Tensor, 'B *n'],
        weight: Float[Tensor, 'B *n'],
        loss_weight_override: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Score squared distances; a weight of 0 is no point."""
        limited = squared if self.max_distance is None else squared.clamp_max(self.max_distance**2)
        terms = geman_mcclure(limited, self.sigma) * self._kept(squared, weight)
        return self.reduce(terms, weight, loss_weight_override, reduction_override)

    def reweight(
        self,
        squared: Float[Tensor, 'B *n'],
        weight: Float[Tensor, 'B *n'],
        loss_weight_override: float | None = None,
        reduction_override: str | None = None,
        robust_scale: float = 1.0,
    ) -> tuple[Float[Tensor, 'B *n'], Float[Tensor, 'B *n']]:
        """Turn squared distances into terms and the weights of an equivalent least-squares problem.

        The weight is the term's derivative with respect to the squared distance: 0 for what is trimmed or too far.
        `robust_scale` widens sigma.
        """
        share = self.share(squared, weight, loss_weight_override, reduction_override)
        factor = share * weight * self._kept(squared, weight)
        limited, near = squared, torch.ones_like(squared)
        if self.max_distance is not None:
            limited = squared.clamp_max(self.max_distance**2)
            near = (squared < self.max_distance**2).to(squared)
        if self.sigma is None:
            return factor * limited, factor * near
        damping = 1 + limited / (self.sigma * robust_scale) ** 2
        return factor * limited / damping, factor * near / damping.square()

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
