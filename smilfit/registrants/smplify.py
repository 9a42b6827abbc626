"""SMPLify: fit a body to observations in stages, handlers and all else by config."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace

import torch
from torch import Tensor

from smilfit.handlers import BaseHandler, BaseInput
from smilfit.registrants.clip_fit import (
    ClipFit,
    Part,
    PartTask,
    Totals,
    Window,
    evenly_spaced_rows,
    fit_clip,
    merged_report,
    no_choice,
    picked,
    windows_of,
    without_covariance,
    without_motion,
)
from smilfit.registrants.distributed import run_distributed, unsupported_reason
from smilfit.registrants.gradient_stage import run_first_order
from smilfit.registrants.initializer import (
    Initializer,
    check_start,
    share_shape,
    start_params,
    with_usual_scale,
)
from smilfit.registrants.input_matching import (
    FrameNumbers,
    GivenInput,
    as_inputs,
    check_batch,
    match,
    numbered,
)
from smilfit.registrants.observation_checks import behind_cameras, check_cameras
from smilfit.registrants.part_files import PartFiles
from smilfit.registrants.recovery import among_all, run_recovering, with_causes
from smilfit.registrants.second_order import run_second_order
from smilfit.registrants.stage import Report, ReportView, Solver, Stage, keypoint_weights
from smilfit.registrants.stage_task import (
    FitState,
    StageOutcome,
    StageRun,
    StageTask,
    corrected_cameras,
    first_cameras,
    history_entry,
    sentence_of,
    skipped_entry,
    task_of,
)
from smilfit.registrants.stagewise import StagewiseRegistrant, described, observed_names
from smilfit.registrants.swaps import SwapSearch, describe, inputs_of, swap_sentences, with_exchanged
from smilfit.registry import REGISTRANTS
from smilfit.solvers import Processes, SecondOrderSolver
from smilfit.solvers.base import StepCallback
from smilfit.structures import BodyParams, Cameras, FitCovariance, FitResult, SharedUncertainty


@REGISTRANTS.register_module()
class SMPLify(StagewiseRegistrant):
    """Stage-wise fitting of a body model to keypoints and whatever else has a handler.

    Args:
        body_model: the body.
        stages: what each stage fits and weights, as `Stage` or as a dict in XRMoCap's form.
        handlers: the terms; one that no stage weights costs nothing.
        optimizer: the solver of stages that name none; L-BFGS with strong Wolfe line search if None.
        n_epochs: how often the stages are run through.
        use_one_betas_per_video: one shape, one scale and one set of bones for all frames.
        ignore_keypoints: keypoints that take no part.
        initializer: finds the starting position; None starts where the caller's parameters say, or at rest.
        device: where to compute; the body model's own if None.
        hooks: called as `hook(stage, step, loss)` after every step; True ends the stage. See `RegistrantHook`.
        verbose: whether to log progress.
        info_level: `'stage'` or `'step'`.
        logger: a logger or its name.
        processes: those that fit one clip together, each a part of its frames; every one is given all of them, and
            returns the whole result. None for this process alone.
        window: most frames fitted at once; None for all. Memory does not grow with the clip, and a fit that was
            stopped goes on after its last whole window.
        overlap: frames that a window shares with the one before: half of them is taken from each, so that motion
            terms leave no seam.
        shape_frames: what all frames share (shape, scale, sizes, landmarks, cameras) is found first, from so many
            frames all over the clip, each by itself (without motion terms); then poses, with all that held. None
            finds it with the poses. It needs `use_one_betas_per_video`.
        try_swaps: whether frames try left and right keypoints exchanged after the first stage that fits poses
            (`SwapSearch`), in one process; `report['swapped_keypoints']` says which were. It costs about half of
            that stage again. Clean labels stay, but it helps only where sides were mistaken: off by default.
        unswap: puts left and right keypoints back that were mistaken for each other, by what the views and motion
            say, before anything is fitted; `report['unswapped_keypoints']` says which. None leaves them.
    """

    def __call__(
        self,
        input_list: Sequence[GivenInput],
        init_params: BodyParams | Mapping[str, Tensor] | None = None,
        frames: FrameNumbers | None = None,
    ) -> FitResult:
        """Fit.

        Args:
            input_list: Inputs, or bare `Keypoints2d` / `Keypoints3d` that exactly one handler takes.
            init_params: where to start (one body, or one a frame), instead of the initializer's place.
            frames: the frames' numbers in the recording, where some are missing; motion is not smoothed over gaps.

        Raises:
            KeyError: an Input without its handler, or a weighted handler without its Input.
            ValueError: two Inputs of one key, or of different batch sizes; frames that cannot be distributed over the
                processes, by stage and handler.
            TypeError: a stage's solver is of second order and cannot take a handler that it weights.
        """
        for stage in self.stages:
            _check_order(stage, stage.optimizer or self.optimizer, self.handlers)
        inputs = {i.handler_key: i for i in as_inputs(input_list, self.handlers)}
        weighted = {key for stage in self.stages for key, weight in stage.weights.items() if weight}
        match(inputs, self.handlers, weighted)
        batch = check_batch(inputs)
        for key, note in self.notes().items():
            self.logger.info('SMPLify: %s: %s', key, note)
        cameras_report = check_cameras(inputs, self.stages, self.logger)
        like = self.body.v_template
        inputs = {k: i.resolve(self.body.data).to(like.device).to(like.dtype) for k, i in inputs.items()}
        start = start_params(self.body, init_params, batch)
        report = self._ignored(inputs) | self._fitted_rows()
        observed = self._counting(inputs, report)
        self._check_processes(int(observed.sum()))
        numbers = numbered(frames, batch)
        cameras = first_cameras(inputs)
        if not bool(observed.all()):
            # What nobody saw is not fitted, and not made up.
            inputs = {k: i[observed.to(like.device)] for k, i in inputs.items()}
            start, numbers = start[observed.to(like.device)], numbers[observed]
        check_start(start)
        if self.unswap is not None:
            inputs, exchanged = self.unswap(inputs, self.body.data, numbers)
            report['unswapped_keypoints'] = exchanged
            for sentence in swap_sentences(report):
                self.logger.warning('SMPLify: %s.', sentence)
        if self.use_one_betas_per_video:
            start, odd = with_usual_scale(start)
            report |= {'frames_of_odd_scale': odd} if odd else {}
            start = share_shape(start)
        report['frames_not_observed'] = int((~observed).sum())
        report |= cameras_report
        self._report_underdetermined(inputs, observed, report)
        report |= self._report_unmoved(inputs, start)
        inputs = self._prepared(inputs)
        find_start = init_params is None and self.initializer is not None
        result = self._finished(fit_clip(self, inputs, start, find_start, numbers), inputs, report)
        result = result if bool(observed.all()) else self._expanded(result, observed, cameras)
        result = with_causes(result, numbered(frames, batch), self.logger)
        return described(result, self.body, cameras, observed_names(inputs))

    def keep_parts(self, part_files: PartFiles | None) -> None:
        """Keep the windows of the next fits in files, so that one that was stopped goes on; None keeps none."""
        self.part_files = part_files

    @property
    def n_steps(self) -> int:
        """The most steps that all stages of one part may take."""
        return self.n_epochs * sum(stage.n_iter for stage in self.stages)

    def n_parts(self, n_frames: int) -> int:
        """Report in how many windows so many frames are fitted, and whether a shape is found before them."""
        return len(self.windows(n_frames)) + (self.shape_rows(n_frames) is not None)

    def windows(self, n_frames: int) -> list[Window]:
        """Cut so many frames into windows."""
        return windows_of(n_frames, self.window, self._shared_frames)

    @property
    def _shared_frames(self) -> int:
        """How many frames a window shares with the one before."""
        return self.overlap

    def shape_rows(self, n_frames: int) -> Tensor | None:
        """Pick the frames from which what all share is found first; None where it is found with the poses."""
        return None if self.shape_frames is None else evenly_spaced_rows(n_frames, self.shape_frames)

    @property
    def shape_plan(self) -> list[tuple[int, Stage]]:
        """List the stages that find it, with their epochs."""
        return [(epoch, without_motion(stage, self.handlers)) for epoch, stage in self.plan]

    @property
    def chained(self) -> bool:
        """Whether a window goes on from the end of the one before."""
        return False

    def alone(self) -> 'SMPLify':
        """Return this registrant for parts that one of several processes fits by itself."""
        result = copy(self)
        result.processes = Processes()
        return result

    def kept(self, name: str, fit: Callable[[], Part], windows: Sequence[Window]) -> Part:
        """Fit a part, or read what an earlier run of the same fit left of it."""
        return fit() if self.part_files is None or len(windows) == 1 else self.part_files.get(name, fit)

    def why_not_distributed(self, n_frames: int, n_processes: int) -> str | None:
        """Return why so many observed frames cannot be distributed over processes, and what to do; None if
        they can."""
        if n_processes > n_frames:
            return (
                f'processes must be at most as many as the observed frames, {n_frames}; got {n_processes}. '
                'Use fewer.'
            )
        if len(self.windows(n_frames)) >= n_processes > 1 and not self.chained:
            # Each process fits windows of its own.
            return None
        if self.try_swaps:
            return 'try_swaps must be False: frames are tried and chosen in one process. Set try_swaps=False.'
        reasons = (unsupported_reason(s, s.optimizer or self.optimizer, self.handlers) for s in self.stages)
        return next((reason for reason in reasons if reason), None)

    def _expanded(self, result: FitResult, observed: Tensor, cameras: Cameras | None) -> FitResult:
        """Put the fitted frames among all."""
        return result.expanded(observed, cameras)

    def _check_processes(self, n_frames: int) -> None:
        reason = (
            self.why_not_distributed(n_frames, self.processes.count) if self.processes.count > 1 else None
        )
        if reason:
            raise ValueError(f'SMPLify: {reason} Or let one process fit alone (processes=None).')

    def _prepared(self, inputs: dict[str, BaseInput]) -> dict[str, BaseInput]:
        """Return the inputs as parts of the clip are fitted to them."""
        return inputs

    def _finished(self, clip: ClipFit, inputs: Mapping[str, BaseInput], report: Report) -> FitResult:
        """Make one result of the fits of all parts."""
        report = report | clip.notes
        report |= {'windows': len(clip.windows)} if len(clip.windows) > 1 else {}
        report |= {'shape_frames': clip.n_sampled} if clip.n_sampled else {}
        return self._result(clip.summed(), inputs, report, clip.begun)

    def fit_part(self, part: PartTask) -> Part:
        """Fit frames at once."""
        notes: Report = {}
        if part.find_start and self.initializer is not None:
            shared, scaled = self.use_one_betas_per_video, any('scale' in stage.fit for _, stage in part.plan)
            items = list(part.inputs.values())
            params, noted = self._find_start(self.body, items, part.state.params, shared, scaled)
            notes = dict(noted)
            self._warn_of_scale(notes)
            part = replace(part, state=replace(part.state, params=params))
        return Part(part.state.params, self._run_stages(part), notes=notes, **no_choice(part.state.params))

    def sampled_totals(self, part: PartTask) -> Totals | None:
        """Return what the means of all stages divide by in frames that stand for the clip.

        In all windows a term then weighs the same beside the others, whatever their frames show.
        """
        result = []
        with torch.no_grad():
            for _, stage in part.plan:
                task = self._task(stage, part.inputs, part.frames)
                at = task.state(part.state)
                terms = [term for term in task.terms if term.kind == 'mean']
                result.append(
                    {t.handler.handler_key: tuple(item.total() for item in t.stated(at)) for t in terms}
                )
        return result

    def _warn_of_scale(self, notes: ReportView) -> None:
        if 'unfitted_scale' in notes:
            self.logger.warning(
                'SMPLify: the keypoints are %.3g times as large as the body, and no stage fits its scale. Set '
                'fit_scale=True, or bring both to one unit.',
                notes['unfitted_scale'],
            )

    @property
    def plan(self) -> list[tuple[int, Stage]]:
        """List all stages with their epochs, in the order in which they are run."""
        return [(epoch, stage) for epoch in range(self.n_epochs) for stage in self.stages]

    @property
    def _scaled(self) -> bool:
        """Whether any stage fits the scale: what no stage fits stays as it is."""
        return any('scale' in stage.fit for stage in self.stages)

    def _run_stages(self, part: PartTask, share_shape: bool | None = None) -> StageRun:
        """Run stages one after the other; `share_shape` is instead of the registrant's."""
        inputs, state, frames = part.inputs, part.state, part.frames
        outcome: StageOutcome | None = None
        task: StageTask | None = None
        history: list[Report] = []
        report: Report = {}
        doubt = state.doubt
        whole, begun = state, [state]
        left = torch.arange(state.params.batch_size, device=state.params.transl.device)
        for i, (epoch, planned) in enumerate(part.plan):
            last = i == len(part.plan) - 1
            stage = planned if last else without_covariance(planned, self.optimizer)
            task = self._task(stage, inputs, frames)
            task = replace(task if part.totals is None else task.with_totals(part.totals[i]), doubt=doubt)
            task = task if share_shape is None else replace(task, share_shape=share_shape)
            ended = run_recovering(
                self._run, task, state, self._earlier(begun, inputs), stage.optimizer or self.optimizer
            )
            task, outcome, report = ended.task, ended.outcome, merged_report([report, ended.report])
            if ended.note is not None:
                self.logger.warning('SMPLify: %s was not solved, frames stay: %s', stage.label, ended.note)
            if ended.rows is not None:
                left, inputs = left[ended.rows], picked(inputs, ended.rows)
                frames = frames[ended.rows.to(frames.device)]
                begun = [at.take(ended.rows) for at in begun]
            if outcome is None:
                history += [{'epoch': n, **skipped_entry(skipped)} for n, skipped in part.plan[i:]]
                history[-len(part.plan[i:])] |= ended.notes
                break
            history.append({'epoch': epoch, **self._summary(task, outcome), **ended.notes})
            if self.try_swaps and stage.turns and 'swapped_keypoints' not in report:
                task, state, swapped = self._with_swaps(task, outcome.state, frames)
                report = {**report, **swapped}
                if report['swapped_keypoints']:
                    inputs = {**inputs, **inputs_of(task)}
                    outcome = self._run(task, state)
                    history.append({'epoch': epoch, **self._summary(task, outcome)})
            state = outcome.state
            begun.append(state)
        if outcome is None or task is None:
            nothing = whole.params.transl.new_zeros(whole.params.batch_size)
            lost = nothing if len(left) else nothing + torch.nan
            return StageRun(whole, tuple(history), lost, nothing.bool(), report=report)
        per_frame = task.per_frame(state) if outcome.energy is None else outcome.energy
        run = StageRun(
            replace(state, doubt=doubt),
            tuple(history),
            per_frame,
            outcome.converged & per_frame.isfinite(),
            _with_uncertainty(outcome.covariance, doubt),
            report,
        )
        if len(left) == whole.params.batch_size:
            return run
        shared = self.use_one_betas_per_video if share_shape is None else share_shape
        return among_all(run, left, whole, shared, self.body.sizes)

    @property
    def _find_start(self) -> Initializer:
        if not isinstance(self.initializer, Initializer):
            raise TypeError(
                f'SMPLify: initializer must be callable for one start a frame; got {type(self.initializer).__name__}.'
            )
        return self.initializer

    def _earlier(self, begun: Sequence[FitState], inputs: Mapping[str, BaseInput]) -> Iterator[FitState]:
        """Return the states before the present one, the latest first, and where the initializer would begin."""
        yield from begun[-2::-1]
        if self.initializer is not None:
            now = begun[-1]
            rest = self.body.zero_params(now.params.batch_size)
            given = (list(inputs.values()), rest, self.use_one_betas_per_video, self._scaled)
            yield replace(now, params=self._find_start(self.body, *given)[0])

    def _with_swaps(
        self, task: StageTask, state: FitState, frames: Tensor
    ) -> tuple[StageTask, FitState, Report]:
        """Exchange left and right keypoints where the energy falls; say which in the report."""
        quick = replace(task, stage=without_covariance(task.stage, self.optimizer))
        search = SwapSearch(quick, self._run)
        state, masks = search.run(state)
        swapped = describe(task, search.pairs, masks, frames)
        return with_exchanged(task, search.pairs, masks), state, {'swapped_keypoints': swapped}

    def _result(
        self, run: StageRun, inputs: Mapping[str, BaseInput], report: Report, start: BodyParams
    ) -> FitResult:
        behind = behind_cameras(self.body, self._weighted(), self.handlers, inputs, run.state)
        if bool(behind.any()):
            report = report | {'frames_behind_cameras': int(behind.sum())}
            self.logger.warning(
                'SMPLify: %d frames: the body lies behind every camera that sees it. They have not converged; check '
                "the cameras' direction and unit, and where the fit starts.",
                int(behind.sum()),
            )
        report = report | run.report
        return FitResult(
            params=run.state.params.detach(),
            per_frame_loss=run.per_frame,
            converged=run.converged & ~behind,
            history=run.history,
            report=report,
            body=self.body,
            cameras=corrected_cameras(inputs, run.state),
            covariance=run.covariance,
            start=start.detach(),
        )

    def _task(self, stage: Stage, inputs: Mapping[str, BaseInput], frames: Tensor) -> StageTask:
        weights = keypoint_weights(stage, self.body.data, self.ignored)
        shared, on_step = self.use_one_betas_per_video, self._on_step(stage)
        return task_of(self.body, stage, self.handlers, inputs, weights, shared, frames, on_step)

    def _run(self, task: StageTask, state: FitState) -> StageOutcome:
        solver = task.stage.optimizer or self.optimizer
        if not isinstance(solver, SecondOrderSolver):
            outcome = run_first_order(task, solver, state)
        elif self.processes.count > 1:
            outcome = run_distributed(task, solver, state, self.processes)
        else:
            outcome = run_second_order(task, solver, state)
        return replace(outcome, solver=type(solver).__name__)

    def _summary(self, task: StageTask, outcome: StageOutcome) -> Report:
        with torch.no_grad():
            values = {key: float(value) for key, value in task.values(outcome.state).items()}
        entry = history_entry(task.stage, outcome, values)
        if self.verbose:
            self.logger.info('%s', sentence_of(entry))
        return entry

    def _on_step(self, stage: Stage) -> StepCallback:
        def on_step(step: int, loss: float) -> bool:
            if self.verbose and self.info_level == 'step':
                self.logger.info('%s, step %d: loss %.6g', stage.label, step, loss)
            # Every hook is called, whatever the first one says.
            answers = [hook(stage, step, loss) for hook in self.hooks]
            return any(answers)

        return on_step


def _check_order(stage: Stage, solver: Solver, handlers: Mapping[str, BaseHandler]) -> None:
    """Refuse terms that a solver of second order cannot take before any stage works.

    Raises:
        TypeError: there is one, by name.
    """
    if not isinstance(solver, SecondOrderSolver):
        return
    for key in (k for k, weight in stage.weights.items() if weight):
        reason = handlers[key].first_order_only
        if reason is not None:
            raise TypeError(
                f'{type(solver).__name__}: {stage.label} weights {type(handlers[key]).__name__} {key!r}, of which '
                f'{reason}. Give this stage optimizer=dict(type="LBFGS") or dict(type="Adam").'
            )


def _with_uncertainty(
    covariance: FitCovariance | None, doubt: SharedUncertainty | None
) -> FitCovariance | None:
    """Return how well what other frames have found is known, where these frames did not find it themselves."""
    if covariance is None or covariance.shared is not None:
        return covariance
    return replace(covariance, shared=doubt)
