"""Long videos in windows that share some frames, and one fit made of the windows' fits."""

import math
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from smilfit.handlers import BaseHandler
from smilfit.registrants.history import NO_ENGINE
from smilfit.registrants.stage import Stage
from smilfit.registrants.stage_task import FitState, StageRun
from smilfit.registrants.variables import with_first_shape
from smilfit.solvers import StopReason
from smilfit.structures import BodyParams, FitCovariance, parameter_names

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
    notes: dict[str, Any]


def joined(runs: Sequence[StageRun]) -> StageRun:
    """Make one run of those of all windows, of the frames that are kept; the history says of which window it tells.

    A frame's loss is its share of its window's.
    """
    if len(runs) == 1:
        return runs[0]
    params = BodyParams.cat([run.state.params for run in runs])
    focal = [run.state.log_focal for run in runs]
    if focal[0] is not None:
        sizes = [run.state.params.batch_size for run in runs]
        focal = torch.cat([f.expand(n) for f, n in zip(focal, sizes)])
    history = tuple({'window': i, **stage} for i, run in enumerate(runs) for stage in run.history)
    covariances = [run.covariance for run in runs if run.covariance is not None]
    return StageRun(
        FitState(params, runs[0].state.camera_shift, None if isinstance(focal, list) else focal),
        history,
        torch.cat([run.per_frame for run in runs]),
        torch.cat([run.converged for run in runs]),
        FitCovariance.cat(covariances) if len(covariances) == len(runs) else None,
        merged_report([run.report for run in runs]),
    )


def merged_report(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Join what windows report: numbers are added, lists are put one after the other, of texts the first stays."""
    result: dict[str, Any] = {}
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


def shape_marked(history: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], ...]:
    """Report that stages are those that found what all frames share."""
    return tuple({'part': 'shape', **entry} for entry in history)


def merged_history(histories: Sequence[Sequence[Mapping[str, Any]]], share: float) -> list[dict[str, Any]]:
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


def starts_summary(parts: Sequence[Part]) -> dict[str, Any]:
    """Return which start every frame took and what the others cost."""
    chosen = torch.cat([part.choice for part in parts]).tolist()
    # A start that a frame does not have costs nothing that a file could hold.
    losses = [
        [x if math.isfinite(x) else None for x in row] for part in parts for row in part.loss.t().tolist()
    ]
    return {'windows': len(parts), 'hypotheses': {'chosen': chosen, 'losses': losses}}


def tried_starts(parts: Sequence[Part]) -> tuple[Tensor, Tensor]:
    """Return what all starts of every frame cost (B, N) and how the body stood at their ends (B, N, 3).

    A start that a frame does not have costs infinitely much, and stands nowhere (NaN).
    """
    most = max(len(part.loss) for part in parts)
    losses, orients = [], []
    for part in parts:
        spare = most - len(part.loss)
        loss, orient = part.loss.t(), part.orient.transpose(0, 1)
        losses.append(torch.nn.functional.pad(loss, (0, spare), value=torch.inf))
        orients.append(torch.nn.functional.pad(orient, (0, 0, 0, spare), value=torch.nan))
    return torch.cat(losses), torch.cat(orients)


def without_shape(stage: Stage) -> Stage:
    """Return a stage that holds what a clip shares: shape, cameras and focal length."""
    held = tuple(n for n in stage.fit if n not in parameter_names(shared=True))
    return replace(stage, fit=held, fit_cameras=())


def without_motion(stage: Stage, handlers: Mapping[str, BaseHandler]) -> Stage:
    """Return a stage without the terms that tie frames to their neighbours: its frames lie far apart."""
    weights = {key: w for key, w in stage.weights.items() if not handlers[key].frame_order}
    return replace(stage, weights=weights)


def without_covariance(stage: Stage, optimizer: Any) -> Stage:
    """Return a stage whose solver is not asked for a covariance: nobody looks at it where other stages follow."""
    solver = stage.optimizer or optimizer
    if not getattr(solver, 'covariance', False):
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
