"""Tracks of three and four animals that were exchanged in views and over time are put back; clean ones stay."""

import itertools

import numpy as np
import pytest
import torch

from smilfit.geometry.identity_paths import TrackCosts, cheapest_orders, find_identities
from smilfit.geometry.side_swaps import IdealViews
from tests.animals import ring_of_cameras

B, C, K = 60, 3, 8


def walking(n, seed=0, noise_px=2.0, missing=0.2):
    """Labels (n, B, C, K, 2) px of animals that walk about between the cameras, and where there are any."""
    rng = np.random.default_rng(seed)
    cameras = ring_of_cameras(C)
    way = np.cumsum(rng.normal(0, 0.05, (n, B, 1, 3)), 1) + rng.uniform(-2, 2, (n, 1, 1, 3))
    points = torch.from_numpy(way + rng.normal(0, 0.5, (n, 1, K, 3)))
    pixels = cameras.project(points.flatten(0, 1))[0].unflatten(0, (n, B))
    xy = pixels + torch.from_numpy(rng.normal(0, noise_px, pixels.shape))
    return (
        IdealViews(cameras.K, cameras.R, cameras.t),
        xy,
        torch.from_numpy(rng.random(xy.shape[:-1]) >= missing),
    )


def found(views, xy, seen):
    """Return the order that is found, (n, B, C)."""
    return find_identities(TrackCosts.of(views, xy, seen), seen.sum((0, 1, 3))).permute(2, 1, 0)


def taken(values, order):
    return values[order, torch.arange(B)[:, None], torch.arange(C)]


@pytest.mark.parametrize('n', [2, 3, 4])
def test_exchanged_tracks_go_back_and_clean_ones_stay(n):
    views, xy, seen = walking(n)
    still = torch.arange(n)[:, None, None].expand(n, B, C)
    assert torch.equal(found(views, xy, seen), still)
    rng = np.random.default_rng(1)
    index = still.clone()
    # In the first camera a whole turn for most of the time, stretches in all, a camera that is permuted throughout.
    index[:, 10:50, 0] = index[:, 10:50, 0].roll(1, 0)
    for _ in range(6):
        c, start, length = rng.integers(C), rng.integers(B), rng.integers(1, 12)
        order = torch.from_numpy(rng.permutation(n))
        index[:, start : start + length, c] = index[order, start : start + length, c]
    index[:, :, 2] = index[:, :, 2].flip(0)
    assert float((index != still).float().mean()) > 0.4
    back = taken(index, found(views, taken(xy, index), taken(seen, index)))
    # Names are those of most tracks: one order for all.
    assert torch.equal(back, back[:, :1, :1].expand_as(back))


def test_the_cheapest_path_is_that_of_all_paths():
    n, frames, generator = 3, 4, torch.Generator().manual_seed(0)
    energy, steps = (
        torch.rand(frames, n, n, generator=generator),
        torch.rand(frames - 1, n, n, generator=generator),
    )
    orders = list(itertools.permutations(range(n)))

    def cost(path):
        here = sum(float(energy[b, a, p[a]]) for b, p in enumerate(path) for a in range(n))
        moved = sum(
            float(steps[b, p[a], q[a]]) for b, (p, q) in enumerate(itertools.pairwise(path)) for a in range(n)
        )
        return here + moved + 0.3 * sum(p != q for p, q in itertools.pairwise(path))

    best = min(itertools.product(orders, repeat=frames), key=cost)
    assert [tuple(p) for p in cheapest_orders(energy, steps, 0.3).tolist()] == list(best)


def test_motion_that_tells_nothing_exchanges_nothing():
    views, xy, seen = walking(3)
    mixed = torch.randperm(B, generator=torch.Generator().manual_seed(0))
    jumping = xy[:, mixed] + 300 * torch.rand(1, B, 1, 1, 1, generator=torch.Generator().manual_seed(1))
    assert not TrackCosts.of(views, jumping, seen).steps.any()
    order = found(views, xy[:, mixed], seen[:, mixed])
    assert torch.equal(order, torch.arange(3)[:, None, None].expand(3, B, C))
