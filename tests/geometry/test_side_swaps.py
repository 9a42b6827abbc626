"""Labels of both sides that were taken for each other are found by views and by motion, and no others."""

import pytest
import torch

from smilfit.geometry.side_swaps import (
    IdealViews,
    PairGeometry,
    SidePairs,
    assignments,
    find_swaps,
    noise_of_views,
)
from tests.animals import ring_of_cameras

B, P = 60, 3
LEFT, RIGHT = torch.arange(P), torch.arange(P) + P


def recording(n_views=3, noise=1.0, seed=0):
    """Pairs of points on smooth paths as ideal cameras see them, px (B, C, 2P, 2), and the cameras."""
    g = torch.Generator().manual_seed(seed)
    time = torch.linspace(0, 4, B).double()[:, None, None]
    phase = 6 * torch.rand(1, 2 * P, 3, generator=g).double()
    own = torch.linspace(-0.5, 0.5, P).double()
    place = torch.stack(
        (own.repeat(2), torch.tensor([0.2, -0.2]).double().repeat_interleave(P), 0 * own.repeat(2)), -1
    )
    points = place + 0.05 * torch.sin(time + phase)
    rig = ring_of_cameras(n_views, distance=5.0).ideal().to(torch.float64)
    xy = rig.project(points)[0]
    return xy + noise * torch.randn(xy.shape, generator=g).double(), IdealViews(rig.K, rig.R, rig.t)


def found(xy, seen, views, frames=None):
    return find_swaps(SidePairs.of(xy, seen, LEFT, RIGHT, views, frames))


def with_sides(xy, mask):
    """Exchange labels (B, C, 2P, ...) where a mask (B, C, P) says so."""
    flip = torch.cat((mask, mask), -1).reshape(*mask.shape[:-1], 2 * P, *[1] * (xy.ndim - 3))
    return torch.where(flip, torch.cat((xy[:, :, P:], xy[:, :, :P]), 2), xy)


def drawn(kind, shape, share=0.2):
    g = torch.Generator().manual_seed(1)
    n, c, _ = shape
    if kind == 'single pairs':
        return torch.rand(shape, generator=g) < share
    if kind == 'all views at once':
        return (torch.rand(n, 1, 1, generator=g) < share).expand(shape)
    if kind == 'one view':
        mask = torch.zeros(shape, dtype=torch.bool)
        mask[:, 0] = torch.rand(n, 1, generator=g) < share
        return mask
    if kind == 'runs':
        mask = torch.zeros(shape, dtype=torch.bool)
        mask[5:15, 0], mask[20:28, 1], mask[40:52, 2] = True, True, True
        return mask
    return (torch.rand(n, c, 1, generator=g) < share).expand(shape)


@pytest.mark.parametrize('kind', ['single pairs', 'whole animals', 'one view', 'runs', 'all views at once'])
def test_what_was_exchanged_is_found(kind):
    xy, views = recording()
    mask = drawn(kind, (B, 3, P))
    valid = torch.rand(B, 3, 2 * P, generator=torch.Generator().manual_seed(2)) < 0.9
    answer = found(with_sides(xy, mask), with_sides(valid, mask), views)
    wrong = (answer != mask) & (valid[..., :P] | valid[..., P:])
    # One side alone is told by two other views that have both, or not at all.
    assert float(wrong.float().mean()) < 0.02
    assert float((wrong & valid[..., :P] & valid[..., P:]).float().mean()) < 0.005


@pytest.mark.parametrize('n_views', [1, 2, 4])
def test_clean_labels_stay(n_views):
    xy, views = recording(n_views, noise=3.0)
    assert not found(xy, torch.ones(xy.shape[:-1], dtype=torch.bool), views).any()


def test_more_views_than_are_tried_together():
    xy, views = recording(7)
    mask = drawn('whole animals', (B, 7, P))
    seen = torch.ones(xy.shape[:-1], dtype=torch.bool)
    assert torch.equal(found(with_sides(xy, mask), seen, views), mask)


def test_points_in_space_are_told_by_their_motion():
    g = torch.Generator().manual_seed(0)
    time = torch.linspace(0, 4, B).double()[:, None]
    points = torch.stack(
        (torch.cat((torch.arange(P), torch.arange(P))).expand(B, -1), torch.sin(time).expand(-1, 2 * P))
    )
    points = torch.cat(
        (points.permute(1, 2, 0), torch.tensor([1.0] * P + [-1.0] * P).expand(B, -1).unsqueeze(-1)), -1
    )
    points = (points + 0.01 * torch.randn(points.shape, generator=g)).unsqueeze(1)
    mask = drawn('single pairs', (B, 1, P))
    seen = torch.ones(points.shape[:-1], dtype=torch.bool)
    assert torch.equal(found(with_sides(points, mask), seen, None), mask)
    # Frames that lie apart tell nothing of one another.
    frames = torch.cat((torch.arange(40), 40 + 10 * torch.arange(B - 40)))
    assert not found(with_sides(points, mask), seen, None, frames)[41:].any()


def test_costs_of_a_way_and_of_its_opposite_are_equal_and_the_right_one_is_cheapest():
    xy, views = recording(noise=0.0)
    pairs = torch.stack((xy[:, :, :P], xy[:, :, P:]), 3).transpose(1, 2).flatten(0, 1)
    seen = torch.ones(pairs.shape[:-1], dtype=torch.bool)
    geometry = PairGeometry(views, pairs, seen)
    cost = geometry.costs(torch.full((3,), 2.0), 9.0)
    torch.testing.assert_close(cost, cost.flip(1))
    assert assignments(3)[cost.argmin(1)].any(1).sum() == 0
    assert float(cost[:, 0].max()) < 1e-6
    noise = noise_of_views(PairGeometry(views, pairs + 2 * torch.randn(pairs.shape), seen), 16.0, 0.1)
    assert bool(((noise > 1) & (noise < 4)).all())
