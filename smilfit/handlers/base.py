"""The contract of handlers."""

import logging
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from smilfit.body_models import SMIL
from smilfit.handlers.inputs import BaseInput
from smilfit.handlers.state import BodyState
from smilfit.losses import BaseLoss, Energies, Residuals, Stated, as_loss, reduced
from smilfit.losses.residuals import as_stated, checked_reduction


class BaseHandler(nn.Module):
    """Pairs what a loss compares: what of the body with what of one observation (an Input), or a prior with nothing.

    A subclass says the loss's arguments (`arguments`) and what the body must compute for them (`need`); where the
    loss has derivatives of its own, also where its first argument comes from (`stated`). `related_input` is of its
    `input_type` everywhere, or None for a prior.

    Args:
        handler_key: names the handler in stages (`{key}_weight`) and finds its Input.
        loss: the loss module; its own weight and reduction hold where a stage gives none.
        device: where the loss's constants live; they follow the body model otherwise.
        logger: a logger or its name.
    """

    # The Input that the handler needs; None for a prior.
    input_type: ClassVar[type[BaseInput] | None] = None
    # A bare structure that may be handed in without an Input around it.
    structure: ClassVar[type | None] = None
    # Of a prior: the parameters that it draws to values of their own, whatever is observed; None where nobody knows.
    holds: ClassVar[tuple[str, ...] | None] = None

    def __init__(
        self,
        handler_key: str,
        loss: nn.Module,
        device: torch.device | str | None = None,
        logger: logging.Logger | str | None = None,
    ) -> None:
        super().__init__()
        if isinstance(loss, dict):
            raise TypeError(
                f'{type(self).__name__}: the loss must be an object; got a dict. '
                'Build the handler with smilfit.registry.build_handler.'
            )
        self.handler_key = handler_key
        self.loss: BaseLoss = as_loss(loss)
        # How often a solver still looks for a gradient to hold derivatives that the term hands in against.
        self.looks_left = 3
        self.logger = logger if isinstance(logger, logging.Logger) else logging.getLogger(logger or 'smilfit')
        if device is not None:
            self.to(device)

    @property
    def frame_order(self) -> int:
        """How many frames before it a frame's terms depend on: what the loss says."""
        return self.loss.frame_order

    @property
    def first_order_only(self) -> str | None:
        """Return why solvers of second order cannot take the term, whatever is observed; None where they may try."""
        return None

    def requires_input(self) -> bool:
        """Check whether the handler needs an observation."""
        return self.input_type is not None

    def get_loss_weight(self) -> float:
        """Return the loss's own weight."""
        return self.loss.loss_weight

    def bind(self, body: SMIL) -> None:
        """Let the loss take what it needs from the model (limits, priors); called once before use."""
        self.loss.bind_body(body.data)

    def need(self, related_input: Any) -> tuple[str, ...]:
        """Return what the body must compute: `'joints'`, `'vertices'`, keypoint names."""
        return ()

    def observed(self, related_input: Any, keypoint_weights: Mapping[str, float]) -> Tensor:
        """Return which frames have an observation that counts (B,) bool.

        Args:
            related_input: what was observed.
            keypoint_weights: factors on named keypoints, as in `BodyState`.
        """
        return related_input.observed()

    def arguments(self, state: BodyState, related_input: Any) -> tuple[object, ...] | Mapping[str, object]:
        """Return the loss's arguments, by place or by name; the first is what moves with the body."""
        raise TypeError(f'{type(self).__name__}: a handler must define arguments.')

    def stated(self, state: BodyState, related_input: Any) -> Stated:
        """Return what the loss states of its arguments, before weights and reduction."""
        if type(self).forward is not BaseHandler.forward:
            return (Energies(self(state, related_input, 1.0, 'none')),)
        arguments = self.arguments(state, related_input)
        if isinstance(arguments, Mapping):
            return self.loss.stated(**arguments)
        return self.loss.stated(*arguments)

    def forward(
        self,
        state: BodyState,
        related_input: Any = None,
        loss_weight_override: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Compute the loss: a number, or with reduction `'none'` terms whose first dimension is the batch.

        Args:
            state: the body.
            related_input: what was observed.
            loss_weight_override: used instead of the loss's weight.
            reduction_override: used instead of the loss's reduction.
        """
        weight = self.loss.loss_weight if loss_weight_override is None else loss_weight_override
        reduction = (
            self.loss.reduction if reduction_override is None else checked_reduction(reduction_override)
        )
        continuous = state.continuous(self.frame_order) if self.frame_order else None
        return reduced(self.stated(state, related_input), weight, reduction, continuous)


class TermHandler(BaseHandler):
    """A handler and its loss in one class: a subclass states `residual(state, related_input)`, or `energy`.

    Args:
        handler_key: names it in stages; `default_key` if None.
        reduction: as of a loss.
        loss_weight: as of a loss.
        device: where its constants live.
        logger: a logger or its name.
    """

    default_key: ClassVar[str]

    def __init__(
        self,
        handler_key: str | None = None,
        reduction: str = 'mean',
        loss_weight: float = 1.0,
        device: torch.device | str | None = None,
        logger: logging.Logger | str | None = None,
    ) -> None:
        super().__init__(
            handler_key or self.default_key, _StatedElsewhere(reduction, loss_weight), device, logger
        )

    def residual(self, state: BodyState, related_input: Any) -> Tensor | Residuals | tuple[Residuals, ...]:
        """Return unreduced residuals, as a loss's."""
        raise NotImplementedError(f'{type(self).__name__}: a TermHandler must define residual or energy.')

    def energy(self, state: BodyState, related_input: Any) -> Tensor | Energies:
        """Return terms that are no squares, as a loss's."""
        raise NotImplementedError(f'{type(self).__name__}: a TermHandler must define residual or energy.')

    def stated(self, state: BodyState, related_input: Any = None) -> Stated:
        """Return what the subclass states."""
        if type(self).energy is not TermHandler.energy:
            result = self.energy(state, related_input)
            return (Energies(result),) if isinstance(result, Tensor) else as_stated(result)
        return as_stated(self.residual(state, related_input))


class _StatedElsewhere(BaseLoss):
    """Weight and reduction of a handler that states its residuals itself."""
