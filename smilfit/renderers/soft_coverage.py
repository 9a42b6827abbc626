"""The soft silhouette in plain tensor operations: `alpha = 1 - prod_f (1 - sigmoid(-d_f / sigma))`.

The readable twin of the kernels in `warp_soft.py`.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from smilfit.renderers.projected import ProjectedMeshes

# A triangle counts at a pixel as long as its share is at least this.
LEAST_SHARE = 1e-4


def squared_reach(sigma: float) -> float:
    """Return the squared distance beyond which a triangle's share is below the least, in sigma's unit."""
    return sigma * math.log(1 / LEAST_SHARE - 1)


def soft_alpha(meshes: ProjectedMeshes, sigma: float, max_pairs: int) -> Float[Tensor, 'N H W']:
    """Render soft silhouettes.

    Args:
        sigma: squared length, in units of half the shorter side, over which an edge is blurred.
        max_pairs: how many (triangle, pixel) pairs may be in memory at once (about 300 bytes each).
    """
    windings = meshes.windings
    images = [
        _log_clear(corners[visible != 0], meshes, sigma, max_pairs)
        for corners, visible in zip(meshes.corners(), windings)
    ]
    clear = torch.stack(images) if images else meshes.pixels.new_zeros(0, meshes.height * meshes.width)
    return -torch.expm1(clear).unflatten(1, (meshes.height, meshes.width))


def _log_clear(corners: Tensor, meshes: ProjectedMeshes, sigma: float, max_pairs: int) -> Tensor:
    unit, reach2 = meshes.ndc_per_px, squared_reach(sigma)
    low, size = pixel_boxes(corners.detach(), math.sqrt(reach2) / unit, meshes.width, meshes.height)
    total = size.prod(1).cumsum(0)
    clear = corners.new_zeros(meshes.height * meshes.width)
    start = 0
    while start < len(corners):
        done = int(total[start - 1]) if start else 0
        end = max(int(torch.searchsorted(total, done + max_pairs, right=True)), start + 1)
        chunk = slice(start, end)
        which, at = pairs_of(low[chunk], size[chunk])
        # What a chunk needs for its gradient is computed again when it is asked for.
        shares = checkpoint(
            _log_clear_of_pairs, corners[chunk], which, at, unit, sigma, reach2, use_reentrant=False
        )
        clear = clear.index_add(0, at[:, 1] * meshes.width + at[:, 0], shares)
        start = end
    return clear


def pixel_boxes(
    corners: Float[Tensor, 'F n 2'], margin_px: float, width: int, height: int
) -> tuple[Int[Tensor, 'F 2'], Int[Tensor, 'F 2']]:
    """Return the first pixel and the size of the box of pixels within a margin of some points."""
    limit = corners.new_tensor([width - 1, height - 1])
    low = (corners.amin(1) - margin_px).ceil().clamp_min(0)
    high = torch.minimum((corners.amax(1) + margin_px).floor(), limit)
    return low.long(), (high - low + 1).clamp_min(0).long()


def pairs_of(
    low: Int[Tensor, 'F 2'], size: Int[Tensor, 'F 2']
) -> tuple[Int[Tensor, 'P'], Int[Tensor, 'P 2']]:
    """List (box, pixel) of all boxes."""
    count = size.prod(1)
    which = torch.repeat_interleave(count)
    step = torch.arange(len(which), device=low.device) - (count.cumsum(0) - count)[which]
    across = size[which, 0]
    return which, low[which] + torch.stack((step % across, step // across), 1)


def _log_clear_of_pairs(
    corners: Float[Tensor, 'F 3 2'],
    which: Int[Tensor, 'P'],
    at: Int[Tensor, 'P 2'],
    unit: float,
    sigma: float,
    reach2: float,
) -> Float[Tensor, 'P']:
    """Return the logarithm of what each triangle leaves clear of each pixel: `log(1 - sigmoid(-d / sigma))`."""
    d = signed_squared_distance(at.to(corners), corners[which]) * unit**2
    log_clear = torch.nn.functional.logsigmoid(d / sigma)
    return torch.where(d < reach2, log_clear, torch.zeros_like(log_clear))


def signed_squared_distance(
    points: Float[Tensor, 'P 2'], corners: Float[Tensor, 'P 3 2']
) -> Float[Tensor, 'P']:
    """Return the squared distance of each point to its triangle's outline, negative inside."""
    edges = corners.roll(-1, 1) - corners
    to_point = points.unsqueeze(1) - corners
    along = (to_point * edges).sum(-1) / edges.square().sum(-1).clamp_min(1e-20)
    squared = (to_point - along.clamp(0, 1).unsqueeze(-1) * edges).square().sum(-1).amin(1)
    rotation = (edges[..., 0] * to_point[..., 1] - edges[..., 1] * to_point[..., 0]).detach()
    inside = (rotation >= 0).all(1) | (rotation <= 0).all(1)
    return torch.where(inside, -squared, squared)
