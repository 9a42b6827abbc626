"""Bones and points of a body as the fused kernel knows them: rigid parts that change linearly with coefficients."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.registrants.second_order.point_sets import Landmarks, PointOffsets, PointSet, point_set
from smilfit.structures import BodyParams, parameter_names

# A point with less than this share on its first bone counts as hanging on several.
MOST_SHARE = 0.9
# Shares that sum to 1 do so up to this.
ROUNDING = 1e-6


@dataclass(frozen=True)
class Coefficients:
    """Which linear parameters are fitted, and where they stand among the kernel's coefficients.

    Args:
        names: of the parameters, in order.
        sizes: how many numbers each has.
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many numbers all have."""
        return sum(self.sizes)

    def slices(self) -> dict[str, slice]:
        """Return the places of each parameter."""
        result, at = {}, 0
        for name, size in zip(self.names, self.sizes):
            result[name] = slice(at, at + size)
            at += size
        return result

    def of(self, params: BodyParams) -> Float[Tensor, 'B S']:
        """Stack a body's numbers; what it does not have is zero."""
        like, batch = params.transl, params.batch_size
        if not self.count:
            return like.new_zeros(batch, 0)
        values = (getattr(params, name) for name in self.names)
        return torch.cat(
            [like.new_zeros(batch, n) if v is None else v.flatten(1) for v, n in zip(values, self.sizes)], 1
        )

    def without(self, params: BodyParams) -> BodyParams:
        """Return a body in which the fitted parameters are zero."""
        valid = params.as_dict()
        return params.replace(**{n: torch.zeros_like(valid[n]) for n in self.names if n in valid})


def bones_at_rest(
    body: SMIL, params: BodyParams, fitted: Coefficients
) -> tuple[Float[Tensor, 'n J 3'], Float[Tensor, 'J 3 S'] | None]:
    """Return each joint's offset from its parent without the fitted coefficients, and how it changes with them."""
    above = body.tree.parents[1:]

    def steps(places: Tensor) -> Tensor:
        return torch.cat((places[:, :1], places[:, 1:] - places.index_select(1, above)), 1)

    base = _one_row(fitted.without(params))
    bones = steps(body.rest_joints_of(base, body.rest_shape(base.betas)))
    offsets = body.joint_scales_and_offsets(base)[1]
    bones = bones if offsets is None else bones + offsets
    if not fitted.count:
        return bones, None
    parts = []
    for name, size in zip(fitted.names, fitted.sizes):
        if name == 'joint_offsets':
            parts.append(torch.eye(size, dtype=bones.dtype, device=bones.device).view(-1, 3, size))
        else:
            directions = body.joint_directions(name)
            none = bones.new_zeros(size, *bones.shape[1:])
            parts.append(steps(none if directions is None else directions).permute(1, 2, 0))
    return bones, torch.cat(parts, -1).contiguous()


def hangs_on_several(body: SMIL, names: tuple[str, ...]) -> bool:
    """Check whether a named point has no bone with most of its weight, or is moved in the frame of another bone."""
    points = point_set(body, names)
    if points.landmarks is None:
        return False
    shares = points.landmarks.shares
    if bool((shares.amax(1) < MOST_SHARE).any()):
        return True
    if points.offsets is None:
        return False
    share = share_of_bone(body, points, points.offsets)
    return bool(((share > 0) & (share < MOST_SHARE)).any())


def share_of_bone(body: SMIL, points: PointSet, marked: PointOffsets) -> Float[Tensor, ' M']:
    """Return how much of each landmark's anchor hangs on its bone: 1 of a joint that the bone begins or ends at."""
    like, parents = body.v_template, body.tree.parents
    eye = torch.eye(len(parents), dtype=like.dtype, device=like.device)
    ends = eye.index_put((torch.arange(1, len(parents), device=like.device), parents[1:]), like.new_ones(()))
    rows = ends[points.joints]
    if points.landmarks is not None:
        rows = torch.cat((rows, points.landmarks.shares)).index_select(0, points.order)
    return rows[marked.rows, marked.bones]


def carrying_bones(body: SMIL, names: tuple[str, ...]) -> Int[Tensor, ' K'] | None:
    """Return the one bone that each point hangs on and moves with; None where one hangs on several or bends."""
    points = point_set(body, names)
    bones = points.joints
    if points.landmarks is not None:
        shares = points.landmarks.shares
        if body.posedirs is not None or bool((shares.amax(1) < 1 - ROUNDING).any()):
            return None
        bones = torch.cat((bones, shares.argmax(1))).index_select(0, points.order)
    if points.offsets is not None:
        if bool((share_of_bone(body, points, points.offsets) < 1 - ROUNDING).any()):
            return None
        bones = bones.index_copy(0, points.offsets.rows, points.offsets.bones)
    return bones


@dataclass(frozen=True)
class RigidPoints:
    """K points as a weighted few rigid points, of P bones at most.

    Args:
        joint: the bone of each; 0 where there is none.
        share: sums to 1; 0 where there is none.
        offset: in the bone's frame at rest, model unit; one for all frames or by frame.
        dirs: change of the offsets with the coefficients; None where all points are joints.
    """

    joint: Int[Tensor, 'K P']
    share: Float[Tensor, 'K P']
    offset: Float[Tensor, 'n K P 3']
    dirs: Float[Tensor, 'K P 3 S'] | None

    @classmethod
    def of(
        cls, body: SMIL, names: tuple[str, ...], params: BodyParams, fitted: Coefficients
    ) -> 'RigidPoints':
        """Take points apart into what hangs on each bone."""
        points = point_set(body, names)
        result = cls._anchors(body, points, params, fitted)
        return result if points.offsets is None else result._moved(body, points.offsets, params, fitted)

    @classmethod
    def _anchors(
        cls, body: SMIL, points: PointSet, params: BodyParams, fitted: Coefficients
    ) -> 'RigidPoints':
        like, count = body.v_template, len(points)
        if points.landmarks is None:
            joint = points.joints.unsqueeze(1)
            return cls(joint, torch.ones_like(joint, dtype=like.dtype), like.new_zeros(1, count, 1, 3), None)
        mark, base = points.landmarks, _one_row(fitted.without(params))
        shares = mark.shares
        most = int((shares > 0).sum(1).max())
        share, joint = shares.topk(most, 1)
        some = share > 0
        safe = torch.where(some, share, torch.ones_like(share))
        shaped = body.rest_vertices(base.betas, mark.index) + body.frame_offsets(base, mark.index)
        offset = _in_bone(
            mark.at_rest(shaped), body.rest_joints_of(base, body.rest_shape(base.betas)), joint, safe
        )
        offset = torch.where(some.unsqueeze(-1), offset, torch.zeros_like(offset))
        dirs = cls._directions(body, mark, joint, safe, some, fitted)
        first = points.joints.unsqueeze(1)
        pad = (0, most - 1)
        of_joints = torch.ones_like(first, dtype=like.dtype)
        order = points.order
        return cls(
            torch.cat((torch.nn.functional.pad(first, pad), joint)).index_select(0, order),
            torch.cat((torch.nn.functional.pad(of_joints, pad), share)).index_select(0, order),
            torch.cat((offset.new_zeros(len(offset), len(first), most, 3), offset), 1).index_select(1, order),
            torch.cat((dirs.new_zeros(len(first), *dirs.shape[1:]), dirs)).index_select(0, order),
        )

    @staticmethod
    def _directions(
        body: SMIL, mark: Landmarks, joint: Tensor, share: Tensor, some: Tensor, fitted: Coefficients
    ) -> Tensor:
        parts = []
        for name, size in zip(fitted.names, fitted.sizes):
            part = share.new_zeros(*joint.shape, 3, size)
            change = body.vertex_directions(name)
            if change is not None:
                moved, of_joints = mark.at_rest(change[:, mark.index]), body.joint_directions(name)
                none = change.new_zeros(size, body.n_joints, 3)
                of_joints = none if of_joints is None else of_joints
                part = _in_bone(moved, of_joints, joint, share).permute(1, 2, 3, 0)
            parts.append(torch.where(some[..., None, None], part, torch.zeros_like(part)))
        return torch.cat(parts, -1) if parts else share.new_zeros(*joint.shape, 3, 0)

    def _moved(
        self, body: SMIL, marked: PointOffsets, params: BodyParams, fitted: Coefficients
    ) -> 'RigidPoints':
        """Move landmarks in the frames of their bones.

        A joint that its bone ends at becomes a point of that bone, and its own bone's changes are the point's.
        """
        base = _one_row(fitted.without(params))
        bones, bone_dirs = bones_at_rest(body, params, fitted)
        offsets = marked.keypoints.offsets(base.landmark_offsets)
        joint, share = self.joint.clone(), self.share
        offset = self.offset.expand(max(len(bones), len(offsets)), -1, -1, -1).clone()
        dirs = offset.new_zeros(*joint.shape, 3, fitted.count) if self.dirs is None else self.dirs.clone()
        place = fitted.slices().get('landmark_offsets')
        rows = zip(marked.rows.tolist(), marked.bones.tolist(), marked.unknown.tolist())
        for m, (row, bone, unknown) in enumerate(rows):
            first = int(joint[row, 0])
            if first != bone and int(body.tree.parents[first]) == bone and self._is_joint(row):
                joint[row, 0] = bone
                offset[:, row, 0] = bones[:, first]
                if bone_dirs is not None:
                    dirs[row, 0] = bone_dirs[first]
            part = int(((joint[row] == bone) & (share[row] > 0)).to(torch.uint8).argmax())
            offset[:, row, part] += offsets[:, m] / share[row, part]
            if place is not None and 3 * unknown < place.stop - place.start:
                own = slice(place.start + 3 * unknown, place.start + 3 * unknown + 3)
                eye = torch.eye(3, dtype=share.dtype, device=share.device)
                dirs[row, part, :, own] += eye / share[row, part]
        return replace(self, joint=joint, offset=offset, dirs=dirs if fitted.count else self.dirs)

    def _is_joint(self, row: int) -> bool:
        still = not bool(self.offset[:, row].any()) and bool(self.share[row, 0] == 1)
        return still and (self.dirs is None or not bool(self.dirs[row].any()))


def _in_bone(
    sums: Float[Tensor, 'b K J 3'], joints: Float[Tensor, 'b J 3'], joint: Int[Tensor, 'K P'], share: Tensor
) -> Float[Tensor, 'b K P 3']:
    """Turn what hangs on each bone, times its share, into a place as seen from the bone's joint."""
    index = joint[None, :, :, None].expand(len(sums), -1, -1, 3)
    return sums.gather(2, index) / share.unsqueeze(-1) - joints[:, joint]


def _one_row(params: BodyParams) -> BodyParams:
    """Keep one row where all frames have the same shape."""
    linear = parameter_names(of='body', linear=True)
    shape = {n: v for n, v in params.as_dict().items() if n in linear and v.numel()}
    same = all(bool((v == v[:1]).all()) for v in shape.values())
    return params[:1] if same else params
