"""Where a fit to meshes of the body's own topology starts: posed, shaped and placed in closed form."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.geometry.kinematic_chain import chain_products
from smilfit.geometry.part_alignment import (
    few_of_each,
    fit_shape,
    inherited,
    local_rotations,
    part_rotations,
    posed_directions,
)
from smilfit.geometry.procrustes import procrustes
from smilfit.geometry.rotation import rotmat_to_axis_angle
from smilfit.handlers import BaseInput, MeshInput
from smilfit.registrants.initializer import MIN_POINTS, OTHER_UNIT, RigidInitializer, nearest_good
from smilfit.registrants.stage import Stage, fitted_joints
from smilfit.registrants.variables import share_shape
from smilfit.registry import REGISTRANTS
from smilfit.structures import BodyParams

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
        """Give the start, and what to note of it."""


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
        """Give the initialiser that moves what some stage fits, and nothing else."""
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
        """Give the joint that every joint turns with: itself, or the nearest above it that may turn (J,)."""
        parents = body.data.parents.tolist()
        allowed = set(range(body.n_joints)) if self.joints is None else {0, *self.joints}
        part = list(range(body.n_joints))
        for joint in range(1, body.n_joints):
            part[joint] = joint if joint in allowed else part[parents[joint]]
        return torch.tensor(part, device=body.v_template.device)


def same_faces(mesh: MeshInput, body: SMIL) -> bool:
    """Say whether a mesh has the body's topology."""
    faces = mesh.faces.to(body.faces.device)
    return faces.shape == body.faces.shape and torch.equal(faces, body.faces)


def _stretches_children(body: SMIL, start: BodyParams) -> bool:
    """Say whether joints hand scales down, under which a bone's map is no rotation times a scale of its own."""
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
        found = procrustes(self.points, self.target, self.confidence)
        self.rotations = found.rotation.unsqueeze(1) @ self.rotations
        self.points = found.apply(self.points)
        return float(found.scale.median())

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
        found = fit_shape(points, directions, self.target, self.confidence, scaled, shared)
        if fits_shape:
            self.betas = self.betas + found.coefficients
        if scaled:
            self.scale = found.scale.clamp_min(1e-6)
        self.transl, self.points = found.transl, found.points

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
        """Give the present shape's few vertices, and how they move with betas; model unit, at the model's place."""
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
