"""Long videos in windows that share some frames, and one fit made of the windows' fits."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from smilfit.registrants.stage import Stage
from smilfit.registrants.stage_task import FitState, StageRun
from smilfit.registrants.variables import with_first_shape
from smilfit.structures import BodyParams, parameter_names


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
    found = []
    for start in starts:
        end = min(start + length, n_frames)
        first = (overlap + 1) // 2 if start else 0
        last = end - start - (overlap // 2 if end < n_frames else 0)
        found.append(Window(torch.arange(start, end), overlap if start else 0, slice(first, last)))
    return found


def evenly_spaced_rows(n_frames: int, count: int) -> Int[Tensor, ' n']:
    """Pick frames all over a video."""
    return torch.linspace(0, n_frames - 1, min(count, n_frames)).round().long()


def warm_start(state: FitState, last: FitState, old: int) -> BodyParams:
    """Go on from the end of the window before: its last frames again, then its very last one for all others."""
    fresh = state.params.batch_size - old
    end = last.params.batch_size
    index = torch.cat((torch.arange(end - old, end), torch.full((fresh,), end - 1, dtype=torch.long)))
    return last.params[index]


def joined(windows: Sequence[Window], runs: Sequence[StageRun]) -> StageRun:
    """Make one run of those of all windows; the history says which window each stage belongs to.

    A frame's loss is its share of its window's.
    """
    if len(windows) == 1:
        return runs[0]
    params = BodyParams.cat([run.state.params[w.kept] for w, run in zip(windows, runs)])
    focal = [run.state.log_focal for run in runs]
    if focal[0] is not None:
        sizes = [run.state.params.batch_size for run in runs]
        focal = torch.cat([f.expand(n)[w.kept] for f, n, w in zip(focal, sizes, windows)])
    history = tuple({'window': i, **stage} for i, run in enumerate(runs) for stage in run.history)
    return StageRun(
        FitState(params, runs[0].state.camera_shift, None if isinstance(focal, list) else focal),
        history,
        torch.cat([run.per_frame[w.kept] for w, run in zip(windows, runs)]),
        torch.cat([run.converged[w.kept] for w, run in zip(windows, runs)]),
    )


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


def windows_summary(windows: Sequence[Window], parts: Sequence[Part]) -> dict[str, Any]:
    """Say which start every frame took and what the others cost; counts of frames are added up."""
    notes: dict[str, Any] = {}
    for part in parts:
        for key, value in part.notes.items():
            notes[key] = notes.get(key, 0) + value if isinstance(value, int) else value
    kept = [(w.kept, p) for w, p in zip(windows, parts)]
    chosen = torch.cat([p.choice[k] for k, p in kept]).tolist()
    # A start that a frame does not have costs nothing that a file could hold.
    losses = [
        [x if math.isfinite(x) else None for x in row] for k, p in kept for row in p.loss[:, k].t().tolist()
    ]
    return notes | {'windows': len(windows), 'hypotheses': {'chosen': chosen, 'losses': losses}}


def tried_starts(windows: Sequence[Window], parts: Sequence[Part]) -> tuple[Tensor, Tensor]:
    """Give what all starts of every frame cost (B, N) and how the body stood at their ends (B, N, 3).

    A start that a frame does not have costs infinitely much, and stands nowhere (NaN).
    """
    most = max(len(part.loss) for part in parts)
    losses, orients = [], []
    for window, part in zip(windows, parts):
        spare = most - len(part.loss)
        loss, orient = part.loss[:, window.kept].t(), part.orient[:, window.kept].transpose(0, 1)
        losses.append(torch.nn.functional.pad(loss, (0, spare), value=torch.inf))
        orients.append(torch.nn.functional.pad(orient, (0, 0, 0, spare), value=torch.nan))
    return torch.cat(losses), torch.cat(orients)


def without_shape(stage: Stage) -> Stage:
    """Give a stage that holds what a clip shares: shape, cameras and focal length."""
    return replace(stage, fit=tuple(n for n in stage.fit if n not in parameter_names(shared=True)))


def with_shape_of(state: FitState, found: FitState) -> FitState:
    """Give all frames the shape and focal length that some of them have found."""
    return FitState(with_first_shape(state.params, found.params), found.camera_shift, found.log_focal)
