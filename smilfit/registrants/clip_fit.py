"""A clip fitted in parts: what all frames share, from frames all over it, then windows, each by itself or in turn."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from smilfit.handlers import BaseInput
from smilfit.registrants.stage_task import FitState, StageRun
from smilfit.registrants.windows import (
    Part,
    Window,
    joined,
    merged_history,
    shape_marked,
    trimmed,
    warm_start,
    with_shape_of,
    without_matrices,
    without_shape,
)
from smilfit.solvers import Processes
from smilfit.structures import BodyParams

if TYPE_CHECKING:
    from smilfit.registrants.smplify import SMPLify


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
    def notes(self) -> dict[str, Any]:
        """Add up what the parts have counted."""
        result: dict[str, Any] = {}
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
    state, plan, totals, shape = FitState(start), fitter.plan, None, None
    rows = fitter.shape_rows(len(frames))
    if rows is not None:
        given = (fitter.shape_plan, picked(inputs, rows), state.take(rows), frames[rows], find_start)
        shape = without_matrices(alone.kept('shape', partial(alone.fit_part, *given), windows))
        if together:
            shape = first_of(shape, processes)
        state = with_shape_of(state, shape.run)
        held = ((epoch, without_shape(stage)) for epoch, stage in plan)
        plan = [(epoch, stage) for epoch, stage in held if stage.fit]
        totals = fitter.sampled_totals(plan, picked(inputs, rows), shape.run.state, frames[rows])
    mine = processes.share(len(windows)) if together else slice(None)
    parts: list[Part] = []
    before: Part | None = None
    for i, window in list(enumerate(windows))[mine]:
        here = state.take(window.rows)
        warm = None if before is None else warm_start(here, before.run.state, window.old)
        given = (plan, picked(inputs, window.rows), here, frames[window.rows], find_start, warm, window.old)
        part = alone.kept(f'window_{i:05d}', partial(alone.fit_part, *given, totals), windows)
        part = without_matrices(part) if len(windows) > 1 else part
        before = part if fitter.chained else None
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


def no_choice(params: BodyParams) -> dict[str, Any]:
    """Return what a part of one start says of its starts."""
    count, device = params.batch_size, params.transl.device
    return {
        'choice': torch.zeros(count, dtype=torch.long, device=device),
        'loss': params.transl.new_zeros(1, count),
        'orient': params.global_orient.unsqueeze(0).detach(),
    }
