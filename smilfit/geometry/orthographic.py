"""Closed-form pose from one view: points far away are seen by a scaled orthographic camera."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

# Of the points' mean spread: what holds directions in which the source has no extent.
_RIDGE = 1e-3


class ScaledOrthographic(NamedTuple):
    """`target ≈ scale * (rotation @ source)[:2] + translation`."""

    rotation: Float[Tensor, 'B 3 3']
    translation: Float[Tensor, 'B 2']
    scale: Float[Tensor, 'B']


def scaled_orthographic(
    source: Float[Tensor, 'B N 3'],
    target: Float[Tensor, 'B N 2'],
    weights: Float[Tensor, 'B N'],
    n_steps: int = 8,
) -> ScaledOrthographic:
    """Find the rotation, scale and shift under which a source looks like a flat target.

    The affine map of least squares, made a scaled rotation (DeMenthon and Davis 1995, POS), starts a loop that fills
    in the depth which the present rotation gives and aligns in three dimensions; each step lowers the squared
    distance in the image. Computed in float64.

    Args:
        source: points.
        target: where they are seen; axes as of an image, the third axis points away from the viewer.
        weights: 0 leaves a pair out.
        n_steps: of the loop.
    """
    dtype = source.dtype
    source, target, weights = source.double(), target.double(), weights.double()
    w = (weights / weights.sum(-1, keepdim=True).clamp_min(1e-300)).unsqueeze(-1)
    source_mean, target_mean = (w * source).sum(-2), (w * target).sum(-2)
    a, b = source - source_mean.unsqueeze(-2), target - target_mean.unsqueeze(-2)
    inertia = a.transpose(-1, -2) @ (w * a)
    spread = inertia.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None].clamp_min(1e-300)
    eye = torch.eye(3, dtype=a.dtype, device=a.device)
    affine = torch.linalg.solve(inertia + _RIDGE * spread * eye, a.transpose(-1, -2) @ (w * b))
    U, S, Vh = torch.linalg.svd(affine.transpose(-1, -2), full_matrices=False)
    rows = U @ Vh
    rotation = torch.cat((rows, torch.linalg.cross(rows[..., 0, :], rows[..., 1, :]).unsqueeze(-2)), -2)
    scale = S.mean(-1)
    for _ in range(n_steps):
        turned = a @ rotation.transpose(-1, -2)
        scale = (w * turned[..., :2] * b).sum((-1, -2)) / (w * turned[..., :2].square()).sum(
            (-1, -2)
        ).clamp_min(1e-300)
        filled = torch.cat((b, scale.clamp_min(1e-300)[..., None, None] * turned[..., 2:]), -1)
        U, _, Vh = torch.linalg.svd(filled.transpose(-1, -2) @ (w * a))
        sign = torch.ones_like(U[..., 0])
        sign[..., 2] = torch.linalg.det(U @ Vh).sign()
        rotation = (U * sign.unsqueeze(-2)) @ Vh
    turned = a @ rotation.transpose(-1, -2)
    scale = (w * turned[..., :2] * b).sum((-1, -2)) / (w * turned[..., :2].square()).sum((-1, -2)).clamp_min(
        1e-300
    )
    moved = (rotation @ source_mean.unsqueeze(-1)).squeeze(-1)[..., :2]
    translation = target_mean - scale.unsqueeze(-1) * moved
    return ScaledOrthographic(rotation.to(dtype), translation.to(dtype), scale.to(dtype))
