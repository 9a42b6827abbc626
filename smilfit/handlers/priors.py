"""Priors: terms of the body alone. Any loss of the right arguments plugs in."""

import logging
from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from smilfit.handlers.base import BaseHandler, BaseInput, BodyState
from smilfit.losses import (
    FocalPriorLoss,
    JointLimitLoss,
    JointOffsetPriorLoss,
    JointScalePriorLoss,
    LandmarkOffsetPriorLoss,
    ParameterSource,
    PartSizePriorLoss,
    PointSource,
    PoseRegLoss,
    SelfPenetrationLoss,
    ShapePriorLoss,
    SmoothJointLoss,
    SmoothPointsLoss,
    SplayPriorLoss,
    Stated,
)
from smilfit.losses.base import from_source
from smilfit.registry import HANDLERS
from smilfit.structures import PARAMETERS


@HANDLERS.register_module()
class PriorHandler(BaseHandler):
    """Scores quantities of the body by a loss, without an observation.

    Args:
        prior_loss: takes the quantities, in their order; `default_loss()` of a subclass if None.
        of: names of quantities (see `quantity`): parameters such as `'body_pose'`, `'joints'`, `'body_size'`, …;
            those of the subclass if None.
        handler_key: names it in stages; `default_key` of the subclass if None.
        device: where its constants live.
        logger: a logger or its name.
    """

    of: tuple[str, ...] = ()
    default_key: ClassVar[str] = 'prior'
    default_loss: ClassVar[type[nn.Module] | None] = None

    def __init__(
        self,
        prior_loss: nn.Module | None = None,
        handler_key: str | None = None,
        device: torch.device | str | None = None,
        logger: logging.Logger | str | None = None,
        of: str | Sequence[str] | None = None,
    ) -> None:
        if prior_loss is None:
            if self.default_loss is None:
                raise ValueError(f'{type(self).__name__}: prior_loss must be given; got None.')
            prior_loss = self.default_loss()
        super().__init__(handler_key or self.default_key, prior_loss, device, logger)
        if of is not None:
            self.of = (of,) if isinstance(of, str) else tuple(of)
        if not self.of:
            raise ValueError(
                f'{type(self).__name__}: of must name what the loss is on; got none. '
                "Give of='body_pose', or a parameter."
            )

    def need(self, related_input: BaseInput | None) -> tuple[str, ...]:
        """Ask for the points that the loss is on."""
        return tuple(name for name in ('joints', 'vertices') if name in self.of)

    def stated(self, state: BodyState, related_input: BaseInput | None = None) -> Stated:
        """Score the body."""
        values = [quantity(state, name) for name in self.of]
        stated, first = self.loss.stated(*values), self.of[0]
        if first in ('joints', 'vertices'):
            names = tuple(state.output.joint_names) if first == 'joints' else None
            return from_source(stated, PointSource(values[0], names))
        name, factor = _PARAMETERS.get(first, (first, None))
        per_unit = 1.0 if factor is None else factor(state)
        return from_source(stated, ParameterSource(values[0], name, per_unit))


def quantity(state: BodyState, name: str) -> Tensor:
    """Return a quantity of the body by name.

    They are the parameters (rotations as axis-angle, rad; what a body does not have is zeros), `'log_scale'`,
    `'log_focal'` (B, 1), `'joint_offset_shares'` (joint offsets in body lengths), `'joints'` and `'vertices'` (world
    unit), `'fixed_scale'` and `'body_size'` (B,), which have no gradient: a body must not shrink to please a prior.
    """
    params = state.params
    if name in ('joints', 'vertices'):
        return state.joints if name == 'joints' else state.vertices
    if name == 'body_size':
        return state.body_size()
    if name == 'fixed_scale':
        return params.scale.detach()
    if name == 'log_scale':
        return params.scale.log()
    if name == 'log_focal':
        zero = torch.zeros_like(params.transl[:, :1])
        return zero if state.log_focal is None else state.log_focal.unsqueeze(1).expand_as(zero)
    if name == 'joint_offset_shares':
        return quantity(state, 'joint_offsets') / state.body.rest_size
    value = getattr(params.as_axis_angle(), name)
    if value is None:
        row = PARAMETERS[name].row(state.body.sizes)
        value = PARAMETERS[name].rest(row, params.batch_size, params.transl)
    return value


# Quantities that are a parameter but for a factor.
_PARAMETERS: dict[str, tuple[str, Callable[[BodyState], float]]] = {
    'joint_offset_shares': ('joint_offsets', lambda state: 1 / state.body.rest_size)
}


@HANDLERS.register_module()
class BetasPriorHandler(PriorHandler):
    """Scores the shape coefficients, by `ShapePriorLoss` unless another is given."""

    of, holds = ('betas',), ('betas',)
    default_key, default_loss = 'betas_prior', ShapePriorLoss


@HANDLERS.register_module()
class BodyPosePriorHandler(PriorHandler):
    """Scores the joints' rotations (axis-angle, without the root), by `PoseRegLoss` unless another is given."""

    of, holds = ('body_pose',), ('body_pose',)
    default_key, default_loss = 'body_pose_prior', PoseRegLoss


@HANDLERS.register_module()
class JointLimitHandler(PriorHandler):
    """Keeps joints inside the limits of the model file, by `JointLimitLoss` unless another is given."""

    of, holds = ('body_pose',), ()
    default_key, default_loss = 'joint_limits', JointLimitLoss


@HANDLERS.register_module()
class SplayPriorHandler(PriorHandler):
    """Keeps joints from turning about axes they hardly turn about, by `SplayPriorLoss` unless another is given."""

    of, holds = ('body_pose',), ()
    default_key, default_loss = 'splay_prior', SplayPriorLoss


@HANDLERS.register_module()
class FocalPriorHandler(PriorHandler):
    """Keeps focal lengths near what was guessed, by `FocalPriorLoss` unless another is given."""

    of, holds = ('log_focal',), ('focal',)
    default_key, default_loss = 'focal_prior', FocalPriorLoss


@HANDLERS.register_module()
class JointScalePriorHandler(PriorHandler):
    """Keeps the joints' scales near 1, by `JointScalePriorLoss` unless another is given."""

    of, holds = ('log_joint_scales',), ('log_joint_scales',)
    default_key, default_loss = 'joint_scale_prior', JointScalePriorLoss


@HANDLERS.register_module()
class JointOffsetPriorHandler(PriorHandler):
    """Keeps joints near where the model has them, by `JointOffsetPriorLoss` unless another is given."""

    of, holds = ('joint_offset_shares',), ('joint_offsets',)
    default_key, default_loss = 'joint_offset_prior', JointOffsetPriorLoss


@HANDLERS.register_module()
class LandmarkOffsetPriorHandler(PriorHandler):
    """Keeps landmarks near where the model expects them, by `LandmarkOffsetPriorLoss` unless another is given."""

    of, holds = ('landmark_offsets',), ('landmark_offsets',)
    default_key, default_loss = 'landmark_offset_prior', LandmarkOffsetPriorLoss


@HANDLERS.register_module()
class PartSizePriorHandler(PriorHandler):
    """Keeps parts of the body near the model's sizes, by `PartSizePriorLoss` unless another is given."""

    of, holds = ('part_sizes',), ('part_sizes',)
    default_key, default_loss = 'part_size_prior', PartSizePriorLoss


@HANDLERS.register_module()
class SelfPenetrationHandler(PriorHandler):
    """Keeps parts of the body out of each other, by `SelfPenetrationLoss` unless another is given."""

    of, holds = ('joints', 'fixed_scale', 'body_size'), ()
    default_key, default_loss = 'self_penetration', SelfPenetrationLoss


@HANDLERS.register_module()
class SmoothPoseHandler(PriorHandler):
    """Keeps the joints' rotations steady over time, by `SmoothJointLoss` unless another is given.

    Only frames that follow one another are compared.
    """

    of, holds = ('body_pose',), ('body_pose',)
    default_key, default_loss = 'smooth_pose', SmoothJointLoss


@HANDLERS.register_module()
class SmoothMotionHandler(PriorHandler):
    """Keeps the joints' paths through the world smooth, by `SmoothPointsLoss` unless another is given.

    Frames of a batch follow one another.
    """

    of, holds = ('joints', 'body_size'), ('global_orient', 'transl', 'body_pose', 'scale')
    default_key, default_loss = 'smooth_motion', SmoothPointsLoss
