"""What SMILify's multi-view network does with views: attention between them, and a camera head for each camera.

Attributes are called as in SMILify's weight files.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from smilfit.geometry.rotation import rot6d_to_rotmat
from smilfit.models.heads.camera_names import of_each

FOV_RANGE = (5.0, 120.0)
_TRANS_SCALE = 5.0
_FOV_DELTA, _TRANS_DELTA, _TURN_DELTA = 5.0, 0.25, 0.1


class ViewCameras(NamedTuple):
    """Cameras as PyTorch3D has them: `x_cam = x_world R + T`, x to the left, y up; vertical field of view, deg."""

    fov: Float[Tensor, '*b']
    R: Float[Tensor, '*b 3 3']
    T: Float[Tensor, '*b 3']


class ViewFusion(nn.Module):
    """Let the views' vectors read from each other; an absent view is not read."""

    def __init__(self, dim: int, n_layers: int = 2, n_heads: int = 8, dropout: float = 0.1) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_ViewAttention(dim, n_heads, dropout) for _ in range(n_layers))
        self.final_norm = nn.LayerNorm(dim)

    def forward(self, x: Float[Tensor, 'B C D'], mask: Bool[Tensor, 'B C']) -> Float[Tensor, 'B C D']:
        """Fuse; absent views come back as zeros."""
        for layer in self.layers:
            x = layer(x, mask)
        return torch.where(mask.unsqueeze(-1), self.final_norm(x), torch.zeros_like(x))


class _ViewAttention(nn.Module):
    def __init__(self, dim: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.n_heads, self.dropout = n_heads, dropout
        self.q_proj, self.k_proj = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.v_proj, self.out_proj = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.ffn = nn.Sequential(
            nn.Linear(dim, 4 * dim),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(4 * dim, dim),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        seen = self.norm1(x)
        query, key, value = (
            project(seen).unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        rate = self.dropout if self.training else 0.0
        read = F.scaled_dot_product_attention(query, key, value, mask[:, None, None, :], rate)
        read = self.out_proj(read.transpose(1, 2).flatten(2))
        x = x + F.dropout(read, rate, self.training)
        return x + self.ffn(self.norm2(x))


class SmilifyCameraHead(nn.Module):
    """One camera's head: field of view, rotation and translation, its own or as a change of a given one."""

    identity_6d: Tensor

    def __init__(self, in_dim: int, dim: int = 256) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for a, b in ((in_dim, dim), (dim, dim // 2)):
            layers += [nn.Linear(a, b), nn.LayerNorm(b), nn.ReLU(), nn.Dropout(0.1)]
        last = nn.Linear(dim // 2, 10)
        nn.init.xavier_uniform_(last.weight, gain=0.01)
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(*layers, last)
        self.register_buffer('identity_6d', torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0]))

    def forward(self, features: Float[Tensor, '*b D'], given: ViewCameras | None = None) -> ViewCameras:
        """Predict a camera; with a given one, how it differs from that."""
        fov, turn, shift = self.layers(features).float().split((1, 6, 3), -1)
        fov, low, high = fov.squeeze(-1), *FOV_RANGE
        if given is None:
            R = rot6d_to_rotmat(turn + self.identity_6d)
            return ViewCameras(low + fov.sigmoid() * (high - low), R, _TRANS_SCALE * shift.tanh())
        R = rot6d_to_rotmat(_TURN_DELTA * turn + self.identity_6d) @ given.R
        fov = (given.fov + _FOV_DELTA * fov.tanh()).clamp(low, high)
        return ViewCameras(fov, R, given.T + _TRANS_DELTA * shift.tanh())


def cameras_by_head(
    heads: nn.ModuleList,
    features: Float[Tensor, 'B C D'],
    index: Int[Tensor, 'B C'],
    given: ViewCameras | None,
) -> ViewCameras:
    """Ask each view's own head."""
    every = [head(features, given) for head in heads]
    return ViewCameras(*(of_each(values, index) for values in zip(*every)))
