"""Long videos in windows that share some frames, and one fit made of the windows' fits."""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from jaxtyping import Int
from torch import Tensor

from smilfit.handlers import BaseHandler, BaseInput
from smilfit.registrants.stage import Report, ReportView, Solver, Stage
from smilfit.registrants.stage_task import NO_ENGINE, FitState, StageRun
from smilfit.solvers import Processes, SecondOrderSolver, StopReason
from smilfit.structures import PARAMETERS, BodyParams, FitCovariance, parameter_names

if TYPE_CHECKING:
    from smilfit.registrants.smplify import SMPLify

# What a stage's history says of frames whose energy was not finite.
STAGE_NOTES = ('frames_failed', 'frames_restarted', 'frames_held', 'not_solved_because')
# What the means of each stage divide by, by handler key.
Totals = list[dict[str, tuple[Tensor, ...]]]


@dataclass(frozen=True)
class Window:
    """Frames that are fitted at once.

    Args:
        rows: the frames.
        old: how many of the first ones the window before has fitted too.
        kept: which of the rows the joined fit takes from this window.
    """

    rows: Int[Tensor, ' n']
    old: int
    kept: slice


def windows_of(n_frames: int, length: int | None, overlap: int) -> list[Window]:
    """Cut frames into windows; of shared ones the first half is taken from the earlier window."""
    if length is None or n_frames <= length:
        return [Window(torch.arange(n_frames), 0, slice(0, n_frames))]
    starts = range(0, n_frames - overlap, length - overlap)
    result = []
    for start in starts:
        end = min(start + length, n_frames)
        first = (overlap + 1) // 2 if start else 0
        last = end - start - (overlap // 2 if end < n_frames else 0)
        result.append(Window(torch.arange(start, end), overlap if start else 0, slice(first, last)))
    return result


def evenly_spaced_rows(n_frames: int, count: int) -> Int[Tensor, ' n']:
    """Pick frames all over a video."""
    return torch.linspace(0, n_frames - 1, min(count, n_frames)).round().long()


def warm_start(state: FitState, last: FitState, old: int) -> BodyParams:
    """Go on from the end of the window before: its last frames again, then its very last one for all others."""
    fresh = state.params.batch_size - old
    end = last.params.batch_size
    index = torch.cat((torch.arange(end - old, end), torch.full((fresh,), end - 1, dtype=torch.long)))
    return last.params[index]


@dataclass(frozen=True)
class PartTask:
    """Frames to fit at once.

    Args:
        plan: the stages, with their epochs.
        inputs: of these frames.
        state: where they are, or what is moved to where they start.
        frames: their numbers.
        find_start: whether the initializer finds starts.
        before: where the window before ended, of windows that follow one another.
        old: how many of these frames that window had too.
        totals: what each stage's means divide by; None for what these frames have.
    """

    plan: Sequence[tuple[int, Stage]]
    inputs: Mapping[str, BaseInput]
    state: FitState
    frames: Tensor
    find_start: bool = False
    before: BodyParams | None = None
    old: int = 0
    totals: Totals | None = None

    def take(self, rows: Tensor) -> 'PartTask':
        """Pick frames."""
        numbers = self.frames[rows.to(self.frames.device)]
        return replace(self, inputs=picked(self.inputs, rows), state=self.state.take(rows), frames=numbers)


@dataclass(frozen=True)
class Part:
    """Frames fitted at once.

    Args:
        start: where they started.
        run: how it went.
        choice: which start each took (B,).
        loss: what all starts cost (N, B); infinite where a frame does not have one.
        orient: how the body stood at each start's end (N, B, 3).
        notes: for the report.
    """

    start: BodyParams
    run: StageRun
    choice: Tensor
    loss: Tensor
    orient: Tensor
    notes: Report


def joined(runs: Sequence[StageRun]) -> StageRun:
    """Make one run of those of all windows, of the frames that are kept; the history says of which window it tells.

    A frame's loss is its share of its window's.
    """
    if len(runs) == 1:
        return runs[0]
    params, focal = BodyParams.cat([run.state.params for run in runs]), joined_focal(runs)
    history = tuple({'window': i, **stage} for i, run in enumerate(runs) for stage in run.history)
    covariances = [run.covariance for run in runs if run.covariance is not None]
    return StageRun(
        FitState(params, runs[0].state.camera_shift, focal),
        history,
        torch.cat([run.per_frame for run in runs]),
        torch.cat([run.converged for run in runs]),
        FitCovariance.cat(covariances) if len(covariances) == len(runs) else None,
        merged_report([run.report for run in runs]),
    )


def joined_focal(runs: Sequence[StageRun]) -> Tensor | None:
    """Return every frame's logarithm of its focal factor; None where none was fitted."""
    parts = [run.state.log_focal for run in runs]
    known = [f.expand(run.state.params.batch_size) for f, run in zip(parts, runs) if f is not None]
    return torch.cat(known) if known else None


def merged_report(reports: Sequence[ReportView]) -> Report:
    """Join what windows report: numbers are added, lists are put one after the other, of texts the first stays."""
    result: Report = {}
    for report in reports:
        for key, value in report.items():
            old = result.get(key)
            if isinstance(value, Mapping):
                result[key] = merged_report([old or {}, value])
            elif old is not None and isinstance(value, (int, float, list)) and not isinstance(value, bool):
                result[key] = old + value
            else:
                result.setdefault(key, value)
    return result


def shape_marked(history: Sequence[ReportView]) -> tuple[Report, ...]:
    """Report that stages are those that found what all frames share."""
    return tuple({'part': 'shape', **entry} for entry in history)


def merged_history(histories: Sequence[Sequence[ReportView]], share: float) -> list[Report]:
    """Return for each stage in all windows together: sums of losses, the most steps, how many windows there were.

    Args:
        histories: of the windows, all of the same stages.
        share: factor on losses, which makes of sums over windows the clip's.
    """
    if len(histories) == 1 and share == 1.0:
        return [dict(entry) for entry in histories[0]]
    result = []
    for entries in zip(*histories):
        first = dict(next((entry for entry in entries if entry['engine'] != NO_ENGINE), entries[0]))
        reasons = {entry['reason'] for entry in entries}
        converged = StopReason.CONVERGED.value
        first['reason'] = converged if reasons == {converged} else min(reasons - {converged})
        for name in ('loss_start', 'loss_end'):
            first[name] = share * sum(entry[name] for entry in entries)
        first['terms'] = {
            k: share * sum(entry['terms'].get(k, 0.0) for entry in entries) for k in first['terms']
        }
        for name in ('steps', 'evaluations'):
            first[name] = max(entry[name] for entry in entries)
        for name in ('recoveries', 'frames_converged'):
            first[name] = sum(entry[name] for entry in entries)
        first['engine'] = ' or '.join(dict.fromkeys(entry['engine'] for entry in entries))
        notes = [{k: entry[k] for k in STAGE_NOTES if k in entry} for entry in entries]
        result.append(first | merged_report(notes) | {'windows': len(histories)})
    return result


def trimmed(part: Part, window: Window) -> Part:
    """Keep of a window's fit the frames that the clip takes from it, and what these share once."""
    kept, run = window.kept, part.run
    if kept == slice(0, len(window.rows)):
        return part
    rows = torch.arange(run.state.params.batch_size, device=run.per_frame.device)[kept]
    state = run.state.take(rows)
    own = replace(
        run,
        state=replace(state, params=state.params.kept_once()),
        per_frame=run.per_frame[rows],
        converged=run.converged[rows],
        covariance=None if run.covariance is None else run.covariance.take(rows),
    )
    return replace(
        part,
        start=part.start[rows].kept_once(),
        run=own,
        choice=part.choice[rows],
        loss=part.loss[:, rows],
        orient=part.orient[:, rows],
    )


def without_shape(stage: Stage) -> Stage:
    """Return a stage that holds what a clip shares: shape, cameras and focal length."""
    held = tuple(n for n in stage.fit if n not in parameter_names(shared=True))
    return replace(stage, fit=held, fit_cameras=())


def without_motion(stage: Stage, handlers: Mapping[str, BaseHandler]) -> Stage:
    """Return a stage without the terms that tie frames to their neighbours: its frames lie far apart."""
    weights = {key: w for key, w in stage.weights.items() if not handlers[key].frame_order}
    return replace(stage, weights=weights)


def without_covariance(stage: Stage, optimizer: Solver) -> Stage:
    """Return a stage whose solver is not asked for a covariance: nobody looks at it where other stages follow."""
    solver = stage.optimizer or optimizer
    if not isinstance(solver, SecondOrderSolver) or not solver.covariance:
        return stage
    quick = copy(solver)
    quick.covariance = False
    return replace(stage, optimizer=quick)


def without_matrices(part: Part) -> Part:
    """Drop what computes the matrices of a part's covariance: joined parts have none, and it holds all inputs."""
    covariance = part.run.covariance
    if covariance is None:
        return part
    return replace(part, run=replace(part.run, covariance=replace(covariance, whole=None)))


def with_shape_of(state: FitState, run: StageRun) -> FitState:
    """Return all frames the shape and focal length that some of them have found, and how sure they are of it."""
    result, doubt = run.state, None if run.covariance is None else run.covariance.shared
    params = with_first_shape(state.params, result.params)
    return replace(result, params=params, doubt=doubt)


@dataclass(frozen=True)
class ClipFit:
    """The fits of all parts of a clip.

    Args:
        windows: of the clip.
        parts: a fit a window, of the frames that are taken from it.
        shape: the fit that found what all frames share; None where each window's frames find it.
        n_sampled: how many frames that fit had.
    """

    windows: tuple[Window, ...]
    parts: tuple[Part, ...]
    shape: Part | None = None
    n_sampled: int = 0

    @property
    def begun(self) -> BodyParams:
        """Return where all frames started."""
        return BodyParams.cat([part.start for part in self.parts])

    def run(self) -> StageRun:
        """Join the fits; the history says which window each stage belongs to."""
        history = () if self.shape is None else self.shape.run.history
        run = joined([part.run for part in self.parts])
        return replace(run, history=(*history, *run.history))

    def summed(self) -> StageRun:
        """Join the fits; the history has an entry a stage, of all windows together.

        Means divide by what the sampled frames have: here they become those of the clip.
        """
        run = joined([part.run for part in self.parts])
        lengths = [len(window.rows) for window in self.windows]
        share = 1.0 if self.shape is None else self.n_sampled / sum(lengths)
        shape = () if self.shape is None else shape_marked(self.shape.run.history)
        whole = merged_history([part.run.history for part in self.parts], share)
        count = len(run.per_frame)
        per_frame = run.per_frame if self.shape is None else run.per_frame * (self.n_sampled / count)
        return replace(run, history=(*shape, *whole), per_frame=per_frame)

    @property
    def notes(self) -> Report:
        """Add up what the parts have counted."""
        result: Report = {}
        for part in self.parts:
            for key, value in part.notes.items():
                result[key] = result.get(key, 0) + value if isinstance(value, int) else value
        return result


def fit_clip(
    fitter: 'SMPLify',
    inputs: Mapping[str, BaseInput],
    start: BodyParams,
    find_start: bool,
    frames: Tensor,
) -> ClipFit:
    """Fit a clip in the parts that a registrant asks for.

    Where processes share the work, each fits windows of its own, and all are given all of them.
    """
    windows = tuple(fitter.windows(len(frames)))
    processes = fitter.processes
    together = len(windows) > 1 and processes.count > 1
    alone = fitter.alone() if together else fitter
    whole, shape = PartTask(fitter.plan, inputs, FitState(start), frames, find_start), None
    rows = fitter.shape_rows(len(frames))
    if rows is not None:
        sampled = replace(whole.take(rows), plan=fitter.shape_plan)
        shape = without_matrices(alone.kept('shape', partial(alone.fit_part, sampled), windows))
        if together:
            shape = first_of(shape, processes)
        held = ((epoch, without_shape(stage)) for epoch, stage in whole.plan)
        plan = [(epoch, stage) for epoch, stage in held if stage.fit]
        totals = fitter.sampled_totals(replace(sampled, plan=plan, state=shape.run.state))
        whole = replace(whole, plan=plan, state=with_shape_of(whole.state, shape.run), totals=totals)
    mine = processes.share(len(windows)) if together else slice(None)
    parts: list[Part] = []
    last: Part | None = None
    for i, window in list(enumerate(windows))[mine]:
        task = replace(whole.take(window.rows), old=window.old)
        if last is not None:
            task = replace(task, before=warm_start(task.state, last.run.state, window.old))
        part = alone.kept(f'window_{i:05d}', partial(alone.fit_part, task), windows)
        part = without_matrices(part) if len(windows) > 1 else part
        last = part if fitter.chained else None
        parts.append(trimmed(part, window))
    if together:
        parts = processes.gather_list(parts)
    return ClipFit(windows, tuple(parts), shape, 0 if rows is None else len(rows))


def first_of(part: Part, processes: Processes) -> Part:
    """Return the first process's fit to all: they may differ by a rounding."""
    return processes.gather_list([part])[0]


def picked(inputs: Mapping[str, BaseInput], rows: Tensor) -> dict[str, BaseInput]:
    """Pick frames of all inputs."""
    return {key: item[rows] for key, item in inputs.items()}


def no_choice(params: BodyParams) -> Report:
    """Return what a part of one start says of its starts."""
    count, device = params.batch_size, params.transl.device
    return {
        'choice': torch.zeros(count, dtype=torch.long, device=device),
        'loss': params.transl.new_zeros(1, count),
        'orient': params.global_orient.unsqueeze(0).detach(),
    }


def with_first_shape(params: BodyParams, of: BodyParams) -> BodyParams:
    """Return every frame what another body's first frame has of what is shared with the shape."""
    shape = {n: v[:1] for n, v in of.as_dict().items() if PARAMETERS[n].shared}
    return params.replace(**{n: v.expand(params.batch_size, *v.shape[1:]).clone() for n, v in shape.items()})
