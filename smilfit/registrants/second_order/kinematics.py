"""How points of the body move with the unknowns: geometric Jacobians, without automatic differentiation.

Turning joint k by a small world rotation w moves a point x that hangs below it by w x (x - p_k). A skinned
point is a weighted few rigid points, one a bone: `x = sum_j y_j`, `y_j = a_j x_j`, and `sum_j a_j = 1`.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.body_models import SMIL, RestShape
from smilfit.geometry.rotation import skew
from smilfit.registrants.second_order.point_sets import PointSet
from smilfit.registrants.second_order.unknowns import VariableLayout, VariableState
from smilfit.structures import BodyParams

# Matrices of fewer multiplications than this torch multiplies in another way, which rounds otherwise.
MANY_PRODUCTS = 400


@dataclass(frozen=True)
class Kinematics:
    """A posed body, and the derivatives of its points.

    Args:
        body: the body.
        point: where the fit stands.
        params: the same as parameters, rotations as axis-angle.
        rest: its shape.
        linear: each joint's map from the rest frame to the model's.
        positions: each joint's position, model unit.
    """

    body: SMIL
    point: VariableState
    params: BodyParams
    rest: RestShape
    linear: Float[Tensor, 'B J 3 3']
    positions: Float[Tensor, 'B J 3']

    @classmethod
    def of(cls, body: SMIL, point: VariableState, rest: RestShape | None = None) -> 'Kinematics':
        """Pose the body of a point; `rest` is its shape where that does not change."""
        params = point.params()
        if rest is None:
            betas = point.extras['betas']
            rest = body.rest_shape(betas)
        rotations = point.rotations()
        posed = params.replace(global_orient=rotations[:, 0], body_pose=rotations[:, 1:])
        skeleton = body.posed_skeleton(posed, body.rest_joints_of(params, rest))
        return cls(body, point, params, rest, *skeleton)

    def take(self, rows: Tensor) -> 'Kinematics':
        """Pick bodies."""
        point, params, rest = self.point.take(rows), self.params[rows], self.rest.take(rows)
        return Kinematics(self.body, point, params, rest, self.linear[rows], self.positions[rows])

    @cached_property
    def rest_joints(self) -> Float[Tensor, '_ J 3']:
        """Joints before posing, model unit."""
        return self.body.rest_joints_of(self.params, self.rest)

    @cached_property
    def joints(self) -> Float[Tensor, 'B J 3']:
        """Joints in the world."""
        return self.params.scale[:, None, None] * self.positions + self.params.transl.unsqueeze(1)

    @cached_property
    def bone_rotations(self) -> Float[Tensor, 'B J 3 3']:
        """Each joint's rotation from the rest frame to the world."""
        return self.linear if self._scales is None else self.linear / self._scales.unsqueeze(-2)

    @cached_property
    def parent_rotations(self) -> Float[Tensor, 'B J 3 3']:
        """Each joint's parent's rotation in the world; of the root the identity."""
        above = self.bone_rotations.index_select(1, self.body.tree.parents)
        above[:, 0] = torch.eye(3, dtype=above.dtype, device=above.device)
        return above

    @cached_property
    def _scales(self) -> Tensor | None:
        return self.body.joint_scales_and_offsets(self.params)[0]

    @cached_property
    def _steps(self) -> Float[Tensor, 'B J 3 3']:
        """Maps from a change of a joint's offset, model unit, to a change of place in the world."""
        maps = self.linear.index_select(1, self.body.tree.parents)
        maps[:, 0] = torch.eye(3, dtype=maps.dtype, device=maps.device)
        return self.params.scale[:, None, None, None] * maps

    def jacobian(self, points: PointSet, layout: VariableLayout) -> Float[Tensor, 'B N 3 m']:
        """Differentiate points with respect to all columns of a layout."""
        parts = [self._rotations(points, layout)]
        if layout.transl:
            batch, count = parts[0].shape[:2]
            eye = torch.eye(3, dtype=self.linear.dtype, device=self.linear.device)
            parts.append(eye.expand(batch, count, 3, 3))
        for name, size in layout.extras:
            # Cameras move nothing in the world.
            still = name == 'cameras'
            parts.append(
                parts[0].new_zeros(*parts[0].shape[:3], size) if still else self.extra_columns(points, name)
            )
        return torch.cat(parts, -1)

    def _rotations(self, points: PointSet, layout: VariableLayout) -> Tensor:
        paths = self.body.tree.paths[:, layout.free]
        pivots = self.joints.index_select(1, layout.free)
        parts = []
        if len(points.joints):
            below = paths[points.joints]
            arms = pivots.unsqueeze(1) - self.joints.index_select(1, points.joints).unsqueeze(2)
            parts.append(skew(below[..., None] * arms))
        if points.landmarks is not None:
            mark = points.landmarks
            carried = torch.einsum('bnjc,jk->bnkc', mark.carried(self), paths)
            share = mark.shares @ paths
            turns = -skew(carried - share[..., None] * pivots.unsqueeze(1))
            if self.body.posedirs is not None:
                turns = turns + mark.corrective_rotations(self, self.body.posedirs, layout.free)
            parts.append(turns)
        result = points.in_order(parts)
        if points.offsets is not None:
            result = points.offsets.add_rotations(self, layout.free, result)
        # (B, N, k, 3, 3) -> (B, N, 3, k * 3)
        return result.transpose(2, 3).flatten(3)

    def places(self, points: PointSet) -> Float[Tensor, 'B N 3']:
        """Return points in the world."""
        parts = [self.joints.index_select(1, points.joints)] if len(points.joints) else []
        if points.landmarks is not None:
            parts.append(points.landmarks.carried(self).sum(2))
        places = points.in_order(parts)
        if points.offsets is None:
            return places
        return places.index_add(1, points.offsets.rows, points.offsets.arms(self))

    def extra_columns(self, points: PointSet, name: str) -> Float[Tensor, 'B N 3 n']:
        """Differentiate points with respect to one extra, rotations and translation held."""
        if name == 'log_scale':
            return (self.places(points) - self.params.transl.unsqueeze(1)).unsqueeze(-1)
        if name == 'landmark_offsets':
            if points.offsets is None:
                return self.linear.new_zeros(len(self.linear), len(points), 3, self._count(name))
            return points.offsets.columns(self, len(points))
        of_joints = self._joint_columns[name]
        parts = [of_joints.index_select(1, points.joints)] if len(points.joints) else []
        if points.landmarks is not None:
            parts.append(points.landmarks.extra_columns(self, name, of_joints))
        return points.in_order(parts)

    @cached_property
    def _joint_columns(self) -> '_JointColumns':
        return _JointColumns(self)

    def joint_columns(self, name: str) -> Float[Tensor, 'B J 3 n']:
        """Differentiate all joints with respect to one extra, rotations and translation held."""
        if name == 'log_scale':
            return (self.joints - self.params.transl.unsqueeze(1)).unsqueeze(-1)
        return self._joint_columns[name]

    def _count(self, name: str) -> int:
        return self.point.extras[name][0].numel()

    def shape_steps(self, name: str) -> Float[Tensor, 'S J 3']:
        """Return how far each joint's offset from its parent changes a unit of a linear parameter, model unit."""
        directions = self.body.joint_directions(name)
        if directions is None:
            return self.linear.new_zeros(self._count(name), self.linear.shape[1], 3)
        steps = directions - directions.index_select(1, self.body.tree.parents)
        return torch.cat((directions[:, :1], steps[:, 1:]), 1)

    def offsets(self) -> Float[Tensor, '_ J 3']:
        """Return each joint's offset from its parent at rest, model unit."""
        rest = self.rest_joints
        offsets = rest - rest.index_select(1, self.body.tree.parents)
        added = self.body.joint_scales_and_offsets(self.params)[1]
        return offsets if added is None else offsets + added


class _JointColumns(dict[str, Tensor]):
    """Derivatives of the joints with respect to extras (B, J, 3, n), each computed when first asked for."""

    def __init__(self, of: Kinematics) -> None:
        super().__init__()
        self._of = of

    def __missing__(self, name: str) -> Tensor:
        own = {'joint_offsets': self._offsets, 'log_joint_scales': self._joint_scales}
        self[name] = own.get(name, self._shape)(name)
        return self[name]

    def _shape(self, name: str) -> Tensor:
        kin, body = self._of, self._of.body
        change = kin.shape_steps(name)
        if name == 'betas' and body.transdirs is not None:
            change = change + body.transdirs
        # Joint by joint: one product for all frames, where frame by frame each would be a tiny one.
        steps = kin._steps.transpose(0, 1)
        carried = _many_products(steps.flatten(1, 2), change.permute(1, 2, 0))
        columns = (body.tree.paths @ carried.flatten(1)).view(*steps.shape[:3], -1).transpose(0, 1)
        if name == 'betas' and body.scaledirs is not None:
            rate = body.log_scale_rates(kin.params.betas)
            columns = columns + torch.einsum(
                'bjaic,bsic->bjas', self['log_joint_scales'].unflatten(-1, (-1, 3)), rate
            )
        return columns

    def _offsets(self, name: str) -> Tensor:
        kin = self._of
        batch, joints = kin.linear.shape[:2]
        columns = torch.einsum('jk,bkac->bjakc', kin.body.tree.paths, kin._steps)
        return columns.reshape(batch, joints, 3, 3 * joints)

    def _joint_scales(self, name: str) -> Tensor:
        kin = self._of
        parents = kin.body.tree.parents
        joints = len(parents)
        # A joint's scale stretches the offsets of its children, along the axes of its own frame.
        stretch = kin._steps * kin.offsets().unsqueeze(-2)
        stretch = torch.cat((torch.zeros_like(stretch[:, :1]), stretch[:, 1:]), 1)
        of_parent = torch.nn.functional.one_hot(parents, joints).to(stretch.dtype)
        routes = kin.body.tree.paths.unsqueeze(-1) * of_parent
        columns = torch.einsum('jki,bkac->bjaic', routes, stretch)
        return columns.flatten(-2)


def _many_products(rows: Float[Tensor, 'J r 3'], matrix: Float[Tensor, 'J 3 n']) -> Float[Tensor, 'J r n']:
    """Multiply in the way of many rows, however few there are, so that each row is rounded the same."""
    short = MANY_PRODUCTS // max(1, 3 * matrix.shape[2]) + 1 - rows.shape[1]
    if short <= 0:
        return rows @ matrix
    return (torch.nn.functional.pad(rows, (0, 0, 0, short)) @ matrix)[:, :-short]
