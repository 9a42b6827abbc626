"""Cameras on a circle, each looking at the origin."""

import torch

from smilfit.structures import Cameras


def cameras_around(n_frames: int, n_views: int, distance: float = 10.0, focal: float = 300.0) -> Cameras:
    """Make ideal cameras of 128 px, those of every frame alike."""
    angle = torch.arange(n_views) * (2.1 / n_views)
    forward = torch.stack((-angle.cos(), -angle.sin(), torch.zeros(n_views)), -1)
    down = torch.tensor([0.0, 0.0, -1.0]).expand_as(forward)
    R = torch.stack((torch.linalg.cross(down, forward), down, forward), 1)
    t = torch.tensor([0.0, 0.0, distance]).expand(n_views, 3)
    K = torch.tensor([[focal, 0, 63.5], [0, focal, 63.5], [0, 0, 1]]).expand(n_views, 3, 3)
    size = torch.full((n_views, 2), 128.0)
    return Cameras(
        tuple(f'view {i}' for i in range(n_views)),
        *(x.expand(n_frames, *x.shape).clone() for x in (K, R, t, size)),
    )
