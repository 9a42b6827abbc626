"""View fusion: patch tokens of all views read from each other, each knowing its ray in the scene."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from smilfit.networks.shared_layers import SelfAttentionLayer
from smilfit.registry import MODELS


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
