"""Priors: terms of the parameters alone. Any loss of the right argument plugs in."""

import logging
from typing import ClassVar

import torch
from torch import Tensor, nn

from smilfit.handlers.base import BaseHandler, BaseInput, BodyState
from smilfit.losses import (
    JointLimitLoss,
    JointOffsetPriorLoss,
    JointScalePriorLoss,
    PoseRegLoss,
    SelfPenetrationLoss,
    ShapePriorLoss,
    SmoothJointLoss,
    SmoothPointsLoss,
)
from smilfit.registry import HANDLERS
from smilfit.structures import MotionTerm, ParameterTerm, QuadraticTerm, ResidualTerm, RotationMotionTerm


class PriorHandler(BaseHandler):
    """Gives something of the body to a loss, without an observation.

    A subclass says what (`arguments`), its usual key and its usual loss.

    Args:
        prior_loss: `default_loss` if None.
        handler_key: names it in stages; `default_key` if None.
        device: where its constants live.
        logger: a logger or its name.
    """

    default_key: ClassVar[str]
    default_loss: ClassVar[type[nn.Module]]
    # The parameter that the loss's one argument is, but for a factor; None for anything else.
    parameter: ClassVar[str | None] = None
    second_order_by: ClassVar[str] = 'residual'

    def __init__(
        self,
        prior_loss: nn.Module | None = None,
        handler_key: str | None = None,
        device: torch.device | str | None = None,
        logger: logging.Logger | str | None = None,
    ) -> None:
        loss = self.default_loss() if prior_loss is None else prior_loss
        super().__init__(handler_key or self.default_key, loss, device, logger)

    def arguments(self, state: BodyState) -> tuple[Tensor, ...]:
        """Give what the loss is on."""
        raise TypeError(f'{type(self).__name__}: a prior must define arguments.')

    def forward(
        self,
        state: BodyState,
        related_input: BaseInput | None = None,
        loss_weight_override: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Score the body."""
        return self.loss(
            *self.arguments(state),
            loss_weight_override=loss_weight_override,
            reduction_override=reduction_override,
        )

    def _quadratic(
        self, state: BodyState, related_input: BaseInput | None, weight: float | None, reduction: str | None
    ) -> QuadraticTerm:
        """Give the loss's own curvature of the parameter where it says it, else its residuals."""
        overrides = {'loss_weight_override': weight, 'reduction_override': reduction}
        if self.parameter is None or not hasattr(self.loss, 'curvature'):
            return ResidualTerm(self.loss.residual(*self.arguments(state), **overrides))
        value = self.arguments(state)[0].detach()
        if hasattr(self.loss, 'gradient'):
            energy = self.loss.residual(value, **overrides).square().sum(1)
            gradient = self.loss.gradient(value, **overrides)
        else:
            with torch.enable_grad():
                value.requires_grad_()
                energy = self.loss.residual(value, **overrides).square().sum(1)
                gradient = torch.autograd.grad(energy.sum(), value)[0].flatten(1)
            energy, value = energy.detach(), value.detach()
        curvature = self.loss.curvature(value, **overrides)
        per_argument = self.argument_per_parameter(state)
        if per_argument != 1:
            gradient, curvature = gradient * per_argument, curvature * per_argument**2
        return ParameterTerm(energy, {self.parameter: gradient}, {self.parameter: curvature})

    def argument_per_parameter(self, state: BodyState) -> float:
        """Give the factor from the parameter to the loss's argument."""
        return 1.0


@HANDLERS.register_module()
class BetasPriorHandler(PriorHandler):
    """Gives the shape coefficients to a loss, `ShapePriorLoss` unless another is given."""

    holds = ('betas',)
    default_key = 'betas_prior'
    default_loss = ShapePriorLoss
    parameter = 'betas'

    def arguments(self, state: BodyState) -> tuple[Tensor, ...]:
        """Betas (B, S)."""
        return (state.params.betas,)


@HANDLERS.register_module()
class BodyPosePriorHandler(PriorHandler):
    """Gives the joints' rotations (axis-angle, without the root) to a loss, `PoseRegLoss` unless another is given."""

    holds = ('body_pose',)
    default_key = 'body_pose_prior'
    default_loss = PoseRegLoss
    parameter = 'body_pose'

    def arguments(self, state: BodyState) -> tuple[Tensor, ...]:
        """Body pose (B, J-1, 3), rad; for a loss that couples frames also which continue the one before."""
        pose = state.params.as_axis_angle().body_pose
        return (pose, state.continuous(1)) if self.couples_frames else (pose,)

    @property
    def second_order_by(self) -> str:
        """The loss's method that makes the term quadratic: its weights where it couples neighbouring frames."""
        return 'weights' if self.couples_frames and hasattr(self.loss, 'weights') else 'residual'

    def _quadratic(
        self, state: BodyState, related_input: BaseInput | None, weight: float | None, reduction: str | None
    ) -> QuadraticTerm:
        """Couple neighbouring frames where the loss does.

        Raises:
            TypeError: the loss is not a sum of squares.
        """
        if self.second_order_by == 'residual':
            return super()._quadratic(state, related_input, weight, reduction)
        if not getattr(self.loss, 'squared', True):
            raise TypeError(
                f'{type(self).__name__} {self.handler_key!r}: Levenberg-Marquardt needs a sum of squares; '
                f'{type(self.loss).__name__} sums absolute values. Give it loss_func="L2", or this stage '
                'optimizer=dict(type="LBFGS").'
            )
        energy, pull = self.loss.weights(*self.arguments(state), weight, reduction)
        return RotationMotionTerm(pull, energy)


@HANDLERS.register_module()
class JointLimitHandler(BodyPosePriorHandler):
    """Keeps joints inside the limits of the model file, by `JointLimitLoss` unless another is given."""

    holds = ()
    default_key = 'joint_limits'
    default_loss = JointLimitLoss


@HANDLERS.register_module()
class JointScalePriorHandler(PriorHandler):
    """Keeps the joints' scales near 1, by `JointScalePriorLoss` unless another is given."""

    holds = ('log_joint_scales',)
    default_key = 'joint_scale_prior'
    default_loss = JointScalePriorLoss
    parameter = 'log_joint_scales'

    def arguments(self, state: BodyState) -> tuple[Tensor, ...]:
        """Logarithms of the joints' scales (B, J, 3)."""
        return (_or_zeros(state, state.params.log_joint_scales),)


@HANDLERS.register_module()
class JointOffsetPriorHandler(PriorHandler):
    """Keeps joints near where the model has them, by `JointOffsetPriorLoss` unless another is given."""

    holds = ('joint_offsets',)
    default_key = 'joint_offset_prior'
    default_loss = JointOffsetPriorLoss
    parameter = 'joint_offsets'

    def arguments(self, state: BodyState) -> tuple[Tensor, ...]:
        """Joint offsets (B, J, 3) in body lengths."""
        return (_or_zeros(state, state.params.joint_offsets) / state.body.rest_size,)

    def argument_per_parameter(self, state: BodyState) -> float:
        """Body lengths per model unit."""
        return 1 / state.body.rest_size


@HANDLERS.register_module()
class SelfPenetrationHandler(PriorHandler):
    """Keeps parts of the body out of each other, by `SelfPenetrationLoss` unless another is given."""

    holds = ()
    default_key = 'self_penetration'
    default_loss = SelfPenetrationLoss

    def need(self, related_input: BaseInput | None) -> tuple[str, ...]:
        """Ask for the joints."""
        return ('joints',)

    def arguments(self, state: BodyState) -> tuple[Tensor, ...]:
        """Joints (B, J, 3), world unit, the bodies' scales and their lengths (B,), world unit.

        Lengths and scales are held: a body must not shrink to make room for itself.
        """
        return state.output.joints, state.params.scale.detach(), state.body_size()


@HANDLERS.register_module()
class SmoothPoseHandler(BodyPosePriorHandler):
    """Keeps the joints' rotations steady over time, by `SmoothJointLoss` unless another is given.

    Only frames that follow one another are compared.
    """

    holds = ('body_pose',)
    couples_frames = True
    default_key = 'smooth_pose'
    default_loss = SmoothJointLoss


@HANDLERS.register_module()
class SmoothMotionHandler(PriorHandler):
    """Keeps the joints' paths through the world smooth, by `SmoothPointsLoss` unless another is given.

    Frames of a batch follow one another.
    """

    holds = ('global_orient', 'transl', 'body_pose', 'scale')
    couples_frames = True
    default_key = 'smooth_motion'
    default_loss = SmoothPointsLoss
    second_order_by = 'weights'

    def need(self, related_input: BaseInput | None) -> tuple[str, ...]:
        """Ask for the joints."""
        return ('joints',)

    def arguments(self, state: BodyState) -> tuple[Tensor, ...]:
        """Joints (B, J, 3), the bodies' sizes (B,), world unit, and which frames continue those before."""
        return state.output.joints, state.body_size(), state.continuous(getattr(self.loss, 'order', 1))

    def _quadratic(
        self, state: BodyState, related_input: BaseInput | None, weight: float | None, reduction: str | None
    ) -> MotionTerm:
        """Couple neighbouring frames."""
        energy, pull = self.loss.weights(*self.arguments(state), weight, reduction)
        return MotionTerm(state.output.joint_names, self.loss.order, pull, energy)


def _or_zeros(state: BodyState, value: Tensor | None) -> Tensor:
    """Give a per-joint extra, zeros where the body has none."""
    if value is not None:
        return value
    return state.params.transl.new_zeros(state.params.batch_size, state.params.n_joints, 3)
