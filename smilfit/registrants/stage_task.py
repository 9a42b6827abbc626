"""One stage of a fit with all it works on, and what comes out of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from smilfit.body_models import SMIL, RestShape
from smilfit.handlers import ActiveTerm, BaseHandler, BaseInput, BodyState
from smilfit.registrants.stage import Report, ReportView, Stage
from smilfit.registry import UnknownNameError, did_you_mean
from smilfit.solvers import SolverResult, StopReason
from smilfit.solvers.base import StepCallback
from smilfit.structures import BodyParams, Cameras, FitCovariance, SharedUncertainty


@dataclass(frozen=True)
class FitState:
    """Where a fit stands: the bodies, and what was found of the cameras: corrections, and focal lengths.

    `log_focal` is the logarithm of a factor on the focal lengths, one for all frames or one a frame. `doubt` is of
    what all frames share, where other frames have found it and it is held.
    """

    params: BodyParams
    camera_shift: Float[Tensor, 'C 6'] | None = None
    log_focal: Float[Tensor, ' n'] | None = None
    doubt: SharedUncertainty | None = None

    def take(self, rows: Tensor) -> 'FitState':
        """Pick frames."""
        return replace(self, params=self.params[rows], log_focal=_rows(self.log_focal, rows))


@dataclass(frozen=True)
class StageTask:
    """A stage with all it works on.

    `keypoint_weights` are factors on named keypoints, `frames` the frames' numbers in the recording, and
    `share_shape` says whether shape, scale and skeleton are one for all frames. `log_focal` is there for solvers
    that do not move it, `doubt` for covariances.
    """

    body: SMIL
    stage: Stage
    terms: tuple[ActiveTerm, ...]
    keypoint_weights: Mapping[str, float]
    share_shape: bool
    frames: Tensor | None = None
    on_step: StepCallback | None = None
    log_focal: Float[Tensor, ' n'] | None = None
    doubt: SharedUncertainty | None = None

    def take(self, index: Tensor) -> 'StageTask':
        """Pick frames."""
        terms = tuple(t.take(index) for t in self.terms)
        frames = None if self.frames is None else self.frames[index.to(self.frames.device)]
        return replace(self, terms=terms, frames=frames, log_focal=_rows(self.log_focal, index))

    def with_totals(self, totals: Mapping[str, tuple[Tensor, ...]]) -> 'StageTask':
        """Return this stage with what means divide by, by handler key."""
        held = (replace(t, totals=totals.get(t.handler.handler_key, t.totals)) for t in self.terms)
        return replace(self, terms=tuple(held))

    @property
    def need(self) -> tuple[str, ...]:
        """What the body must compute."""
        return tuple(dict.fromkeys(n for t in self.terms for n in t.handler.need(t.related_input)))

    def state(self, at: FitState, rest: RestShape | None = None) -> BodyState:
        """Pose the body."""
        output = self.body(at.params, self.need, rest)
        weights = dict(self.keypoint_weights)
        result = {'camera_shift': at.camera_shift, 'log_focal': at.log_focal}
        return BodyState(self.body, at.params, output, weights, frames=self.frames, **result)

    def values(self, at: FitState, rest: RestShape | None = None) -> dict[str, Tensor]:
        """Compute every term, by handler key."""
        state = self.state(at, rest)
        return {t.handler.handler_key: t.value(state) for t in self.terms}

    def per_frame(self, at: FitState) -> Float[Tensor, ' B']:
        """Compute the sum of all terms by frame."""
        total = at.params.transl.new_zeros(at.params.batch_size)
        with torch.no_grad():
            state = self.state(at)
            for term in self.terms:
                total = total + term.per_frame(state)
        return total

    def cameras(self) -> Cameras:
        """Return the cameras that a stage moves: those of its one input with cameras.

        Raises:
            ValueError: no input has cameras, several have, or they differ from frame to frame.
        """
        given = [t.related_input.cameras for t in self.terms if t.related_input is not None]
        result = [cameras for cameras in given if cameras is not None]
        if len(result) != 1 or result[0].K.ndim != 3:
            raise ValueError(
                f'SMPLify: {self.stage.label} fits cameras: exactly one input must have cameras, the same in all '
                f'frames; got {len(result)}. Set fit_cameras=False.'
            )
        return result[0]

    def moving_cameras(self) -> tuple[int, ...]:
        """Return which of `cameras` the stage moves, by their places.

        Raises:
            KeyError: the stage names a camera that there is not, with the near ones.
        """
        names = self.cameras().names
        return tuple(names.index(name) for name in known_cameras(self.stage, names) or names)


def known_cameras(stage: Stage, names: Sequence[str]) -> tuple[str, ...]:
    """Return the cameras that a stage names, after looking whether there are such.

    Raises:
        KeyError: there is not, with the near ones.
    """
    for name in stage.fit_cameras:
        if name not in names:
            raise UnknownNameError(
                f'SMPLify: {stage.label} fits the camera {name!r}, which did not see the keypoints. '
                f'{did_you_mean(name, names)}'
            )
    return stage.fit_cameras


def _rows(log_focal: Tensor | None, rows: Tensor) -> Tensor | None:
    return log_focal if log_focal is None or len(log_focal) == 1 else log_focal[rows]


@dataclass(frozen=True)
class StageOutcome:
    """What came out of a stage: where it ended, which frames have converged, and how it went.

    `energy` is the sum of all terms by frame, where the solver knows it. `engine` says what the stage ran on,
    `engine_reason` why not on the kernel, and `solver` which class chose the steps.
    """

    state: FitState
    converged: Bool[Tensor, ' B']
    result: SolverResult
    covariance: FitCovariance | None = None
    energy: Float[Tensor, ' B'] | None = None
    engine: str = 'gradient'
    engine_reason: str | None = None
    solver: str = ''


@dataclass(frozen=True)
class StageRun:
    """Where several stages ended, their history, and of the last one each frame's loss and whether it converged.

    `report` is what they add to the fit's report.
    """

    state: FitState
    history: tuple[Report, ...]
    per_frame: Float[Tensor, ' B']
    converged: Bool[Tensor, ' B']
    covariance: FitCovariance | None = None
    report: Report = field(default_factory=dict)


def first_cameras(inputs: Mapping[str, BaseInput]) -> Cameras | None:
    """Return the cameras of the first input that has any."""
    return next((i.cameras for i in inputs.values() if i.cameras is not None), None)


def corrected_cameras(inputs: Mapping[str, BaseInput], state: FitState) -> Cameras | None:
    """Return the cameras of the first input that has any, as a fit has corrected them; None where none were moved."""
    shift, focal = state.camera_shift, state.log_focal
    cameras = first_cameras(inputs)
    if cameras is None or (shift is None and focal is None):
        return None
    cameras = cameras if shift is None else cameras.shifted(shift)
    return cameras if focal is None else cameras.refocused(focal)


def task_of(
    body: SMIL,
    stage: Stage,
    handlers: Mapping[str, BaseHandler],
    inputs: Mapping[str, BaseInput],
    keypoint_weights: Mapping[str, float],
    share_shape: bool,
    frames: Tensor | None,
    on_step: StepCallback | None,
) -> StageTask:
    """Gather the terms that a stage weights."""
    weighted: Sequence[tuple[str, float]] = [(k, w) for k, w in stage.weights.items() if w]
    terms = tuple(ActiveTerm(handlers[k], inputs.get(k), w, stage.reductions.get(k)) for k, w in weighted)
    return StageTask(body, stage, terms, keypoint_weights, share_shape, frames, on_step)


# Of a stage that was not run.
NO_ENGINE = 'none'


def history_entry(stage: Stage, outcome: StageOutcome, terms: dict[str, float]) -> Report:
    """Summarise a stage: losses before and after, steps, why it stopped, and which engine ran."""
    result = outcome.result
    entry = {
        'stage': stage.name,
        'fit': list(stage.fit),
        'loss_start': result.loss_start,
        'loss_end': result.loss_end,
        'terms': terms,
        'steps': result.n_steps,
        'evaluations': result.n_evaluations,
        'recoveries': result.n_recoveries,
        'reason': result.reason.value,
        'solver': outcome.solver,
        'engine': outcome.engine,
        'frames_converged': int(outcome.converged.sum()),
    }
    if outcome.covariance is not None:
        entry['covariance_engine'] = outcome.covariance.engine
    return entry if outcome.engine_reason is None else entry | {'no_kernel_because': outcome.engine_reason}


def skipped_entry(stage: Stage) -> Report:
    """Return the entry of a stage that no frame is left for."""
    counts = dict.fromkeys(('steps', 'evaluations', 'recoveries', 'frames_converged'), 0)
    return {
        'stage': stage.name,
        'fit': list(stage.fit),
        'loss_start': 0.0,
        'loss_end': 0.0,
        'terms': {},
        **counts,
        'reason': StopReason.NOTHING_TO_FIT.value,
        'solver': '',
        'engine': NO_ENGINE,
    }


def sentence_of(entry: ReportView) -> str:
    """Write an entry out for the log."""
    terms = ', '.join(f'{key} {value:.4g}' for key, value in entry['terms'].items())
    reason = entry.get('no_kernel_because')
    engine = (
        entry['engine'] if reason is None else f'{entry["engine"]}, because the kernel does not take {reason}'
    )
    if 'covariance_engine' in entry:
        engine += f'; covariance: {entry["covariance_engine"]}'
    return (
        f'{entry["stage"]}: loss {entry["loss_start"]:.5g} -> {entry["loss_end"]:.5g} ({terms}) in '
        f'{entry["steps"]} steps, {entry["evaluations"]} evaluations; {entry["reason"]} [{engine}]'
    )
