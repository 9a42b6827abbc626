"""Bones and points of a body as the fused kernel knows them: rigid parts that change linearly with coefficients."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.registrants.second_order.landmarks import point_set
from smilfit.structures import BodyParams

# Parameters by which bones and the skin at rest change linearly.
# A point with less than this share on its first bone counts as hanging on several.
MOST_SHARE = 0.9
LINEAR = ('betas', 'expression', 'joint_offsets')


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
        """Give the places of each parameter."""
        found, at = {}, 0
        for name, size in zip(self.names, self.sizes):
            found[name] = slice(at, at + size)
            at += size
        return found

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
        """Give a body in which the fitted parameters are zero."""
        there = params.as_dict()
        return params.replace(**{n: torch.zeros_like(there[n]) for n in self.names if n in there})


def bones_at_rest(
    body: SMIL, params: BodyParams, fitted: Coefficients
) -> tuple[Float[Tensor, 'n J 3'], Float[Tensor, 'J 3 S'] | None]:
    """Give each joint's offset from its parent without the fitted coefficients, and how it changes with them."""
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
            parts.append(steps(body.joint_directions(name)).permute(1, 2, 0))
    return bones, torch.cat(parts, -1).contiguous()


def hangs_on_several(body: SMIL, names: tuple[str, ...]) -> bool:
    """Say whether a named point has no bone with most of its weight."""
    mark = point_set(body, names).landmarks
    return mark is not None and bool((mark.shares.amax(1) < MOST_SHARE).any())


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
    def _directions(body, mark, joint: Tensor, share: Tensor, some: Tensor, fitted: Coefficients) -> Tensor:
        parts = []
        for name, size in zip(fitted.names, fitted.sizes):
            part = share.new_zeros(*joint.shape, 3, size)
            if name != 'joint_offsets':
                change = body.vertex_directions(name)
                if change is not None:
                    moved = mark.at_rest(change[:, mark.index])
                    part = _in_bone(moved, body.joint_directions(name), joint, share).permute(1, 2, 3, 0)
            parts.append(torch.where(some[..., None, None], part, torch.zeros_like(part)))
        return torch.cat(parts, -1) if parts else share.new_zeros(*joint.shape, 3, 0)


def _in_bone(
    sums: Float[Tensor, 'b K J 3'], joints: Float[Tensor, 'b J 3'], joint: Int[Tensor, 'K P'], share: Tensor
) -> Float[Tensor, 'b K P 3']:
    """Turn what hangs on each bone, times its share, into a place as seen from the bone's joint."""
    index = joint[None, :, :, None].expand(len(sums), -1, -1, 3)
    return sums.gather(2, index) / share.unsqueeze(-1) - joints[:, joint]


def _one_row(params: BodyParams) -> BodyParams:
    """Keep one row where all frames have the same shape."""
    shape = {n: v for n, v in params.as_dict().items() if n in LINEAR and v.numel()}
    same = all(bool((v == v[:1]).all()) for v in shape.values())
    return params[:1] if same else params
