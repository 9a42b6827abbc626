"""The animal's heading, seen by each view on its own and agreed on in the world."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from smilfit.geometry.rotation import rot6d_to_rotmat, rotmat_to_rot6d
from smilfit.models.scene import pixel_rays
from smilfit.registry import MODELS
from smilfit.structures import Cameras


class OrientationVotes(NamedTuple):
    """What each view says of the root's rotation, in the world's axes, and what follows from all."""

    votes: Float[Tensor, 'B C 3 3']
    agreed: Float[Tensor, 'B 3 3']


@MODELS.register_module()
class OrientationHead(nn.Module):
    """Let every view say how the animal is turned relative to the line of sight, then take the mean.

    How an animal looks tells how it is turned as seen from the camera, not in the world: that is known from the
    camera. Each view's vote is turned into the world by the camera's rotation and its line of sight to the middle
    of the crop, and the votes are averaged by learnt confidence. So a view teaches the same as any other one, and
    a rig's arrangement needs not be learnt.

    Args:
        in_dim: channels of the backbone's tokens.
        dim: channels of the hidden layer.
    """

    def __init__(self, in_dim: int, dim: int = 256) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(in_dim)
        self.pool = nn.Linear(in_dim, 4)
        self.net = nn.Sequential(nn.Linear(4 * in_dim, dim), nn.GELU(), nn.Linear(dim, 7))

    def forward(
        self, tokens: Float[Tensor, 'B C N D'], view_mask: Bool[Tensor, 'B C'], cameras: Cameras
    ) -> OrientationVotes:
        """Predict the root's rotation; an absent view has the identity as its vote and no say."""
        tokens = self.norm(tokens)
        # Four learnt places to look at: a mean over the picture forgets where the head is.
        attention = self.pool(tokens).softmax(2)
        pooled = torch.einsum('bcnk,bcnd->bckd', attention, tokens).flatten(2)
        with torch.autocast(tokens.device.type, enabled=False):
            said = self.net(pooled).float()
            frames = sight_frames(cameras)
            votes = frames.transpose(-1, -2) @ rot6d_to_rotmat(said[..., :6])
            confidence = said[..., 6].masked_fill(~view_mask, -torch.inf).softmax(1)
            mean = (confidence[..., None, None] * votes).sum(1)
            agreed = rot6d_to_rotmat(rotmat_to_rot6d(mean))
            eye = torch.eye(3, device=said.device).expand_as(votes)
        return OrientationVotes(torch.where(view_mask[..., None, None], votes, eye), agreed)


def sight_frames(cameras: Cameras) -> Float[Tensor, 'B C 3 3']:
    """Give the rotation from the world to axes whose z looks along the ray through the picture's middle.

    It is the camera's own rotation followed by the smallest one that brings that ray onto z.
    """
    middle = ((cameras.size - 1) / 2).unsqueeze(2)
    rays, _ = pixel_rays(cameras, middle)
    ray = (cameras.R @ rays.squeeze(2).unsqueeze(-1)).squeeze(-1)
    x, y, z = ray.unbind(-1)
    # R = I + [v]x + [v]x^2 / (1 + cos) with v = ray x (0, 0, 1) = (y, -x, 0); a crop never looks backwards.
    factor = 1 / (1 + z)
    rows = (
        torch.stack((1 - factor * x * x, -factor * x * y, -x), -1),
        torch.stack((-factor * x * y, 1 - factor * y * y, -y), -1),
        torch.stack((x, y, z), -1),
    )
    return torch.stack(rows, -2) @ cameras.R
