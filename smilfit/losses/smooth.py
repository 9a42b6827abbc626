"""Smoothness over time. Consecutive rows of a batch are consecutive frames of one clip."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.geometry.robust import Absolute, Cauchy
from smilfit.geometry.rotation import axis_angle_to_rotmat, rotmat_to_rot6d
from smilfit.losses.base import BaseLoss, Residuals
from smilfit.registry import LOSSES

LOSS_FUNCTIONS = ('L1', 'L2')


@LOSSES.register_module()
class SmoothJointLoss(BaseLoss):
    """Change of joint rotations from frame to frame, measured in the 6D representation, as XRMoCap's.

    Args:
        reduction: `'mean'` over frames of the sum over joints and the six numbers.
        loss_weight: factor on the result.
        degree: poses are in degrees instead of rad.
        loss_func: `'L1'` or `'L2'`.
    """

    frame_order = 1

    def __init__(
        self, reduction: str = 'mean', loss_weight: float = 1.0, degree: bool = False, loss_func: str = 'L1'
    ) -> None:
        super().__init__(reduction, loss_weight)
        if loss_func not in LOSS_FUNCTIONS:
            raise ValueError(
                f'SmoothJointLoss: loss_func must be one of {LOSS_FUNCTIONS}; got {loss_func!r}.'
            )
        self.unit = torch.pi / 180 if degree else 1.0
        self.robust = Absolute() if loss_func == 'L1' else None

    def residual(self, body_pose: Float[Tensor, 'B j 3']) -> Residuals:
        """Return the first two columns of every joint's rotation matrix, whose change from frame to frame counts."""
        rot6d = rotmat_to_rot6d(axis_angle_to_rotmat(self.unit * body_pose))
        count = float(len(body_pose))
        return Residuals(rot6d, None, self.robust, count, order=1, pointwise=True)


@LOSSES.register_module()
class SmoothPointsLoss(BaseLoss):
    """Velocity or acceleration of points over time, squared, in units of the body's size.

    Args:
        order: 1 for velocity, 2 for acceleration (which leaves steady motion alone).
        reduction: `'mean'` over frames and points.
        loss_weight: factor on the result.
        sigma: changes larger than this, in body sizes a frame (a frame squared, of order 2), count the less the
            larger they are (`Cauchy`): animals that jump, start and turn within a few frames are not held back,
            and steady motion stays smooth. None: all count squared.
    """

    def __init__(
        self, order: int = 2, reduction: str = 'mean', loss_weight: float = 1.0, sigma: float | None = None
    ) -> None:
        super().__init__(reduction, loss_weight)
        if order not in (1, 2):
            raise ValueError(
                f'SmoothPointsLoss: order must be 1 (velocity) or 2 (acceleration); got {order}.'
            )
        if sigma is not None and not 0 < sigma < math.inf:
            raise ValueError(f'SmoothPointsLoss: sigma must be finite and above 0, or None; got {sigma}.')
        self.frame_order, self.sigma = order, sigma

    def residual(self, points: Float[Tensor, 'B K 3'], body_size: Float[Tensor, ' B']) -> Residuals:
        """Return the points, whose differences over frames count in units of the size of the frame they end in."""
        weight = body_size.square().reciprocal()[:, None].expand(points.shape[:2])
        eye = torch.eye(3, dtype=points.dtype, device=points.device)
        count = float(weight.numel())
        robust = None if self.sigma is None else Cauchy(self.sigma * body_size.detach()[:, None])
        return Residuals(points, weight, robust, count, order=self.frame_order, pointwise=True, slope=eye)
