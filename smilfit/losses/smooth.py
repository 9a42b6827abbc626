"""Smoothness over time. Consecutive rows of a batch are consecutive frames of one clip."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from smilfit.geometry.rotation import axis_angle_to_rotmat, rotmat_to_rot6d
from smilfit.losses.base import BaseLoss
from smilfit.registry import LOSSES

LOSS_FUNCTIONS = {'L1': torch.abs, 'L2': torch.square}


@LOSSES.register_module()
class SmoothJointLoss(BaseLoss):
    """Change of joint rotations from frame to frame, measured in the 6D representation.

    Args:
        reduction: `'mean'` over frames, joints and the six numbers.
        loss_weight: factor on the result.
        degree: measure in degrees instead of rad (for small changes the 6D difference is an angle).
        loss_func: `'L1'` or `'L2'`.
    """

    # Consecutive rows are consecutive frames, and a handler says which are.
    couples_frames = True

    def __init__(
        self, reduction: str = 'mean', loss_weight: float = 1.0, degree: bool = False, loss_func: str = 'L1'
    ) -> None:
        super().__init__(reduction, loss_weight)
        if loss_func not in LOSS_FUNCTIONS:
            raise ValueError(
                f'SmoothJointLoss: loss_func must be one of {tuple(LOSS_FUNCTIONS)}; got {loss_func!r}.'
            )
        self.factor = 180 / torch.pi if degree else 1.0
        self.loss_func = LOSS_FUNCTIONS[loss_func]
        self.squared = loss_func == 'L2'

    def forward(
        self,
        body_pose: Float[Tensor, 'B j 3'],
        continuous: Bool[Tensor, ' B'] | None = None,
        loss_weight_override: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Score a clip of joint rotations; a frame that does not follow the one before it costs nothing."""
        terms = self.loss_func(self._change(body_pose, continuous))
        return self.reduce(terms, None, loss_weight_override, reduction_override)

    def weights(
        self,
        body_pose: Float[Tensor, 'B j 3'],
        continuous: Bool[Tensor, ' B'] | None = None,
        loss_weight_override: float | None = None,
        reduction_override: str | None = None,
    ) -> tuple[Float[Tensor, ' B'], Float[Tensor, ' B']]:
        """Give the squared loss by frame, and the weight of each frame's squared change of the 6D numbers in it."""
        squared = self._change(body_pose, continuous).square()
        share = self.share(squared, None, loss_weight_override, reduction_override)
        follows = torch.arange(len(squared), device=squared.device) > 0
        counts = (follows if continuous is None else continuous).to(squared)
        return share * squared.flatten(1).sum(1), share * self.factor**2 * counts

    def _change(self, body_pose: Tensor, continuous: Tensor | None) -> Tensor:
        rot6d = rotmat_to_rot6d(axis_angle_to_rotmat(body_pose))
        change = torch.zeros_like(rot6d)
        change[1:] = self.factor * rot6d.diff(dim=0)
        return change if continuous is None else change * continuous.to(change)[:, None, None]


@LOSSES.register_module()
class SmoothPointsLoss(BaseLoss):
    """Velocity or acceleration of points over time, squared, in units of the body's size.

    Args:
        order: 1 for velocity, 2 for acceleration (which leaves steady motion alone).
        reduction: `'mean'` over frames and points.
        loss_weight: factor on the result.
    """

    def __init__(self, order: int = 2, reduction: str = 'mean', loss_weight: float = 1.0) -> None:
        super().__init__(reduction, loss_weight)
        if order not in (1, 2):
            raise ValueError(
                f'SmoothPointsLoss: order must be 1 (velocity) or 2 (acceleration); got {order}.'
            )
        self.order = order

    def forward(
        self,
        points: Float[Tensor, 'B K 3'],
        body_size: Float[Tensor, ' B'],
        continuous: Bool[Tensor, ' B'] | None = None,
        loss_weight_override: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Score a clip of points; a frame without `order` frames right before it costs nothing."""
        squared = self._squared(points, body_size, continuous)
        return self.reduce(squared, None, loss_weight_override, reduction_override)

    def weights(
        self,
        points: Float[Tensor, 'B K 3'],
        body_size: Float[Tensor, ' B'],
        continuous: Bool[Tensor, ' B'] | None = None,
        loss_weight_override: float | None = None,
        reduction_override: str | None = None,
    ) -> tuple[Float[Tensor, ' B'], Float[Tensor, ' B']]:
        """Give the loss by frame, and the weight of each frame's squared differences in it."""
        squared = self._squared(points, body_size, continuous)
        share = self.share(squared, None, loss_weight_override, reduction_override)
        weight = share * self._counts(body_size, continuous) / body_size.square()
        return share * squared.sum(1), weight

    def _squared(self, points: Tensor, body_size: Tensor, continuous: Tensor | None) -> Tensor:
        change = torch.zeros_like(points)
        if len(points) > self.order:
            change[self.order :] = points.diff(n=self.order, dim=0)
        counts = self._counts(body_size, continuous) / body_size.square()
        return change.square().sum(-1) * counts.unsqueeze(-1)

    def _counts(self, body_size: Tensor, continuous: Tensor | None) -> Tensor:
        if continuous is not None:
            return continuous.to(body_size)
        return (torch.arange(len(body_size), device=body_size.device) >= self.order).to(body_size)
