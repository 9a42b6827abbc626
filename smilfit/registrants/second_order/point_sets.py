"""Points on the skin as sums of rigid points, one a bone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from smilfit.body_models import SMIL, KeypointRows
from smilfit.geometry.rotation import skew

if TYPE_CHECKING:
    from smilfit.registrants.second_order.kinematics import Kinematics


@dataclass(frozen=True)
class PointSet:
    """Named points: those that are joints, those on the skin, and how to bring them into the order asked for.

    Some of them may be moved from there by an offset in the frame of a bone.
    """

    joints: Int[Tensor, ' a']
    landmarks: 'Landmarks | None'
    order: Int[Tensor, ' N']
    offsets: 'PointOffsets | None' = None

    def __len__(self) -> int:
        return len(self.order)

    @property
    def only_joints(self) -> bool:
        """Whether every point is a joint."""
        return self.landmarks is None and self.offsets is None

    def in_order(self, parts: Sequence[Tensor]) -> Tensor:
        """Put joints' rows and landmarks' rows (dimension 1) into the order of the names."""
        rows = parts[0] if len(parts) == 1 else torch.cat(list(parts), 1)
        return rows if self.landmarks is None else rows.index_select(1, self.order)

    def part(self, rows: slice) -> 'PointSet':
        """Pick some of the points of a set that has landmarks alone."""
        assert self.landmarks is not None
        few = self.landmarks.part(rows)
        return PointSet(self.joints, few, torch.arange(len(few.index), device=self.order.device))


@dataclass(frozen=True)
class PointOffsets:
    """What is added to M of the points: an offset in the frame of a bone, turned with it.

    Args:
        rows: of the points.
        bones: of each the joint.
        unknown: row of the landmark offsets; as many as there are for none.
        keypoints: gives the offsets.
    """

    rows: Int[Tensor, ' M']
    bones: Int[Tensor, ' M']
    unknown: Int[Tensor, ' M']
    keypoints: KeypointRows

    def arms(self, kin: 'Kinematics') -> Float[Tensor, 'B M 3']:
        """Return the offsets in the world."""
        offsets = self.keypoints.offsets(kin.params.landmark_offsets)
        return (self.rotations(kin) @ offsets.unsqueeze(-1)).squeeze(-1)

    def rotations(self, kin: 'Kinematics') -> Float[Tensor, 'B M 3 3']:
        """Return the maps from the bones' frames, model unit, to the world."""
        return kin.params.scale[:, None, None, None] * kin.bone_rotations.index_select(1, self.bones)

    def add_rotations(self, kin: 'Kinematics', free: Tensor, turns: Float[Tensor, 'B N f 3 3']) -> Tensor:
        """Add how turns of joints move points by turning their bones."""
        moved = kin.body.tree.paths[self.bones][:, free]
        return turns.index_add(1, self.rows, -skew(moved[..., None] * self.arms(kin).unsqueeze(2)))

    def columns(self, kin: 'Kinematics', count: int) -> Float[Tensor, 'B N 3 n']:
        """Differentiate all N points with respect to the landmark offsets."""
        rotations = self.rotations(kin)
        result = rotations.new_zeros(len(rotations), count, 3, len(kin.body.data.unknown_landmarks), 3)
        known = (self.unknown < result.shape[3]).nonzero().flatten()
        result[:, self.rows[known], :, self.unknown[known]] = rotations[:, known].transpose(0, 1)
        return result.flatten(3)


@dataclass(frozen=True)
class Landmarks:
    """K points, each a weighted few of n vertices: `mix` (K, n), the vertices' `index`, their `skin` (n, J).

    Without `mix` every vertex is a point; such a set is taken part by part.
    """

    index: Int[Tensor, ' n']
    mix: Float[Tensor, 'K n'] | None
    skin: Float[Tensor, 'n J']

    def part(self, rows: slice) -> 'Landmarks':
        """Pick some vertices, where every point is a vertex."""
        return Landmarks(self.index[rows], None, self.skin[rows])

    @property
    def shares(self) -> Float[Tensor, 'K J']:
        """How much of each point hangs on each bone."""
        return self.skin if self.mix is None else self.mix @ self.skin

    def at_rest(self, vertices: Float[Tensor, 'b n c']) -> Float[Tensor, 'b K J c']:
        """Sum what belongs to vertices into points, bone by bone."""
        if self.mix is None:
            return self.skin[..., None] * vertices.unsqueeze(2)
        return torch.einsum('kv,vj,bvc->bkjc', self.mix, self.skin, vertices)

    def rest_vertices(self, kin: 'Kinematics') -> Float[Tensor, 'b n 3']:
        """Return the vertices before posing, pose correctives included."""
        shaped = kin.body.rest_vertices(kin.rest.betas, self.index)
        return shaped + kin.body.frame_offsets(kin.params, self.index)

    def carried(self, kin: 'Kinematics') -> Float[Tensor, 'B K J 3']:
        """Return the rigid points of every bone in the world, times their shares."""
        resting = self.at_rest(self.rest_vertices(kin))
        arms = resting - self.shares[..., None] * kin.rest_joints.unsqueeze(1)
        scale = kin.params.scale[:, None, None, None]
        rotated = (kin.linear.unsqueeze(1) @ arms.unsqueeze(-1)).squeeze(-1)
        return scale * rotated + self.shares[..., None] * kin.joints.unsqueeze(1)

    def extra_columns(self, kin: 'Kinematics', name: str, of_joints: Tensor) -> Float[Tensor, 'B K 3 n']:
        """Differentiate with respect to an extra, given the joints' derivatives."""
        columns = torch.einsum('kj,bjcn->bkcn', self.shares, of_joints)
        scale = kin.params.scale[:, None, None, None]
        change = kin.body.vertex_directions(name)
        if change is not None:
            moved = self.at_rest(change[:, self.index])
            of_joint = kin.body.joint_directions(name)
            if of_joint is not None:
                moved = moved - self.shares[..., None] * of_joint.unsqueeze(1)
            columns = columns + scale * torch.einsum('bjac,nkjc->bkan', kin.linear, moved)
        if name == 'log_joint_scales' or (name == 'betas' and kin.body.scaledirs is not None):
            resting = self.at_rest(self.rest_vertices(kin))
            arms = resting - self.shares[..., None] * kin.rest_joints.unsqueeze(1)
            # Column (j, c): the bone's own stretch of what it carries.
            own = scale.unsqueeze(-1) * torch.einsum('bjac,bkjc->bkajc', kin.linear, arms)
            if name == 'betas':
                rate = kin.body.log_scale_rates(kin.params.betas)
                return columns + torch.einsum('bkajc,bsjc->bkas', own, rate)
            columns = columns + own.flatten(-2)
        return columns

    def corrective_rotations(
        self, kin: 'Kinematics', posedirs: Tensor, free: Tensor
    ) -> Float[Tensor, 'B K f 3 3']:
        """Differentiate the pose correctives: how a joint's turn bulges the skin (B, K, joint, 3, turn)."""
        directions = posedirs.unflatten(1, (-1, 3))[:, self.index]
        directions = directions.unflatten(0, (-1, 3, 3))
        local = kin.point.rotations()[:, 1:]
        eye = torch.eye(3, dtype=local.dtype, device=local.device)
        # d R_j = [e_a]x R_j for a turn about the parent's axis a.
        spun = skew(eye) @ local.unsqueeze(2)
        at_rest = torch.einsum('jrsvc,bjars->bvjca', directions, spun)
        blended = torch.einsum('vj,bjcd->bvcd', self.skin, kin.linear)
        if self.mix is None:
            moved = torch.einsum('bvcd,bvjda->bvjca', blended, at_rest)
        else:
            moved = torch.einsum('kv,bvcd,bvjda->bkjca', self.mix, blended, at_rest)
        moved = kin.params.scale[:, None, None, None, None] * moved
        world = moved @ kin.parent_rotations[:, 1:].unsqueeze(1).transpose(-1, -2)
        world = torch.cat((torch.zeros_like(world[:, :, :1]), world), 2)
        return world.index_select(2, free)


def point_set(body: SMIL, names: Sequence[str] | None) -> PointSet:
    """Sort named points into joints and landmarks; None stands for all vertices."""
    none = torch.zeros(0, dtype=torch.long, device=body.v_template.device)
    if names is None:
        count = len(body.v_template)
        every = torch.arange(count, device=none.device)
        return PointSet(none, Landmarks(every, None, body.weights), every)
    rows = body.keypoint_rows(tuple(names))
    offsets = PointOffsets(rows.marked, rows.bone, rows.unknown, rows) if len(rows.marked) else None
    if not len(rows.vertices):
        return PointSet(rows.joints, None, rows.order, offsets)
    marks = Landmarks(rows.vertices, rows.mix, body.weights[rows.vertices])
    return PointSet(rows.joints, marks, rows.order, offsets)
