"""Move a rigid body until its points are seen where they should be: many bodies at once, each from its own start."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.geometry.quaternion import skew
from smilfit.geometry.rotation import axis_angle_to_rotmat
from smilfit.structures import Cameras


class Placed(NamedTuple):
    """`x_world = rotation @ x + translation`, and the mean (bounded) squared distance in the image, px^2."""

    rotation: Float[Tensor, 'N 3 3']
    translation: Float[Tensor, 'N 3']
    error: Float[Tensor, ' N']


def align_to_pixels(
    points: Float[Tensor, 'N P 3'],
    start: tuple[Tensor, Tensor],
    cameras: Cameras,
    pixels: Float[Tensor, 'N C P 2'],
    weight: Float[Tensor, 'N C P'],
    sigma_px: Float[Tensor, ' N'],
    n_iter: int = 15,
) -> Placed:
    """Find rotation and translation by damped Gauss-Newton steps; each body keeps a step only if it gains.

    Args:
        points: before they are moved.
        start: rotations (N, 3, 3) and translations (N, 3).
        cameras: of one set for all, or one a body.
        pixels: where the points are seen.
        weight: 0 where they are not.
        sigma_px: distance beyond which a point counts less and less (Geman-McClure).
        n_iter: steps.
    """
    share = weight / weight.sum((1, 2), keepdim=True).clamp_min(1e-12)
    sigma2 = sigma_px.square()[:, None, None]
    rotation, translation = start
    damping = torch.full_like(sigma_px, 1e-3)
    here = _look(points, rotation, translation, cameras, pixels, share, sigma2)
    for _ in range(n_iter):
        moved, slope, difference, robust_weight, error = here
        arm = moved - translation.unsqueeze(1)
        jacobian = torch.cat((-slope @ skew(arm).unsqueeze(1), slope), -1)
        back = (robust_weight[..., None, None] * jacobian).transpose(-1, -2)
        matrix = (back @ jacobian).sum((1, 2))
        vector = (back @ difference.unsqueeze(-1)).sum((1, 2)).squeeze(-1)
        scale = matrix.diagonal(dim1=-2, dim2=-1)
        scale = scale + 1e-9 * scale.amax(1, keepdim=True).clamp_min(1e-12)
        step = -torch.linalg.solve(matrix + torch.diag_embed(damping.unsqueeze(1) * scale), vector)
        turn = axis_angle_to_rotmat(step[:, :3])
        next_rotation, next_translation = turn @ rotation, translation + step[:, 3:]
        there = _look(points, next_rotation, next_translation, cameras, pixels, share, sigma2)
        better = there[-1] < error
        here = tuple(_where(better, new, old) for new, old in zip(there, here))
        rotation = _where(better, next_rotation, rotation)
        translation = _where(better, next_translation, translation)
        damping = torch.where(better, damping / 5, damping * 10).clamp(1e-9, 1e6)
    return Placed(rotation, translation, here[-1])


def _look(
    points: Tensor,
    rotation: Tensor,
    translation: Tensor,
    cameras: Cameras,
    pixels: Tensor,
    share: Tensor,
    sigma2: Tensor,
) -> tuple[Tensor, ...]:
    moved = points @ rotation.transpose(-1, -2) + translation.unsqueeze(1)
    projected, slope = cameras.linearise(moved)
    _, depth, _ = cameras.project(moved)
    difference = torch.where((share > 0).unsqueeze(-1), projected - pixels, torch.zeros_like(pixels))
    squared = difference.square().sum(-1)
    bound = 1 + squared / sigma2
    error = (share * squared / bound).sum((1, 2))
    # Behind the camera nothing is seen, whatever its pixels say.
    behind = ((depth <= 0) & (share > 0)).flatten(1).any(1)
    return moved, slope, difference, share / bound.square(), torch.where(behind, torch.inf, error)


def _where(better: Tensor, new: Tensor, old: Tensor) -> Tensor:
    return torch.where(better.reshape(-1, *(1,) * (new.ndim - 1)), new, old)
