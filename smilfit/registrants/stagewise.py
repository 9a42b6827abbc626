"""What a stage-wise fit is set up with, and what it tells of the observations that it is given."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from smilfit.body_models import SMIL, describe_parts
from smilfit.handlers import BaseHandler, BaseInput
from smilfit.handlers.keypoints import KeypointInput
from smilfit.registrants.initializer import Initializer, ManyStarts, VertexInitializer
from smilfit.registrants.input_matching import counting_frames, observed_frames
from smilfit.registrants.observation_checks import underdetermined, unmoved
from smilfit.registrants.part_files import PartFiles
from smilfit.registrants.stage import (
    Report,
    Solver,
    Stage,
    StageConfig,
    fitted_joints,
    keypoint_weights,
    stage_from_dict,
)
from smilfit.registrants.swaps import SideUnswapper
from smilfit.registry import REGISTRANT_HOOKS, UnknownNameError, did_you_mean
from smilfit.solvers import LBFGS, Processes
from smilfit.structures import BodyParams, Cameras, FitResult, FittedModel, Keypoints3d
from smilfit.structures.body import by_blocks
from smilfit.structures.cameras import LARGEST

# Called after every step; True ends the stage.
Hook = Callable[[Stage, int, float], bool | None]


class RegistrantHook:
    """Called after every step; a subclass says what then happens.

    Any other callable of the same arguments is a hook as well. To build one from a config's
    `hooks=[dict(type='MyHook')]`, register it in `REGISTRANT_HOOKS`.
    """

    # Whether a registrant that has this hook logs its progress.
    verbose: ClassVar[bool] = False

    def __call__(self, stage: Stage, step: int, loss: float) -> bool:
        """Look at a step; True ends the stage."""
        return False


@REGISTRANT_HOOKS.register_module()
class SMPLifyVerboseHook(RegistrantHook):
    """Lets the registrant log its progress, as `verbose=True` does; `info_level` says how much."""

    verbose = True


def wants_log(hooks: Sequence[Hook]) -> bool:
    """Check whether one of the hooks asks for a log."""
    return any(isinstance(hook, RegistrantHook) and hook.verbose for hook in hooks)


INFO_LEVELS = ('stage', 'step')


class StagewiseRegistrant:
    """Body, stages, handlers and settings of a stage-wise fit, checked; `SMPLify` says what they are."""

    # Whether `fit_body_pose` leaves hands, jaw and eyes to keys of their own.
    parts_apart: ClassVar[bool] = False
    # Whether it looks at the images themselves, and takes `recording` and `session`.
    needs_recording: ClassVar[bool] = False
    # Keys of handlers that may be given no Input.
    optional_handlers: tuple[str, ...] = ()

    def __init__(
        self,
        body_model: SMIL,
        stages: Sequence[Stage | StageConfig],
        handlers: Sequence[BaseHandler],
        optimizer: Solver | None = None,
        n_epochs: int = 1,
        use_one_betas_per_video: bool = False,
        ignore_keypoints: Sequence[str] | None = None,
        initializer: Initializer | ManyStarts | str | None = 'rigid',
        device: torch.device | str | None = None,
        hooks: Sequence[Hook] = (),
        verbose: bool = False,
        info_level: str = 'stage',
        logger: logging.Logger | str | None = None,
        processes: Processes | None = None,
        try_swaps: bool = False,
        window: int | None = None,
        overlap: int = 0,
        shape_frames: int | None = None,
        unswap: SideUnswapper | None = None,
    ) -> None:
        if info_level not in INFO_LEVELS:
            raise ValueError(f'SMPLify: info_level must be one of {INFO_LEVELS}; got {info_level!r}.')
        if initializer not in (None, 'rigid') and isinstance(initializer, str):
            raise ValueError(f"SMPLify: initializer must be an object, 'rigid' or None; got {initializer!r}.")
        _check_windows(type(self).__name__, window, overlap, shape_frames, use_one_betas_per_video)
        self.window, self.overlap, self.shape_frames = window, overlap, shape_frames
        self.part_files: PartFiles | None = None
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
                        f'SMPLify: {stage.label} weights an unknown handler {key!r}. {did_you_mean(key, keys)}'
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
        self.initializer: Initializer | ManyStarts | None = (
            VertexInitializer.of_stages(self.stages, self.body)
            if isinstance(initializer, str)
            else initializer
        )
        self.processes = Processes() if processes is None else processes
        self.try_swaps, self.unswap = try_swaps, unswap
        self.hooks = tuple(hooks)
        self.verbose = verbose or wants_log(self.hooks)
        self.info_level = info_level
        self.logger = logger if isinstance(logger, logging.Logger) else logging.getLogger(logger or 'smilfit')

    def _counting(self, inputs: Mapping[str, BaseInput], report: Report) -> Tensor:
        """Return which frames have an observation that some stage weights; count those that have others only."""
        any_at_all = observed_frames(inputs)
        observed = counting_frames(inputs, self.handlers, self._weighted())
        weightless = int((any_at_all & ~observed).sum())
        if weightless:
            report['frames_of_weight_0'] = weightless
            self.logger.warning(
                'SMPLify: %d frames have only observations that no stage weights; they are not fitted.',
                weightless,
            )
        return observed

    def _weighted(self) -> list[tuple[Stage, dict[str, float]]]:
        """Return all stages with their factors on named keypoints."""
        return [(s, keypoint_weights(s, self.body.data, self.ignored)) for s in self.stages]

    def _report_underdetermined(
        self, inputs: Mapping[str, BaseInput], observed: Tensor, report: Report
    ) -> None:
        """Report on frames that show less than is asked of them; the inputs are the `observed` of all frames."""
        short, unknowns = underdetermined(
            self.body, self._weighted(), self.handlers, inputs, self.use_one_betas_per_video
        )
        count = int(short.sum())
        if count:
            rows = observed.nonzero().flatten()[short].tolist()
            report['frames_underdetermined'] = {'count': count, 'rows': rows, 'unknowns': unknowns}
            self.logger.warning(
                'SMPLify: %d of %d frames show fewer numbers than the %d that are asked of each: what they come to '
                'is not known from them. Add views, keypoints or priors, or fit fewer parameters.',
                *(count, len(short), unknowns),
            )

    def _report_unmoved(self, inputs: Mapping[str, BaseInput], start: BodyParams) -> Report:
        """Report on shape and sizes that are asked for and that no keypoint tells."""
        result = unmoved(self.body, self._weighted(), self.handlers, inputs, start)
        for one in result:
            self.logger.warning('SMPLify: %s.', one.sentence)
        return {'unmoved': [one.record() for one in result]} if result else {}

    def notes(self) -> dict[str, str]:
        """Return what weighted handlers' losses have to say of the body model, by handler key; none if not
        verbose."""
        weighted = {key for stage in self.stages for key, weight in stage.weights.items() if weight}
        result = {key: self.handlers[key].loss.note for key in weighted if self.verbose}
        return {key: note for key, note in sorted(result.items()) if note}

    def _fitted_rows(self) -> Report:
        """Name the rows of parameters that belong to landmarks and parts, for whoever reads the result."""
        fitted = {name for stage in self.stages for name in stage.fit}
        result: Report = {}
        if 'landmark_offsets' in fitted and self.body.data.unknown_landmarks:
            result['landmark_offsets'] = list(self.body.data.unknown_landmarks)
        if 'part_sizes' in fitted and self.body.part_sizes:
            result['part_sizes'] = {name: list(part.joints) for name, part in self.body.part_sizes.items()}
            if not self.body.data.part_sizes and self.verbose:
                self.logger.info(
                    'SMPLify: parts whose sizes are fitted, by the tree and sides of %s, which names none: %s',
                    self.body.data.name,
                    describe_parts(self.body.part_sizes),
                )
        return result

    def _ignored(self, inputs: Mapping[str, BaseInput]) -> Report:
        """Return what of the inputs takes no part."""
        report: Report = {
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


def _check_windows(
    name: str, window: int | None, overlap: int, shape_frames: int | None, shared: bool
) -> None:
    if window is not None and not 0 <= overlap < window:
        raise ValueError(f'{name}: overlap must be less than window; got {overlap} and {window}.')
    if shape_frames is not None and shape_frames < 1:
        raise ValueError(f'{name}: shape_frames must be at least 1; got {shape_frames}.')
    if shape_frames is not None and not shared:
        raise ValueError(
            f'{name}: shape_frames={shape_frames} finds one shape for all frames, which use_one_betas_per_video must '
            'ask for; it is False. Set it, or shape_frames=None.'
        )


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


def _split(names: Sequence[str], known: Sequence[str]) -> tuple[list[str], list[str]]:
    return [n for n in names if n in known], [n for n in names if n not in known]


def observed_names(inputs: Mapping[str, BaseInput]) -> tuple[str, ...]:
    """Name the keypoints that somebody observed, once each."""
    result = (i.keypoints.names for i in inputs.values() if isinstance(i, KeypointInput))
    return tuple(dict.fromkeys(name for names in result for name in names))


def described(result: FitResult, body: SMIL, cameras: Cameras | None, names: Sequence[str]) -> FitResult:
    """Add the body model's name, the cameras that saw, and the fitted keypoints.

    Where no keypoint was observed, these are the joints and the landmarks. Frames that were not fitted have keypoints
    of confidence 0.
    """
    names = tuple(names) or (*body.joint_names, *body.data.landmarks)
    fitted = result.fitted
    with torch.no_grad():
        params = result.params.to(body.v_template)
        xyz = by_blocks(params.batch_size, lambda rows: body(params[rows], names).select(names))
    valid = fitted.to(xyz.device)[:, None] & (xyz.abs() < LARGEST).all(-1)
    xyz = torch.where(valid.unsqueeze(-1), xyz, torch.zeros_like(xyz))
    unit = None if cameras is None else cameras.unit
    return replace(
        result,
        recorded_cameras=cameras,
        keypoints3d=Keypoints3d(xyz.detach(), valid.to(xyz.dtype), names, unit),
        model=FittedModel.of(body.data),
    )
