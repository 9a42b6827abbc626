"""The contract of handlers and Inputs."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from smilfit.body_models import SMIL, BodyModelData
from smilfit.structures import BodyOutput, BodyParams, Cameras, QuadraticTerm


@dataclass(frozen=True)
class BodyState:
    """One evaluation of the body: what a handler may look at.

    `keypoint_weights` are factors on named keypoints (body parts of a stage, ignored keypoints); absent is 1.
    `robust_scale` widens robust losses while a solver looks for the right basin. `frames` numbers the frames in
    the recording, where some may be missing; None where they follow one another. `camera_shift` (C, 6) corrects
    the cameras (see `Cameras.shifted`), `log_focal` (one number, or one a frame) their focal lengths (see
    `Cameras.refocused`); None where they are not fitted.
    """

    body: SMIL
    params: BodyParams
    output: BodyOutput
    keypoint_weights: dict[str, float] = field(default_factory=dict)
    robust_scale: float = 1.0
    frames: Tensor | None = None
    camera_shift: Tensor | None = None
    log_focal: Tensor | None = None

    def corrected(self, cameras: Cameras) -> Cameras:
        """Give cameras with the corrections of a fit that moves them."""
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
        """Say for every frame whether it and the `order` frames before it follow one another (B,) bool."""
        count = self.params.batch_size
        frames = torch.arange(count) if self.frames is None else self.frames
        found = torch.zeros(count, dtype=torch.bool)
        if count > order:
            found[order:] = (frames[order:] - frames[:-order]).cpu() == order
        return found.to(self.params.transl.device)

    def weights_of(self, names: Sequence[str]) -> Tensor | None:
        """Give the factors of some keypoints (K,), or None where all are 1."""
        if not any(name in self.keypoint_weights for name in names):
            return None
        return self.params.transl.new_tensor([self.keypoint_weights.get(name, 1.0) for name in names])

    def body_size(self) -> Tensor:
        """Give each body's size (B,) in world units, detached."""
        return (self.body.rest_size * self.params.scale).detach()


class MissingObservationError(ValueError):
    """A dataset file holds no observation of the kind that a handler needs."""


class BaseInput:
    """An observation. It meets the handler that has the same `handler_key`."""

    handler_key: str
    # Keypoints of the observation that the model does not have; `resolve` leaves them out and names them here.
    unmatched: tuple[str, ...] = ()

    @property
    def batch_size(self) -> int:
        """How many frames were observed."""
        raise TypeError(f'{type(self).__name__}: an Input must say its batch_size.')

    def get_batch_size(self) -> int:
        """Give `batch_size`, by the name that XRMoCap's users know."""
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
        """Say which frames were observed at all (B,) bool."""
        return torch.ones(self.batch_size, dtype=torch.bool)

    @classmethod
    def from_dataset(cls, dataset: Any, session: str, handler_key: str) -> 'BaseInput':
        """Take this kind of observation of a session out of a dataset file.

        Raises:
            TypeError: dataset files do not hold such observations.
        """
        raise TypeError(
            f'{cls.__name__}: a dataset file does not hold this input for the handler {handler_key!r}. '
            'Fit from Python with an Input of your own, or define from_dataset.'
        )

    def resolve(self, data: BodyModelData) -> 'BaseInput':
        """Give this Input with its keypoint convention turned into names of the model."""
        return self

    def to(self, *args: Any, **kwargs: Any) -> 'BaseInput':
        """Give this Input on another device or in another type."""
        return self


class BaseHandler(nn.Module):
    """Ties one observation (an Input) or a prior to one loss.

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
    # The loss's method that makes the term quadratic; None where no loss does.
    second_order_by: ClassVar[str | None] = None
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
        self.loss = loss
        self.logger = logger if isinstance(logger, logging.Logger) else logging.getLogger(logger or 'smilfit')
        if device is not None:
            self.to(device)

    @property
    def couples_frames(self) -> bool:
        """Whether a frame's term depends on other frames: where the loss says so."""
        return getattr(self.loss, 'couples_frames', False)

    def requires_input(self) -> bool:
        """Say whether the handler needs an observation."""
        return self.input_type is not None

    def get_loss_weight(self) -> float:
        """Give the loss's own weight."""
        return self.loss.loss_weight

    def bind(self, body: SMIL) -> None:
        """Let the loss take what it needs from the model (limits, priors); called once before use."""
        if hasattr(self.loss, 'bind_body'):
            self.loss.bind_body(body.data)

    def need(self, related_input: BaseInput | None) -> tuple[str, ...]:
        """Say what the body must compute: `'joints'`, `'vertices'`, keypoint names."""
        return ()

    def observed(self, related_input: BaseInput, keypoint_weights: Mapping[str, float]) -> Tensor:
        """Say which frames have an observation that counts (B,) bool.

        Args:
            related_input: what was observed.
            keypoint_weights: factors on named keypoints, as in `BodyState`.
        """
        return related_input.observed()

    def forward(
        self,
        state: BodyState,
        related_input: BaseInput | None = None,
        loss_weight_override: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Compute the loss: a number, or with reduction `'none'` terms whose first dimension is the batch."""
        raise TypeError(f'{type(self).__name__}: a handler must define forward.')

    def second_order(
        self,
        state: BodyState,
        related_input: BaseInput | None = None,
        loss_weight_override: float | None = None,
        reduction_override: str | None = None,
    ) -> QuadraticTerm:
        """Give the term's value and its quadratic model, for solvers of second order.

        A subclass names the method of its loss (`second_order_by`) and defines `_quadratic`. One that is a sum of
        squares may return a `ResidualTerm`, whose derivative is found automatically.

        Raises:
            TypeError: the term is not a sum of squares.
        """
        if self.second_order_by is None or not hasattr(self.loss, self.second_order_by):
            raise TypeError(
                f'{type(self).__name__} {self.handler_key!r}: Levenberg-Marquardt needs a sum of squares; '
                f'{type(self.loss).__name__} does not say its residual. Use optimizer=dict(type="LBFGS") in this '
                f'stage, or give the loss a method {self.second_order_by or "residual"}(...).'
            )
        return self._quadratic(state, related_input, loss_weight_override, reduction_override)

    def _quadratic(
        self, state: BodyState, related_input: BaseInput | None, weight: float | None, reduction: str | None
    ) -> QuadraticTerm:
        """Give the quadratic model; the loss has the method."""
        raise TypeError(f'{type(self).__name__}: a handler with second_order_by must define _quadratic.')

    def per_frame(
        self,
        state: BodyState,
        related_input: BaseInput | None = None,
        loss_weight_override: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Share the loss out to frames (B,): in proportion to each frame's unreduced terms.

        A loss that has no terms by frame is shared out equally.
        """
        total = self(state, related_input, loss_weight_override, reduction_override)
        terms = self(state, related_input, loss_weight_override, 'none')
        rows = terms.reshape(terms.shape[0], -1).sum(1) if terms.ndim else terms.reshape(1)
        if rows.shape[0] == 1 and state.params.batch_size > 1:
            rows = rows.expand(state.params.batch_size)
        whole = rows.sum()
        return rows * (total.sum() / whole) if whole != 0 else torch.zeros_like(rows)
