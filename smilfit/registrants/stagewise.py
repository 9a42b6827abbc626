"""What a stage-wise fit is set up with, and what it tells of the observations that it is given."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

from smilfit.body_models import SMIL, describe_parts
from smilfit.geometry.alignment import (
    few_of_each,
    fit_shape,
    inherited,
    local_rotations,
    part_rotations,
    posed_directions,
    procrustes,
)
from smilfit.geometry.kinematic_chain import chain_products
from smilfit.geometry.rotation import rotmat_to_axis_angle
from smilfit.handlers import BaseHandler, BaseInput, MeshInput
from smilfit.registrants.distributed import PartFiles
from smilfit.registrants.initializer import MIN_POINTS, OTHER_UNIT, RigidInitializer, nearest_good
from smilfit.registrants.matching import counting_frames, observed_frames
from smilfit.registrants.stage import Stage, fitted_joints, keypoint_weights, stage_from_dict
from smilfit.registrants.swaps import SideUnswapper
from smilfit.registrants.unmoved import unmoved
from smilfit.registrants.variables import share_shape
from smilfit.registrants.verdicts import underdetermined
from smilfit.registry import REGISTRANT_HOOKS, REGISTRANTS, UnknownNameError, did_you_mean
from smilfit.solvers import LBFGS, Processes
from smilfit.structures import BodyParams


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


def wants_log(hooks: Sequence[Any]) -> bool:
    """Check whether one of the hooks asks for a log."""
    return any(isinstance(hook, RegistrantHook) and hook.verbose for hook in hooks)


# Vertices of one part that are looked at: a start needs no more, and time grows with them.
PER_PART = 48
# Vertices near a joint go with two parts and tell of neither: a share of a half counts 1/256 of a whole one.
SHARPNESS = 8


@runtime_checkable
class Initializer(Protocol):
    """Finds where a fit starts; see `RigidInitializer`."""

    def __call__(
        self, body: SMIL, inputs: Sequence[BaseInput], start: BodyParams, shared: bool, scaled: bool = True
    ) -> tuple[BodyParams, dict[str, float]]:
        """Return the start, and what to note of it."""


@REGISTRANTS.register_module()
class VertexInitializer:
    """Poses, shapes and places the body on a `MeshInput` of its own topology; leaves other inputs to another one.

    Some vertices of every part are looked at: parts are turned by themselves, then shape, size and place are solved
    for, and again. Parts whose vertices do not say how they are turned go with their parents.

    Args:
        otherwise: places the body where there is no such mesh; `RigidInitializer` if None.
        rounds: how often parts are turned and the shape solved for.
        fits_shape: whether betas may change.
        joints: indices of the joints that may turn; None for all.
    """

    def __init__(
        self,
        otherwise: Initializer | None = None,
        rounds: int = 3,
        fits_shape: bool = True,
        joints: Sequence[int] | None = None,
    ) -> None:
        if rounds < 1:
            raise ValueError(f'VertexInitializer: rounds must be 1 or more; got {rounds}.')
        self.otherwise = RigidInitializer() if otherwise is None else otherwise
        self.rounds, self.fits_shape = rounds, fits_shape
        self.joints = None if joints is None else sorted(joints)

    @classmethod
    def of_stages(cls, stages: Sequence[Stage], body: SMIL) -> 'VertexInitializer':
        """Return the initialiser that moves what some stage fits, and nothing else."""
        turning: set[int] = set()
        for stage in stages:
            allowed = fitted_joints(stage, body.data)
            turning |= set(range(body.n_joints)) if allowed is None else set(allowed)
        shape = any('betas' in stage.fit for stage in stages)
        return cls(fits_shape=shape, joints=sorted(turning | {0}))

    @torch.no_grad()
    def __call__(
        self, body: SMIL, inputs: Sequence[BaseInput], start: BodyParams, shared: bool, scaled: bool = True
    ) -> tuple[BodyParams, dict[str, float]]:
        """Move the body onto the first mesh of its topology; arguments and result as for `RigidInitializer`."""
        mesh = next((i for i in inputs if isinstance(i, MeshInput) and same_faces(i, body)), None)
        if mesh is None or _stretches_children(body, start):
            return self.otherwise(body, inputs, start, shared, scaled)
        start = share_shape(start) if shared else start
        work = _Work(body, mesh, start, self._parts(body))
        notes = {'frames_without_alignment': int((~work.placed).sum())}
        if not bool(work.placed.any()):
            return start, notes
        off = work.place_rigidly()
        if not scaled and not 1 / OTHER_UNIT < off < OTHER_UNIT:
            notes['unfitted_scale'] = off
        for _ in range(self.rounds):
            work.turn_parts()
            work.solve_shape(self.fits_shape, scaled, shared)
        params = work.params()[nearest_good(work.placed)]
        return share_shape(params) if shared else params, notes

    def _parts(self, body: SMIL) -> Tensor:
        """Return the joint that every joint turns with: itself, or the nearest above it that may turn (J,)."""
        parents = body.data.parents.tolist()
        allowed = set(range(body.n_joints)) if self.joints is None else {0, *self.joints}
        part = list(range(body.n_joints))
        for joint in range(1, body.n_joints):
            part[joint] = joint if joint in allowed else part[parents[joint]]
        return torch.tensor(part, device=body.v_template.device)


def same_faces(mesh: MeshInput, body: SMIL) -> bool:
    """Check whether a mesh has the body's topology."""
    faces = mesh.faces.to(body.faces.device)
    return faces.shape == body.faces.shape and torch.equal(faces, body.faces)


def _stretches_children(body: SMIL, start: BodyParams) -> bool:
    """Check whether joints hand scales down, under which a bone's map is no rotation times a scale of its own."""
    scaled = start.log_joint_scales is not None or body.scaledirs is not None
    return scaled and body.joint_scale_mode == 'inherited'


class _Work:
    """One call: the few vertices that are looked at, and where the bodies stand."""

    def __init__(self, body: SMIL, mesh: MeshInput, start: BodyParams, parts: Tensor) -> None:
        self.body, self.start, self.parts = body, start, parts
        self.index = few_of_each(parts[body.weights.argmax(1)], PER_PART)
        self.skin = body.weights[self.index]
        shares = self.skin.new_zeros(len(self.index), body.n_joints)
        self.shares = shares.index_add_(1, parts, self.skin) ** SHARPNESS
        self.target, self.confidence = mesh.vertices[:, self.index], mesh.confidence[:, self.index]
        self.placed = (self.confidence > 0).sum(1) >= MIN_POINTS
        self.betas, self.scale, self.transl = start.betas, start.scale, start.transl
        self.rotations = chain_products(start.rotations(), body.tree)
        self.points = self._posed()[0] * self.scale[:, None, None] + self.transl.unsqueeze(1)

    def place_rigidly(self) -> float:
        """Turn the whole body; say how many times the mesh is as large as the body."""
        result = procrustes(self.points, self.target, self.confidence)
        self.rotations = result.rotation.unsqueeze(1) @ self.rotations
        self.points = result.apply(self.points)
        return float(result.scale.median())

    def turn_parts(self) -> None:
        """Turn every part from where it is to where its vertices should be."""
        turns, known = part_rotations(self.points, self.target, self.shares, self.confidence)
        joints = torch.arange(len(self.parts), device=self.parts.device)
        turns = inherited(turns, known & (self.parts == joints), self.body.tree)
        self.rotations = turns @ self.rotations

    def solve_shape(self, fits_shape: bool, scaled: bool, shared: bool) -> None:
        """Solve for shape, size and place; rotations are held."""
        points, directions = self._posed()
        directions = directions if fits_shape else directions[:, :0]
        if not scaled:
            points, directions = (
                x * self.start.scale.view(-1, *(1,) * (x.ndim - 1)) for x in (points, directions)
            )
        result = fit_shape(points, directions, self.target, self.confidence, scaled, shared)
        if fits_shape:
            self.betas = self.betas + result.coefficients
        if scaled:
            self.scale = result.scale.clamp_min(1e-6)
        self.transl, self.points = result.transl, result.points

    def params(self) -> BodyParams:
        """Put the parameters together."""
        angles = rotmat_to_axis_angle(local_rotations(self.rotations, self.body.tree))
        return self.start.replace(
            global_orient=angles[:, 0],
            body_pose=angles[:, 1:],
            betas=self.betas,
            scale=self.scale,
            transl=self.transl,
        )

    def _posed(self) -> tuple[Tensor, Tensor]:
        """Return the present shape's few vertices, and how they move with betas; model unit, at the model's place."""
        body, tree = self.body, self.body.tree
        local = local_rotations(self.rotations, tree)
        params = self.start.replace(global_orient=local[:, 0], body_pose=local[:, 1:], betas=self.betas)
        # The whole body's, then a few: picking from the table of pose correctives takes longer.
        vertices = (body.frame_offsets(params, None) + body.rest_vertices(self.betas))[:, self.index]
        joints = body.rest_joints_of(params, body.rest_shape(self.betas))
        scales, offsets = body.joint_scales_and_offsets(params)
        linear = self.rotations if scales is None else self.rotations * scales.unsqueeze(-2)
        offsets = torch.zeros_like(joints) if offsets is None else offsets
        shaped = [x.unsqueeze(1) for x in (vertices, joints, offsets)]
        points = posed_directions(linear, *shaped, self.skin, tree)[:, 0]
        change = body.vertex_directions('betas')
        if change is None:
            return points, points.new_zeros(len(points), 0, *points.shape[1:])
        of_joints = body.joint_directions('betas')
        steps = torch.zeros_like(of_joints) if body.transdirs is None else body.transdirs
        moved = [x.unsqueeze(0) for x in (change[:, self.index], of_joints, steps)]
        return points, posed_directions(linear, *moved, self.skin, tree)


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
        self.try_swaps, self.unswap = try_swaps, unswap
        self.hooks = tuple(hooks)
        self.verbose = verbose or wants_log(self.hooks)
        self.info_level = info_level
        self.logger = logger if isinstance(logger, logging.Logger) else logging.getLogger(logger or 'smilfit')

    def _counting(self, inputs: Mapping[str, BaseInput], report: dict[str, Any]) -> Tensor:
        """Return which frames have an observation that some stage weights; count those that have others only."""
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
        """Return all stages with their factors on named keypoints."""
        return [(s, keypoint_weights(s, self.body.data, self.ignored)) for s in self.stages]

    def _doubt(self, inputs: Mapping[str, BaseInput], seen: Tensor, report: dict[str, Any]) -> None:
        """Report on frames that show less than is asked of them; `seen` says which of all frames the inputs are."""
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

    def _fitted_rows(self) -> dict[str, Any]:
        """Name the rows of parameters that belong to landmarks and parts, for whoever reads the result."""
        fitted = {name for stage in self.stages for name in stage.fit}
        result: dict[str, Any] = {}
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

    def _ignored(self, inputs: Mapping[str, BaseInput]) -> dict[str, Any]:
        """Return what of the inputs takes no part."""
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
