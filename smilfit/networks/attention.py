"""Attention over masked tokens, as the fusion and the heads use it."""

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

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
