"""Cells of a heat map, the pixels they cover, and Gaussians on them.

A heat map of stride s lies over an image: cell c covers the pixels s c .. s c + s - 1, so that its centre is the
pixel (c + 0.5) s - 0.5. Pixel centres are at integers.
"""

import torch
from jaxtyping import Float
from torch import Tensor

# No weight in a mixture is smaller than this share, so that a mixture without any has a sum to divide by.
_LEAST = 1e-9


def cell_to_px(cells: Float[Tensor, '*n'], stride: float) -> Float[Tensor, '*n']:
    """Turn places on a heat map, in cells, into px of the image."""
    return (cells + 0.5) * stride - 0.5


def px_to_cell(px: Float[Tensor, '*n'], stride: float) -> Float[Tensor, '*n']:
    """Turn px of the image into places on a heat map, in cells."""
    return (px + 0.5) / stride - 0.5


def inside_map(px: Float[Tensor, '*n 2'], size: tuple[int, int], stride: float) -> Tensor:
    """Say which places (x, y) lie on some cell of a map of (h, w) cells."""
    limit = px.new_tensor([size[1], size[0]]) * stride - 0.5
    return ((px > -0.5) & (px < limit)).all(-1)


def gaussian_axes(
    px: Float[Tensor, '*n 2'], size: tuple[int, int], stride: float, sigma_cells: float = 1.25
) -> tuple[Float[Tensor, '*n h'], Float[Tensor, '*n w']]:
    """Give the rows' and the columns' factor of a Gaussian on a map: each sums to 1, and so does their product.

    Args:
        px: centres (x, y).
        size: (h, w) of the map, cells.
        stride: px a cell.
        sigma_cells: standard deviation, cells.
    """
    x, y = px_to_cell(px, stride).unbind(-1)
    factors = []
    for place, n in ((y, size[0]), (x, size[1])):
        grid = torch.arange(n, device=px.device, dtype=px.dtype)
        factors.append((-0.5 * ((grid - place.unsqueeze(-1)) / sigma_cells).square()).softmax(-1))
    return factors[0], factors[1]


def gaussian_targets(
    px: Float[Tensor, '*n 2'], size: tuple[int, int], stride: float, sigma_cells: float = 1.25
) -> Float[Tensor, '*n h w']:
    """Draw a Gaussian around each place; every map sums to 1, also where the place is outside of it.

    Arguments are those of `gaussian_axes`.
    """
    rows, columns = gaussian_axes(px, size, stride, sigma_cells)
    return rows.unsqueeze(-1) * columns.unsqueeze(-2)


def mixture_targets(
    px: Float[Tensor, '*n A 2'],
    weight: Float[Tensor, '*n A'],
    size: tuple[int, int],
    stride: float,
    sigma_cells: float = 1.25,
) -> Float[Tensor, '*n h w']:
    """Draw Gaussians around A places on one map, in proportion to their weights; the map sums to 1 (or to 0).

    Arguments are those of `gaussian_axes`; a place of weight 0 takes no part, whatever its px.
    """
    there = weight > 0
    rows, columns = gaussian_axes(
        torch.where(there.unsqueeze(-1), px, torch.zeros_like(px)), size, stride, sigma_cells
    )
    share = weight / weight.sum(-1, keepdim=True).clamp_min(_LEAST)
    return torch.einsum('...a,...ah,...aw->...hw', share, rows, columns)
