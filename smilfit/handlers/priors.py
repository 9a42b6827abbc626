"""Priors: terms of the parameters alone. Any loss of the right argument plugs in."""

import logging

import torch
from torch import Tensor, nn

from smilfit.handlers.base import BaseHandler, BaseInput, BodyState
from smilfit.losses import (
    JointLimitLoss,
    JointOffsetPriorLoss,
    JointScalePriorLoss,
    PoseRegLoss,
    ShapePriorLoss,
    SmoothPointsLoss,
)
from smilfit.registry import HANDLERS


@HANDLERS.register_module()
class BetasPriorHandler(BaseHandler):
    """Gives the shape coefficients to a loss.

    Args:
        prior_loss: `ShapePriorLoss` if None.
        handler_key: names it in stages.
        device: where its constants live.
        logger: a logger or its name.
    """

    def __init__(
        self,
        prior_loss: nn.Module | None = None,
        handler_key: str = 'betas_prior',
        device: torch.device | str | None = None,
        logger: logging.Logger | str | None = None,
    ) -> None:
        super().__init__(handler_key, ShapePriorLoss() if prior_loss is None else prior_loss, device, logger)

    def used_params(self) -> tuple[str, ...]:
        """Betas."""
        return ('betas',)

    def forward(
        self,
        state: BodyState,
        related_input: BaseInput | None = None,
        loss_weight_override: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Score the shape."""
        return self.loss(
            state.params.betas,
            loss_weight_override=loss_weight_override,
            reduction_override=reduction_override,
        )


@HANDLERS.register_module()
class BodyPosePriorHandler(BaseHandler):
    """Gives the joints' rotations (axis-angle, the root left out) to a loss.

    Args:
        prior_loss: `PoseRegLoss` if None.
        handler_key: names it in stages.
        device: where its constants live.
        logger: a logger or its name.
    """

    def __init__(
        self,
        prior_loss: nn.Module | None = None,
        handler_key: str = 'body_pose_prior',
        device: torch.device | str | None = None,
        logger: logging.Logger | str | None = None,
    ) -> None:
        super().__init__(handler_key, PoseRegLoss() if prior_loss is None else prior_loss, device, logger)

    def used_params(self) -> tuple[str, ...]:
        """Body pose."""
        return ('body_pose',)

    def forward(
        self,
        state: BodyState,
        related_input: BaseInput | None = None,
        loss_weight_override: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Score the pose."""
        return self.loss(
            state.params.as_axis_angle().body_pose,
            loss_weight_override=loss_weight_override,
            reduction_override=reduction_override,
        )


@HANDLERS.register_module()
class JointLimitHandler(BodyPosePriorHandler):
    """Keeps joints inside the limits of the model file.

    Args:
        prior_loss: `JointLimitLoss` if None.
        handler_key: names it in stages.
        device: where its constants live.
        logger: a logger or its name.
    """

    def __init__(
        self,
        prior_loss: nn.Module | None = None,
        handler_key: str = 'joint_limits',
        device: torch.device | str | None = None,
        logger: logging.Logger | str | None = None,
    ) -> None:
        super().__init__(JointLimitLoss() if prior_loss is None else prior_loss, handler_key, device, logger)


class _SkeletonPriorHandler(BaseHandler):
    """Gives one of the per-joint extras to a loss; a body without it is at the prior's centre."""

    parameter = ''

    def used_params(self) -> tuple[str, ...]:
        """The parameter that the prior is on."""
        return (self.parameter,)

    def value(self, state: BodyState) -> Tensor:
        """Give the parameter, zeros where the body has none (B, J, 3)."""
        value = getattr(state.params, self.parameter)
        if value is None:
            return state.params.transl.new_zeros(state.params.batch_size, state.params.n_joints, 3)
        return value

    def forward(
        self,
        state: BodyState,
        related_input: BaseInput | None = None,
        loss_weight_override: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Score the skeleton."""
        return self.loss(
            self.value(state),
            loss_weight_override=loss_weight_override,
            reduction_override=reduction_override,
        )


@HANDLERS.register_module()
class JointScalePriorHandler(_SkeletonPriorHandler):
    """Keeps the joints' scales near 1.

    Args:
        prior_loss: `JointScalePriorLoss` if None.
        handler_key: names it in stages.
        device: where its constants live.
        logger: a logger or its name.
    """

    parameter = 'log_joint_scales'

    def __init__(
        self,
        prior_loss: nn.Module | None = None,
        handler_key: str = 'joint_scale_prior',
        device: torch.device | str | None = None,
        logger: logging.Logger | str | None = None,
    ) -> None:
        super().__init__(
            handler_key, JointScalePriorLoss() if prior_loss is None else prior_loss, device, logger
        )


@HANDLERS.register_module()
class JointOffsetPriorHandler(_SkeletonPriorHandler):
    """Keeps joints near where the model has them; offsets are measured in body lengths.

    Args:
        prior_loss: `JointOffsetPriorLoss` if None.
        handler_key: names it in stages.
        device: where its constants live.
        logger: a logger or its name.
    """

    parameter = 'joint_offsets'

    def __init__(
        self,
        prior_loss: nn.Module | None = None,
        handler_key: str = 'joint_offset_prior',
        device: torch.device | str | None = None,
        logger: logging.Logger | str | None = None,
    ) -> None:
        super().__init__(
            handler_key, JointOffsetPriorLoss() if prior_loss is None else prior_loss, device, logger
        )

    def value(self, state: BodyState) -> Tensor:
        """Give the offsets in body lengths."""
        return super().value(state) / state.body.rest_size


@HANDLERS.register_module()
class SmoothMotionHandler(BaseHandler):
    """Keeps the joints' paths through the world smooth; frames of a batch follow one another.

    Args:
        prior_loss: `SmoothPointsLoss` (acceleration, in body sizes) if None.
        handler_key: names it in stages.
        device: where its constants live.
        logger: a logger or its name.
    """

    def __init__(
        self,
        prior_loss: nn.Module | None = None,
        handler_key: str = 'smooth_motion',
        device: torch.device | str | None = None,
        logger: logging.Logger | str | None = None,
    ) -> None:
        super().__init__(
            handler_key, SmoothPointsLoss() if prior_loss is None else prior_loss, device, logger
        )

    def need(self, related_input: BaseInput | None) -> tuple[str, ...]:
        """Ask for the joints."""
        return ('joints',)

    def forward(
        self,
        state: BodyState,
        related_input: BaseInput | None = None,
        loss_weight_override: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Score the motion."""
        return self.loss(
            state.output.joints,
            state.body_size(),
            loss_weight_override=loss_weight_override,
            reduction_override=reduction_override,
        )
