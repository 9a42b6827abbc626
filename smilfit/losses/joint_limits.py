"""Joints beyond the limits that the model file states, or turned about axes that they hardly turn about."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.body_models.data import BodyModelData
from smilfit.body_models.joint_limits import (
    LIMB_RAD,
    MIDLINE_RAD,
    default_joint_limits,
    default_joints,
    own_components,
)
from smilfit.losses.base import BaseLoss, Residuals
from smilfit.registry import LOSSES, UnknownNameError, did_you_mean

# A locked axis is to give way by less than a tenth of what a limit does.
LOCKED_FACTOR = 100.0


class _LimitLoss(BaseLoss):
    """Holds the limits of the joints below the root, rad, and the axes along which they are stated."""

    limits: Tensor | None
    axes: Tensor | None

    def __init__(self, reduction: str = 'mean', loss_weight: float = 1.0) -> None:
        super().__init__(reduction, loss_weight)
        self.register_buffer('limits', None, persistent=False)
        self.register_buffer('axes', None, persistent=False)

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
        if data.joint_axes is not None:
            self.axes = torch.as_tensor(data.joint_axes[1:], dtype=torch.float32)

    def _limits(self, like: Tensor) -> Tensor:
        if self.limits is None:
            raise ValueError(f'{type(self).__name__}: call bind_body(data) with the model first.')
        return self.limits.to(like)

    def violation(self, body_pose: Tensor) -> Tensor:
        """Measure how far each axis-angle component is outside its limits, rad (B, J-1, 3)."""
        own, limits = own_components(body_pose, self.axes), self._limits(body_pose)
        return (limits[..., 0] - own).relu() + (own - limits[..., 1]).relu()


@LOSSES.register_module()
class JointLimitLoss(_LimitLoss):
    """Squared violation of the joint limits, rad^2; 0 inside them.

    An axis whose limits are one angle is locked: what has no hinge there is not to give way.

    Args:
        reduction: over joints and frames.
        loss_weight: factor on the result.
        required: whether a model without limits is an error; where not, it gets `default_joint_limits`, told.
        locked_factor: on the squared violations of locked axes.
        default_factor: on the squared violations of joints whose limits are default ones, which know nothing of the
            animal: those of a model without limits, and those that it marks (`joint_limits_from`). So limits that
            somebody stated may hold firmly and these softly.
    """

    default: Tensor | None

    def __init__(
        self,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        required: bool = True,
        locked_factor: float = LOCKED_FACTOR,
        default_factor: float = 1.0,
    ) -> None:
        super().__init__(reduction, loss_weight)
        for name, factor in (('locked_factor', locked_factor), ('default_factor', default_factor)):
            if not 0 < factor < math.inf:
                raise ValueError(
                    f'JointLimitLoss: {name} must be positive and finite; got {factor}. Give 1 to hold all limits '
                    'alike.'
                )
        self.required, self.locked_factor = required, locked_factor
        self.default_factor, self._factor = default_factor, 1.0
        self.register_buffer('default', None, persistent=False)

    def bind_body(self, data: BodyModelData) -> None:
        """Take the joint limits of a model.

        Raises:
            ValueError: the model file states none, and they are required.
        """
        if data.joint_limits is not None or self.required:
            super().bind_body(data)
            self._factor, self.default = 1.0, None
            if any(default_joints(data)) and self.default_factor != 1:
                self.default = torch.tensor(default_joints(data))[1:]
            return
        limits = default_joint_limits(data)
        limb, midline = math.degrees(LIMB_RAD), math.degrees(MIDLINE_RAD)
        self.note = (
            f'{data.name} states no joint limits; joints turn up to {limb:.0f} degrees from rest, on the midline '
            f'{midline:.0f}.'
        )
        self.limits, self._factor = torch.as_tensor(limits[1:], dtype=torch.float32), self.default_factor
        self.default = None

    def residual(self, body_pose: Float[Tensor, 'B j 3']) -> Residuals:
        """Return the violations, larger of locked axes, smaller of default limits; inside them the derivative
        is 0."""
        violation = self.violation(body_pose)
        limits = self._limits(body_pose)
        own = own_components(body_pose, self.axes)
        side = torch.where(own < limits[..., 0], -1.0, 1.0) * (violation > 0)
        locked = limits[..., 0] == limits[..., 1]
        if self.axes is None and self.default is None and not bool(locked.any()):
            slope = torch.diag_embed(side.to(body_pose))
            return Residuals(violation, factor=self._factor, pointwise=True, slope=slope, interval=limits)
        firm = torch.where(locked, math.sqrt(self.locked_factor), 1.0).to(body_pose)
        if self.default is not None:
            soft = self.default.to(body_pose.device).unsqueeze(-1) & ~locked
            firm = torch.where(soft, math.sqrt(self.default_factor), firm)
        axes = torch.eye(3).to(body_pose) if self.axes is None else self.axes.to(body_pose)
        maps = firm.unsqueeze(-1) * axes.mT
        return Residuals(
            firm * violation,
            factor=self._factor,
            pointwise=True,
            slope=side.to(body_pose).unsqueeze(-1) * maps,
            interval=firm.unsqueeze(-1) * limits,
            interval_map=maps,
        )


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
        """Return the roots of the terms, every frame's in one row."""
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


@LOSSES.register_module()
class SplayPriorLoss(BaseLoss):
    """Squared axis-angle components about some axes, rad^2: legs that spread, or twist, in a view that cannot tell.

    With the axes x and z it is SMALify's (Biggs et al. 2018): a quadruped's legs swing about y.

    Args:
        axes: of `'x'`, `'y'` and `'z'`, those of the model's rest frame.
        reduction: `'mean'` divides by the number of frames, joints and named axes.
        loss_weight: factor on the result.
    """

    def __init__(
        self, axes: tuple[str, ...] = ('x', 'z'), reduction: str = 'mean', loss_weight: float = 1.0
    ) -> None:
        super().__init__(reduction, loss_weight)
        if not axes or set(axes) - set('xyz'):
            raise ValueError(f"SplayPriorLoss: axes must be some of 'x', 'y' and 'z'; got {axes}.")
        self.axes = ['xyz'.index(axis) for axis in sorted(set(axes))]

    def residual(self, body_pose: Float[Tensor, 'B j 3']) -> Residuals:
        """Return the components about the named axes."""
        named = torch.eye(3, dtype=body_pose.dtype, device=body_pose.device)[self.axes]
        return Residuals(body_pose[..., self.axes], pointwise=True, slope=named)
