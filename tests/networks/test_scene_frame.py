"""The scene frame and its rays."""

import torch

from smilfit.geometry.rotation import axis_angle_to_rotmat
from smilfit.networks.scene_frame import (
    SceneFrame,
    cameras_of,
    locate_scene,
    patch_centres,
    patch_rays,
    pixel_rays,
)
from tests.toy_samples import ring_cameras


def _inputs(n_views=4, pixels=64, dist=None):
    cameras = {k: v.unsqueeze(0) for k, v in ring_cameras(n_views, pixels).items()}
    if dist is not None:
        cameras['dist'] = dist.expand(1, n_views, 5)
    return {'view_mask': torch.ones(1, n_views, dtype=torch.bool), **cameras}


def test_rays_through_the_image_of_a_point_pass_through_the_point():
    for dist in (None, torch.tensor([-0.2, 0.02, 0.001, -0.002, 0.0])):
        inputs = _inputs(dist=dist)
        cameras = cameras_of(inputs)
        point = torch.tensor([[0.4, -0.3, 0.7]])
        pixels, _, valid = cameras.project(point)
        directions, has_ray = pixel_rays(cameras, pixels[None] if pixels.ndim == 3 else pixels)
        assert valid.all()
        assert has_ray.all()
        along = (point - cameras.centres()).norm(dim=-1, keepdim=True)
        torch.testing.assert_close(
            cameras.centres() + along * directions[:, :, 0],
            point.expand(1, 4, 3),
            atol=1e-5, rtol=0,
        )  # fmt: skip


def test_patch_centres_are_the_middles_of_equal_shares_of_the_image():
    centres = patch_centres(torch.tensor([[[8.0, 4.0]]]), (2, 4))
    # Columns of 2 px have their middles at 0.5, 2.5, ... with pixel centres at integers.
    assert centres[0, 0, :4, 0].tolist() == [0.5, 2.5, 4.5, 6.5]
    assert centres[0, 0, ::4, 1].tolist() == [0.5, 2.5]


def test_scene_is_where_the_views_look_whatever_the_prior():
    inputs = _inputs()
    # All ring cameras look at the origin.
    origin = locate_scene(cameras_of(inputs), inputs['view_mask'], torch.tensor([1.0, -2.0, 0.5]))
    assert origin.norm() < 0.01


def test_single_view_takes_the_point_of_its_ray_nearest_to_the_prior():
    inputs = _inputs()
    inputs['view_mask'] = torch.tensor([[False, True, False, False]])
    prior = torch.tensor([0.5, 1.0, -0.3])
    cameras = cameras_of(inputs)
    origin = locate_scene(cameras, inputs['view_mask'], prior)
    centre = cameras.centres()[0, 1]
    d = -centre / centre.norm()
    nearest = centre + (prior - centre).dot(d) * d
    torch.testing.assert_close(origin[0], nearest, atol=5e-3, rtol=0)


def test_plucker_rays_follow_the_scene():
    """Move, scale and turn world and cameras together: moments stay, or turn with the world."""
    inputs = _inputs()
    frame = SceneFrame(torch.zeros(1, 3), torch.tensor(2.0))
    rays, _ = patch_rays(cameras_of(inputs), (3, 3), frame)
    rotation, shift, size = (
        axis_angle_to_rotmat(torch.tensor([0.2, 0.7, -0.4])),
        torch.tensor([5.0, -3, 9]),
        7.0,
    )
    moved = dict(inputs)
    moved['R'] = inputs['R'] @ rotation.T
    moved['t'] = size * inputs['t'] - moved['R'] @ shift
    frame = SceneFrame(shift.unsqueeze(0), torch.tensor(2.0 * size))
    again, _ = patch_rays(cameras_of(moved), (3, 3), frame)
    torch.testing.assert_close(again[..., :3], rays[..., :3] @ rotation.T, atol=1e-5, rtol=0)
    torch.testing.assert_close(again[..., 3:], rays[..., 3:] @ rotation.T, atol=1e-5, rtol=0)


def test_moment_is_perpendicular_and_as_long_as_the_distance_from_the_origin():
    inputs = _inputs()
    rays, _ = patch_rays(cameras_of(inputs), (4, 4), SceneFrame(torch.zeros(1, 3), torch.tensor(1.0)))
    direction, moment = rays[..., :3], rays[..., 3:]
    assert (direction * moment).sum(-1).abs().max() < 1e-5
    start = cameras_of(inputs).centres().unsqueeze(2)
    nearest = start - (start * direction).sum(-1, keepdim=True) * direction
    torch.testing.assert_close(moment.norm(dim=-1), nearest.norm(dim=-1), atol=1e-4, rtol=0)


def test_patch_beyond_the_fold_of_a_lens_has_no_ray():
    inputs = _inputs(pixels=64, dist=torch.tensor([-1.5, 0.0, 0.0, 0.0, 0.0]))
    inputs['K'] = inputs['K'].clone()
    inputs['K'][..., :2, :2] *= 0.4
    rays, valid = patch_rays(cameras_of(inputs), (5, 5), SceneFrame(torch.zeros(1, 3), torch.tensor(1.0)))
    assert valid.any()
    assert not valid.all()
    assert rays.isfinite().all()
