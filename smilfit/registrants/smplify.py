"""SMPLify: fit a body to observations in stages, handlers and all else by config."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from smilfit.body_models import SMIL, describe_parts
from smilfit.handlers import BaseHandler, BaseInput
from smilfit.registrants.camera_checks import tell_of_cameras
from smilfit.registrants.description import described, observed_names
from smilfit.registrants.distributed import run_distributed, unsupported_reason
from smilfit.registrants.first_order import run_first_order
from smilfit.registrants.history import history_entry, sentence_of
from smilfit.registrants.hooks import wants_log
from smilfit.registrants.matching import (
    as_inputs,
    check_batch,
    counting_frames,
    match,
    numbered,
    observed_frames,
)
from smilfit.registrants.part_files import PartFiles
from smilfit.registrants.second_order import run_second_order
from smilfit.registrants.stage import Stage, fitted_joints, keypoint_weights, stage_from_dict
from smilfit.registrants.stage_task import (
    FitState,
    StageOutcome,
    StageRun,
    StageTask,
    corrected_cameras,
    first_cameras,
    task_of,
)
from smilfit.registrants.start import check_start, start_params
from smilfit.registrants.swaps import SwapSearch, describe, inputs_of, with_exchanged
from smilfit.registrants.unmoved import unmoved
from smilfit.registrants.variables import share_shape
from smilfit.registrants.verdicts import behind_cameras, underdetermined
from smilfit.registrants.vertex_initializer import VertexInitializer
from smilfit.registry import REGISTRANTS, UnknownNameError, did_you_mean
from smilfit.solvers import LBFGS, Processes, SecondOrderSolver
from smilfit.structures import BodyParams, Cameras, FitResult

INFO_LEVELS = ('stage', 'step')


@REGISTRANTS.register_module()
class SMPLify:
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
        try_swaps: whether frames try left and right keypoints exchanged after the first stage that fits poses
            (`SwapSearch`), in one process; `report['swapped_keypoints']` says which were. It costs about half of
            that stage again. Clean labels stay, but it helps only where sides were mistaken: off by default.
    """

    # Whether `fit_body_pose` leaves hands, jaw and eyes to keys of their own.
    parts_apart: ClassVar[bool] = False
    # Whether it looks at the images themselves, and takes `recording` and `session`.
    needs_recording: ClassVar[bool] = False
    # Keys of handlers that may be given no Input.
    optional_handlers: tuple[str, ...] = ()

    def __init__(
        self,
        body_model: SMIL,
        stages: Sequence[Stage | Mapping[str, Any]],
        handlers: Sequence[BaseHandler],
        optimizer: Any = None,
        n_epochs: int = 1,
        use_one_betas_per_video: bool = False,
        ignore_keypoints: Sequence[str] | None = None,
        initializer: Any = 'rigid',
        device: torch.device | str | None = None,
        hooks: Sequence[Any] = (),
        verbose: bool = False,
        info_level: str = 'stage',
        logger: logging.Logger | str | None = None,
        processes: Processes | None = None,
        try_swaps: bool = False,
    ) -> None:
        if info_level not in INFO_LEVELS:
            raise ValueError(f'SMPLify: info_level must be one of {INFO_LEVELS}; got {info_level!r}.')
        if initializer not in (None, 'rigid') and isinstance(initializer, str):
            raise ValueError(f"SMPLify: initializer must be an object, 'rigid' or None; got {initializer!r}.")
        self.body = body_model if device is None else body_model.to(device)
        self.handlers = _by_key(handlers)
        keys = list(self.handlers)
        self.stages = [
            s if isinstance(s, Stage) else stage_from_dict(s, keys, f'stage {i}', self.parts_apart)
            for i, s in enumerate(stages)
        ]
        for stage in self.stages:
            for key in (*stage.weights, *stage.reductions):
                if key not in keys:
                    raise UnknownNameError(
                        f'SMPLify: {stage.name} weights an unknown handler {key!r}. {did_you_mean(key, keys)}'
                    )
        used = {key for stage in self.stages for key, weight in stage.weights.items() if weight}
        for key in used:
            self.handlers[key].bind(self.body)
        self.optimizer = LBFGS() if optimizer is None else optimizer
        self.n_epochs = n_epochs
        self.use_one_betas_per_video = use_one_betas_per_video
        self.ignored, self.ignored_unknown = _split(ignore_keypoints or (), self.body.keypoint_names)
        for stage in self.stages:
            # What a stage says of the model's groups is checked before the first stage works.
            fitted_joints(stage, self.body.data)
            keypoint_weights(stage, self.body.data, self.ignored)
        self.initializer = (
            VertexInitializer.of_stages(self.stages, self.body) if initializer == 'rigid' else initializer
        )
        self.processes = Processes() if processes is None else processes
        self.try_swaps = try_swaps
        self.hooks = tuple(hooks)
        self.verbose = verbose or wants_log(self.hooks)
        self.info_level = info_level
        self.logger = logger if isinstance(logger, logging.Logger) else logging.getLogger(logger or 'smilfit')

    def __call__(
        self,
        input_list: Sequence[Any],
        init_params: BodyParams | Mapping[str, Tensor] | None = None,
        frames: Sequence[int] | np.ndarray | Tensor | None = None,
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
            FloatingPointError: the loss is not finite at the start.
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
        like = self.body.v_template
        inputs = {k: i.resolve(self.body.data).to(like.device).to(like.dtype) for k, i in inputs.items()}
        start, report = (
            start_params(self.body, init_params, batch),
            self._ignored(inputs) | self._fitted_rows(),
        )
        seen = self._counting(inputs, report)
        self._check_processes(int(seen.sum()))
        numbers = numbered(frames, batch)
        cameras = first_cameras(inputs)
        if not bool(seen.all()):
            # What nobody saw is not fitted, and not made up.
            inputs = {k: i[seen.to(like.device)] for k, i in inputs.items()}
            start, numbers = start[seen.to(like.device)], numbers[seen]
        check_start(start)
        start = share_shape(start) if self.use_one_betas_per_video else start
        report['frames_not_observed'] = int((~seen).sum())
        report |= tell_of_cameras(inputs, self.stages, self.logger)
        self._doubt(inputs, seen, report)
        report |= self._unmoved(inputs, start)
        result = self._fit(inputs, start, init_params is None, numbers, report)
        result = result if bool(seen.all()) else self._expanded(result, seen, cameras)
        return described(result, self.body, cameras, observed_names(inputs))

    def keep_parts(self, part_files: PartFiles | None) -> None:
        """Keep the parts of the next fits in files, so that one that was stopped goes on; this fits in one piece."""

    @property
    def n_steps(self) -> int:
        """The most steps that all stages of one part may take."""
        return self.n_epochs * sum(stage.n_iter for stage in self.stages)

    def n_parts(self, n_frames: int) -> int:
        """Say in how many parts, one after the other, so many frames are fitted."""
        return 1

    def why_not_distributed(self, n_frames: int, n_processes: int) -> str | None:
        """Say why so many observed frames cannot be distributed over processes, and what to do; None if they can."""
        if n_processes > n_frames:
            return (
                f'processes must be at most as many as the observed frames, {n_frames}; got {n_processes}. '
                'Use fewer.'
            )
        if self.try_swaps:
            return 'try_swaps must be False: frames are tried and chosen in one process. Set try_swaps=False.'
        reasons = (unsupported_reason(s, s.optimizer or self.optimizer, self.handlers) for s in self.stages)
        return next((reason for reason in reasons if reason), None)

    def _counting(self, inputs: Mapping[str, BaseInput], report: dict[str, Any]) -> Tensor:
        """Say which frames have an observation that some stage weights; count those that have others only."""
        any_at_all = observed_frames(inputs)
        seen = counting_frames(inputs, self.handlers, self._weighted())
        weightless = int((any_at_all & ~seen).sum())
        if weightless:
            report['frames_of_weight_0'] = weightless
            self.logger.warning(
                'SMPLify: %d frames have only observations that no stage weights; they are not fitted.',
                weightless,
            )
        return seen

    def _weighted(self) -> list[tuple[Stage, dict[str, float]]]:
        """Give all stages with their factors on named keypoints."""
        return [(s, keypoint_weights(s, self.body.data, self.ignored)) for s in self.stages]

    def _doubt(self, inputs: Mapping[str, BaseInput], seen: Tensor, report: dict[str, Any]) -> None:
        """Tell of frames that show less than is asked of them; `seen` says which of all frames the inputs are."""
        short, unknowns = underdetermined(
            self.body, self._weighted(), self.handlers, inputs, self.use_one_betas_per_video
        )
        count = int(short.sum())
        if count:
            rows = seen.nonzero().flatten()[short].tolist()
            report['frames_underdetermined'] = {'count': count, 'rows': rows, 'unknowns': unknowns}
            self.logger.warning(
                'SMPLify: %d of %d frames show fewer numbers than the %d that are asked of each: what they come to '
                'is not known from them. Add views, keypoints or priors, or fit fewer parameters.',
                *(count, len(short), unknowns),
            )

    def _unmoved(self, inputs: Mapping[str, BaseInput], start: BodyParams) -> dict[str, Any]:
        """Tell of shape and sizes that are asked for and that no keypoint tells."""
        found = unmoved(self.body, self._weighted(), self.handlers, inputs, start)
        for one in found:
            self.logger.warning('SMPLify: %s.', one.sentence)
        return {'unmoved': [one.record() for one in found]} if found else {}

    def _expanded(self, result: FitResult, seen: Tensor, cameras: Cameras | None) -> FitResult:
        """Put the fitted frames among all."""
        return result.expanded(seen, cameras)

    def _check_processes(self, n_frames: int) -> None:
        reason = (
            self.why_not_distributed(n_frames, self.processes.count) if self.processes.count > 1 else None
        )
        if reason:
            raise ValueError(f'SMPLify: {reason} Or let one process fit alone (processes=None).')

    def _fit(
        self,
        inputs: Mapping[str, BaseInput],
        start: BodyParams,
        find_start: bool,
        frames: Tensor,
        report: dict[str, Any],
    ) -> FitResult:
        if find_start and self.initializer is not None:
            shared = self.use_one_betas_per_video
            start, notes = self.initializer(self.body, list(inputs.values()), start, shared, self._scaled)
            report = report | notes
            self._warn_of_scale(notes)
        run = self._run_stages(self._plan, inputs, FitState(start), frames)
        return self._result(run, inputs, report, start)

    def _warn_of_scale(self, notes: Mapping[str, Any]) -> None:
        if 'unfitted_scale' in notes:
            self.logger.warning(
                'SMPLify: the keypoints are %.3g times as large as the body, and no stage fits its scale. Set '
                'fit_scale=True, or bring both to one unit.',
                notes['unfitted_scale'],
            )

    @property
    def _plan(self) -> list[tuple[int, Stage]]:
        """List all stages with their epochs, in the order in which they are run."""
        return [(epoch, stage) for epoch in range(self.n_epochs) for stage in self.stages]

    @property
    def _scaled(self) -> bool:
        """Whether any stage fits the scale: what no stage fits stays as it is."""
        return any('scale' in stage.fit for stage in self.stages)

    def _run_stages(
        self,
        plan: Sequence[tuple[int, Stage]],
        inputs: Mapping[str, BaseInput],
        state: FitState,
        frames: Tensor,
        share_shape: bool | None = None,
    ) -> StageRun:
        """Run stages one after the other; `share_shape` where it is not the registrant's."""
        history, outcome, task, report = [], None, None, {}
        for epoch, stage in plan:
            task = self._task(stage, inputs, frames)
            task = task if share_shape is None else replace(task, share_shape=share_shape)
            outcome = self._run(task, state)
            history.append({'epoch': epoch, **self._summary(task, outcome)})
            if self.try_swaps and stage.turns and not report:
                task, state, report = self._with_swaps(task, outcome.state, frames)
                if report['swapped_keypoints']:
                    inputs = {**inputs, **inputs_of(task)}
                    outcome = self._run(task, state)
                    history.append({'epoch': epoch, **self._summary(task, outcome)})
            state = outcome.state
        if outcome is None:
            nothing = state.params.transl.new_zeros(state.params.batch_size)
            return StageRun(state, (), nothing, nothing.bool())
        per_frame = task.per_frame(state) if outcome.energy is None else outcome.energy
        return StageRun(
            state,
            tuple(history),
            per_frame,
            outcome.converged & per_frame.isfinite(),
            outcome.covariance,
            report,
        )

    def _with_swaps(
        self, task: StageTask, state: FitState, frames: Tensor
    ) -> tuple[StageTask, FitState, dict[str, Any]]:
        """Exchange left and right keypoints where the energy falls; say which in the report."""
        search = SwapSearch(task, self._run)
        state, masks = search.run(state)
        swapped = describe(task, search.pairs, masks, frames)
        return with_exchanged(task, search.pairs, masks), state, {'swapped_keypoints': swapped}

    def _result(
        self, run: StageRun, inputs: Mapping[str, BaseInput], report: dict[str, Any], start: BodyParams
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

    def notes(self) -> dict[str, str]:
        """Give what weighted handlers' losses have to say of the body model, by handler key; none if not verbose."""
        weighted = {key for stage in self.stages for key, weight in stage.weights.items() if weight}
        found = {key: self.handlers[key].loss.note for key in weighted if self.verbose}
        return {key: note for key, note in sorted(found.items()) if note}

    def _fitted_rows(self) -> dict[str, Any]:
        """Name the rows of parameters that belong to landmarks and parts, for whoever reads the result."""
        fitted = {name for stage in self.stages for name in stage.fit}
        found: dict[str, Any] = {}
        if 'landmark_offsets' in fitted and self.body.data.unknown_landmarks:
            found['landmark_offsets'] = list(self.body.data.unknown_landmarks)
        if 'part_sizes' in fitted and self.body.part_sizes:
            found['part_sizes'] = {name: list(part.joints) for name, part in self.body.part_sizes.items()}
            if not self.body.data.part_sizes and self.verbose:
                self.logger.info(
                    'SMPLify: %s names no parts; by its tree and sides they are: %s',
                    self.body.data.name,
                    describe_parts(self.body.part_sizes),
                )
        return found

    def _ignored(self, inputs: Mapping[str, BaseInput]) -> dict[str, Any]:
        """Say what of the inputs takes no part."""
        report: dict[str, Any] = {
            'ignored_keypoints': self.ignored,
            'ignored_keypoints_unknown': self.ignored_unknown,
        }
        masked = {key: i.n_masked for key, i in inputs.items() if i.n_masked}
        unmatched = {key: list(i.unmatched) for key, i in inputs.items() if i.unmatched}
        if masked:
            self.logger.warning('SMPLify: left out points whose coordinates are no numbers: %s', masked)
            report['masked_points'] = masked
        if unmatched:
            self.logger.warning('SMPLify: %s lacks these keypoints: %s', self.body.data.name, unmatched)
            report['unmatched_keypoints'] = unmatched
        return report

    def _task(self, stage: Stage, inputs: Mapping[str, BaseInput], frames: Tensor) -> StageTask:
        weights = keypoint_weights(stage, self.body.data, self.ignored)
        shared, on_step = self.use_one_betas_per_video, self._on_step(stage)
        return task_of(self.body, stage, self.handlers, inputs, weights, shared, frames, on_step)

    def _run(self, task: StageTask, state: FitState) -> StageOutcome:
        solver = task.stage.optimizer or self.optimizer
        if self.processes.count > 1:
            outcome = run_distributed(task, solver, state, self.processes)
        else:
            second = isinstance(solver, SecondOrderSolver)
            outcome = (run_second_order if second else run_first_order)(task, solver, state)
        return replace(outcome, solver=type(solver).__name__)

    def _summary(self, task: StageTask, outcome: StageOutcome) -> dict[str, Any]:
        with torch.no_grad():
            values = {key: float(value) for key, value in task.values(outcome.state).items()}
        entry = history_entry(task.stage, outcome, values)
        if self.verbose:
            self.logger.info('%s', sentence_of(entry))
        return entry

    def _on_step(self, stage: Stage) -> Any:
        def on_step(step: int, loss: float) -> bool:
            if self.verbose and self.info_level == 'step':
                self.logger.info('%s, step %d: loss %.6g', stage.name, step, loss)
            # Every hook is called, whatever the first one says.
            answers = [hook(stage, step, loss) for hook in self.hooks]
            return any(answers)

        return on_step


@REGISTRANTS.register_module()
class SMPLifyX(SMPLify):
    """SMPLify for bodies with hands, face and expression.

    Stages also take `fit_left_hand_pose`, `fit_right_hand_pose`, `fit_jaw_pose`, `fit_leye_pose`, `fit_reye_pose` and
    `fit_expression` (on where a stage does not say otherwise); `fit_body_pose` is the rest of the pose.
    """

    parts_apart = True


def _by_key(handlers: Sequence[BaseHandler]) -> dict[str, BaseHandler]:
    table: dict[str, BaseHandler] = {}
    for handler in handlers:
        if handler.handler_key in table:
            raise ValueError(
                f'SMPLify: every handler must have a handler_key of its own; {handler.handler_key!r} comes twice. '
                'Give one of them another key.'
            )
        table[handler.handler_key] = handler
    return table


def _check_order(stage: Stage, solver: Any, handlers: Mapping[str, BaseHandler]) -> None:
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
                f'{type(solver).__name__}: {stage.name} weights {type(handlers[key]).__name__} {key!r}, of which '
                f'{reason}. Give this stage optimizer=dict(type="LBFGS") or dict(type="Adam").'
            )


def _split(names: Sequence[str], known: Sequence[str]) -> tuple[list[str], list[str]]:
    return [n for n in names if n in known], [n for n in names if n not in known]
