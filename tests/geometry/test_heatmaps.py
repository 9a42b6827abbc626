"""Cells and pixels, and Gaussians on maps."""

import pytest
import torch

from smilfit.geometry.heatmaps import (
    cell_to_px,
    gaussian_targets,
    inside_map,
    mixture_targets,
    px_to_cell,
)


@pytest.mark.parametrize('stride', [1, 2, 4])
def test_a_cells_centre_is_the_mean_of_the_pixels_that_it_covers(stride):
    cells = torch.arange(5.0)
    covered = torch.arange(5 * stride).float().reshape(5, stride)
    torch.testing.assert_close(cell_to_px(cells, stride), covered.mean(1))
    torch.testing.assert_close(px_to_cell(cell_to_px(cells, stride), stride), cells)


def test_a_gaussian_sums_to_one_and_has_its_mean_where_it_was_put():
    px = torch.tensor([[20.3, 30.8], [25.0, 17.1]])
    target = gaussian_targets(px, (24, 32), 2)
    torch.testing.assert_close(target.sum((-1, -2)), torch.ones(2))
    x = cell_to_px((target.sum(-2) * torch.arange(32)).sum(-1), 2)
    y = cell_to_px((target.sum(-1) * torch.arange(24)).sum(-1), 2)
    torch.testing.assert_close(torch.stack((x, y), -1), px, atol=1e-3, rtol=0)


def test_a_place_far_outside_gives_a_finite_map():
    target = gaussian_targets(torch.tensor([[-500.0, 1e4]]), (8, 8), 4)
    torch.testing.assert_close(target.sum(), torch.tensor(1.0))
    assert inside_map(torch.tensor([[-0.4, 31.4], [-0.6, 3.0]]), (8, 8), 4).tolist() == [True, False]


def test_a_mixture_is_the_weighted_mean_of_its_gaussians():
    px, weight = torch.tensor([[8.0, 9.0], [20.0, 5.0], [torch.nan, 0.0]]), torch.tensor([1.0, 3.0, 0.0])
    each = gaussian_targets(px[:2], (8, 8), 4)
    torch.testing.assert_close(mixture_targets(px, weight, (8, 8), 4), 0.25 * each[0] + 0.75 * each[1])
    assert mixture_targets(px, 0 * weight, (8, 8), 4).sum() == 0
