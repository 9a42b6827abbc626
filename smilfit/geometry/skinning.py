"""Linear blend skinning: a sparse blend of 3x4 maps with its backward written by hand."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

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
