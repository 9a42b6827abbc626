"""Points in space from heat maps: truth found, whatever the views' number and order; twins; what is left open."""

import math
from dataclasses import replace

import pytest
import torch

from smilfit.geometry.heatmaps import WindowedMaps, cell_to_px, px_to_cell
from smilfit.geometry.rotation import axis_angle_to_rotmat
from smilfit.networks import MeetInSpace
from smilfit.structures import Cameras
from tests.networks.blobs import CELLS, STRIDE, blobs, make_cameras


def _case(n_views=4, batch=2, n_points=7, noise_px=0.0, seed=0, **shape):
    points = 12 * torch.randn(batch, n_points, 3, generator=torch.Generator().manual_seed(seed))
    cameras = make_cameras(n_views, batch, seed)
    px, _, _ = cameras.project(points)
    noise = noise_px * torch.randn(px.shape, generator=torch.Generator().manual_seed(seed + 1))
    return points, cameras, px, blobs(px + noise, **shape), torch.ones(batch, n_views, dtype=torch.bool)


def _turned(cameras: Cameras, order: list[int]) -> Cameras:
    return cameras.select([cameras.names[i] for i in order])


@pytest.mark.parametrize('n_views', [2, 3, 4, 12])
def test_clean_heat_maps_give_the_points(n_views):
    points, cameras, px, logits, mask = _case(n_views, mass=0.9)
    result = MeetInSpace()(logits, STRIDE, cameras, mask)
    # 1 px is 0.8 mm here; a blob cut by its window or by the map's edge is off by a few hundredths of a cell.
    assert float((result.xyz - points).norm(dim=-1).max()) < 0.15
    assert float((result.pixels - px).norm(dim=-1).max()) < 0.3
    assert float(result.confidence.min()) > 0.7


def test_any_order_of_the_views_gives_the_same():
    _, cameras, _, logits, mask = _case(noise_px=1.0, mass=0.7)
    mask[0, 2] = False
    order = [2, 0, 3, 1]
    meet = MeetInSpace()
    result, turned = (
        meet(logits, STRIDE, cameras, mask),
        meet(logits[:, order], STRIDE, _turned(cameras, order), mask[:, order]),
    )
    torch.testing.assert_close(turned.xyz, result.xyz, atol=1e-4, rtol=0)
    torch.testing.assert_close(turned.covariance, result.covariance, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(turned.confidence, result.confidence)
    torch.testing.assert_close(turned.pixels, result.pixels[:, order], atol=1e-3, rtol=0)


@pytest.mark.parametrize('prior', [None, 420.0])
def test_moves_turns_and_grows_with_the_world(prior):
    _, cameras, _, logits, mask = _case(noise_px=1.0, mass=0.7)
    if prior:
        mask[0, 1:] = False
    size, shift = 0.001, torch.tensor([3.0, -7.0, 2.0])
    rotation = axis_angle_to_rotmat(torch.tensor([0.4, -0.9, 0.3]))
    R = cameras.R @ rotation.T
    moved = replace(cameras, R=R, t=size * cameras.t - (R @ shift))
    meet = MeetInSpace()
    result = meet(logits, STRIDE, cameras, mask, prior)
    again = meet(logits, STRIDE, moved, mask, prior and size * prior)
    expected = size * result.xyz @ rotation.T + shift
    torch.testing.assert_close(again.xyz, expected, atol=2e-6, rtol=1e-4)
    torch.testing.assert_close(
        again.covariance / size**2, rotation @ result.covariance @ rotation.T, atol=1e-2, rtol=1e-2
    )
    torch.testing.assert_close(again.confidence, result.confidence, atol=1e-3, rtol=0)


def test_a_masked_view_changes_no_bit():
    _, cameras, _, logits, mask = _case(noise_px=1.0)
    mask[:, 1] = False
    meet = MeetInSpace()
    result = meet(logits, STRIDE, cameras, mask)
    logits[:, 1] = float('nan')
    spoilt = replace(cameras, **{n: getattr(cameras, n).clone() for n in ('K', 'R', 't', 'dist', 'fold')})
    for name in ('K', 'R', 't', 'dist', 'fold'):
        getattr(spoilt, name)[:, 1] = float('nan')
    again = meet(logits, STRIDE, spoilt, mask)
    for name in ('xyz', 'covariance', 'confidence', 'pixels', 'pixel_confidence', 'modes', 'mode_mass'):
        assert torch.equal(getattr(again, name), getattr(result, name)), name
    assert float(result.pixel_confidence[:, 1].abs().max()) == 0
    rest = [0, 2, 3]
    absent = meet(logits[:, rest], STRIDE, _turned(cameras, rest), mask[:, rest])
    torch.testing.assert_close(absent.xyz, result.xyz, atol=1e-5, rtol=0)
    torch.testing.assert_close(absent.confidence, result.confidence)


def test_a_view_that_swaps_left_and_right_is_outvoted():
    points, cameras, px, logits, mask = _case(n_views=4, n_points=6, seed=1)
    swapped = [0, 1, 2, 3, 5, 4]
    assert float((px[:, 1, 4] - px[:, 1, 5]).norm(dim=-1).min()) > 15
    logits[:, 1] = blobs(px[:, 1, swapped])
    result = MeetInSpace()(logits, STRIDE, cameras, mask)
    assert float((result.xyz - points).norm(dim=-1).max()) < 0.3
    # Where it was wrong, the view shows nothing at the point's image.
    assert float(result.pixel_confidence[:, 1, 4:].max()) < 0.1


def test_the_second_mode_is_taken_where_the_others_show_it():
    points, cameras, px, logits, mask = _case()
    wrong = 30 + 60 * torch.rand(px[:, 2].shape, generator=torch.Generator().manual_seed(5))
    wrong = torch.where((wrong - px[:, 2]).norm(dim=-1, keepdim=True) < 20, wrong + 25, wrong)
    logits[:, 2] = (0.6 * blobs(wrong).exp() + 0.4 * blobs(px[:, 2]).exp()).log()
    result = MeetInSpace()(logits, STRIDE, cameras, mask)
    assert float((result.xyz - points).norm(dim=-1).max()) < 0.2
    assert float((result.pixels - px).norm(dim=-1).max()) < 0.5
    torch.testing.assert_close(result.mode_mass[:, 2, :, 0], torch.full((2, 7), 0.6), atol=0.02, rtol=0)


def test_a_view_alone_gives_its_ray():
    points, cameras, px, logits, mask = _case()
    mask[:, 1:] = False
    depth = cameras.project(points)[1][:, 0].mean(1)
    result = MeetInSpace()(logits, STRIDE, cameras, mask, depth)
    again, new_depth, _ = cameras.project(result.xyz)
    torch.testing.assert_close(again[:, 0], px[:, 0], atol=0.3, rtol=0)
    torch.testing.assert_close(new_depth[:, 0], depth[:, None].expand(2, 7), rtol=1e-3, atol=0)
    ray = torch.nn.functional.normalize(result.xyz - cameras.centres()[:, :1], dim=-1)
    along = (ray * (result.covariance @ ray.unsqueeze(-1)).squeeze(-1)).sum(-1).sqrt()
    torch.testing.assert_close(along, 0.3 * depth[:, None].expand(2, 7), rtol=0.05, atol=0)
    across = result.covariance.diagonal(dim1=-2, dim2=-1).sum(-1) - along.square()
    assert float(across.sqrt().max()) < 1.5


@pytest.mark.parametrize(('n_views', 'noise_px', 'known'), [(4, 1.5, True), (2, 1.5, True), (4, 2.5, False)])
def test_the_covariance_holds_as_often_as_it_says(n_views, noise_px, known):
    """With noise that the blobs' width tells of, and with noise that only the residuals tell of."""
    width = math.hypot(1.25, noise_px / STRIDE) if known else 1.25
    points, cameras, _, logits, mask = _case(n_views, 24, 12, noise_px, width_cells=width)
    result = MeetInSpace()(logits, STRIDE, cameras, mask)
    error = result.xyz - points
    squared = (error.unsqueeze(-2) @ torch.linalg.solve(result.covariance, error.unsqueeze(-1))).flatten()
    # 68 % of a normal distribution of three dimensions lie within this squared distance.
    inside = float((squared < 3.51).float().mean())
    assert 0.58 < inside < 0.8, inside


def test_the_vote_is_that_of_its_readable_twin():
    """Loops over pairs of views and modes, every candidate's votes counted one by one."""
    points, cameras, _, logits, mask = _case(n_views=3, batch=1, n_points=4, noise_px=3.0, mass=0.5)
    meet = MeetInSpace()
    maps = logits.flatten(-2).softmax(-1).unflatten(-1, (CELLS, CELLS))
    rays = []
    for c in range(3):
        modes = cell_to_px(WindowedMaps(maps[:, c]).modes(2)[0].mean, STRIDE)
        one = _turned(cameras, [c])
        directions = one.rays(modes.flatten(1, 2).unsqueeze(1))[0][0, 0].unflatten(0, (4, 2))
        rays.append((one.centres()[0, 0], directions))
    for k in range(4):
        best, score = None, -math.inf
        for a in range(3):
            for b in range(a + 1, 3):
                for m in range(2):
                    for n in range(2):
                        point = _nearest(rays[a][0], rays[a][1][k, m], rays[b][0], rays[b][1][k, n])
                        votes = _votes(maps[0, :, k], cameras, point)
                        if votes > score:
                            best, score = point, votes
        # The rounds that follow move the point by less than a cell.
        one = meet(logits[:, :, k : k + 1], STRIDE, cameras, mask)
        assert float((one.xyz[0, 0] - best).norm()) < 4.0
        assert _votes(maps[0, :, k], cameras, one.xyz[0, 0]) > score - 1.0
    assert points.shape == (1, 4, 3)


def _nearest(origin_a, direction_a, origin_b, direction_b):
    s, t = torch.linalg.lstsq(torch.stack((direction_a, -direction_b), 1), origin_b - origin_a).solution
    a, b = origin_a + s * direction_a, origin_b + t * direction_b
    return (a * t**2 + b * s**2) / (s**2 + t**2)


def _votes(maps, cameras, point):
    px = cameras.project(point.expand(1, 1, 3))[0][0, :, 0]
    total = 0.0
    for view, (x, y) in zip(maps, px_to_cell(px, STRIDE).round().long().tolist()):
        share = 0.0
        for row in range(max(y - 1, 0), min(y + 2, CELLS)):
            for column in range(max(x - 1, 0), min(x + 2, CELLS)):
                share += float(view[row, column])
        total += math.log(share + 1e-3)
    return total


def test_what_it_found_becomes_keypoints():
    _, cameras, _, logits, mask = _case(n_points=3)
    result = MeetInSpace()(logits, STRIDE, cameras, mask)
    seen = result.keypoints2d(('a', 'b', 'c'), cameras)
    assert seen.xy.shape == (2, 4, 3, 2)
    assert result.keypoints3d(('a', 'b', 'c'), 'mm').unit == 'mm'


def test_a_sample_without_views_or_depth_is_refused():
    _, cameras, _, logits, mask = _case()
    mask[1, 1:] = False
    with pytest.raises(ValueError, match=r'two views where no prior depth is given; samples \[1\]'):
        MeetInSpace()(logits, STRIDE, cameras, mask)
    mask[1] = False
    with pytest.raises(ValueError, match=r'have a view; samples \[1\]'):
        MeetInSpace()(logits, STRIDE, cameras, mask, 400.0)
    with pytest.raises(ValueError, match='radius of 3 cells'):
        MeetInSpace(radius=1)
