"""Cells of a heat map, the pixels they cover, and Gaussians on them.

A heat map of stride s lies over an image: cell c covers the pixels s c .. s c + s - 1, so that its centre is the
pixel (c + 0.5) s - 0.5. Pixel centres are at integers.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

# No weight in a mixture is smaller than this share, so that a mixture without any has a sum to divide by.
_LEAST = 1e-9


def cell_to_px(cells: Float[Tensor, '*n'], stride: float) -> Float[Tensor, '*n']:
    """Turn places on a heat map, in cells, into px of the image."""
    return (cells + 0.5) * stride - 0.5


def px_to_cell(px: Float[Tensor, '*n'], stride: float) -> Float[Tensor, '*n']:
    """Turn px of the image into places on a heat map, in cells."""
    return (px + 0.5) / stride - 0.5


def inside_map(px: Float[Tensor, '*n 2'], size: tuple[int, int], stride: float) -> Tensor:
    """Return which places (x, y) lie on some cell of a map of (h, w) cells."""
    limit = px.new_tensor([size[1], size[0]]) * stride - 0.5
    return ((px > -0.5) & (px < limit)).all(-1)


def gaussian_axes(
    px: Float[Tensor, '*n 2'], size: tuple[int, int], stride: float, sigma_cells: float = 1.25
) -> tuple[Float[Tensor, '*n h'], Float[Tensor, '*n w']]:
    """Return the rows' and the columns' factor of a Gaussian on a map: each sums to 1, and so does their product.

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
    valid = weight > 0
    rows, columns = gaussian_axes(
        torch.where(valid.unsqueeze(-1), px, torch.zeros_like(px)), size, stride, sigma_cells
    )
    share = weight / weight.sum(-1, keepdim=True).clamp_min(_LEAST)
    return torch.einsum('...a,...ah,...aw->...hw', share, rows, columns)


class Moments(NamedTuple):
    """What a window holds: its mean place (x, y) in cells, its mass, and its variance (cells^2) an axis."""

    mean: Float[Tensor, '*n P 2']
    mass: Float[Tensor, '*n P']
    variance: Float[Tensor, '*n P']


class WindowedMaps:
    """Probability maps (*n, h, w) with a margin of zeros, of which small square windows are read.

    Args:
        maps: each sums to 1.
        radius: windows of the modes reach so many cells to each side; none may be larger.
    """

    def __init__(self, maps: Float[Tensor, '*n h w'], radius: int = 4) -> None:
        if radius < 3:
            raise ValueError(f'WindowedMaps: the radius must be at least 3 cells; got {radius}.')
        self.height, self.width = maps.shape[-2:]
        self.radius = radius
        self.flat = pad(maps, (radius,) * 4).flatten(-2)

    def modes(self, count: int) -> tuple[Moments, Int[Tensor, '*n M 2']]:
        """Find the highest peaks, each outside the windows of the ones before it.

        The mass of an earlier mode's window is taken out before a later mode is measured.

        Returns:
            The modes' moments, and their integer cells.
        """
        result, cells, taken = [], [], []
        for _ in range(count):
            # Nothing is left of a map that a single window emptied: any cell will do.
            cell = self._inside(self._highest())
            index = self._index(cell, self.radius).flatten(-2)
            window = self.flat.gather(-1, index)
            result.append(self._moments(window.unsqueeze(-2), cell))
            cells.append(cell)
            # Without a copy of all maps: what is taken out is put back.
            self.flat.scatter_(-1, index, 0.0)
            taken.append((index, window))
        for index, window in reversed(taken):
            self.flat.scatter_(-1, index, window)
        parts = (torch.cat(part, -2 if i == 0 else -1) for i, part in enumerate(zip(*result)))
        return Moments(*parts), torch.cat(cells, -2)

    def near(self, cells: Float[Tensor, '*n P 2']) -> Moments:
        """Measure the windows about some places; one outside of the map stands for the nearest inside."""
        cell = self._inside(cells.detach().round().long())
        index = self._index(cell, self.radius)
        window = self.flat.gather(-1, index.flatten(-2)).unflatten(-1, index.shape[-2:])
        return self._moments(window, cell)

    def votes(self, cells: Float[Tensor, '*n P 2']) -> Float[Tensor, '*n P']:
        """Sum the 3 x 3 cells about some places; 0 outside of the map."""
        cell = cells.round().long()
        cell = torch.stack(
            (cell[..., 0].clamp(-2, self.width + 1), cell[..., 1].clamp(-2, self.height + 1)), -1
        )
        index = self._index(cell, 1)
        window = self.flat.gather(-1, index.flatten(-2)).unflatten(-1, index.shape[-2:])
        return window.sum(-1)

    def _highest(self) -> Int[Tensor, '*n 1 2']:
        """Return each map's highest cell: its row first, which is faster than a search of all cells."""
        square = self.flat.unflatten(-1, (-1, self.width + 2 * self.radius))
        row = square.amax(-1).argmax(-1, keepdim=True)
        line = square.gather(-2, row.unsqueeze(-1).expand(*row.shape, square.shape[-1]))
        return torch.cat((line.argmax(-1), row), -1).unsqueeze(-2) - self.radius

    def _inside(self, cell: Tensor) -> Tensor:
        return torch.stack(
            (cell[..., 0].clamp(0, self.width - 1), cell[..., 1].clamp(0, self.height - 1)), -1
        )

    def _index(self, cell: Tensor, radius: int) -> Tensor:
        """Number the cells of windows (*n, P, side^2) in the flat maps."""
        stride = self.width + 2 * self.radius
        step = torch.arange(-radius, radius + 1, device=cell.device)
        offset = (step.unsqueeze(-1) * stride + step).flatten()
        return ((cell[..., 1] + self.radius) * stride + cell[..., 0] + self.radius).unsqueeze(-1) + offset

    def _moments(self, window: Tensor, cell: Tensor) -> Moments:
        """Measure windows (*n, P, side^2) about integer cells (*n, P, 2)."""
        step = torch.arange(-self.radius, self.radius + 1, device=window.device, dtype=window.dtype)
        square = window.unflatten(-1, (len(step), len(step)))
        mass = window.sum(-1)
        safe = mass.clamp_min(1e-12).unsqueeze(-1)
        profile = torch.stack((square.sum(-2), square.sum(-1)), -2) / safe.unsqueeze(-1)
        offset = profile @ step
        variance = (profile @ step.square() - offset.square()).clamp_min(0).mean(-1)
        return Moments(cell.to(window.dtype) + offset, mass, variance)
