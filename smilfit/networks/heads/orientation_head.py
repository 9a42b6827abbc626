"""The animal's heading, seen by each view on its own and agreed on in the world."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from smilfit.geometry.rotation import rot6d_to_rotmat
from smilfit.networks.attention import zero_linear
from smilfit.networks.scene_frame import pixel_rays
from smilfit.registry import MODELS
from smilfit.structures import Cameras

# How much the training set's mean weighs against one sure view: it decides while the views know nothing.
PRIOR_WEIGHT = 0.1


class OrientationVotes(NamedTuple):
    """What each view says of the root's rotation, in the world's axes, and what follows from all.

    A vote is the first two columns of the rotation, shorter the less sure it is.
    """

    votes: Float[Tensor, 'B C 3 2']
    agreed: Float[Tensor, 'B 3 3']


@MODELS.register_module()
class OrientationHead(nn.Module):
    """Let every view say how the animal is turned relative to the line of sight, then take the mean.

    How an animal looks tells how it is turned as seen from the camera, not in the world: that is known from the
    camera. Each view's vote is turned into the world by the camera's rotation and its line of sight to the centre
    of the crop. So a view teaches the same as any other one, and a rig's arrangement needs not be learnt.

    Votes are plain numbers trained by their squared error: where a view cannot tell, the best answer is short, and
    the mean counts it less. Their sum is orthonormalised without a gradient, which near zero would be endless.
    The last layer starts at zero: an untrained head agrees on the prior.

    Args:
        in_dim: channels of the backbone's tokens.
        dim: channels of the hidden layer.
    """

    def __init__(self, in_dim: int, dim: int = 256) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(in_dim)
        self.pool = nn.Linear(in_dim, 4)
        self.net = nn.Sequential(nn.Linear(4 * in_dim, dim), nn.GELU())
        self.out = zero_linear(dim, 6)

    def forward(
        self,
        tokens: Float[Tensor, 'B C N D'],
        view_mask: Bool[Tensor, 'B C'],
        cameras: Cameras,
        prior: Float[Tensor, '3 3'],
    ) -> OrientationVotes:
        """Predict the root's rotation; an absent view votes zero.

        Args:
            tokens: the backbone's.
            view_mask: which views there are.
            cameras: of the crops.
            prior: the rotation to start from while the views know nothing.
        """
        with torch.autocast(tokens.device.type, enabled=False):
            frames = camera_view_frames(cameras)
        return self.votes_of(tokens, view_mask, frames, prior)

    def votes_of(
        self,
        tokens: Float[Tensor, 'B C N D'],
        view_mask: Bool[Tensor, 'B C'],
        view_frames: Float[Tensor, 'B C 3 3'],
        prior: Float[Tensor, '3 3'],
    ) -> OrientationVotes:
        """Predict as `forward`, of cameras' `camera_view_frames`."""
        tokens = self.norm(tokens)
        # Four learnt places to look at: a mean over the image forgets where the head is.
        attention = self.pool(tokens).softmax(2)
        hidden = self.net(torch.einsum('bcnk,bcnd->bckd', attention, tokens).flatten(2))
        with torch.autocast(tokens.device.type, enabled=False):
            predicted = self.out(hidden.float())
            columns = predicted.unflatten(-1, (2, 3)).transpose(-1, -2)
            votes = view_frames.transpose(-1, -2) @ columns
            votes = torch.where(view_mask[..., None, None], votes, torch.zeros_like(votes))
            total = (votes.detach().sum(1) + PRIOR_WEIGHT * prior[:, :2]).transpose(-1, -2).flatten(1)
            agreed = rot6d_to_rotmat(total)
        return OrientationVotes(votes, agreed)


def camera_view_frames(cameras: Cameras) -> Float[Tensor, 'B C 3 3']:
    """Return the rotation from the world to axes whose z looks along the ray through the image's centre.

    It is the camera's own rotation followed by the smallest one that brings that ray onto z.
    """
    centre = ((cameras.size - 1) / 2).unsqueeze(2)
    rays, _ = pixel_rays(cameras, centre)
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
