"""Turn the terms of handlers into contributions to the normal equations of each frame."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.geometry.quaternion import left_jacobian_inverse, skew
from smilfit.handlers import BodyState
from smilfit.registrants.second_order.kinematics import Kinematics
from smilfit.registrants.second_order.landmarks import point_set
from smilfit.registrants.second_order.layout import Layout
from smilfit.structures import BodyOutput, ParameterTerm, PointTerm, ResidualTerm

# Numbers in one block of Jacobians of vertices: what fits a cache.
BLOCK = 2_000_000


class FrameEquations:
    """Sums `matrix` (B, m, m) and `vector` (B, m) of a quadratic model `E + b . x + x . A x / 2`."""

    def __init__(self, kin: Kinematics, layout: Layout) -> None:
        count = layout.n_own + layout.n_shared
        self.kin, self.layout = kin, layout
        self.matrix = kin.joints.new_zeros(len(kin.joints), count, count)
        self.vector = kin.joints.new_zeros(len(kin.joints), count)

    def add_points(self, term: PointTerm) -> None:
        """Add a term of points."""
        points = point_set(self.kin.body, term.names)
        if term.names is not None:
            jacobian = self.kin.jacobian(points, self.layout)
            self._add(jacobian, term.gradient, term.curvature)
            if term.cameras is not None and 'cameras' in self.layout.extra_columns():
                self._add_views(jacobian, self.kin.places(points), term)
            return
        # A whole mesh, block by block, and only vertices that count in any frame.
        rows = max(1, BLOCK // (3 * self.vector.numel()))
        for start in range(0, len(points), rows):
            part = slice(start, start + rows)
            gradient, curvature = term.gradient[:, part], term.curvature[:, part]
            if bool(curvature.any()) or bool(gradient.any()):
                self._add(self.kin.jacobian(points.part(part), self.layout), gradient, curvature)

    def _add(self, jacobian: Tensor, gradient: Tensor, curvature: Tensor) -> None:
        flat = jacobian.flatten(1, 2)
        weighted = (curvature @ jacobian).flatten(1, 2)
        self.matrix += flat.transpose(1, 2) @ weighted
        self.vector += (flat.transpose(1, 2) @ gradient.flatten(1).unsqueeze(-1)).squeeze(-1)

    def _add_views(self, jacobian: Tensor, places: Tensor, term: PointTerm) -> None:
        """Add what moving cameras change: a camera's motion is the opposite motion of all it sees."""
        rotation, shift = term.cameras.R, term.cameras.t
        first = self.layout.extra_columns()['cameras'].start
        flat = jacobian.flatten(1, 2).transpose(1, 2)
        for c in range(len(rotation)):
            seen = places @ rotation[c].t() + shift[c]
            eye = torch.eye(3, dtype=seen.dtype, device=seen.device).expand(*seen.shape[:2], 3, 3)
            # x_cam' = x_cam + w x x_cam + s, brought back into the world's frame.
            motion = rotation[c].t() @ torch.cat((-skew(seen), eye), -1)
            weighted = term.view_curvature[:, c] @ motion
            flat_motion = motion.flatten(1, 2).transpose(1, 2)
            own = slice(first + 6 * c, first + 6 * c + 6)
            across = flat @ weighted.flatten(1, 2)
            self.matrix[:, :, own] += across
            self.matrix[:, own, :] += across.transpose(1, 2)
            self.matrix[:, own, own] += flat_motion @ weighted.flatten(1, 2)
            pull = term.view_gradient[:, c].flatten(1).unsqueeze(-1)
            self.vector[:, own] += (flat_motion @ pull).squeeze(-1)

    def add_parameters(self, term: ParameterTerm) -> None:
        """Add a term of parameters; those that do not move are left out."""
        columns = self.layout.extra_columns()
        for name, gradient in term.gradient.items():
            curvature = term.curvature[name]
            if name == 'body_pose':
                self._add_pose(gradient, curvature)
            elif name in columns:
                self.vector[:, columns[name]] += gradient
                self.matrix[:, columns[name], columns[name]] += curvature

    def _add_pose(self, gradient: Tensor, curvature: Tensor) -> None:
        maps = pose_maps(self.kin)[:, self.layout.free]
        turning = self.layout.free > 0
        maps = maps * turning[:, None, None]
        # The root has no row of its own in body_pose; its map is zero.
        rows = (self.layout.free - 1).clamp_min(0)
        gradient = gradient.unflatten(1, (-1, 3)).index_select(1, rows)
        count = 3 * len(rows)
        self.vector[:, :count] += (maps.transpose(-1, -2) @ gradient.unsqueeze(-1)).flatten(1)
        if curvature.ndim == 4 and curvature.shape[-1] == 3:
            blocks = maps.transpose(-1, -2) @ curvature.index_select(1, rows) @ maps
            view = self.matrix[:, :count, :count].unflatten(1, (-1, 3)).unflatten(3, (-1, 3))
            view.diagonal(dim1=1, dim2=3).add_(blocks.permute(0, 2, 3, 1))
            return
        full = (
            curvature.unflatten(1, (-1, 3)).unflatten(3, (-1, 3)).index_select(1, rows).index_select(3, rows)
        )
        turned = torch.einsum('bjac,bjakd,bkde->bjcke', maps, full.expand(len(maps), -1, -1, -1, -1), maps)
        self.matrix[:, :count, :count] += turned.flatten(3, 4).flatten(1, 2)

    def add_residuals(self, jacobian: Float[Tensor, 'B R m'], residual: Float[Tensor, 'B R']) -> None:
        """Add a sum of squares with its Jacobian."""
        self.matrix += 2 * jacobian.transpose(1, 2) @ jacobian
        self.vector += 2 * (jacobian.transpose(1, 2) @ residual.unsqueeze(-1)).squeeze(-1)


def pose_maps(kin: Kinematics) -> Float[Tensor, 'B J 3 3']:
    """Give d axis-angle / d turn of every joint: the logarithm's derivative after the parent's rotation."""
    axis_angle = kin.params.stacked_axis_angle()
    return left_jacobian_inverse(axis_angle) @ kin.parent_rotations.transpose(-1, -2)


def residual_jacobian(
    term_of: Callable[[BodyState], ResidualTerm], state: BodyState, kin: Kinematics, layout: Layout
) -> tuple[Float[Tensor, 'B R m'], Float[Tensor, 'B R']]:
    """Differentiate a residual automatically as a function of points and parameters, then by the geometry.

    The handler sees the body's points and parameters as independent inputs, so automatic differentiation ends at
    them and never walks the kinematic chain.
    """
    leaves = {
        **{n: getattr(state.output, n) for n in ('joints', 'keypoints', 'vertices')},
        **state.params.as_dict(),
    }
    leaves = {n: v.detach().requires_grad_() for n, v in leaves.items() if v is not None and v.numel()}
    seen = BodyOutput(
        **{n: leaves.get(n) for n in ('joints', 'keypoints', 'vertices')},
        keypoint_names=state.output.keypoint_names,
        joint_names=state.output.joint_names,
    )
    names = [n for n in state.params.as_dict() if n in leaves]
    params = state.params.replace(**{n: leaves[n] for n in names})
    with torch.enable_grad():
        leaf_state = BodyState(
            state.body,
            params,
            seen,
            state.keypoint_weights,
            state.robust_scale,
            state.frames,
            state.camera_shift,
            state.log_focal,
        )
        residual = term_of(leaf_state).residual
        slopes = _rows(residual, list(leaves.values()))
    jacobian = residual.new_zeros(*residual.shape, layout.n_own + layout.n_shared)
    point_names = {
        'joints': state.output.joint_names,
        'keypoints': state.output.keypoint_names,
        'vertices': None,
    }
    for (name, leaf), slope in zip(leaves.items(), slopes):
        if slope is None:
            continue
        if name in point_names:
            points = point_set(kin.body, point_names[name])
            jacobian = jacobian + slope.flatten(2) @ _jacobian(kin, points, layout, name).flatten(1, 2)
        else:
            _add_parameter(jacobian, name, slope, leaf, kin, layout)
    return jacobian, residual.detach()


def _jacobian(kin: Kinematics, points, layout: Layout, name: str) -> Tensor:
    if name != 'vertices':
        return kin.jacobian(points, layout)
    rows = max(1, BLOCK // (3 * len(kin.joints) * (layout.n_own + layout.n_shared)))
    parts = [kin.jacobian(points.part(slice(i, i + rows)), layout) for i in range(0, len(points), rows)]
    return torch.cat(parts, 1)


def _rows(residual: Float[Tensor, 'B R'], leaves: Sequence[Tensor]) -> list[Tensor | None]:
    """Differentiate every residual: (B, R, ...) for each leaf, None where it plays no part."""
    if not residual.requires_grad:
        return [None] * len(leaves)
    count = residual.shape[1]
    picks = torch.eye(count, dtype=residual.dtype, device=residual.device)
    picks = picks.unsqueeze(1).expand(count, *residual.shape)
    found = torch.autograd.grad(residual, leaves, picks, is_grads_batched=True, allow_unused=True)
    return [None if f is None else f.transpose(0, 1) for f in found]


def _add_parameter(
    jacobian: Tensor, name: str, slope: Tensor, leaf: Tensor, kin: Kinematics, layout: Layout
) -> None:
    columns = layout.extra_columns()
    if name == 'scale':
        name, slope = 'log_scale', slope * leaf.detach()[:, None]
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
