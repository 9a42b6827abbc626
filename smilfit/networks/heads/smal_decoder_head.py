"""AniMer's head: a decoder whose one query reads the image's tokens, and SMAL's parameters and a camera from it."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from smilfit.geometry.rotation import rot6d_to_rotmat
from smilfit.networks.attention import CrossAttention, feed_forward
from smilfit.registry import MODELS
from smilfit.structures import BodyParams

# Where AniMer's camera (scale, x, y) starts.
_START_CAMERA = (0.9, 0.0, 0.0)


@dataclass(frozen=True)
class SmalEstimate:
    """Joint rotations (the root's first) and shape of SMAL, and the camera of the square crop.

    `camera` is (s, tx, ty): the body's origin is seen at `side / 2 (s t + 1)` px of a crop of `side` px, and a length
    of 2 model units takes `s` times the crop's side.
    """

    rotations: Float[Tensor, 'B J 3 3']
    betas: Float[Tensor, 'B S']
    camera: Float[Tensor, 'B 3']

    def as_vector(self) -> Float[Tensor, 'B P']:
        """Return all numbers in a row: matrices, betas, camera; 359 of SMAL's 35 joints and 41 betas."""
        return torch.cat((self.rotations.flatten(1), self.betas, self.camera), 1)

    def params(self, transl: Float[Tensor, 'B 3']) -> BodyParams:
        """Return the body at a place in front of a camera, whose axes are the world's; rotations stay matrices."""
        return BodyParams(
            global_orient=self.rotations[:, 0],
            body_pose=self.rotations[:, 1:],
            betas=self.betas,
            transl=transl,
            scale=transl.new_ones(len(transl)),
        )


class _DecoderLayer(nn.Module):
    """Self-attention, cross-attention and feed-forward; the context is not normalised."""

    def __init__(
        self, dim: int, context_dim: int, heads: int, dim_head: int, mlp_dim: int, dropout: float
    ) -> None:
        super().__init__()
        self.norm_self, self.norm_cross, self.norm_feed = (nn.LayerNorm(dim) for _ in range(3))
        self.self_attention = CrossAttention(dim, dim, heads, dim_head, dropout)
        self.cross_attention = CrossAttention(dim, context_dim, heads, dim_head, dropout)
        self.feed = feed_forward(dim, mlp_dim, dropout)

    def forward(self, x: Float[Tensor, 'B Q E'], context: Float[Tensor, 'B L D']) -> Float[Tensor, 'B Q E']:
        normed = self.norm_self(x)
        x = x + self.self_attention(normed, normed)
        x = x + self.cross_attention(self.norm_cross(x), context)
        return x + self.feed(self.norm_feed(x))


@MODELS.register_module()
class SmalDecoderHead(nn.Module):
    """Read SMAL's parameters and a weak-perspective camera from the tokens of one image (Lyu et al., AniMer, 2024).

    One learnt query passes through the layers; three linear layers read what is added to the start: 6 numbers a
    joint, betas, camera. Of the 6 numbers the first three are the first column of the rotation, the next three its
    second one (`reshape(2, 3)` has columns as rows), orthonormalised in this order.

    In AniMer every step of `n_iters` asks the same query, so a step adds the same numbers again: they are computed
    once and multiplied.

    Args:
        n_joints: J, the root included.
        n_betas: S.
        context_dim: channels of the tokens.
        dim: channels of the query.
        n_layers: decoder layers.
        n_heads: heads of each.
        dim_head: channels of a head.
        mlp_dim: channels of a layer's feed-forward part.
        dropout: in training.
        n_iters: how often the answer is added; AniMer's released network has 1, its first training stage 3.
    """

    start_pose: Tensor
    start_betas: Tensor
    start_camera: Tensor

    def __init__(
        self,
        n_joints: int = 35,
        n_betas: int = 41,
        context_dim: int = 1280,
        dim: int = 1024,
        n_layers: int = 6,
        n_heads: int = 8,
        dim_head: int = 64,
        mlp_dim: int = 1024,
        dropout: float = 0.0,
        n_iters: int = 1,
    ) -> None:
        super().__init__()
        if n_iters < 1:
            raise ValueError(f'SmalDecoderHead: n_iters must be at least 1; got {n_iters}. Take 1.')
        self.n_iters = n_iters
        self.query = nn.Parameter(0.02 * torch.randn(dim))
        self.layers = nn.ModuleList(
            _DecoderLayer(dim, context_dim, n_heads, dim_head, mlp_dim, dropout) for _ in range(n_layers)
        )
        self.pose, self.betas, self.camera = (nn.Linear(dim, n) for n in (6 * n_joints, n_betas, 3))
        for layer in (self.pose, self.betas, self.camera):
            nn.init.xavier_uniform_(layer.weight, gain=0.01)
            nn.init.zeros_(layer.bias)
        # Zeros are no rotation: a head to be trained starts at none, a file's own start comes with its weights.
        identity = torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]).repeat(1, n_joints)
        self.register_buffer('start_pose', identity)
        self.register_buffer('start_betas', torch.zeros(1, n_betas))
        self.register_buffer('start_camera', torch.tensor([_START_CAMERA]))

    def forward(self, tokens: Float[Tensor, 'B L D']) -> SmalEstimate:
        """Estimate the bodies of a batch of images from their tokens."""
        x = self.query.expand(len(tokens), 1, -1)
        for layer in self.layers:
            x = layer(x, tokens)
        answer = x.squeeze(1)
        with torch.autocast(tokens.device.type, enabled=False):
            pose, betas, camera = (
                (start + self.n_iters * layer(answer.float())).float()
                for layer, start in (
                    (self.pose, self.start_pose),
                    (self.betas, self.start_betas),
                    (self.camera, self.start_camera),
                )
            )
            return SmalEstimate(rot6d_to_rotmat(pose.unflatten(1, (-1, 6))), betas, camera)
