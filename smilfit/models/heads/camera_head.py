"""Small corrections to the cameras that were given."""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from smilfit.geometry.rotation import axis_angle_to_rotmat
from smilfit.registry import MODELS
from smilfit.structures import Cameras


@MODELS.register_module()
class CameraHead(nn.Module):
    """Predict, for each view from its own tokens, how its camera differs from the one that was given.

    `x_cam' = exp(r) x_cam + unit * d` and the focal length times exp(f). The last layer starts at zero: an
    untrained head gives back the very cameras that came in. It knows no camera by its index.
    """

    def __init__(self, context_dim: int, dim: int = 128) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.LayerNorm(context_dim), nn.Linear(context_dim, dim), nn.GELU())
        self.out = nn.Linear(dim, 7)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(
        self, tokens: Float[Tensor, 'B C N D'], mask: Bool[Tensor, 'B C N']
    ) -> Float[Tensor, 'B C 7']:
        """Predict (rotation, rad; translation, scene units; log focal length) a view; zero for absent ones."""
        count = mask.sum(2, keepdim=True)
        pooled = (tokens * mask.unsqueeze(-1)).sum(2) / count.clamp_min(1)
        change = self.out(self.net(pooled)).float()
        return torch.where(count > 0, change, torch.zeros_like(change))


def corrected_cameras(cameras: Cameras, change: Float[Tensor, 'B C 7'], unit: Float[Tensor, '']) -> Cameras:
    """Apply a camera head's corrections; a change of zero gives the same numbers back."""
    turn = axis_angle_to_rotmat(change[..., :3])
    focal = change[..., 6].exp()
    ones = torch.ones_like(focal)
    stretch = torch.stack((focal, focal, ones), -1)
    # The skew and both focal lengths grow together; the principal point stays.
    upper = cameras.K * stretch.unsqueeze(-1)
    K = torch.cat((upper[..., :2], cameras.K[..., 2:]), -1)
    t = (turn @ cameras.t.unsqueeze(-1)).squeeze(-1) + unit * change[..., 3:6]
    return replace(cameras, K=K, R=turn @ cameras.R, t=t)
