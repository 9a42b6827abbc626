"""Attention over masked tokens and fully connected trunks, which heads share, and the fusion of views made of it:
patch tokens of all views read from each other, each knowing its ray in the scene.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from smilfit.registry import MODELS

KeysValues = tuple[Tensor, Tensor]


class MaskedAttention(nn.Module):
    """Let queries read from a context; a context token outside the mask has no influence at all.

    Every row of the mask must hold at least one True.
    """

    def __init__(self, dim: int, context_dim: int, n_heads: int) -> None:
        super().__init__()
        if dim % n_heads:
            raise ValueError(
                f'MaskedAttention: dim must be a multiple of n_heads; got {dim} and {n_heads}. '
                f'Choose n_heads among the divisors of {dim}.'
            )
        self.n_heads = n_heads
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(context_dim, 2 * dim)
        self.out = nn.Linear(dim, dim)

    def keys_values(self, context: Float[Tensor, 'B L D']) -> KeysValues:
        """Project a context once, for several rounds of queries."""
        key, value = self.key_value(context).chunk(2, -1)
        return self._split(key), self._split(value)

    def forward(
        self, queries: Float[Tensor, 'B Q E'], context: KeysValues, mask: Bool[Tensor, 'B L']
    ) -> Float[Tensor, 'B Q E']:
        """Attend from the queries to a projected context."""
        key, value = context
        read = F.scaled_dot_product_attention(
            self._split(self.query(queries)), key, value, attn_mask=mask[:, None, None, :]
        )
        return self.out(read.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)


class FeedForward(nn.Sequential):
    """Two linear layers with a GELU between."""

    def __init__(self, dim: int, ratio: float = 2.0) -> None:
        hidden = int(dim * ratio)
        super().__init__(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))


class SelfAttentionLayer(nn.Module):
    """Let masked tokens read from each other (pre-norm)."""

    def __init__(self, dim: int, n_heads: int, ratio: float = 2.0) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(dim)
        self.attention = MaskedAttention(dim, dim, n_heads)
        self.norm_feed = nn.LayerNorm(dim)
        self.feed = FeedForward(dim, ratio)

    def forward(self, tokens: Float[Tensor, 'B L D'], mask: Bool[Tensor, 'B L']) -> Float[Tensor, 'B L D']:
        """Update all tokens from those inside the mask."""
        normed = self.norm_attention(tokens)
        tokens = tokens + self.attention(normed, self.attention.keys_values(normed), mask)
        return tokens + self.feed(self.norm_feed(tokens))


class CrossAttentionLayer(nn.Module):
    """Let queries read from a masked context (pre-norm)."""

    def __init__(self, dim: int, context_dim: int, n_heads: int, ratio: float = 2.0) -> None:
        super().__init__()
        self.norm_query = nn.LayerNorm(dim)
        self.norm_context = nn.LayerNorm(context_dim)
        self.attention = MaskedAttention(dim, context_dim, n_heads)
        self.norm_feed = nn.LayerNorm(dim)
        self.feed = FeedForward(dim, ratio)

    def keys_values(self, context: Float[Tensor, 'B L D']) -> KeysValues:
        """Project a context once, for several rounds of queries."""
        return self.attention.keys_values(self.norm_context(context))

    def forward(
        self, queries: Float[Tensor, 'B Q E'], context: KeysValues, mask: Bool[Tensor, 'B L']
    ) -> Float[Tensor, 'B Q E']:
        """Update the queries from the context inside the mask."""
        queries = queries + self.attention(self.norm_query(queries), context, mask)
        return queries + self.feed(self.norm_feed(queries))


class CrossAttention(nn.Module):
    """Let queries read from a context, by projections without a bias and heads of a width of their own.

    Attributes are called as in the weight files of SMILify, HMR2 and AniMer.

    Args:
        dim: channels of the queries.
        context_dim: channels of the context.
        heads: how many.
        dim_head: channels of each.
        dropout: in training, of what is read and of the answer.
    """

    def __init__(self, dim: int, context_dim: int, heads: int, dim_head: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.to_kv = nn.Linear(context_dim, 2 * heads * dim_head, bias=False)
        self.to_q = nn.Linear(dim, heads * dim_head, bias=False)
        self.to_out = nn.Sequential(nn.Linear(heads * dim_head, dim), nn.Dropout(dropout))

    def forward(
        self,
        x: Float[Tensor, 'B Q E'],
        context: Float[Tensor, 'B L D'],
        mask: Bool[Tensor, 'B L'] | None = None,
    ) -> Float[Tensor, 'B Q E']:
        """Attend from the queries to the context; a token outside the mask is not read."""
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


def feed_forward(dim: int, hidden: int, dropout: float = 0.0) -> nn.Sequential:
    """Make two linear layers with a GELU between and dropout behind each."""
    layers = (nn.Linear(dim, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, dim))
    return nn.Sequential(*layers, nn.Dropout(dropout))


class MLPTrunk(nn.Module):
    """Three layers that halve their width, each with layer normalisation, ReLU and dropout.

    Args:
        in_dim: channels of what comes in.
        dim: channels after the first layer; D / 2 after the second, D / 4 after the third.
        dropout: share of channels that are dropped in training.
    """

    def __init__(self, in_dim: int, dim: int = 1024, dropout: float = 0.3) -> None:
        super().__init__()
        if dim % 4 or dim < 4:
            raise ValueError(f'MLPTrunk: dim must be a multiple of 4; got {dim}. It is halved twice.')
        widths = (in_dim, dim, dim // 2, dim // 4)
        self.out_dim = widths[-1]
        linears = [nn.Linear(a, b) for a, b in zip(widths, widths[1:])]
        self.linears = nn.ModuleList(linears)
        self.norms = nn.ModuleList(nn.LayerNorm(b) for b in widths[1:])
        self.dropout = nn.Dropout(dropout)
        for linear in linears:
            nn.init.kaiming_uniform_(linear.weight, nonlinearity='relu')
            nn.init.zeros_(linear.bias)

    def forward(self, features: Float[Tensor, 'B D']) -> Float[Tensor, 'B d']:
        """Run the layers."""
        for linear, norm in zip(self.linears, self.norms):
            features = self.dropout(norm(linear(features)).relu())
        return features


def zero_linear(in_dim: int, out_dim: int) -> nn.Linear:
    """Make a last layer whose answer is zero until it is trained."""
    layer = nn.Linear(in_dim, out_dim)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class RayEmbedding(nn.Module):
    """Embed Plücker rays: their six numbers and sines of them at several octaves (rays differ by little)."""

    frequencies: Tensor

    def __init__(self, dim: int, n_octaves: int = 5) -> None:
        super().__init__()
        self.register_buffer('frequencies', 2.0 ** torch.arange(n_octaves), persistent=False)
        self.net = nn.Sequential(nn.Linear(6 * (1 + 2 * n_octaves), dim), nn.GELU(), nn.Linear(dim, dim))

    def forward(self, rays: Float[Tensor, '*n 6']) -> Float[Tensor, '*n dim']:
        """Embed rays given in the scene frame."""
        phases = (rays.unsqueeze(-1) * self.frequencies).flatten(-2)
        return self.net(torch.cat((rays, phases.sin(), phases.cos()), -1))


@MODELS.register_module()
class CrossViewFusion(nn.Module):
    """Fuse the views' patch tokens by attention over all of them.

    Nothing is learnt per camera index: a token knows its view by its ray alone, so views may come in any
    order and number. A token outside the mask is zero on the way in and out and is never read from.

    Args:
        in_dim: channels of the backbone's map.
        dim: channels inside and out.
        n_layers: attention layers.
        n_heads: heads of each.
        n_octaves: octaves of the ray embedding.
    """

    def __init__(
        self, in_dim: int, dim: int = 256, n_layers: int = 2, n_heads: int = 8, n_octaves: int = 5
    ) -> None:
        super().__init__()
        self.dim = dim
        self.project = nn.Sequential(nn.Linear(in_dim, dim), nn.LayerNorm(dim))
        self.embed_rays = RayEmbedding(dim, n_octaves)
        self.layers = nn.ModuleList(SelfAttentionLayer(dim, n_heads) for _ in range(n_layers))
        self.norm = nn.LayerNorm(dim)

    def forward(
        self,
        tokens: Float[Tensor, 'B C N D'],
        rays: Float[Tensor, 'B C N 6'],
        mask: Bool[Tensor, 'B C N'],
    ) -> Float[Tensor, 'B C N E']:
        """Fuse tokens; those outside the mask come back as zeros."""
        n_views, n_tokens = mask.shape[1:]
        flat_mask = mask.flatten(1)
        keep = flat_mask.unsqueeze(-1)
        x = self.project(tokens.flatten(1, 2)) + self.embed_rays(rays.flatten(1, 2))
        for layer in self.layers:
            x = layer(torch.where(keep, x, torch.zeros_like(x)), flat_mask)
        x = torch.where(keep, self.norm(x), torch.zeros_like(x))
        return x.unflatten(1, (n_views, n_tokens))
