"""Starts from one image: rigid truths found, doubts kept apart, masks alone, and frames that show too little."""

import pytest
import torch

from benchmarks.image_scenes import masks_of, single_views
from smilfit.body_models import SMIL
from smilfit.geometry.rotation import axis_angle_to_rotmat
from smilfit.handlers import MultiviewKeypoint2dMSEInput, SilhouetteInput
from smilfit.registrants import ViewInitializer
from smilfit.registrants.views.placement import (
    cube_rotations,
    distinct_best,
    mirror_images,
    parallel_rays_rotation,
    view_directions,
)
from smilfit.registrants.views.starts import angle_between
from smilfit.structures import Cameras, Keypoints2d
from smilfit.synthetic import make_quadruped
from tests.animals import ring_of_cameras

N = 5


@pytest.fixture(scope='module')
def body():
    return SMIL(make_quadruped()).double()


@pytest.fixture(scope='module')
def rigid(body):
    """Rest bodies turned at random, each before a camera of its own that stands askew and has a lens."""
    draw = torch.Generator().manual_seed(3)
    params = body.zero_params(N)
    rotation = torch.randn(N, 3, generator=draw).double()
    ring = ring_of_cameras(1, distance=2.5, dist=-0.05)
    spread = ring.map(lambda x: x.expand(N, *x.shape).clone())
    place = 0.2 * torch.randn(N, 3, generator=draw).double()
    params = params.replace(global_orient=rotation, transl=place)
    names = tuple(body.data.keypoint_sets['sleap'])
    xy, _, valid = spread.project(body(params, names).keypoints)
    assert bool(valid.all())
    return params, Keypoints2d(xy, torch.ones_like(xy[..., 0]), names, spread)


def turns(params):
    return axis_angle_to_rotmat(params.global_orient)


def test_a_rigid_body_is_found_in_its_image(body, rigid):
    truth, seen = rigid
    result, notes = ViewInitializer()(body, [MultiviewKeypoint2dMSEInput(seen)], body.zero_params(N), False)
    assert torch.allclose(turns(result), turns(truth), atol=1e-5)
    assert torch.allclose(result.transl, truth.transl, atol=1e-5)
    assert notes['placed_by_keypoints'] == N
    assert notes['frames_without_alignment'] == 0


def test_starts_differ_and_the_best_is_first(body, rigid):
    truth, seen = rigid
    given = [MultiviewKeypoint2dMSEInput(seen)]
    result, _ = ViewInitializer().candidates(body, given, body.zero_params(N), 4)
    rotation = turns(result).unflatten(0, (4, N))
    for i in range(4):
        for j in range(i):
            assert bool((angle_between(rotation[i], rotation[j]) > 0.5).all())
    assert torch.allclose(rotation[0], turns(truth), atol=1e-5)
    assert bool(result.transl.isfinite().all())


def test_a_missing_group_is_reported_and_all_keypoints_count(body, rigid):
    truth, seen = rigid
    start, given = body.zero_params(N), [MultiviewKeypoint2dMSEInput(seen)]
    result, notes = ViewInitializer('wings')(body, given, start, False)
    assert notes['joint_group_missing'] == 'wings'
    assert torch.allclose(turns(result), turns(truth), atol=1e-5)


def test_frames_that_show_too_little_are_counted_and_still_placed(body, rigid):
    _, seen = rigid
    confidence = seen.confidence.clone()
    confidence[1, :, 1:] = 0
    confidence[2] = 0
    # What is missing may stand anywhere.
    xy = torch.where((confidence > 0).unsqueeze(-1), seen.xy, torch.full_like(seen.xy, torch.nan))
    few = Keypoints2d(xy, confidence, seen.names, seen.cameras)
    result, notes = ViewInitializer()(body, [MultiviewKeypoint2dMSEInput(few)], body.zero_params(N), False)
    assert notes['frames_without_alignment'] == 2
    assert bool(result.transl.isfinite().all())
    nose = seen.cameras.project(body(result, seen.names).keypoints)[0][1, 0, 0]
    centre = seen.xy[1, 0, 0]
    assert (nose - centre).norm() < 300


def test_a_mask_alone_tells_the_place(body):
    scene = single_views(body, N, seed=0)
    given = [SilhouetteInput(scene.masks, scene.cameras)]
    result, notes = ViewInitializer().candidates(body, given, body.zero_params(N), 6)
    assert notes['placed_by_mask'] == N
    best = result[:N]
    truth = body(scene.truth, ('vertices',)).vertices.mean(1)
    valid = body(best, ('vertices',)).vertices.mean(1)
    assert bool((valid[:, :2] - truth[:, :2]).norm(dim=1).lt(0.25 * truth[:, 2]).all())
    assert bool((valid[:, 2] / truth[:, 2]).log().abs().lt(0.5).all())
    masks = masks_of(body, best, scene.cameras)
    overlap = (masks & scene.masks).flatten(1).sum(1) / (masks | scene.masks).flatten(1).sum(1)
    assert overlap.mean() > 0.4
    assert overlap.min() > 0.2


def test_several_cameras_are_the_rigid_initializers(body):
    ring = ring_of_cameras(3, distance=3.0)
    truth = body.zero_params(2).replace(
        global_orient=torch.tensor([[0.3, 0, 1.0], [0, 0.5, 0]]).double(),
        scale=torch.tensor([0.9, 0.9]).double(),
    )
    names = tuple(body.data.keypoint_sets['sleap'])
    xy = ring.project(body(truth, names).keypoints)[0]
    seen = Keypoints2d(xy, torch.ones_like(xy[..., 0]), names, ring)
    result, _ = ViewInitializer().candidates(
        body, [MultiviewKeypoint2dMSEInput(seen)], body.zero_params(2), 4, True, True
    )
    assert result.batch_size == 2
    assert torch.allclose(result.scale, truth.scale, atol=1e-6)


def test_grids_are_rotations_that_differ():
    like = torch.zeros(1).double()
    for grid, count in ((cube_rotations(like), 24), (view_directions(like), 14)):
        assert grid.shape == (count, 3, 3)
        assert torch.allclose(grid @ grid.transpose(1, 2), torch.eye(3).double().expand_as(grid), atol=1e-12)
        assert torch.allclose(torch.linalg.det(grid), torch.ones(count).double())
        apart = angle_between(grid[:, None], grid[None]) + 4 * torch.eye(count)
        assert apart.min() > 0.5


def test_parallel_rays_have_a_closed_form_and_mirror_images_look_alike():
    draw = torch.Generator().manual_seed(0)
    points = torch.randn(4, 9, 3, generator=draw).double() * torch.tensor([3.0, 1.0, 0.02]).double()
    truth = axis_angle_to_rotmat(torch.randn(4, 3, generator=draw).double())
    seen = 0.7 * (points @ truth.transpose(1, 2))[..., :2] + 5
    weight = torch.ones(4, 9).double()
    result = parallel_rays_rotation(points, seen, weight)
    # The points are nearly in a plane: the truth, or its mirror image.
    images = torch.cat((result.unsqueeze(1), mirror_images(result, points, weight)), 1)
    assert torch.allclose(torch.linalg.det(images), torch.ones(4, 7).double())
    apart = angle_between(images, truth.unsqueeze(1))
    assert bool((apart.amin(1) < 0.05).all())
    alike = (points.unsqueeze(1) @ images[:, 1:4].transpose(-1, -2))[..., :2]
    miss = (alike - (points @ truth.transpose(1, 2))[:, None, :, :2]).norm(dim=-1).mean(-1)
    assert bool((miss.amin(1) < 0.05).all())


def test_where_no_start_is_left_the_best_stands_again():
    rotation = torch.eye(3).expand(1, 3, 3, 3)
    index = distinct_best(torch.tensor([[3.0, 1.0, 2.0]]), rotation, 3, 0.5)
    assert index.tolist() == [[1, 1, 1]]


def test_cameras_are_refocused_exactly():
    ring = ring_of_cameras(2, dist=-0.1)
    log_focal = torch.tensor([0.2, -0.1, 0.0]).double()
    points = torch.randn(3, 4, 3).double()
    many = ring.refocused(log_focal)
    assert many.K.shape == (3, 2, 3, 3)
    for i in range(3):
        one = ring.refocused(log_focal[i : i + 1])
        assert torch.allclose(many.project(points)[0][i], one.project(points[i : i + 1])[0][0])
    crop = torch.tensor([[0.5, 0, -20], [0, 0.4, 7]]).double().expand(2, 2, 3)
    size = torch.tensor([[100.0, 90.0]]).double().expand(2, 2)
    first = ring.refocused(log_focal[:1]).transformed(crop, size)
    last = ring.transformed(crop, size).refocused(log_focal[:1])
    assert isinstance(last, Cameras)
    # The principal point of a crop is the crop's of the principal point: only the focal lengths grow.
    assert torch.allclose(first.K, last.K)
