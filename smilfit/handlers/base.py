"""The contract of handlers: the Inputs that meet them, the body as they see it, and a handler at work."""

import logging
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from smilfit.body_models import SMIL, BodyModelData
from smilfit.losses import BaseLoss, Energies, Residuals, Stated, as_loss, reduced
from smilfit.losses.base import as_stated, checked_reduction, share_of, weighted_terms
from smilfit.structures import BodyOutput, BodyParams, Cameras, RecordedData

Same = TypeVar('Same', bound='BaseInput')
# What picks frames: a number, a slice, or numbers or a mask.
Index = int | slice | Tensor | np.ndarray | Sequence[int]


class MissingObservationError(ValueError):
    """A dataset file holds no observation of the kind that a handler needs."""


class BaseInput:
    """An observation. It meets the handler that has the same `handler_key`.

    A subclass names the attributes that hold a row a frame (`rows`: tensors, or structures that are indexed and moved
    like tensors); selecting frames, moving and casting follow from that. None stands for what was not observed.
    """

    handler_key: str
    # Attributes with one row a frame.
    rows: ClassVar[tuple[str, ...]] = ()
    # Keypoints of the observation that the model does not have; `resolve` leaves them out and names them here.
    unmatched: tuple[str, ...] = ()

    @property
    def batch_size(self) -> int:
        """How many frames were observed."""
        for name in self.rows:
            value = getattr(self, name)
            if value is not None:
                return value.batch_size if not isinstance(value, Tensor) else len(value)
        raise TypeError(f'{type(self).__name__}: an Input must name its rows, or say its batch_size.')

    def get_batch_size(self) -> int:
        """Return `batch_size`, by the name that XRMoCap's users know."""
        return self.batch_size

    @property
    def cameras(self) -> Cameras | None:
        """The cameras that observed; None if none did."""
        return None

    @property
    def n_masked(self) -> int:
        """How many observed numbers were no numbers and are left out."""
        return 0

    def observed(self) -> Tensor:
        """Return which frames were observed at all (B,) bool."""
        return torch.ones(self.batch_size, dtype=torch.bool)

    @classmethod
    def from_dataset(cls, dataset: RecordedData, session: str, handler_key: str) -> 'BaseInput':
        """Take this kind of observation of a session out of a dataset file.

        Raises:
            TypeError: dataset files do not hold such observations.
        """
        raise TypeError(
            f'{cls.__name__}: a dataset file does not hold this input for the handler {handler_key!r}. '
            'Fit from Python with an Input of your own, or define from_dataset.'
        )

    def resolve(self: Same, data: BodyModelData) -> Same:
        """Return this Input with its keypoint convention turned into names of the model."""
        return self

    def resized(self: Same, side: int) -> Same:
        """Return this Input for images whose longer side is at most `side` px; only masks have any."""
        return self

    def to(self: Same, *args: object, **kwargs: object) -> Same:
        """Return this Input on another device or in another type; integers keep theirs."""
        return self._changed(lambda value: _moved(value, *args, **kwargs))

    def __getitem__(self: Same, index: Index) -> Same:
        """Select frames."""
        rows = several(index)
        return self._changed(lambda value: value[rows])

    def _changed(self: Same, function: Callable[[Any], object]) -> Same:
        changed = copy(self)
        for name in self.rows:
            value = getattr(self, name)
            if value is not None:
                setattr(changed, name, function(value))
        return changed


def several(index: Index) -> slice | Tensor | np.ndarray | Sequence[int]:
    """Return an index that picks the same frames and keeps their dimension."""
    return slice(index, index + 1 or None) if isinstance(index, int) else index


def rows_of(index: Index, count: int) -> list[int]:
    """List the frames, of so many, that an index picks."""
    index = several(index)
    return torch.arange(count)[index.cpu() if isinstance(index, Tensor) else index].tolist()


def _moved(value: Any, *args: object, **kwargs: object) -> object:
    moved = value.to(*args, **kwargs)
    whole = isinstance(value, Tensor) and not value.is_floating_point()
    return moved.to(value.dtype) if whole else moved


@dataclass(frozen=True)
class BodyState:
    """One evaluation of the body: what a handler may look at.

    `keypoint_weights` are factors on named keypoints (body parts of a stage, ignored keypoints); absent is 1.
    `frames` numbers the frames in
    the recording, where some may be missing; None where they follow one another. `camera_shift` (C, 6) corrects
    the cameras (see `Cameras.shifted`), `log_focal` (one number, or one a frame) their focal lengths (see
    `Cameras.refocused`); None where they are not fitted.
    """

    body: SMIL
    params: BodyParams
    output: BodyOutput
    keypoint_weights: dict[str, float] = field(default_factory=dict)
    frames: Tensor | None = None
    camera_shift: Tensor | None = None
    log_focal: Tensor | None = None

    @property
    def joints(self) -> Float[Tensor, 'B J 3']:
        """Return the posed joints, world unit; a handler asks for them by `need`."""
        if self.output.joints is None:
            raise ValueError("BodyState: joints were not computed. Name 'joints' in the handler's need.")
        return self.output.joints

    @property
    def vertices(self) -> Float[Tensor, 'B V 3']:
        """Return the posed surface, world unit; a handler asks for it by `need`."""
        if self.output.vertices is None:
            raise ValueError("BodyState: vertices were not computed. Name 'vertices' in the handler's need.")
        return self.output.vertices

    def corrected(self, cameras: Cameras) -> Cameras:
        """Return cameras with the corrections of a fit that moves them."""
        cameras = cameras if self.camera_shift is None else cameras.shifted(self.camera_shift)
        return cameras if self.log_focal is None else cameras.refocused(self.log_focal)

    def take(self, rows: Tensor) -> 'BodyState':
        """Pick frames."""
        output = self.output
        points = {n: getattr(output, n) for n in ('joints', 'vertices', 'keypoints')}
        points = {n: v[rows] for n, v in points.items() if v is not None}
        frames = None if self.frames is None else self.frames[rows]
        focal = self.log_focal if self.log_focal is None or len(self.log_focal) == 1 else self.log_focal[rows]
        output = replace(output, **points)
        return replace(self, params=self.params[rows], output=output, frames=frames, log_focal=focal)

    def continuous(self, order: int) -> Tensor:
        """Report for every frame whether it and the `order` frames before it follow one another (B,) bool."""
        count = self.params.batch_size
        frames = torch.arange(count) if self.frames is None else self.frames
        result = torch.zeros(count, dtype=torch.bool)
        if count > order:
            result[order:] = (frames[order:] - frames[:-order]).cpu() == order
        return result.to(self.params.transl.device)

    def weights_of(self, names: Sequence[str]) -> Tensor | None:
        """Return the factors of some keypoints (K,), or None where all are 1."""
        if not any(name in self.keypoint_weights for name in names):
            return None
        return self.params.transl.new_tensor([self.keypoint_weights.get(name, 1.0) for name in names])

    def body_size(self) -> Tensor:
        """Return each body's size (B,) in world units, detached."""
        return (self.body.rest_size * self.params.scale).detach()


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


@dataclass(frozen=True)
class ActiveTerm:
    """One term of an energy.

    Args:
        handler: states residuals.
        related_input: what was observed; None for a prior.
        weight: factor on the loss.
        reduction: `'mean'` or `'sum'`; None for the loss's own.
        totals: what the means divide by, of all frames of a clip, where a solver looks at some of them at a time.
        over: turns what this process's mean divides by into that of all, in training on several.
    """

    handler: BaseHandler
    related_input: BaseInput | None
    weight: float
    reduction: str | None = None
    totals: tuple[Tensor, ...] | None = None
    over: Callable[[Tensor], Tensor] | None = None

    @property
    def kind(self) -> str:
        """Return the reduction; an unreduced term counts as a sum."""
        reduction = checked_reduction(self.reduction or self.handler.loss.reduction)
        return 'sum' if reduction == 'none' else reduction

    @property
    def name(self) -> str:
        """Name the term in messages."""
        return f'{type(self.handler).__name__} {self.handler.handler_key!r}'

    def stated(self, state: BodyState) -> Stated:
        """Return what the handler states."""
        result = self.handler.stated(state, self.related_input)
        order = max((item.order for item in result if isinstance(item, Residuals)), default=0)
        if order > self.handler.frame_order:
            raise TypeError(
                f'{self.name}: frame_order must say how many frames before it a frame depends on; it is '
                f'{self.handler.frame_order}, and the residuals are of order {order}. Set frame_order = {order} in '
                f'{type(self.handler.loss).__name__}.'
            )
        return result

    def continuous(self, state: BodyState) -> Tensor | None:
        """Return which frames follow those that they depend on; None where frames stand alone."""
        order = self.handler.frame_order
        return state.continuous(order) if order else None

    def shares(self, stated: Stated, like: Tensor) -> list[Tensor]:
        """Return the factor by which each statement's weighted terms enter the energy."""
        totals = self.totals or tuple(item.total() for item in stated)
        over = self.over if self.totals is None else None
        return [share_of(total, self.weight, self.kind, like, over) for total in totals]

    def value(self, state: BodyState) -> Tensor:
        """Return the term's value."""
        return torch.stack([part.sum() for part in self._weighted(state)]).sum()

    def per_frame(self, state: BodyState, widening: float = 1.0) -> Float[Tensor, ' B']:
        """Return the term's value by frame; what is one number for all is shared out equally."""
        count = state.params.batch_size
        rows = []
        for part in self._weighted(state, widening):
            part = part.reshape(len(part), -1).sum(1) if part.ndim else part.reshape(1)
            rows.append(part.expand(count) / count if len(part) == 1 < count else part)
        return torch.stack(rows).sum(0)

    def _weighted(self, state: BodyState, widening: float = 1.0) -> list[Tensor]:
        stated, continuous = self.stated(state), self.continuous(state)
        terms = [weighted_terms(item, continuous, widening) for item in stated]
        return [share * part for share, part in zip(self.shares(stated, state.params.transl), terms)]

    def take(self, index: Tensor) -> 'ActiveTerm':
        """Pick frames."""
        return self if self.related_input is None else replace(self, related_input=self.related_input[index])

    @property
    def robust(self) -> bool:
        """Whether a solver may begin with a wider robust function."""
        return self.handler.loss.sigma is not None
