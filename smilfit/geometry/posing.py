"""Pose a tree of joints, walked by depth (one batched product a level), and the skin that hangs on it.

Joint j hangs at `offset_j` in its parent's frame. Two published meanings of per-joint scales exist:
`'local'` (a child does not inherit its parent's scale) and `'inherited'`. In both, an offset lies in the scaled
frame of the parent, and the root's scale counts: a uniform scale of all joints in local mode scales the body.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.geometry.rotation import axis_angle_to_rotmat

JOINT_SCALE_MODES = ('local', 'inherited')


@dataclass(frozen=True)
class KinematicTree:
    """Index tables of a tree, made once.

    `order` sorts joints by depth and `restore` undoes it. `levels` holds, for every depth below the root, how
    many joints it has and where their parents stand in the level above. `paths[i, j]` is 1 where j is i or one of
    its ancestors: a sum along every path to the root is one product with it.
    """

    parents: Tensor
    order: Tensor
    restore: Tensor
    levels: tuple[tuple[int, Tensor], ...]
    paths: Tensor

    @classmethod
    def from_parents(cls, parents: Sequence[int] | np.ndarray) -> 'KinematicTree':
        """Make the tables from each joint's parent; the root's is negative and stands first.

        Raises:
            ValueError: a parent that does not come before its child, or several roots.
        """
        parents = [int(p) for p in parents]
        for j, parent in enumerate(parents):
            if (j == 0) != (parent < 0) or parent >= j:
                raise ValueError(
                    f'KinematicTree: joint {j} must have a parent before it, and only joint 0 none; got parent '
                    f'{parent}. Sort the joints from the root outwards.'
                )
        depth = [0] * len(parents)
        paths = torch.eye(len(parents))
        for j, parent in enumerate(parents[1:], 1):
            depth[j] = depth[parent] + 1
            paths[j] += paths[parent]
        by_level = [[j for j, d in enumerate(depth) if d == level] for level in range(max(depth) + 1)]
        levels = tuple(
            (len(below), torch.tensor([above.index(parents[j]) for j in below]))
            for above, below in zip(by_level, by_level[1:])
        )
        order = torch.tensor([j for level in by_level for j in level])
        return cls(torch.tensor(parents).clamp_min(0), order, order.argsort(), levels, paths)

    def to(self, *args: Any, **kwargs: Any) -> 'KinematicTree':
        """Move the tables to a device; `paths` also to a float type."""
        paths = self.paths.to(*args, **kwargs)
        device = paths.device
        return KinematicTree(
            self.parents.to(device),
            self.order.to(device),
            self.restore.to(device),
            tuple((n, index.to(device)) for n, index in self.levels),
            paths,
        )


def chain_products(matrices: Float[Tensor, 'B J 3 3'], tree: KinematicTree) -> Float[Tensor, 'B J 3 3']:
    """Multiply the matrices along every path from the root: `G_j = G_parent(j) M_j`."""
    by_depth = matrices.index_select(1, tree.order)
    sizes = [1, *(n for n, _ in tree.levels)]
    local = by_depth.split(sizes, 1)
    products = [local[0]]
    for (_, parent), matrix in zip(tree.levels, local[1:]):
        products.append(products[-1].index_select(1, parent) @ matrix)
    return torch.cat(products, 1).index_select(1, tree.restore)


def forward_kinematics(
    rotations: Float[Tensor, 'B J 3 3'],
    rest_joints: Float[Tensor, '#B J 3'],
    tree: KinematicTree,
    joint_scales: Float[Tensor, 'B J 3'] | None = None,
    joint_offsets: Float[Tensor, 'B J 3'] | None = None,
    joint_scale_mode: str = 'local',
) -> tuple[Float[Tensor, 'B J 3 3'], Float[Tensor, 'B J 3']]:
    """Pose a skeleton.

    Args:
        rotations: each joint's rotation in its parent's frame; the root's in the model's.
        rest_joints: joints at rest, model unit.
        tree: the joints' tree.
        joint_scales: factor along each axis of a joint's frame.
        joint_offsets: added to a joint's offset from its parent (the root's: to its position).
        joint_scale_mode: `'local'` or `'inherited'`.

    Returns:
        Each joint's linear map from the rest frame to the model's (rotation times scale), and its position.
    """
    local = rotations
    if joint_scales is not None and joint_scale_mode == 'inherited':
        local = rotations * joint_scales.unsqueeze(-2)
    linear = chain_products(local, tree)
    if joint_scales is not None and joint_scale_mode == 'local':
        linear = linear * joint_scales.unsqueeze(-2)
    above = tree.parents[1:]
    offsets = rest_joints[:, 1:] - rest_joints.index_select(1, above)
    root = rest_joints[:, :1]
    if joint_offsets is not None:
        offsets = offsets + joint_offsets[:, 1:]
        root = root + joint_offsets[:, :1]
    bones = (linear.index_select(1, above) @ offsets.unsqueeze(-1)).squeeze(-1)
    steps = torch.cat((root.expand(bones.shape[0], -1, -1), bones), 1)
    return linear, tree.paths @ steps


def pose_skeleton(
    axis_angle: Float[Tensor, 'B J 3'], rest_joints: Float[Tensor, '#B J 3'], tree: KinematicTree
) -> tuple[Float[Tensor, 'B J 3 3'], Float[Tensor, 'B J 3']]:
    """Pose a skeleton without joint scales: `forward_kinematics(axis_angle_to_rotmat(...))`, in less time.

    Differentiable once, with respect to rotations and rest joints.

    Returns:
        Each joint's rotation from the rest frame to the model's, and its position.
    """
    return _PoseSkeleton.apply(axis_angle, rest_joints, tree)


class _PoseSkeleton(torch.autograd.Function):
    @staticmethod
    def forward(axis_angle: Tensor, rest_joints: Tensor, tree: KinematicTree) -> tuple[Tensor, Tensor]:
        # Joints before the batch: a level is one block, and the sum along all paths one matrix product.
        by_depth = axis_angle_to_rotmat(axis_angle.transpose(0, 1).index_select(0, tree.order))
        local = by_depth.split([1, *(n for n, _ in tree.levels)])
        products = [local[0]]
        for (_, parent), matrix in zip(tree.levels, local[1:]):
            above = products[-1].index_select(0, parent)
            products.append(torch.bmm(above.flatten(0, 1), matrix.flatten(0, 1)).view_as(matrix))
        linear = torch.cat(products).index_select(0, tree.restore)
        rest = rest_joints.transpose(0, 1)
        parents = tree.parents[1:]
        offsets = (rest[1:] - rest.index_select(0, parents)).expand(-1, linear.shape[1], -1)
        rotated = linear.index_select(0, parents).flatten(0, 1)
        bones = torch.bmm(rotated, offsets.reshape(-1, 3, 1)).view(len(parents), linear.shape[1], 3)
        steps = torch.cat((rest[:1].expand(-1, linear.shape[1], -1), bones))
        joints = (tree.paths @ steps.flatten(1)).view_as(steps)
        return linear.transpose(0, 1), joints.transpose(0, 1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple) -> None:
        axis_angle, rest_joints, tree = inputs
        ctx.tree = tree
        ctx.n_rest = rest_joints.shape[0]
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(axis_angle, *output)

    @staticmethod
    def backward(ctx: Any, d_linear: Tensor | None, d_joints: Tensor | None) -> tuple:
        axis_angle, linear, joints = ctx.saved_tensors
        from_tips = ctx.tree.paths.t()
        torque = torch.zeros_like(joints)
        subtree_gradient = None
        if d_joints is not None:
            subtree_gradient = from_tips @ d_joints
            torque = from_tips @ torch.linalg.cross(joints, d_joints) - torch.linalg.cross(
                joints, subtree_gradient
            )
        if d_linear is not None:
            # A frame's columns turn with every joint above it.
            rotated = torch.linalg.cross(linear, d_linear, dim=-2).sum(-1)
            torque = torque + from_tips @ rotated
        d_axis_angle = d_rest = None
        if ctx.needs_input_grad[0]:
            local = (linear.transpose(-1, -2) @ torque.unsqueeze(-1)).squeeze(-1)
            d_axis_angle = _right_jacobian_transposed(axis_angle, local)
        if ctx.needs_input_grad[1]:
            d_rest = _rest_gradient(linear, subtree_gradient, ctx.tree)
            d_rest = d_rest.sum(0, keepdim=True) if ctx.n_rest == 1 < len(d_rest) else d_rest
        return d_axis_angle, d_rest, None


def _right_jacobian_transposed(axis_angle: Tensor, vector: Tensor) -> Tensor:
    """Apply J_r(r)^T = I + (1 - cos t)/t^2 [r]x + (t - sin t)/t^3 [r]x^2, with t = |r|, to vectors.

    `exp(r + d) = exp(r) exp(J_r d)` to first order (Sola et al. 2018, eq. 143).
    """
    squared = axis_angle.square().sum(-1, keepdim=True)
    angle = (squared + 1e-20).sqrt()
    half = 0.5 * angle
    b = 0.5 * (half.sin() / half).square()
    # (t - sin t)/t^3 loses its digits near 0; its series does not.
    small = squared < 1e-2
    series = 1 / 6 - squared / 120 + squared.square() / 5040
    c = torch.where(small, series, (angle - angle.sin()) / (angle * squared.clamp_min(1e-12)))
    once = torch.linalg.cross(axis_angle, vector)
    return vector + b * once + c * torch.linalg.cross(axis_angle, once)


def _rest_gradient(linear: Tensor, subtree_gradient: Tensor | None, tree: KinematicTree) -> Tensor:
    """Turn the gradient of each subtree into gradients of the rest joints that span its bone."""
    if subtree_gradient is None:
        return linear.new_zeros(linear.shape[:2] + (3,))
    above = tree.parents[1:]
    of_bones = (
        linear.index_select(1, above).transpose(-1, -2) @ subtree_gradient[:, 1:].unsqueeze(-1)
    ).squeeze(-1)
    gradient = torch.cat((subtree_gradient[:, :1], of_bones), 1)
    return gradient.index_add(1, above, of_bones, alpha=-1)


# Bodies blended at once: more do not fit the caches and take twice as long each (measured, 3000 vertices).
CHUNK = 32


def bone_maps(
    linear: Float[Tensor, 'B J 3 3'],
    positions: Float[Tensor, 'B J 3'],
    rest_joints: Float[Tensor, '#B J 3'],
    scale: Float[Tensor, 'B'],
    transl: Float[Tensor, 'B 3'],
) -> Float[Tensor, 'B J 3 4']:
    """Return each joint's affine map from a rest vertex to the world: `x -> s (L (x - rest) + p) + t`.

    Weights of a vertex sum to 1, so the body's scale and translation go into the maps.
    """
    shift = positions - (linear @ rest_joints.unsqueeze(-1)).squeeze(-1)
    shift = scale[:, None, None] * shift + transl.unsqueeze(1)
    return torch.cat((scale[:, None, None, None] * linear, shift.unsqueeze(-1)), -1)


def blend_reference(
    weights: Float[Tensor, 'V J'], maps: Float[Tensor, 'B J 3 4'], vertices: Float[Tensor, '#B V 3']
) -> Float[Tensor, 'B V 3']:
    """Blend as the formula says, `v' = sum_j w_vj (A_j v + b_j)`: the readable twin of `blend`."""
    blended = torch.einsum('vj,bjrc->bvrc', weights, maps)
    return (blended[..., :3] @ vertices.unsqueeze(-1)).squeeze(-1) + blended[..., 3]


@dataclass(frozen=True)
class SkinTable:
    """Skinning weights as lists: for every vertex its joints, and for every joint its vertices.

    A vertex hangs on two or three joints of fifty: only those are touched. A "bag" is one row of the sparse
    matrix, `starts[i]:starts[i + 1]`.
    """

    joints: Tensor
    joint_weights: Tensor
    joint_starts: Tensor
    vertices: Tensor
    vertex_weights: Tensor
    vertex_starts: Tensor

    @classmethod
    def from_dense(cls, weights: Float[Tensor, 'V J']) -> 'SkinTable':
        """List the non-zero weights of a matrix, by vertex and by joint."""
        return cls(*_bags(weights), *_bags(weights.t()))

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All six lists."""
        by_vertex = (self.joints, self.joint_weights, self.joint_starts)
        return (*by_vertex, self.vertices, self.vertex_weights, self.vertex_starts)


def _bags(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    rows, cols = matrix.nonzero(as_tuple=True)
    counts = torch.bincount(rows, minlength=matrix.shape[0])
    starts = torch.cat((counts.new_zeros(1), counts.cumsum(0)))
    return cols.contiguous(), matrix[rows, cols].contiguous(), starts


def blend(
    table: SkinTable, maps: Float[Tensor, 'B J 3 4'], vertices: Float[Tensor, '#B V 3']
) -> Float[Tensor, 'B V 3']:
    """Blend the bones' maps by the skinning weights and apply them to rest vertices."""
    batch = maps.shape[0]
    if batch <= CHUNK:
        return _Blend.apply(maps, vertices, *table.tensors)
    rest = vertices.split(CHUNK) if vertices.shape[0] == batch else [vertices] * -(-batch // CHUNK)
    return torch.cat([_Blend.apply(m, v, *table.tensors) for m, v in zip(maps.split(CHUNK), rest)])


def _bag_sums(rows: Tensor, index: Tensor, weights: Tensor, starts: Tensor) -> Tensor:
    """Sum weighted rows bag by bag: a sparse matrix product at the speed of memory."""
    return torch.nn.functional.embedding_bag(
        index, rows, starts, mode='sum', per_sample_weights=weights, include_last_offset=True
    )


class _Blend(torch.autograd.Function):
    """`blend` with a backward of one sparse product: dA = W^T (g [v, 1]^T). Weights get no gradient.

    Inside, the batch stands behind the vertices, so that one row holds a vertex's maps of the whole batch.
    """

    @staticmethod
    def forward(maps: Tensor, vertices: Tensor, *table: Tensor) -> Tensor:
        x, y, z = vertices.transpose(0, 1).unsqueeze(-1).unbind(2)
        blended = _Blend.blended_maps(maps, *table[:3])
        out = torch.addcmul(blended[:, 3], blended[:, 0], x)
        out.addcmul_(blended[:, 1], y).addcmul_(blended[:, 2], z)
        return out.transpose(0, 1).contiguous()

    @staticmethod
    def blended_maps(maps: Tensor, joints: Tensor, weights: Tensor, starts: Tensor) -> Tensor:
        """Blend the maps of every vertex: (V, 4, B, 3), columns before the batch."""
        batch = maps.shape[0]
        rows = maps.permute(1, 3, 0, 2).reshape(maps.shape[1], -1)
        return _bag_sums(rows, joints, weights, starts).unflatten(1, (4, batch, 3))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        maps, vertices, *table = ctx.saved_tensors
        batch, n_vertices = grad.shape[:2]
        by_vertex = grad.transpose(0, 1)
        d_maps = d_vertices = None
        if ctx.needs_input_grad[0]:
            outer = grad.new_empty(n_vertices, 4, batch, 3)
            for axis, coordinate in enumerate(vertices.transpose(0, 1).unbind(-1)):
                torch.mul(by_vertex, coordinate.unsqueeze(-1), out=outer[:, axis])
            outer[:, 3] = by_vertex
            sums = _bag_sums(outer.flatten(1), *table[3:])
            d_maps = sums.unflatten(1, (4, batch, 3)).permute(2, 0, 3, 1)
        if ctx.needs_input_grad[1]:
            blended = _Blend.blended_maps(maps, *table[:3])[:, :3]
            d_vertices = (blended * by_vertex.unsqueeze(1)).sum(-1).permute(2, 0, 1)
            if vertices.shape[0] == 1 < batch:
                d_vertices = d_vertices.sum(0, keepdim=True)
        return d_maps, d_vertices, *(None,) * len(table)
