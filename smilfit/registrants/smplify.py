"""SMPLify: fit a body to observations in stages, handlers and all else by config."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.handlers import BaseHandler, BaseInput, BodyState
from smilfit.registrants.initializer import RigidInitializer
from smilfit.registrants.matching import as_inputs, check_batch, match
from smilfit.registrants.second_order import run_second_order
from smilfit.registrants.stage import Stage, fitted_joints, keypoint_weights, stage_from_dict
from smilfit.registrants.terms import ActiveTerm, run_first_order, term_values
from smilfit.registrants.variables import share_shape
from smilfit.registry import REGISTRANTS, did_you_mean
from smilfit.solvers import LBFGS, LevenbergMarquardt, SolverResult
from smilfit.structures import BodyParams, FitResult

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
        hooks: called as `hook(stage, step, loss)` after every step; True ends the stage.
        verbose: whether to log progress.
        info_level: `'stage'` or `'step'`.
        logger: a logger or its name.
    """

    def __init__(
        self,
        body_model: SMIL,
        stages: Sequence[Stage | Mapping[str, Any]],
        handlers: Sequence[BaseHandler],
        optimizer: Any = None,
        n_epochs: int = 1,
        use_one_betas_per_video: bool = False,
        ignore_keypoints: Sequence[str] | None = None,
        initializer: RigidInitializer | str | None = 'rigid',
        device: torch.device | str | None = None,
        hooks: Sequence[Any] = (),
        verbose: bool = False,
        info_level: str = 'stage',
        logger: logging.Logger | str | None = None,
    ) -> None:
        if info_level not in INFO_LEVELS:
            raise ValueError(f'SMPLify: info_level must be one of {INFO_LEVELS}; got {info_level!r}.')
        if initializer not in (None, 'rigid') and isinstance(initializer, str):
            raise ValueError(f"SMPLify: initializer must be an object, 'rigid' or None; got {initializer!r}.")
        self.body = body_model if device is None else body_model.to(device)
        self.handlers = _by_key(handlers)
        keys = list(self.handlers)
        self.stages = [
            s if isinstance(s, Stage) else stage_from_dict(s, keys, f'stage {i}')
            for i, s in enumerate(stages)
        ]
        for stage in self.stages:
            for key in (*stage.weights, *stage.reductions):
                if key not in keys:
                    raise KeyError(
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
        self.initializer = RigidInitializer() if initializer == 'rigid' else initializer
        self.hooks = tuple(hooks)
        self.verbose = verbose
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
            ValueError: two Inputs of one key, or of different batch sizes.
            FloatingPointError: the loss is not finite at the start.
        """
        inputs = {i.handler_key: i for i in as_inputs(input_list, self.handlers)}
        weighted = {key for stage in self.stages for key, weight in stage.weights.items() if weight}
        match(inputs, self.handlers, weighted)
        batch = check_batch(inputs)
        frames = _numbered(frames, batch)
        like = self.body.v_template
        inputs = {k: i.resolve(self.body.data).to(like.device).to(like.dtype) for k, i in inputs.items()}
        params, report = self._start(inputs, init_params, batch)
        report |= {'ignored_keypoints': self.ignored, 'ignored_keypoints_unknown': self.ignored_unknown}
        history: list[dict[str, Any]] = []
        active: list[tuple[Stage, BaseHandler]] = []
        converged = torch.zeros(batch, dtype=torch.bool, device=like.device)
        for epoch in range(self.n_epochs):
            for stage in self.stages:
                params, converged, story = self._run_stage(stage, params, inputs, frames)
                history.append({'epoch': epoch, **story})
                active = [(stage, self.handlers[k]) for k, w in stage.weights.items() if w]
        per_frame = self._per_frame(active, params, inputs, frames)
        return FitResult(
            params=params.detach(),
            per_frame_loss=per_frame,
            converged=converged & per_frame.isfinite(),
            history=tuple(history),
            report=report,
            body=self.body,
        )

    def _start(
        self, inputs: Mapping[str, BaseInput], init: BodyParams | Mapping[str, Tensor] | None, batch: int
    ) -> tuple[BodyParams, dict[str, Any]]:
        start = self.body.zero_params(batch)
        if init is not None:
            given = init.as_axis_angle().as_dict() if isinstance(init, BodyParams) else dict(init)
            for name in given:
                if name not in BodyParams.__dataclass_fields__:
                    options = BodyParams.__dataclass_fields__
                    raise KeyError(
                        f'SMPLify: init_params has an unknown {name!r}. {did_you_mean(name, options)}'
                    )
            start = start.replace(**{n: _rows(n, v.to(start.transl), batch) for n, v in given.items()})
            return share_shape(start) if self.use_one_betas_per_video else start, {}
        if self.initializer is None:
            return start, {}
        return self.initializer(self.body, list(inputs.values()), start, self.use_one_betas_per_video)

    def _run_stage(
        self,
        stage: Stage,
        params: BodyParams,
        inputs: Mapping[str, BaseInput],
        frames: Tensor | None,
    ) -> tuple[BodyParams, Tensor, dict[str, Any]]:
        terms = [
            ActiveTerm(self.handlers[k], inputs.get(k), w, stage.reductions.get(k))
            for k, w in stage.weights.items()
            if w
        ]
        weights = keypoint_weights(stage, self.body.data, self.ignored)
        solver = stage.optimizer or self.optimizer
        run = run_second_order if isinstance(solver, LevenbergMarquardt) else run_first_order
        outcome = run(
            self.body,
            stage,
            solver,
            params,
            terms,
            weights,
            self.use_one_betas_per_video,
            self._on_step(stage),
            frames,
        )
        params, converged, result = outcome
        with torch.no_grad():
            values = term_values(self.body, params, terms, weights, frames)
        story = _story(stage, result, {key: float(value) for key, value in values.items()})
        story['frames_converged'] = int(converged.sum())
        if self.verbose:
            self.logger.info('%s', _sentence(story))
        return params, converged, story

    def _on_step(self, stage: Stage) -> Any:
        def on_step(step: int, loss: float) -> bool:
            if self.verbose and self.info_level == 'step':
                self.logger.info('%s, step %d: loss %.6g', stage.name, step, loss)
            # Every hook is called, whatever the first one says.
            answers = [hook(stage, step, loss) for hook in self.hooks]
            return any(answers)

        return on_step

    def _per_frame(
        self,
        active: Sequence[tuple[Stage, BaseHandler]],
        params: BodyParams,
        inputs: Mapping[str, BaseInput],
        frames: Tensor | None,
    ) -> Tensor:
        total = params.transl.new_zeros(params.batch_size)
        if not active:
            return total
        stage = active[0][0]
        need = tuple(dict.fromkeys(n for _, h in active for n in h.need(inputs.get(h.handler_key))))
        with torch.no_grad():
            output = self.body(params, need)
            weights = keypoint_weights(stage, self.body.data, self.ignored)
            state = BodyState(self.body, params, output, weights, frames=frames)
            for _, h in active:
                key = h.handler_key
                total = total + h.per_frame(
                    state, inputs.get(key), stage.weights[key], stage.reductions.get(key)
                )
        return total


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


def _numbered(frames: Any, batch: int) -> Tensor | None:
    if frames is None:
        return None
    numbers = torch.as_tensor(np.asarray(frames))
    if len(numbers) != batch:
        raise ValueError(f'SMPLify: frames must number the {batch} frames; got {len(numbers)} numbers.')
    return numbers


def _split(names: Sequence[str], known: Sequence[str]) -> tuple[list[str], list[str]]:
    return [n for n in names if n in known], [n for n in names if n not in known]


def _rows(name: str, value: Tensor, batch: int) -> Tensor:
    if value.shape[0] not in (1, batch):
        raise ValueError(f'SMPLify: init_params {name} must have 1 or {batch} rows; got {value.shape[0]}.')
    return value.expand(batch, *value.shape[1:]).clone()


def _story(stage: Stage, result: SolverResult, terms: dict[str, float]) -> dict[str, Any]:
    return {
        'stage': stage.name,
        'fit': list(stage.fit),
        'loss_start': result.loss_start,
        'loss_end': result.loss_end,
        'terms': terms,
        'steps': result.n_steps,
        'evaluations': result.n_evaluations,
        'recoveries': result.n_recoveries,
        'reason': result.reason.value,
    }


def _sentence(story: Mapping[str, Any]) -> str:
    terms = ', '.join(f'{key} {value:.4g}' for key, value in story['terms'].items())
    return (
        f'{story["stage"]}: loss {story["loss_start"]:.5g} -> {story["loss_end"]:.5g} ({terms}) in '
        f'{story["steps"]} steps, {story["evaluations"]} evaluations; {story["reason"]}'
    )
