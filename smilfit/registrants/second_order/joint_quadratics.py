"""Quadratic models of points, brought to the joints that carry them: what the tree of the fused kernel takes.

A point is a weighted few rigid points, one a bone. Each takes its share of gradient and hessian: by Jensen's
inequality the hessian is a bound, exact wherever all bones of a point move alike.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.geometry.quaternion import skew
from smilfit.registrants.second_order.kinematics import Kinematics
from smilfit.registrants.second_order.landmarks import point_set
from smilfit.registrants.second_order.models import PointModel
from smilfit.registrants.second_order.rigid_points import Coefficients

# Frames whose rigid points are held at once: more do not fit the caches.
FRAMES = 16


@dataclass(frozen=True)
class SkinPairs:
    """Vertices and the bones that carry them, one row a pair: `share` of `vertex` hangs on `joint`."""

    vertex: Int[Tensor, ' M']
    joint: Int[Tensor, ' M']
    share: Float[Tensor, ' M']

    @classmethod
    def of(cls, body: SMIL) -> 'SkinPairs':
        """List all pairs of a body."""
        vertex, joint = body.weights.nonzero(as_tuple=True)
        return cls(vertex, joint, body.weights[vertex, joint])

    def where(self, counts: Tensor) -> 'SkinPairs':
        """Keep the pairs of some vertices."""
        kept = counts[self.vertex]
        return SkinPairs(self.vertex[kept], self.joint[kept], self.share[kept])


@dataclass(frozen=True)
class JointQuadratic:
    """A quadratic in the joints' twists (angular velocity, then linear, world axes) and the border's columns.

    Args:
        gradient: by joint.
        hessian: by joint.
        cross: between joints and border.
        border_gradient: of the border's columns: fitted coefficients, then the logarithm of the scale.
        border_hessian: likewise.
    """

    gradient: Float[Tensor, 'B J 6']
    hessian: Float[Tensor, 'B J 6 6']
    cross: Float[Tensor, 'B J 6 q']
    border_gradient: Float[Tensor, 'B q']
    border_hessian: Float[Tensor, 'B q q']

    @classmethod
    def zeros(cls, joints: Float[Tensor, 'B J 3'], n_border: int) -> 'JointQuadratic':
        """Start with nothing."""
        b, j, _ = joints.shape
        shapes = ((b, j, 6), (b, j, 6, 6), (b, j, 6, n_border), (b, n_border), (b, n_border, n_border))
        return cls(*(joints.new_zeros(shape) for shape in shapes))

    def add(
        self,
        rows: slice,
        joint: Int[Tensor, ' M'],
        arm: Float[Tensor, 'b M 3'],
        motion: Float[Tensor, 'b M 3 q'],
        gradient: Float[Tensor, 'b M 3'],
        hessian: Float[Tensor, 'b M 3 3'],
    ) -> None:
        """Add rigid points of some frames, in place.

        Args:
            rows: the frames.
            joint: that carries each.
            arm: from the joint to the point, world.
            motion: of the point against its joint, by the border's columns.
            gradient: by the point.
            hessian: likewise.
        """
        # v = v_j + o x arm = [-[arm]x, 1] (o, v_j)
        turn = -skew(arm)
        pushed = hessian @ turn
        top = torch.cat((turn.transpose(-1, -2) @ pushed, pushed.transpose(-1, -2)), -1)
        whole = torch.cat((top, torch.cat((pushed, hessian), -1)), -2)
        force = torch.cat((torch.linalg.cross(arm, gradient), gradient), -1)
        self.gradient[rows].index_add_(1, joint, force)
        self.hessian[rows].index_add_(1, joint, whole)
        if motion.shape[-1]:
            drawn = hessian @ motion
            cross = torch.cat((turn.transpose(-1, -2) @ drawn, drawn), -2)
            self.cross[rows].index_add_(1, joint, cross)
            back = motion.flatten(1, 2).transpose(1, 2)
            self.border_gradient[rows] += (back @ gradient.flatten(1).unsqueeze(-1)).squeeze(-1)
            self.border_hessian[rows] += back @ drawn.flatten(1, 2)


def add_model(
    found: JointQuadratic,
    model: PointModel,
    kin: Kinematics,
    pairs: SkinPairs,
    fitted: Coefficients,
    scale: bool,
) -> None:
    """Add a model of joints or of all vertices, in place.

    Args:
        found: what it is added to.
        model: of joints by name, or of all vertices.
        kin: the posed bodies.
        pairs: of all vertices and bones.
        fitted: the coefficients among the border's columns.
        scale: whether the scale is the last of them.
    """
    if model.names is not None:
        _add_joints(found, model, kin)
        return
    counts = (model.hessian != 0).flatten(2).any(2) | (model.gradient != 0).any(2)
    pairs = pairs.where(counts.any(0))
    n_border = found.cross.shape[-1]
    for first in range(0, len(kin.joints), FRAMES):
        rows = slice(first, first + FRAMES)
        part = kin.take(torch.arange(len(kin.joints), device=kin.joints.device)[rows])
        arm, motion = rigid_motion(part, pairs, fitted, scale, n_border)
        share = pairs.share[None, :, None]
        gradient = share * model.gradient[rows, pairs.vertex]
        hessian = share.unsqueeze(-1) * model.hessian[rows, pairs.vertex]
        found.add(rows, pairs.joint, arm, motion, gradient, hessian)


def _add_joints(found: JointQuadratic, model: PointModel, kin: Kinematics) -> None:
    points = point_set(kin.body, model.names)
    if not points.only_joints:
        raise ValueError('add_model: named points must be joints; some lie elsewhere. Give them as vertices.')
    found.gradient[..., 3:].index_add_(1, points.joints, model.gradient)
    found.hessian[..., 3:, 3:].index_add_(1, points.joints, model.hessian)


def rigid_motion(
    kin: Kinematics, pairs: SkinPairs, fitted: Coefficients, scale: bool, n_border: int
) -> tuple[Float[Tensor, 'B M 3'], Float[Tensor, 'B M 3 q']]:
    """Give each rigid point's arm from its joint, and its motion against the joint by the border's columns."""
    body, size = kin.body, kin.params.scale[:, None, None]
    rest = kin.rest.vertices[:, pairs.vertex] + body.frame_offsets(kin.params, pairs.vertex)
    rest = rest - kin.rest_joints[:, pairs.joint]
    linear = kin.linear.index_select(1, pairs.joint)
    arm = size * (linear @ rest.unsqueeze(-1)).squeeze(-1)
    motion = arm.new_zeros(*arm.shape, n_border)
    for name, place in fitted.slices().items():
        change, of_joints = body.vertex_directions(name), body.joint_directions(name)
        if change is not None:
            moved = change[:, pairs.vertex]
            moved = moved if of_joints is None else moved - of_joints[:, pairs.joint]
            motion[..., place] = size.unsqueeze(-1) * (linear @ moved.permute(1, 2, 0))
    if scale:
        motion[..., -1] = arm
    return arm, motion
