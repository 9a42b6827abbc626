"""SMILify's transformer decoder: one query, made of the estimate so far, reads the images' tokens.

Attributes are called as in SMILify's weight files.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from smilfit.models.regressors.smilify.sizes import OutputSizes

# Estimates that start elsewhere than at zero: field of view (deg), distance of the camera.
_START_FOV, _START_DISTANCE = 8.0, 100.0


class SmilifyDecoder(nn.Module):
    """Correct an estimate step by step, all steps with the same weights.

    Unlike SMILify's, an untrained one starts at unrotated joints: its own start (1, 0, 0, 1, 0, 0) names two
    parallel vectors, which are no rotation. A file's own start is loaded with its weights, and kept.

    Args:
        sizes: what is estimated.
        context_dim: channels of the tokens.
        dim: channels of the query.
        depth: layers.
        heads: heads of a layer.
        dim_head: channels of a head.
        mlp_dim: channels of a layer's feed-forward part.
        dropout: in training.
        n_iters: steps.
        scale_step: factor on what a step adds to joint scales.
        offset_step: factor on what a step adds to joint offsets.
    """

    def __init__(
        self,
        sizes: OutputSizes,
        context_dim: int,
        dim: int,
        depth: int = 6,
        heads: int = 8,
        dim_head: int = 64,
        mlp_dim: int = 1024,
        dropout: float = 0.1,
        n_iters: int = 3,
        scale_step: float = 1.0,
        offset_step: float = 1.0,
    ) -> None:
        super().__init__()
        self.sizes, self.n_iters = sizes, n_iters
        # The mesh's scale is estimated, but no part of what the query is told.
        self.fed_back = [name for name in sizes.decoder if name != 'mesh_scale']
        n_fed = sum(sizes.decoder[name] for name in self.fed_back)
        self.steps = {'scales': scale_step, 'joint_trans': offset_step, 'mesh_scale': 0.1}
        self.param_norm = nn.LayerNorm(n_fed)
        self.token_embedding = nn.Linear(n_fed, dim)
        self.pos_embedding = nn.Parameter(0.02 * torch.randn(1, 1, dim))
        self.layers = nn.ModuleList(
            _Layer(dim, context_dim, heads, dim_head, mlp_dim, dropout) for _ in range(depth)
        )
        for name, size in sizes.decoder.items():
            head = nn.Linear(dim, size)
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
            setattr(self, f'{name}_head', head)
            self.register_buffer(f'init_{name}', _start(name, sizes))

    def forward(
        self, n_batch: int, context: Float[Tensor, 'B L D'] | None, mask: Bool[Tensor, 'B L'] | None
    ) -> list[dict[str, Tensor]]:
        """Give the estimate after each step, by name; a token outside the mask is not read."""
        state = {n: getattr(self, f'init_{n}').float().expand(n_batch, -1) for n in self.sizes.decoder}
        steps = []
        for _ in range(self.n_iters):
            told = self.param_norm(torch.cat([state[name] for name in self.fed_back], 1))
            query = self.token_embedding(told).unsqueeze(1) + self.pos_embedding
            for layer in self.layers:
                query = layer(query, context, mask)
            answer = query.squeeze(1)
            state = {
                name: value + self.steps.get(name, 1.0) * getattr(self, f'{name}_head')(answer)
                for name, value in state.items()
            }
            steps.append(state)
        return steps


def _start(name: str, sizes: OutputSizes) -> Tensor:
    value = torch.zeros(1, sizes.decoder[name])
    if name == 'pose' and sizes.rotation == 'rot6d':
        value = torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]).repeat(1, sizes.n_joints)
    elif name == 'cam_rot':
        value[0, [0, 4]] = 1.0
    elif name == 'fov':
        value[:] = _START_FOV
    elif name == 'cam_trans':
        value[0, 2] = _START_DISTANCE
    return value


class _Layer(nn.Module):
    """Cross-attention and feed-forward, both after layer normalisation."""

    def __init__(
        self, dim: int, context_dim: int, heads: int, dim_head: int, mlp_dim: int, dropout: float
    ) -> None:
        super().__init__()
        self.norm1, self.norm_context = nn.LayerNorm(dim), nn.LayerNorm(context_dim)
        self.cross_attn = _CrossAttention(dim, context_dim, heads, dim_head, dropout)
        self.norm2 = nn.LayerNorm(dim)
        self.ff = _FeedForward(dim, mlp_dim, dropout)

    def forward(self, x: Tensor, context: Tensor | None, mask: Tensor | None) -> Tensor:
        query = self.norm1(x)
        # Without tokens the query has but itself to read.
        x = x + self.cross_attn(query, query if context is None else self.norm_context(context), mask)
        return x + self.ff(self.norm2(x))


class _CrossAttention(nn.Module):
    def __init__(self, dim: int, context_dim: int, heads: int, dim_head: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.to_kv = nn.Linear(context_dim, 2 * heads * dim_head, bias=False)
        self.to_q = nn.Linear(dim, heads * dim_head, bias=False)
        self.to_out = nn.Sequential(nn.Linear(heads * dim_head, dim), nn.Dropout(dropout))

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None) -> Tensor:
        split = (self.heads, -1)
        query = self.to_q(x).unflatten(-1, split).transpose(1, 2)
        key, value = (t.unflatten(-1, split).transpose(1, 2) for t in self.to_kv(context).chunk(2, -1))
        read = F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=None if mask is None else mask[:, None, None, :],
            dropout_p=self.dropout if self.training else 0.0,
        )
        return self.to_out(read.transpose(1, 2).flatten(2))


class _FeedForward(nn.Module):
    def __init__(self, dim: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(dim, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, dim),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)
