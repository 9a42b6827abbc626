"""Sum quadratic models into the normal equations of each frame."""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.geometry.posing import bone_maps
from smilfit.geometry.rotation import left_jacobian_inverse, skew
from smilfit.handlers import BodyState
from smilfit.losses import Energies
from smilfit.registrants.second_order.automatic import Slopes, energy_slopes, residual_slopes
from smilfit.registrants.second_order.kinematics import Kinematics
from smilfit.registrants.second_order.point_sets import PointSet, point_set
from smilfit.registrants.second_order.quadratic_models import (
    AutomaticModel,
    Model,
    ParameterModel,
    PointModel,
    ViewModel,
    irls_weights,
)
from smilfit.registrants.second_order.unknowns import VariableLayout, axis_angles
from smilfit.structures import BodyOutput

# Vertices of one block: its Jacobian of a hundred unknowns fits a cache.
VERTICES = 1024
# e_a x d, as (axis a, coordinate, component of d, sign).
_CROSS = ((0, 1, 2, -1), (0, 2, 1, 1), (1, 0, 2, 1), (1, 2, 0, -1), (2, 0, 1, -1), (2, 1, 0, 1))

Block = slice | Tensor


def add_mesh(
    kin: Kinematics, layout: VariableLayout, term: PointModel, matrix: Tensor, vector: Tensor
) -> None:
    """Add a term of all vertices to the equations of its frames, in place.

    Args:
        kin: the posed bodies.
        layout: the unknowns.
        term: with names None.
        matrix: (B, m, m).
        vector: (B, m).
    """
    jacobian = MeshJacobian(kin, layout)
    counts = (term.hessian != 0).any(-1).any(-1) | (term.gradient != 0).any(-1)
    for frame in range(len(vector)):
        for block in _blocks(counts[frame]):
            rows = jacobian.rows(frame, block)
            weighted = _weighted(rows, term.hessian[frame, block].permute(1, 2, 0).contiguous())
            flat = rows.flatten(1)
            matrix[frame] += flat @ weighted.flatten(1).t()
            vector[frame] += flat @ term.gradient[frame, block].t().flatten()


def _blocks(counts: Tensor) -> Iterator[Block]:
    """Go through the vertices that count: by slices where all do, else by index."""
    if bool(counts.all()):
        yield from (slice(at, at + VERTICES) for at in range(0, len(counts), VERTICES))
    else:
        yield from (rows for rows in counts.nonzero().flatten().split(VERTICES) if len(rows))


def _weighted(rows: Float[Tensor, 'm 3 n'], hessian: Float[Tensor, '3 3 n']) -> Float[Tensor, 'm 3 n']:
    """Multiply each vertex's columns by its hessian; most hessians are diagonal."""
    weighted = rows * hessian.diagonal().t()
    for c, d in ((0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)):
        if bool(hessian[c, d].any()):
            weighted[:, c].addcmul_(rows[:, d], hessian[c, d])
    return weighted


def _add_rotated(result: Tensor, blended: Float[Tensor, '3 3 n'], change: Float[Tensor, '*m 3 n']) -> None:
    """Add what moves at rest (..., coordinate, vertex), turned as each vertex is."""
    for c in range(3):
        for d in range(3):
            result[..., c, :].addcmul_(change[..., d, :], blended[c, d])


class MeshJacobian:
    """Derivatives of vertices of posed bodies with respect to all unknowns of a layout."""

    def __init__(self, kin: Kinematics, layout: VariableLayout) -> None:
        self.kin, self.layout = kin, layout
        body, params = kin.body, kin.params
        self.maps = bone_maps(kin.linear, kin.positions, kin.rest_joints, params.scale, params.transl)
        self.rest = kin.rest.vertices + body.frame_offsets(params, None)
        self.skin = body.weights.t().contiguous()
        self.paths = body.tree.paths[:, layout.free]
        self.below = self.paths.t() @ self.skin
        self.n_root = int((layout.free == 0).sum())
        # Pose correctives, and how turns about each axis of the world change what they follow.
        self.bulges = None if body.posedirs is None else (body.posedirs, self._spins())
        self.of_joints = {
            n: self._of_joints(n) for n, _ in layout.extras if n not in ('log_scale', 'cameras')
        }

    def rows(self, frame: int, block: Block) -> Float[Tensor, 'm 3 n']:
        """Differentiate some vertices of a frame: unknown, coordinate, vertex."""
        skin = self.skin[:, block]
        rest = self.rest[min(frame, len(self.rest) - 1), block].t()
        above = torch.cat((rest, torch.ones_like(rest[:1])))
        carried = (self.maps[frame].flatten(0, 1) @ above).unflatten(0, (-1, 3)) * skin.unsqueeze(1)
        blended = (self.maps[frame, :, :, :3].permute(1, 2, 0).flatten(0, 1) @ skin).unflatten(0, (3, 3))
        result = rest.new_zeros(self.layout.n_own + self.layout.n_shared, *rest.shape)
        n_rotations = 3 * len(self.layout.free)
        self._add_rotations(result[:n_rotations].unflatten(0, (-1, 3)), frame, block, (carried, blended))
        if self.layout.transl:
            result[n_rotations : n_rotations + 3].diagonal(dim1=0, dim2=1).fill_(1)
        for name, columns in self.layout.extra_columns().items():
            self._add_extra(result[columns], name, frame, block, (skin, rest, carried, blended))
        return result

    def _add_rotations(self, result: Tensor, frame: int, block: Block, shared: tuple[Tensor, Tensor]) -> None:
        """Turn joint after joint: `e_a x sum_j w_j (y_j - p_k)` over the bones j below joint k (k, axis, 3, n)."""
        carried, blended = shared
        pivots = self.kin.joints[frame, self.layout.free]
        arms = (self.paths.t() @ carried.flatten(1)).unflatten(1, (3, -1))
        arms = arms - self.below[:, block].unsqueeze(1) * pivots.unsqueeze(-1)
        for axis, coordinate, component, sign in _CROSS:
            result[:, axis, coordinate].add_(arms[:, component], alpha=sign)
        if self.bulges is not None and len(result) > self.n_root:
            _add_rotated(result[self.n_root :], blended, self._bulge(*self.bulges, frame, block))

    def _bulge(self, posedirs: Tensor, spins: Tensor, frame: int, block: Block) -> Float[Tensor, 'j 3 3 n']:
        """Differentiate the rest vertices' pose correctives: joint, axis of its turn, coordinate, vertex."""
        directions = posedirs.unflatten(1, (-1, 3)).unflatten(0, (-1, 9))
        turning = self.layout.free[self.n_root :] - 1
        every = len(turning) == len(directions)
        directions = (directions if every else directions[turning])[:, :, block]
        moved = spins[frame, turning] @ directions.flatten(2)
        return moved.unflatten(2, (-1, 3)).transpose(2, 3).contiguous()

    def _spins(self) -> Float[Tensor, 'B j 3 9']:
        """Differentiate local rotations by a turn about each axis of the world: `dR = [P^T e_a]x R`."""
        local = self.kin.point.rotations()[:, 1:]
        eye = torch.eye(3, dtype=local.dtype, device=local.device)
        about_own = (skew(eye) @ local.unsqueeze(2)).flatten(3)
        return self.kin.parent_rotations[:, 1:] @ about_own

    def _add_extra(
        self, result: Tensor, name: str, frame: int, block: Block, shared: tuple[Tensor, ...]
    ) -> None:
        """Add the rows of one extra (n, 3, v)."""
        skin, rest, carried, blended = shared
        body = self.kin.body
        if name == 'cameras':
            return
        if name == 'log_scale':
            result[0] = carried.sum(0) - self.kin.params.transl[frame].unsqueeze(-1)
            return
        columns = self.of_joints[name][frame].permute(2, 1, 0)
        result += (columns.flatten(0, 1) @ skin).unflatten(0, (-1, 3))
        change = body.vertex_directions(name)
        if change is not None:
            _add_rotated(result, blended, change[:, block].transpose(1, 2).contiguous())
        if name == 'log_joint_scales':
            result += self._stretch(frame, rest, skin)
        elif name == 'betas' and body.scaledirs is not None:
            rate = body.log_scale_rates(self.kin.params.betas[frame : frame + 1])[0].flatten(1)
            result += (rate @ self._stretch(frame, rest, skin).flatten(1)).unflatten(1, (3, -1))

    def _of_joints(self, name: str) -> Float[Tensor, 'B J 3 n']:
        """Differentiate the bones' shifts: of their joints, less what the joints' rest places take along."""
        columns = self.kin.joint_columns(name)
        body = self.kin.body
        directions = body.joint_directions(name)
        if directions is None or body.vertex_directions(name) is None:
            return columns
        held = torch.einsum('bjac,njc->bjan', self.maps[..., :3], directions)
        return columns - held

    def _stretch(self, frame: int, rest: Tensor, skin: Tensor) -> Float[Tensor, 'n 3 v']:
        """Differentiate by the bones' own stretches of what they carry: (joint, axis), coordinate, vertex."""
        pivots = self.kin.rest_joints[min(frame, len(self.kin.rest_joints) - 1)]
        arms = skin.unsqueeze(1) * (rest - pivots.unsqueeze(-1))
        # (J, a, c) maps: column c of the bone's map carries the arm along its axis c.
        linear = self.maps[frame, :, :, :3].transpose(1, 2)
        return (linear.unsqueeze(-1) * arms.unsqueeze(2)).flatten(0, 1)


# Numbers in one block of Jacobians of vertices: what fits a cache.
BLOCK = 2_000_000


class FrameEquations:
    """Sums `matrix` (B, m, m) and `vector` (B, m) of a quadratic model `E + b . x + x . A x / 2`."""

    def __init__(self, kin: Kinematics, layout: VariableLayout) -> None:
        count = layout.n_own + layout.n_shared
        self.kin, self.layout = kin, layout
        self.matrix = kin.joints.new_zeros(len(kin.joints), count, count)
        self.vector = kin.joints.new_zeros(len(kin.joints), count)

    def add(self, models: Sequence[Model], state: BodyState, widening: float) -> 'FrameEquations':
        """Add models of these frames; `state` and `widening` are for those whose derivatives are automatic."""
        for model in models:
            if isinstance(model, PointModel):
                self.add_points(model)
            elif isinstance(model, ParameterModel):
                self.add_parameter(model)
            else:
                self.add_automatic(model, state, widening)
        return self

    def add_points(self, term: PointModel) -> None:
        """Add a model of points."""
        if term.names is None:
            add_mesh(self.kin, self.layout, term, self.matrix, self.vector)
            return
        points = point_set(self.kin.body, term.names)
        jacobian = self.kin.jacobian(points, self.layout)
        self._add(jacobian, term.gradient, term.hessian)
        if term.views is not None and 'cameras' in self.layout.extra_columns():
            self._add_views(jacobian, self.kin.places(points), term.views)

    def _add(self, jacobian: Tensor, gradient: Tensor, hessian: Tensor) -> None:
        flat = jacobian.flatten(1, 2)
        weighted = (hessian @ jacobian).flatten(1, 2)
        self.matrix += flat.transpose(1, 2) @ weighted
        self.vector += (flat.transpose(1, 2) @ gradient.flatten(1).unsqueeze(-1)).squeeze(-1)

    def _add_views(self, jacobian: Tensor, places: Tensor, views: ViewModel) -> None:
        """Add what moving cameras change: a camera's motion is the opposite motion of all it sees."""
        rotation, shift = views.cameras.R, views.cameras.t
        first = self.layout.extra_columns()['cameras'].start
        flat = jacobian.flatten(1, 2).transpose(1, 2)
        for place, c in enumerate(self.layout.cameras):
            in_camera = places @ rotation[c].t() + shift[c]
            eye = torch.eye(3, dtype=in_camera.dtype, device=in_camera.device).expand(
                *in_camera.shape[:2], 3, 3
            )
            # x_cam' = x_cam + w x x_cam + s, brought back into the world's frame.
            motion = rotation[c].t() @ torch.cat((-skew(in_camera), eye), -1)
            weighted = views.hessian[:, c] @ motion
            flat_motion = motion.flatten(1, 2).transpose(1, 2)
            own = slice(first + 6 * place, first + 6 * place + 6)
            across = flat @ weighted.flatten(1, 2)
            self.matrix[:, :, own] += across
            self.matrix[:, own, :] += across.transpose(1, 2)
            self.matrix[:, own, own] += flat_motion @ weighted.flatten(1, 2)
            gradient = views.gradient[:, c].flatten(1).unsqueeze(-1)
            self.vector[:, own] += (flat_motion @ gradient).squeeze(-1)

    def add_parameter(self, term: ParameterModel) -> None:
        """Add a model of a parameter; one that does not move is left out."""
        columns = self.layout.extra_columns()
        if term.name == 'body_pose':
            self._add_pose(term.gradient, term.hessian)
        elif term.name in columns:
            own, hessian = columns[term.name], term.hessian
            if hessian.ndim == 4:
                hessian = block_diagonal(hessian)
            self.vector[:, own] += term.gradient
            self.matrix[:, own, own] += hessian

    def add_automatic(self, model: AutomaticModel, state: BodyState, widening: float) -> None:
        """Add a term whose derivatives are found automatically."""
        term, index = model.term, model.index
        related = term.related_input
        if 'cameras' in self.layout.extra_columns() and related is not None and related.cameras is not None:
            raise TypeError(
                f'LevenbergMarquardt: the derivatives of {term.name} by the cameras must be known where those are '
                'fitted; automatic ones are by the body alone. Use optimizer=dict(type="LBFGS"), or no fit_cameras.'
            )
        with torch.no_grad():
            stated = term.stated(state)
        share = term.shares(stated, state.params.transl)[index]
        if isinstance(stated[index], Energies):
            gradient, rows = energy_slopes(term, index, state, share)
            if rows:
                jacobian = unknown_rows(rows, state.output, self.kin, self.layout)
                self.matrix += jacobian.transpose(1, 2) @ jacobian
                self.vector += unknown_rows(gradient, state.output, self.kin, self.layout)[:, 0]
            return
        item, slopes = residual_slopes(term, index, state)
        if slopes:
            jacobian = unknown_rows(slopes, state.output, self.kin, self.layout)
            weight, value = irls_weights(item, share, widening)
            weight = weight.unsqueeze(-1).expand_as(value) if item.by_vector else weight
            back = (weight.flatten(1).unsqueeze(-1) * jacobian).transpose(1, 2)
            self.matrix += back @ jacobian
            self.vector += (back @ value.flatten(1).unsqueeze(-1)).squeeze(-1)

    def _add_pose(self, gradient: Tensor, hessian: Tensor) -> None:
        maps = pose_maps(self.kin)[:, self.layout.free]
        turning = self.layout.free > 0
        maps = maps * turning[:, None, None]
        # The root has no row of its own in body_pose; its map is zero.
        rows = (self.layout.free - 1).clamp_min(0)
        gradient = gradient.unflatten(1, (-1, 3)).index_select(1, rows)
        count = 3 * len(rows)
        self.vector[:, :count] += (maps.transpose(-1, -2) @ gradient.unsqueeze(-1)).flatten(1)
        if hessian.ndim == 4 and hessian.shape[-1] == 3:
            blocks = maps.transpose(-1, -2) @ hessian.index_select(1, rows) @ maps
            view = self.matrix[:, :count, :count].unflatten(1, (-1, 3)).unflatten(3, (-1, 3))
            view.diagonal(dim1=1, dim2=3).add_(blocks.permute(0, 2, 3, 1))
            return
        full = hessian.unflatten(1, (-1, 3)).unflatten(3, (-1, 3)).index_select(1, rows).index_select(3, rows)
        rotated = torch.einsum('bjac,bjakd,bkde->bjcke', maps, full.expand(len(maps), -1, -1, -1, -1), maps)
        self.matrix[:, :count, :count] += rotated.flatten(3, 4).flatten(1, 2)


def block_diagonal(blocks: Float[Tensor, 'B J 3 3']) -> Float[Tensor, 'B n n']:
    """Put blocks on the diagonal."""
    count = blocks.shape[1]
    matrix = blocks.new_zeros(len(blocks), count, 3, count, 3)
    matrix.diagonal(dim1=1, dim2=3).copy_(blocks.permute(0, 2, 3, 1))
    return matrix.flatten(3, 4).flatten(1, 2)


def pose_maps(kin: Kinematics) -> Float[Tensor, 'B J 3 3']:
    """Return d axis-angle / d turn of every joint: the logarithm's derivative after the parent's rotation."""
    return left_jacobian_inverse(axis_angles(kin.params)) @ kin.parent_rotations.transpose(-1, -2)


def unknown_rows(
    slopes: Slopes, output: BodyOutput, kin: Kinematics, layout: VariableLayout
) -> Float[Tensor, 'B R m']:
    """Turn derivatives by points and parameters into derivatives by the unknowns, by the body's geometry."""
    first = next(iter(slopes.values()))
    jacobian = first.new_zeros(*first.shape[:2], layout.n_own + layout.n_shared)
    point_names = {'joints': output.joint_names, 'keypoints': output.keypoint_names, 'vertices': None}
    for name, slope in slopes.items():
        if name in point_names:
            points = point_set(kin.body, point_names[name])
            jacobian = jacobian + slope.flatten(2) @ _jacobian(kin, points, layout, name).flatten(1, 2)
        else:
            _add_parameter_rows(jacobian, name, slope, kin, layout)
    return jacobian


def _jacobian(kin: Kinematics, points: PointSet, layout: VariableLayout, name: str) -> Tensor:
    if name != 'vertices':
        return kin.jacobian(points, layout)
    rows = max(1, BLOCK // (3 * len(kin.joints) * (layout.n_own + layout.n_shared)))
    parts = [kin.jacobian(points.part(slice(i, i + rows)), layout) for i in range(0, len(points), rows)]
    return torch.cat(parts, 1)


def _add_parameter_rows(
    jacobian: Tensor, name: str, slope: Tensor, kin: Kinematics, layout: VariableLayout
) -> None:
    columns = layout.extra_columns()
    if name == 'scale':
        name, slope = 'log_scale', slope * kin.params.scale[:, None]
    if name in columns:
        jacobian[:, :, columns[name]] += slope.flatten(2) if slope.ndim > 2 else slope.unsqueeze(-1)
    elif name == 'transl' and layout.transl:
        at = 3 * len(layout.free)
        jacobian[:, :, at : at + 3] += slope
    elif name in ('global_orient', 'body_pose'):
        maps = pose_maps(kin).index_select(1, layout.free)
        slope = slope.unsqueeze(2) if name == 'global_orient' else slope
        first = 0 if name == 'global_orient' else 1
        for at, joint in enumerate(layout.free.tolist()):
            if (joint == 0) == (first == 0):
                jacobian[:, :, 3 * at : 3 * at + 3] += slope[:, :, joint - first] @ maps[:, at]
