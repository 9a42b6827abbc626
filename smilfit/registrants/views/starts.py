"""Several starts for every frame, and which of them each frame goes on from."""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from smilfit.registrants.clip_fit import Part, PartTask, joined_focal, merged_report, picked
from smilfit.registrants.stage import Report
from smilfit.registrants.stage_task import StageRun
from smilfit.structures import BodyParams

# Frames of different starts are never neighbours in time: so far apart are their numbers.
GAP = 10


def repeated(part: PartTask, count: int) -> PartTask:
    """Return every frame's observations for the bodies of `count` starts, all frames of the first start first."""
    frames, batch = part.frames, len(part.frames)
    rows = torch.arange(batch).repeat(count)
    span = int(frames.max() - frames.min()) + GAP if batch else 0
    numbers = frames.repeat(count) + span * torch.arange(count, device=frames.device).repeat_interleave(batch)
    state, focal = part.state, part.state.log_focal
    if focal is not None and len(focal) > 1:
        state = replace(state, log_focal=focal.repeat(count))
    return replace(part, inputs=picked(part.inputs, rows), frames=numbers, state=state)


def best_path(
    loss: Float[Tensor, 'H B'],
    rotation: Float[Tensor, 'H B 3 3'],
    continues: Bool[Tensor, ' B'],
    rotation_weight: float,
) -> Int[Tensor, ' B']:
    """Choose one start for each frame so that losses and turns from frame to frame are least (Viterbi 1967).

    Args:
        loss: of every start and frame.
        rotation: of the body.
        continues: whether a frame follows the one before it; where not, its choice is free.
        rotation_weight: what a radian from one frame to the next costs, squared; 0 lets every frame choose.
    """
    count, batch = loss.shape
    total, came_from = loss[:, 0], torch.zeros(batch, count, dtype=torch.long, device=loss.device)
    for frame in range(1, batch):
        if not bool(continues[frame]) or not rotation_weight:
            came_from[frame] = total.argmin()
            total = total.min() + loss[:, frame]
            continue
        rotation_matrix = angle_between(rotation[:, None, frame], rotation[None, :, frame - 1])
        through = total + rotation_weight * rotation_matrix.square()
        least, came_from[frame] = through.min(1)
        total = least + loss[:, frame]
    path = [int(total.argmin())]
    for frame in range(batch - 1, 0, -1):
        path.append(int(came_from[frame, path[-1]]))
    return torch.tensor(path[::-1], device=loss.device)


def path_cost(
    loss: Float[Tensor, 'H B'],
    rotation: Float[Tensor, 'H B 3 3'],
    continues: Bool[Tensor, ' B'],
    rotation_weight: float,
    path: Int[Tensor, ' B'],
) -> float:
    """Return what `best_path` makes least, of a path."""
    frames = torch.arange(len(path), device=path.device)
    along = rotation[path, frames]
    turns = angle_between(along[1:], along[:-1]).square() * continues[1:].to(along)
    return float(loss[path, frames].sum() + rotation_weight * turns.sum())


def rows_by_kind(kind: Int[Tensor, ' N']) -> list[Int[Tensor, ' n']]:
    """Return the rows of each kind that there is, in the order of the kinds' numbers."""
    return [(kind == k).nonzero().flatten() for k in kind.unique().tolist()]


def in_order(runs: Sequence[StageRun], rows: Sequence[Tensor]) -> StageRun:
    """Make one run of runs on parts of the frames; `rows` says which each had.

    Covariances and corrections of cameras are those of one run alone: none are kept.
    """
    if len(runs) == 1:
        return runs[0]
    back = torch.cat(list(rows)).argsort()
    params = BodyParams.cat([run.state.params for run in runs])[back]
    focal = joined_focal(runs)
    history = tuple({**stage, 'frames': len(r)} for run, r in zip(runs, rows) for stage in run.history)
    return StageRun(
        replace(runs[0].state, params=params, log_focal=None if focal is None else focal[back]),
        history,
        torch.cat([run.per_frame for run in runs])[back],
        torch.cat([run.converged for run in runs])[back],
        report=merged_report([run.report for run in runs]),
    )


def angle_between(a: Float[Tensor, '*#n 3 3'], b: Float[Tensor, '*#n 3 3']) -> Float[Tensor, '*n']:
    """Measure the angle (rad) between rotations, without a derivative."""
    return (((a * b).sum((-1, -2)) - 1) / 2).clamp(-1, 1).acos()


def starts_summary(parts: Sequence[Part]) -> Report:
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
