"""Heat maps of keypoints: cells and px, and the Gaussian that a map should show."""

import torch
from jaxtyping import Float
from torch import Tensor


def cell_to_px(cells: Float[Tensor, '*n'], stride: float) -> Float[Tensor, '*n']:
    """Give the px of a cell's centre: cell c of a map of stride s covers px s c to s c + s - 1."""
    return (cells + 0.5) * stride - 0.5


def px_to_cell(px: Float[Tensor, '*n'], stride: float) -> Float[Tensor, '*n']:
    """Give where a px lies among the cells: `cell_to_px` inverted."""
    return (px + 0.5) / stride - 0.5


def gaussian_targets(
    px: Float[Tensor, '*n 2'], size: tuple[int, int], stride: float, sigma_cells: float = 1.25
) -> Float[Tensor, '*n h w']:
    """Draw a Gaussian of `sigma_cells` about each px into a map of `size` (rows, columns); it sums to 1."""
    cells = px_to_cell(px, stride)
    rows = torch.arange(size[0], dtype=px.dtype, device=px.device)
    columns = torch.arange(size[1], dtype=px.dtype, device=px.device)
    across = torch.softmax(-0.5 * ((columns - cells[..., :1]) / sigma_cells).square(), -1)
    down = torch.softmax(-0.5 * ((rows - cells[..., 1:]) / sigma_cells).square(), -1)
    return down.unsqueeze(-1) * across.unsqueeze(-2)
