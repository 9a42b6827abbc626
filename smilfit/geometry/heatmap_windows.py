"""Read probability maps in small windows: modes, their place to parts of a cell, and votes for places."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad


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
        left = self.flat.clone()
        found, cells = [], []
        for _ in range(count):
            place = left.argmax(-1)
            stride = self.width + 2 * self.radius
            cell = torch.stack((place % stride, place // stride), -1).unsqueeze(-2) - self.radius
            # Nothing is left of a map that a single window emptied: any cell will do.
            cell = self._inside(cell)
            index = self._index(cell, self.radius).flatten(-2)
            window = left.gather(-1, index).unsqueeze(-2)
            found.append(self._moments(window, cell))
            cells.append(cell)
            left.scatter_(-1, index, 0.0)
        parts = (torch.cat(part, -2 if i == 0 else -1) for i, part in enumerate(zip(*found)))
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
