"""Frames in which a stage's energy is not finite: from where they go on, and why others have failed."""

import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool
from torch import Tensor

from smilfit.registrants.stage import Report, ReportView
from smilfit.registrants.stage_task import NO_ENGINE, FitState, StageOutcome, StageRun, StageTask
from smilfit.solvers import LevenbergMarquardt, SolverResult, StopReason
from smilfit.structures import PARAMETERS, BodyParams, FitResult, parameter_names
from smilfit.structures.keypoints import LARGEST

# A parameter this many times larger, a scale also smaller, than anything that is fitted has run away.
RUNAWAY = 1e6
# How often frames that spoil their neighbours' motion are looked for.
ROUNDS = 20
# The report's key while a fit runs: causes by the frame's number.
CAUSES = 'failed_frames'
RESTARTS, HELD = 'frames_restarted', 'frames_held'
# Causes that a warning names.
MOST_TOLD = 3

Run = Callable[[StageTask, FitState], StageOutcome]


@dataclass(frozen=True)
class StageEnd:
    """A stage that was run on all frames that have a finite energy in it.

    Args:
        task: of the frames that are left.
        outcome: of these; None where none is left.
        rows: which of the frames they are; None for all.
        report: how many frames went on from an earlier state, and the causes of failed ones.
        note: why the stage could not be solved though energies were finite; None where it was.
    """

    task: StageTask
    outcome: StageOutcome | None
    rows: Tensor | None = None
    report: Report = field(default_factory=dict)
    note: str | None = None

    @property
    def notes(self) -> Report:
        """Return what the stage's history says of it; empty where all went well."""
        result: Report = {}
        if self.report.get(CAUSES):
            result['frames_failed'] = self.report[CAUSES]
        for key in (RESTARTS, HELD):
            if self.report.get(key):
                result[key] = sum(self.report[key].values())
        return result if self.note is None else result | {'not_solved_because': self.note}


def run_recovering(
    run: Run, task: StageTask, state: FitState, earlier: Iterable[FitState], solver: object
) -> StageEnd:
    """Run a stage; frames without a finite energy where it begins go on from an earlier state, or are left out.

    What is finite costs nothing here: energies are looked at only after a solver found some that are not.

    Args:
        run: runs a stage.
        task: the stage.
        state: where it begins.
        earlier: states of the same frames to go on from instead, the likeliest first.
        solver: that the stage runs on.
    """
    if bool(_usable(state.params).all()):
        first = _attempt(run, task, state)
        if isinstance(first, StageOutcome) and not first.result.n_not_finite:
            lost = ~_usable(first.state.params)
            if not bool(lost.any()):
                return StageEnd(task, first)
            return _run_from_last(run, task, state, lost, list(earlier)) or _held(
                StageEnd(task, first), state
            )
    at, failed, restarted = recovered(task, state, earlier)
    report: Report = {}
    if bool(restarted.any()):
        report[RESTARTS] = {task.stage.name: int(restarted.sum())}
    if bool(failed.any()):
        report[CAUSES] = _by_number(task, causes(task, at, failed))
    rows = (~failed).nonzero().flatten()
    if not len(rows):
        return StageEnd(task, None, rows, report)
    if bool(failed.any()):
        task, at = task.take(rows), at.take(rows)
    again = _attempt(run, task, at)
    if (
        not isinstance(again, StageOutcome)
        and isinstance(solver, LevenbergMarquardt)
        and solver.backend == 'auto'
    ):
        # Single precision overflows earlier in the one than in the other.
        plain = copy(solver)
        plain.backend = 'torch'
        again = _attempt(run, replace(task, stage=replace(task.stage, optimizer=plain)), at)
    note = None
    if not isinstance(again, StageOutcome):
        again, note = _unsolved(task, at), str(again)
        report['stages_not_solved'] = {task.stage.name: note}
    return _held(StageEnd(task, again, rows if bool(failed.any()) else None, report, note), at)


def _run_from_last(
    run: Run, task: StageTask, state: FitState, lost: Tensor, earlier: Sequence[FitState]
) -> StageEnd | None:
    """Run a stage anew in which frames have run away, these from the last of the earlier states; None if in vain."""
    if not earlier:
        return None
    other, shared = _whole(task, earlier[-1]), parameter_names(shared=True) if task.share_shape else ()
    begin = other if shared and bool(lost.all()) else _with_rows(_whole(task, state), other, lost, shared)
    if bool(frames_not_finite(task, begin).any()):
        return None
    result = _attempt(run, task, begin)
    if not isinstance(result, StageOutcome) or not bool(_usable(result.state.params).all()):
        return None
    return StageEnd(task, result, report={RESTARTS: {task.stage.name: int(lost.sum())}})


def _held(end: StageEnd, begun: FitState) -> StageEnd:
    """Leave frames that have run away in a stage where they began; all of them, if it was what they share."""
    outcome = end.outcome
    if outcome is None or not bool((lost := ~_usable(outcome.state.params)).any()):
        return end
    before = _whole(end.task, begun)
    shared = parameter_names(shared=True) if end.task.share_shape else ()
    mixed = _with_rows(outcome.state, before, lost, shared)
    if not bool(_usable(mixed.params).all()):
        mixed, lost = before, torch.ones_like(lost)
    outcome = replace(outcome, state=mixed, converged=outcome.converged & ~lost, energy=None, covariance=None)
    counted = {**end.report, HELD: {end.task.stage.name: int(lost.sum())}}
    return replace(end, outcome=outcome, report=counted)


def recovered(
    task: StageTask, state: FitState, earlier: Iterable[FitState]
) -> tuple[FitState, Bool[Tensor, ' B'], Bool[Tensor, ' B']]:
    """Return every frame a state in which the stage's energy is finite.

    A frame takes the place and pose of the first earlier state in which it is; what all frames share stays, unless it
    spoils most of them: then all go on from the earlier state.

    Returns:
        The state, which frames have no finite energy in any, and which go on from an earlier one.
    """
    best = _whole(task, state)
    bad = first = frames_not_finite(task, best)
    shared = parameter_names(shared=True) if task.share_shape else ()
    tried = []
    for other in earlier:
        if not bool(bad.any()):
            break
        tried.append(_whole(task, other))
        mixed = _with_rows(best, tried[-1], bad, shared)
        now = frames_not_finite(task, mixed)
        if int(now.sum()) < int(bad.sum()):
            best, bad = mixed, now
        if shared and bool(bad.all()):
            now = frames_not_finite(task, tried[-1])
            best, bad = (best, bad) if bool(now.all()) else (tried[-1], now)
    if shared and float(bad.float().mean()) > 0.5:
        for other in tried:
            now = frames_not_finite(task, other)
            if int(now.sum()) < int(bad.sum()):
                best, bad = other, now
    return best, bad, first & ~bad


@torch.no_grad()
def frames_not_finite(task: StageTask, state: FitState) -> Bool[Tensor, ' B']:
    """Return which frames have parameters or an energy that is not finite, or a scale of 0.

    Of frames that spoil a term of motion, the one that lies farthest off is told from its neighbours.
    """
    state = _whole(task, state)
    bad = ~_usable(state.params)
    alone, moving = _split(task)
    bad = bad | ~alone.per_frame(state).isfinite()
    if not moving.terms:
        return bad
    reach = max(term.handler.frame_order for term in moving.terms)
    for last in (False,) * ROUNDS + (True,):
        rows = (~bad).nonzero().flatten()
        wrong = ~moving.take(rows).per_frame(state.take(rows)).isfinite() if len(rows) else rows.bool()
        if not bool(wrong.any()):
            break
        bad[rows[wrong if last else _culprits(wrong, state.params.transl[rows], reach)]] = True
    return bad


def _culprits(wrong: Tensor, transl: Tensor, reach: int) -> Tensor:
    """Mark, of each run of frames with wrong motion, the frame that lies farthest off among those it begins with."""
    if bool(wrong.all()):
        return wrong
    off = (transl - transl.median(0).values).abs().amax(1).nan_to_num(torch.inf, torch.inf)
    result = torch.zeros_like(wrong)
    begins = wrong & ~torch.cat((wrong.new_zeros(1), wrong[:-1]))
    for t in begins.nonzero().flatten().tolist():
        begin = max(0, t - reach)
        result[begin + int(off[begin : t + 1].argmax())] = True
    return result


@torch.no_grad()
def causes(task: StageTask, state: FitState, failed: Bool[Tensor, ' B']) -> dict[int, str]:
    """Report in words, by row, which term has no finite energy and which parameter has run away."""
    state = _whole(task, state)
    body = task.state(state)
    energies = {t.handler.handler_key: t.per_frame(body).isfinite() for t in task.terms}
    result = {}
    for row in failed.nonzero().flatten().tolist():
        terms = [key for key, finite in energies.items() if not bool(finite[row])]
        what = f'the term {" and ".join(terms)}' if terms else 'it'
        why = _runaway(state.params, row)
        result[row] = f'{what} cannot be computed in stage {task.stage.name!r}' + (f': {why}' if why else '')
    return result


def _runaway(params: BodyParams, row: int) -> str:
    """Name the parameter of a frame that is farthest from anything that a body has."""
    worst, text = 1.0, ''
    for name, value in params.as_dict().items():
        size = float(value[row].abs().max()) if value[row].numel() else 0.0
        off = size / RUNAWAY
        if PARAMETERS[name].kind == 'scale' and value[row].ndim == 0:
            off = max(off, 1 / (RUNAWAY * size)) if size else math.inf
        if not math.isfinite(size):
            return f'{name} is not finite'
        if off > worst:
            worst, text = off, f'{name} has run away to {size:.3g}'
    return text


def with_causes(result: FitResult, numbers: Tensor, logger: logging.Logger) -> FitResult:
    """Take away the parameters of frames that have failed, and say in the report which and why.

    Args:
        result: of all frames; one that was fitted and whose loss is not finite has failed.
        numbers: of these frames in the recording.
        logger: is told.
    """
    report = dict(result.report)
    known: Mapping[str, str] = report.pop(CAUSES, {})
    failed = result.fitted & ~result.per_frame_loss.isfinite()
    rows = failed.nonzero().flatten().tolist()
    if not rows:
        return replace(result, report=report)
    frames = [int(numbers[row]) for row in rows]
    notes = [known.get(str(frame), 'its energy is not finite at the end') for frame in frames]
    report['frames_failed'] = {'count': len(rows), 'rows': rows, 'frames': frames, 'causes': notes}
    sentence = failure_sentence(report['frames_failed'])
    logger.warning('SMPLify: %d of %d frames could not be fitted: %s.', len(rows), len(failed), sentence)

    def without(name: str, value: Tensor) -> Tensor:
        same = PARAMETERS[name].shared and bool((value == value[:1]).all())
        mask = failed.reshape(-1, *(1,) * (value.ndim - 1))
        return value if same else torch.where(mask, torch.nan, value)

    params = BodyParams.of({name: without(name, value) for name, value in result.params.as_dict().items()})
    converged = result.converged & ~failed
    loss = torch.where(failed, torch.nan, result.per_frame_loss)
    return replace(result, params=params, converged=converged, per_frame_loss=loss, report=report)


def failure_sentence(failed: ReportView) -> str:
    """Write out what `report['frames_failed']` holds; a long list is cut."""
    pairs = list(zip(failed['frames'], failed['causes']))
    notes = '; '.join(f'frame {frame}: {cause}' for frame, cause in pairs[:MOST_TOLD])
    more = f'; and {len(pairs) - MOST_TOLD} more' if len(pairs) > MOST_TOLD else ''
    return f'{notes}{more}'


def among_all(
    run: StageRun, rows: Tensor, whole: FitState, share_shape: bool, sizes: Mapping[str, int]
) -> StageRun:
    """Put frames that were fitted at their places; the others have failed, and stand where they began.

    Args:
        run: of the frames that are left.
        rows: which ones.
        whole: all frames where they began.
        share_shape: whether what is shared holds for the failed ones too.
        sizes: of the body.
    """
    end, count = run.state, whole.params.batch_size
    begun = whole.params.as_axis_angle().with_rest(end.params.as_dict(), sizes)
    values = {}
    for name, value in end.params.as_dict().items():
        base = getattr(begun, name)
        if share_shape and PARAMETERS[name].shared:
            base = value[:1].expand_as(base)
        values[name] = base.clone().index_copy(0, rows, value)
    focal = end.log_focal
    if focal is not None and len(focal) > 1:
        focal = focal.new_zeros(count).index_copy(0, rows, focal)
    loss = run.per_frame.new_full((count,), torch.nan).index_copy(0, rows, run.per_frame)
    converged = run.converged.new_zeros(count).index_copy(0, rows, run.converged)
    covariance = None if run.covariance is None else run.covariance.expanded(rows, count)
    state = replace(end, params=BodyParams.of(values), log_focal=focal)
    return replace(run, state=state, per_frame=loss, converged=converged, covariance=covariance)


def _attempt(run: Run, task: StageTask, state: FitState) -> StageOutcome | FloatingPointError:
    try:
        return run(task, state)
    except FloatingPointError as error:
        return error


def _unsolved(task: StageTask, state: FitState) -> StageOutcome:
    """Return a stage that leaves all frames where they are."""
    energy = task.per_frame(state)
    loss = float(energy.double().nan_to_num(0.0, 0.0, 0.0).sum())
    result = SolverResult(loss, loss, 0, 1, 0, StopReason.NON_FINITE)
    return StageOutcome(
        state, torch.zeros_like(energy, dtype=torch.bool), result, energy=energy, engine=NO_ENGINE
    )


def _whole(task: StageTask, state: FitState) -> FitState:
    """Return a state the parameters that a stage adds."""
    params = state.params.as_axis_angle().with_rest(task.stage.fit, task.body.sizes)
    return replace(state, params=params)


def _usable(params: BodyParams) -> Bool[Tensor, ' B']:
    """Return which frames have parameters of a body that a file can hold."""
    result = [value.isfinite().reshape(len(value), -1).all(1) for value in params.as_dict().values()]
    near = (params.transl.abs() < LARGEST).all(1) & (params.scale < LARGEST)
    return torch.stack(result).all(0) & near & (params.scale > 0)


def _split(task: StageTask) -> tuple[StageTask, StageTask]:
    """Return a stage's terms of frames by themselves, and those that tie frames to their neighbours."""
    moving = [bool(term.handler.frame_order) for term in task.terms]
    parts = (tuple(t for t, m in zip(task.terms, moving) if m == wanted) for wanted in (False, True))
    alone, tied = (replace(task, terms=terms) for terms in parts)
    return alone, tied


def _with_rows(best: FitState, other: FitState, rows: Tensor, shared: Sequence[str]) -> FitState:
    """Return some frames what another state has of their own."""
    theirs, values = other.params, {}
    for name, value in best.params.as_dict().items():
        new = getattr(theirs, name)
        if name not in shared and new is not None:
            value = torch.where(rows.reshape(-1, *(1,) * (value.ndim - 1)), new, value)
        values[name] = value
    return replace(best, params=BodyParams.of(values))


def _by_number(task: StageTask, reasons: Mapping[int, str]) -> dict[str, str]:
    frames = task.frames
    return {str(row if frames is None else int(frames[row])): text for row, text in reasons.items()}
