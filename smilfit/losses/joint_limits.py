"""Joints beyond the limits that the model file states."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.body_models.data import BodyModelData
from smilfit.body_models.default_limits import LIMB_RAD, MIDLINE_RAD, default_joint_limits
from smilfit.losses.base import BaseLoss
from smilfit.losses.residuals import Residuals
from smilfit.registry import LOSSES, UnknownNameError, did_you_mean


class _LimitLoss(BaseLoss):
    """Holds the limits of the joints below the root, rad."""

    def __init__(self, reduction: str = 'mean', loss_weight: float = 1.0) -> None:
        super().__init__(reduction, loss_weight)
        self.register_buffer('limits', None, persistent=False)

    def bind_body(self, data: BodyModelData) -> None:
        """Take the joint limits of a model.

        Raises:
            ValueError: the model file states none.
        """
        if data.joint_limits is None:
            raise ValueError(
                f'{type(self).__name__}: the model file must state joint limits (limits_rad); {data.name} has none. '
                'Add them to its smil.json, or use PoseRegLoss.'
            )
        self.limits = torch.as_tensor(data.joint_limits[1:], dtype=torch.float32)

    def violation(self, body_pose: Tensor) -> Tensor:
        """Measure how far each axis-angle component is outside its limits, rad (B, J-1, 3)."""
        if self.limits is None:
            raise ValueError(f'{type(self).__name__}: call bind_body(data) with the model first.')
        limits = self.limits.to(body_pose)
        return (limits[..., 0] - body_pose).relu() + (body_pose - limits[..., 1]).relu()


@LOSSES.register_module()
class JointLimitLoss(_LimitLoss):
    """Squared violation of the joint limits, rad^2; 0 inside them.

    Args:
        reduction: over joints and frames.
        loss_weight: factor on the result.
        required: whether a model without limits is an error; where not, it gets `default_joint_limits`, told.
    """

    def __init__(self, reduction: str = 'mean', loss_weight: float = 1.0, required: bool = True) -> None:
        super().__init__(reduction, loss_weight)
        self.required = required

    def bind_body(self, data: BodyModelData) -> None:
        """Take the joint limits of a model.

        Raises:
            ValueError: the model file states none, and they are required.
        """
        if data.joint_limits is not None or self.required:
            super().bind_body(data)
            return
        limits = default_joint_limits(data)
        limb, midline = math.degrees(LIMB_RAD), math.degrees(MIDLINE_RAD)
        self.note = (
            f'{data.name} states no joint limits; joints turn up to {limb:.0f} degrees from rest, on the midline '
            f'{midline:.0f}.'
        )
        self.limits = torch.as_tensor(limits[1:], dtype=torch.float32)

    def residual(self, body_pose: Float[Tensor, 'B j 3']) -> Residuals:
        """Give the violations; their derivative is 1 outside the limits and 0 inside."""
        violation = self.violation(body_pose)
        side = torch.where(body_pose < self.limits[..., 0].to(body_pose), -1.0, 1.0) * (violation > 0)
        slope = torch.diag_embed(side.to(body_pose))
        return Residuals(violation, pointwise=True, slope=slope, interval=self.limits.to(body_pose))


@LOSSES.register_module()
class JointPriorLoss(_LimitLoss):
    """Exponential penalty beyond the joint limits, as in XRMoCap, with limits and groups of the model file.

    A violation v (rad) costs `(exp(v) - 1)^2`, continued as a straight line beyond pi. The optional terms work on
    joint groups that the model file names.

    Args:
        use_full_body: penalise every joint; else only those of the group `hinge`.
        smooth_spine: penalise neighbours in the group `spine` that bend against each other.
        smooth_spine_loss_weight: factor on that term.
        lock_foot: penalise any rotation of the group `foot`.
        lock_foot_loss_weight: factor on that term.
        reduction: of each term.
        loss_weight: factor on the whole.
    """

    def __init__(
        self,
        use_full_body: bool = False,
        smooth_spine: bool = False,
        smooth_spine_loss_weight: float = 1.0,
        lock_foot: bool = False,
        lock_foot_loss_weight: float = 1.0,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(reduction, loss_weight)
        self.use_full_body = use_full_body
        self.smooth_spine_loss_weight = smooth_spine_loss_weight if smooth_spine else 0.0
        self.lock_foot_loss_weight = lock_foot_loss_weight if lock_foot else 0.0
        self._members: dict[str, list[int]] = {}

    def bind_body(self, data: BodyModelData) -> None:
        """Take the limits and the joint groups of a model.

        Raises:
            ValueError: no limits.
            KeyError: a group that is needed is not named in the file.
        """
        super().bind_body(data)
        needed = {
            'hinge': not self.use_full_body,
            'spine': self.smooth_spine_loss_weight > 0,
            'foot': self.lock_foot_loss_weight > 0,
        }
        for group in (g for g, used in needed.items() if used):
            if group not in data.joint_groups:
                raise UnknownNameError(
                    f'JointPriorLoss: {data.name} must name the joint group {group!r}. '
                    f'{did_you_mean(group, data.joint_groups)}'
                )
            self._members[group] = [data.joint_names.index(n) - 1 for n in data.joint_groups[group]]

    def residual(self, body_pose: Float[Tensor, 'B j 3']) -> Float[Tensor, 'B R']:
        """Give the roots of the terms, every frame's in one row."""
        violation = self.violation(body_pose)
        if not self.use_full_body:
            violation = violation[:, self._members['hinge']]
        parts = [_exponential(violation).flatten(1)]
        if self.smooth_spine_loss_weight:
            spine = body_pose[:, self._members['spine']]
            against = (-(spine[:, 1:] * spine[:, :-1])).relu()
            parts.append(math.sqrt(self.smooth_spine_loss_weight) * _exponential(against).flatten(1))
        if self.lock_foot_loss_weight:
            foot = body_pose[:, self._members['foot']]
            parts.append(math.sqrt(self.lock_foot_loss_weight) * foot.flatten(1))
        return torch.cat(parts, 1)


def _exponential(violation: Tensor) -> Tensor:
    """`exp(v) - 1` up to pi, then the root of its square's tangent: steep, and never infinite."""
    top = math.expm1(math.pi)
    slope = 2 * top * math.exp(math.pi)
    beyond = (violation - math.pi).relu()
    return torch.where(
        beyond > 0, (top**2 + slope * beyond).sqrt(), torch.expm1(violation.clamp_max(math.pi))
    )
