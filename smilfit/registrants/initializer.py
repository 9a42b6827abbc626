"""Where a fit starts: the rest body moved onto keypoints, or posed and shaped onto a mesh, in closed form."""

import math
from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.geometry.alignment import (
    few_of_each,
    fit_shape,
    inherited,
    local_rotations,
    part_rotations,
    posed_directions,
    procrustes,
    procrustes_shared_scale,
)
from smilfit.geometry.posing import chain_products
from smilfit.geometry.rotation import axis_angle_to_rotmat, rotmat_to_axis_angle
from smilfit.handlers import BaseInput, Keypoint3dMSEInput, MeshInput, MultiviewKeypoint2dMSEInput
from smilfit.io import triangulate_keypoints
from smilfit.registrants.stage import Stage, fitted_joints
from smilfit.registry import REGISTRANTS, UnknownNameError, reject_unknown
from smilfit.structures import PARAMETERS, BodyParams, Keypoints3d, parameter_names

# Fewer points than this do not fix a rotation well.
MIN_POINTS = 4
# Steps of refinement of triangulated points: the fit refines the body itself. Without noise and with it the linear
# solution is as good a start; where labels of some views are exchanged, these steps against outliers tell.
N_REFINE = 2
# A body that keeps its size and is this many times too large or small is one in another unit.
OTHER_UNIT = 2.0


@REGISTRANTS.register_module()
class RigidInitializer:
    """Aligns the body, rigidly and with scale, to 3D keypoints, or to 2D keypoints triangulated.

    Frames that lack points take the rotation of the nearest frame that has them.

    Args:
        joint_group: a joint group of the model file whose keypoints alone are aligned where it has at least four
            of them in a frame (a torso bends less than a tail); None for all.
    """

    def __init__(self, joint_group: str | None = None) -> None:
        self.joint_group = joint_group

    def __call__(
        self,
        body: SMIL,
        inputs: Sequence[BaseInput],
        start: BodyParams,
        shared: bool,
        scaled: bool = True,
    ) -> tuple[BodyParams, Mapping[str, float | str]]:
        """Move the body of `start` onto the first input that can be aligned to.

        Args:
            body: the body.
            inputs: observations.
            start: what is moved.
            shared: whether all frames have one scale.
            scaled: whether the body takes the keypoints' size; where no stage fits the scale it keeps its own.

        Returns:
            The moved parameters; a count of frames that could not be placed by their own points; and as
            `unfitted_scale` how many times the keypoints are as large as a body that keeps its size, if that is
            as far from 1 as another unit.
        """
        keypoints = self._keypoints(inputs)
        if keypoints is None:
            return start, {}
        with torch.no_grad():
            source = body(start, need=keypoints.names).select(keypoints.names)
        weights = self._weights(body, keypoints)
        align = procrustes_shared_scale if shared else procrustes
        result = align(source, keypoints.xyz, weights)
        placed = (weights > 0).sum(1) >= MIN_POINTS
        if not bool(placed.any()):
            return start, {'frames_without_alignment': keypoints.batch_size}
        nearest = nearest_good(placed)
        scale = torch.where(placed, result.scale, result.scale[placed].median())
        notes: dict[str, float | str] = {'frames_without_alignment': int((~placed).sum())}
        if not scaled:
            off = float(result.scale[placed].median())
            notes |= {} if 1 / OTHER_UNIT < off < OTHER_UNIT else {'unfitted_scale': off}
            scale = torch.ones_like(scale)
        rotation = result.rotation[nearest]
        translation = self._translation(source, keypoints, weights, rotation, scale)[
            nearest_good(weights.sum(1) > 0)
        ]
        root = axis_angle_to_rotmat(start.global_orient)
        params = start.replace(
            global_orient=rotmat_to_axis_angle(rotation @ root),
            scale=start.scale * scale,
            transl=torch.zeros_like(start.transl),
        )
        # A body turns about its root joint, an alignment about the origin: the root shows the difference.
        with torch.no_grad():
            before, after = body(start).joints[:, 0], body(params).joints[:, 0]
        goal = scale[:, None] * (rotation @ before.unsqueeze(-1)).squeeze(-1) + translation
        params = params.replace(transl=goal - after)
        return share_shape(params) if shared else params, notes

    def _keypoints(self, inputs: Sequence[BaseInput]) -> Keypoints3d | None:
        for given in inputs:
            if isinstance(given, Keypoint3dMSEInput):
                return given.keypoints
        for given in inputs:
            if isinstance(given, MultiviewKeypoint2dMSEInput) and len(given.keypoints.rig) > 1:
                return triangulate_keypoints(given.keypoints, n_refine=N_REFINE)
        return None

    def _weights(self, body: SMIL, keypoints: Keypoints3d) -> Tensor:
        weights = keypoints.confidence
        members = body.data.joint_groups.get(self.joint_group or '', ())
        if self.joint_group and not members:
            raise UnknownNameError(
                f'RigidInitializer: {body.data.name} has no joint group {self.joint_group!r}; '
                f'it has {list(body.data.joint_groups)}.'
            )
        if members:
            inside = weights.new_tensor([float(n in members) for n in keypoints.names])
            enough = ((weights * inside) > 0).sum(1, keepdim=True) >= MIN_POINTS
            weights = torch.where(enough, weights * inside, weights)
        return weights

    @staticmethod
    def _translation(
        source: Tensor, keypoints: Keypoints3d, weights: Tensor, rotation: Tensor, scale: Tensor
    ) -> Tensor:
        """Bring the weighted centroids together, under a given rotation and scale."""
        w = (weights / weights.sum(1, keepdim=True).clamp_min(1e-12)).unsqueeze(-1)
        moved = scale[:, None] * ((w * source).sum(1, keepdim=True) @ rotation.transpose(1, 2)).squeeze(1)
        return (w * keypoints.xyz).sum(1) - moved


def nearest_good(good: Tensor) -> Tensor:
    """Return for every frame the index of the nearest good frame (itself where it is good)."""
    frames = torch.arange(len(good), device=good.device)
    if not bool(good.any()):
        return frames
    candidates = frames[good]
    # The neighbours on both sides, by search: a table of all distances would grow with the square of the clip.
    after = torch.searchsorted(candidates, frames).clamp_max(len(candidates) - 1)
    before = (after - 1).clamp_min(0)
    nearer = (frames - candidates[before]).abs() <= (candidates[after] - frames).abs()
    return candidates[torch.where(nearer, before, after)]


# Of one animal's frames: scales that differ by more are no sizes.
ODD_SCALE = 1e3


def start_params(body: SMIL, given: BodyParams | Mapping[str, Tensor] | None, batch: int) -> BodyParams:
    """Return the rest pose with what a caller says of it, one row a frame.

    Raises:
        KeyError: an unknown parameter, with the near ones.
        ValueError: another count of rows than 1 or one a frame, or another shape than the body's.
    """
    start = body.zero_params(batch)
    if given is None:
        return start
    given = given.as_dict() if isinstance(given, BodyParams) else dict(given)
    reject_unknown('SMPLify: init_params', 'parameter', given, parameter_names(of='body'))
    like = start.transl
    result = {n: _rows(n, torch.as_tensor(v).to(like), batch, body.sizes) for n, v in given.items()}
    return start.replace(**result).as_axis_angle()


def check_start(start: BodyParams) -> None:
    """Look for a start that no body stands in.

    Raises:
        ValueError: a number that is not finite, or a scale that is not positive.
    """
    for name, value in start.as_dict().items():
        wrong, rule = ~value.isfinite(), 'be finite'
        if PARAMETERS[name].kind == 'scale' and not bool(wrong.any()):
            wrong, rule = value <= 0, 'be positive'
        bad = wrong.reshape(len(value), -1).any(1)
        if bool(bad.any()):
            row = int(bad.nonzero()[0])
            shown = [f'{x:.4g}' for x in value[row].flatten()[:3].tolist()]
            raise ValueError(
                f'SMPLify: init_params {name} must {rule}; got {", ".join(shown)} in row {row} of the observed '
                f"frames ({int(bad.sum())} such rows). Leave {name} out of init_params, or give a good frame's."
            )


def with_usual_scale(start: BodyParams) -> tuple[BodyParams, int]:
    """Return frames whose scale is far from the others' their median, before all share one; says how many.

    Of one animal no frame is `ODD_SCALE` times as large as the others: a mean would follow it.
    """
    log = start.scale.log()
    centre = log.median()
    odd = (log - centre).abs() > math.log(ODD_SCALE)
    if not bool(odd.any()):
        return start, 0
    return start.replace(scale=torch.where(odd, centre.exp(), start.scale)), int(odd.sum())


def _rows(name: str, value: Tensor, batch: int, sizes: Mapping[str, int]) -> Tensor:
    if value.ndim == 0 or value.shape[0] not in (1, batch):
        rows = value.shape[0] if value.ndim else 'a number'
        raise ValueError(f'SMPLify: init_params {name} must have 1 or {batch} rows; got {rows}.')
    PARAMETERS[name].check('SMPLify: init_params ', value, sizes, batch, 'Is it of another body model?')
    return value.expand(batch, *value.shape[1:]).clone()


# Vertices of one part that are looked at: a start needs no more, and time grows with them.
PER_PART = 48
# Vertices near a joint go with two parts and tell of neither: a share of a half counts 1/256 of a whole one.
SHARPNESS = 8


@runtime_checkable
class Initializer(Protocol):
    """Finds where a fit starts; see `RigidInitializer`."""

    def __call__(
        self, body: SMIL, inputs: Sequence[BaseInput], start: BodyParams, shared: bool, scaled: bool = True
    ) -> tuple[BodyParams, Mapping[str, float | str]]:
        """Return the start, and what to note of it."""
        ...


@runtime_checkable
class ManyStarts(Protocol):
    """Finds several starts for each frame; see `ViewInitializer`."""

    def candidates(
        self,
        body: SMIL,
        inputs: Sequence[BaseInput],
        start: BodyParams,
        n: int,
        shared: bool = False,
        scaled: bool = False,
    ) -> tuple[BodyParams, Mapping[str, float | str]]:
        """Return n starts of each frame, and what to note of them."""
        ...


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
    ) -> tuple[BodyParams, Mapping[str, float | str]]:
        """Move the body onto the first mesh of its topology; arguments and result as for `RigidInitializer`."""
        mesh = next((i for i in inputs if isinstance(i, MeshInput) and same_faces(i, body)), None)
        if mesh is None or _stretches_children(body, start):
            return self.otherwise(body, inputs, start, shared, scaled)
        start = share_shape(start) if shared else start
        work = _Work(body, mesh, start, self._parts(body))
        notes: dict[str, float | str] = {'frames_without_alignment': int((~work.placed).sum())}
        if not bool(work.placed.any()):
            return start, notes
        off = work.place_rigidly()
        if not scaled and not 1 / OTHER_UNIT < off < OTHER_UNIT:
            notes['unfitted_scale'] = off
        for _ in range(self.rounds):
            work.rotate_parts()
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

    def rotate_parts(self) -> None:
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
        shaped = vertices.unsqueeze(1), joints.unsqueeze(1), offsets.unsqueeze(1)
        points = posed_directions(linear, *shaped, self.skin, tree)[:, 0]
        change, of_joints = body.vertex_directions('betas'), body.joint_directions('betas')
        if change is None or of_joints is None:
            return points, points.new_zeros(len(points), 0, *points.shape[1:])
        steps = torch.zeros_like(of_joints) if body.transdirs is None else body.transdirs
        moved = change[:, self.index].unsqueeze(0), of_joints.unsqueeze(0), steps.unsqueeze(0)
        return points, posed_directions(linear, *moved, self.skin, tree)


def share_shape(params: BodyParams) -> BodyParams:
    """Return every frame the clip's mean of what is shared with the shape (of a scale the geometric mean)."""
    changes = {}
    for name, value in params.as_dict().items():
        spec = PARAMETERS[name]
        if spec.shared:
            changes[name] = spec.from_free(spec.free(value).mean(0, keepdim=True)).expand_as(value).clone()
    return params.replace(**changes)
