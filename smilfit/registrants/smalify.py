"""SMALify: fit a body to images, one view of each, from several starts."""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.geometry.rotation import axis_angle_to_rotmat
from smilfit.handlers import BaseHandler, BaseInput
from smilfit.registrants.hypotheses import best_path, repeated
from smilfit.registrants.matching import as_inputs
from smilfit.registrants.part_files import PartFiles
from smilfit.registrants.smplify import SMPLify
from smilfit.registrants.stage import Stage
from smilfit.registrants.stage_task import FitState, StageRun
from smilfit.registrants.variables import share_shape
from smilfit.registrants.view_initializer import ViewInitializer
from smilfit.registrants.windows import (
    Part,
    Window,
    evenly_spaced_rows,
    joined,
    warm_start,
    windows_of,
    windows_summary,
    with_shape_of,
    without_shape,
)
from smilfit.registry import REGISTRANTS, UnknownNameError, did_you_mean
from smilfit.structures import BodyParams, FitResult


@REGISTRANTS.register_module()
class SMALify(SMPLify):
    """Stage-wise fitting to single images, image sets and videos: keypoints, masks or both (Biggs et al. 2018).

    One view leaves depth and orientation in doubt. Each frame has several starts; the first stages fit all of them
    at once, each with a shape of its own, and each frame goes on from the best: in a video from those that
    make the smoothest path. Scale is not fitted unless a stage says so: one view shows a body's size and
    its distance as one. A focal length that is not known is fitted by stages with `fit_focal` (solvers of first
    order), one for all frames where they share their shape.

    Args:
        body_model: the body.
        stages: as of `SMPLify`.
        handlers: the terms.
        n_hypotheses: how many starts a frame has, where the initializer gives several (`candidates`).
        hypothesis_stages: how many of the first stages fit all of them.
        path_weight: what a turn of one radian between neighbouring frames of a video costs, in units of a frame's
            median loss. Frames are a video where they share their shape or a handler couples them.
        window: most frames fitted at once; None for all. Windows of a video are fitted in turn, each from the
            end of the last one. Where frames share their shape it is found first, from frames of the whole video.
        overlap: frames that a window shares with the one before.
        mask_side: masks are reduced so that their longer side is at most this, px; None keeps them.
        part_files: keeps the fits of windows, so that a fit that was stopped goes on; may be changed between fits.
        optional_handlers: keys of handlers that are left out, and reported, where they are given no Input: one config
            then serves keypoints, masks and both.
        initializer: finds the starts; `ViewInitializer()` if `'views'`.
        kwargs: as of `SMPLify`.
    """

    def __init__(
        self,
        body_model: SMIL,
        stages: Sequence[Stage | Mapping[str, Any]],
        handlers: Sequence[BaseHandler],
        n_hypotheses: int = 4,
        hypothesis_stages: int = 1,
        path_weight: float = 2.0,
        window: int | None = None,
        overlap: int = 0,
        mask_side: int | None = None,
        part_files: PartFiles | None = None,
        optional_handlers: Sequence[str] = (),
        initializer: Any = 'views',
        **kwargs: Any,
    ) -> None:
        initializer = ViewInitializer() if initializer == 'views' else initializer
        super().__init__(body_model, stages, handlers, initializer=initializer, **kwargs)
        if self.try_swaps:
            raise ValueError(
                'SMALify: try_swaps must be False; got True. One view shows both sides alike: '
                'use SMPLify with several.'
            )
        if n_hypotheses < 1 or not 0 <= hypothesis_stages <= len(self.stages):
            raise ValueError(
                f'SMALify: n_hypotheses must be at least 1 and hypothesis_stages at most {len(self.stages)}, as many '
                f'as there are stages; got {n_hypotheses} and {hypothesis_stages}.'
            )
        if window is not None and not 0 <= overlap < window:
            raise ValueError(f'SMALify: overlap must be less than window; got {overlap} and {window}.')
        self.n_hypotheses, self.hypothesis_stages = n_hypotheses, hypothesis_stages
        self.path_weight, self.window, self.overlap = path_weight, window, overlap
        self.mask_side = mask_side
        self.part_files = part_files
        for key in optional_handlers:
            if key not in self.handlers:
                raise UnknownNameError(
                    f'SMALify: optional_handlers must be handlers; got {key!r}. {did_you_mean(key, self.handlers)}'
                )
        self.optional_handlers = tuple(optional_handlers)

    @property
    def _is_video(self) -> bool:
        weighted = {key for stage in self.stages for key, weight in stage.weights.items() if weight}
        return self.use_one_betas_per_video or any(self.handlers[key].frame_order for key in weighted)

    def __call__(
        self,
        input_list: Sequence[Any],
        init_params: BodyParams | Mapping[str, Tensor] | None = None,
        frames: Sequence[int] | np.ndarray | Tensor | None = None,
    ) -> FitResult:
        """Fit; as `SMPLify`, without the optional handlers that have no Input and the stages that only they have."""
        given = {item.handler_key for item in as_inputs(input_list, self.handlers)}
        absent = [key for key in self.optional_handlers if key not in given]
        if not absent:
            return super().__call__(input_list, init_params, frames)
        fitter = self._without(absent)
        left_out = [stage.name for stage in self.stages if stage.name not in {s.name for s in fitter.stages}]
        self.logger.info('SMALify: no input for %s; stages left out: %s.', absent, left_out or 'none')
        result = fitter(input_list, init_params, frames)
        left_out_report = {'handlers_without_input': absent, 'stages_without_input': left_out}
        return replace(result, report=result.report | left_out_report)

    def _without(self, absent: Sequence[str]) -> 'SMALify':
        """Give this registrant without some handlers, and without stages that would be left with priors alone."""
        stages, tried = [], 0
        for i, stage in enumerate(self.stages):
            weights = {key: weight for key, weight in stage.weights.items() if key not in absent}
            if weights == stage.weights or any(
                weight and self.handlers[key].requires_input() for key, weight in weights.items()
            ):
                stages.append(replace(stage, weights=weights))
                tried += i < self.hypothesis_stages
        fitter = copy(self)
        fitter.stages, fitter.optional_handlers = stages, ()
        # Where all stages that tried every start are gone, the first of the others does.
        fitter.hypothesis_stages = max(tried, min(self.hypothesis_stages, 1, len(stages)))
        return fitter

    def keep_parts(self, part_files: PartFiles | None) -> None:
        """Keep the windows of the next fits in files, so that one that was stopped goes on; None keeps none."""
        self.part_files = part_files

    def n_parts(self, n_frames: int) -> int:
        """Say in how many windows so many frames are fitted, and whether a shape is found before them."""
        count = len(self._windows(n_frames))
        return count + (count > 1 and self.use_one_betas_per_video)

    def why_not_distributed(self, n_frames: int, n_processes: int) -> str:
        """Say why frames are not distributed over processes: starts and windows are compared in one."""
        return (
            f'SMALify must fit all starts and windows of a sequence in one process; got {n_processes}. Give each '
            'process whole sequences.'
        )

    def _windows(self, n_frames: int) -> list[Window]:
        return windows_of(n_frames, self.window, self.overlap if self._is_video else 0)

    def _kept(self, name: str, fit: Callable[[], Part], windows: Sequence[Window]) -> Part:
        """Fit a part, or read what an earlier run of the same fit left of it."""
        return fit() if self.part_files is None or len(windows) == 1 else self.part_files.get(name, fit)

    def _fit(
        self,
        inputs: Mapping[str, BaseInput],
        start: BodyParams,
        find_start: bool,
        frames: Tensor,
        report: dict[str, Any],
    ) -> FitResult:
        if self.mask_side is not None:
            inputs = {k: i.resized(self.mask_side) for k, i in inputs.items()}
        find_start = find_start and self.initializer is not None
        windows = self._windows(len(frames))
        state, plan, history = FitState(start), self._plan, ()
        if len(windows) > 1 and self.use_one_betas_per_video:
            rows = evenly_spaced_rows(len(frames), self.window)
            given = (plan, _pick(inputs, rows), state.take(rows), frames[rows], find_start)
            first = self._kept('shape', partial(self._fit_part, *given), windows)
            state, history = with_shape_of(state, first.run.state), first.run.history
            plan = [(epoch, without_shape(stage)) for epoch, stage in plan]
        parts: list[Part] = []
        for i, window in enumerate(windows):
            here = state.take(window.rows)
            before = None
            if parts and self._is_video:
                before = warm_start(here, parts[-1].run.state, window.old)
            given = (_pick(inputs, window.rows), here, frames[window.rows], find_start, before, window.old)
            parts.append(self._kept(f'window_{i:05d}', partial(self._fit_part, plan, *given), windows))
        run = joined(windows, [part.run for part in parts])
        run = replace(run, history=(*history, *run.history))
        begun = BodyParams.cat([part.start[w.kept] for w, part in zip(windows, parts)])
        return self._result(run, inputs, report | windows_summary(windows, parts), begun)

    def _fit_part(
        self,
        plan: Sequence[tuple[int, Stage]],
        inputs: Mapping[str, BaseInput],
        state: FitState,
        frames: Tensor,
        find_start: bool,
        before: BodyParams | None = None,
        old: int = 0,
    ) -> Part:
        """Fit frames from all their starts.

        Args:
            plan: the stages.
            inputs: of these frames.
            state: where they are, or what is moved to where they start.
            frames: their numbers.
            find_start: whether the initializer finds starts.
            before: one more start, where the frames before ended.
            old: how many of the first frames have no other start.
        """
        batch, notes = len(frames), {}
        starts = [] if find_start else [state.params]
        if find_start:
            found, notes = self._found(list(inputs.values()), state.params)
            self._warn_of_scale(notes)
            starts = [found[h : h + batch] for h in range(0, found.batch_size, batch)]
        starts += [] if before is None else [before]
        every = BodyParams.cat(starts)
        count = self.hypothesis_stages if len(starts) > 1 else 0
        loss = every.transl.new_zeros(len(starts), batch)
        state, tried = replace(state, params=every[:batch]), ()
        choice = torch.zeros(batch, dtype=torch.long, device=loss.device)
        if count:
            first = self._try(plan[:count], inputs, replace(state, params=every), frames, len(starts))
            loss, tried = first.per_frame.reshape(-1, batch).nan_to_num(torch.inf, torch.inf), first.history
            # What the window before has fitted goes on from there.
            loss[:-1, :old] = torch.inf
            choice = self._choice(loss, first.state.params, frames)
            state = first.state.take(_rows(choice))
        if self.use_one_betas_per_video:
            focal = None if state.log_focal is None else state.log_focal.mean(0, keepdim=True)
            state = replace(state, params=share_shape(state.params), log_focal=focal)
        run = self._run_stages(plan[count:], inputs, state, frames)
        run = replace(run, history=(*tried, *run.history))
        return Part(every[_rows(choice)], run, choice, loss, notes)

    def _try(
        self,
        plan: Sequence[tuple[int, Stage]],
        inputs: Mapping[str, BaseInput],
        state: FitState,
        frames: Tensor,
        count: int,
    ) -> StageRun:
        """Fit every frame from all its starts, each with a shape of its own."""
        many, numbers = repeated(inputs, frames, count)
        focal = state.log_focal
        focal = focal if focal is None or len(focal) == 1 else focal.repeat(count)
        return self._run_stages(plan, many, replace(state, log_focal=focal), numbers, share_shape=False)

    def _found(self, inputs: list[BaseInput], start: BodyParams) -> tuple[BodyParams, dict[str, Any]]:
        shared = self.use_one_betas_per_video
        if hasattr(self.initializer, 'candidates'):
            count = self.n_hypotheses
            return self.initializer.candidates(self.body, inputs, start, count, shared, self._scaled)
        return self.initializer(self.body, inputs, start, shared, self._scaled)

    def _choice(self, loss: Tensor, params: BodyParams, frames: Tensor) -> Tensor:
        rotation = axis_angle_to_rotmat(params.global_orient).unflatten(0, loss.shape)
        follows = torch.zeros(len(frames), dtype=torch.bool)
        follows[1:] = (frames[1:] - frames[:-1]).cpu() == 1
        unit = loss.amin(0).median() if self._is_video else 0.0
        return best_path(loss, rotation, follows, self.path_weight * float(unit))


def _pick(inputs: Mapping[str, BaseInput], rows: Tensor) -> dict[str, BaseInput]:
    return {key: item[rows] for key, item in inputs.items()}


def _rows(choice: Tensor) -> Tensor:
    """Give the rows of chosen starts, all frames of the first start first."""
    batch = len(choice)
    return choice * batch + torch.arange(batch, device=choice.device)
