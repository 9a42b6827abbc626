"""Motion: within the limits, on the floor, in the arena, smooth."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from smilfit.body_models import SMIL
from smilfit.geometry.rotation import axis_angle_to_rotmat, geodesic_angle
from smilfit.synthetic import make_insect, make_quadruped, random_motion
from smilfit.synthetic.motion import draw_betas, upright


@pytest.fixture(scope='module', params=[make_insect, make_quadruped])
def walk(request):
    body = SMIL(request.param())
    params = random_motion(body, 120, np.random.default_rng(5), arena_radius=70.0, scale=80.0)
    return body, params


def test_poses_stay_within_the_limits(walk):
    body, params = walk
    limits = torch.from_numpy(body.data.joint_limits[1:])
    assert (params.body_pose > limits[..., 0]).all()
    assert (params.body_pose < limits[..., 1]).all()
    used = (params.body_pose.amax(0) - params.body_pose.amin(0)) / (limits[..., 1] - limits[..., 0])
    assert used.mean() > 0.3


def test_the_animal_walks_on_the_floor_of_its_arena(walk):
    body, params = walk
    lowest = body.double()(params, need=('vertices',)).vertices[..., 2].amin(1)
    assert lowest.abs().max() < 0.1 * 80
    assert params.transl[:, :2].norm(dim=1).max() <= 70.0 + 1e-9
    assert (params.transl[-1] - params.transl[0]).norm() > 5


def test_it_walks_forwards_with_its_back_up(walk):
    _, params = walk
    rotation = axis_angle_to_rotmat(params.global_orient)
    ahead = rotation[:, :, 0][:-1]
    step = params.transl[1:] - params.transl[:-1]
    assert ((ahead * step).sum(-1) > 0).double().mean() > 0.9
    assert (rotation[:, 2, 2] > 0.8).all()


def test_motion_is_smooth(walk):
    _, params = walk
    rotation = axis_angle_to_rotmat(params.global_orient)
    assert geodesic_angle(rotation[1:], rotation[:-1]).max() < np.deg2rad(20)
    assert (params.body_pose[1:] - params.body_pose[:-1]).abs().max() < np.deg2rad(20)


def test_one_shape_and_one_scale_a_session(walk):
    _, params = walk
    assert (params.betas == params.betas[0]).all()
    assert (params.scale == 80.0).all()
    assert params.betas[0].abs().max() <= 2.0


def test_the_same_chance_gives_the_same_motion():
    body = SMIL(make_insect())
    one, two = (random_motion(body, 9, np.random.default_rng(7), 10.0) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.as_dict().values(), two.as_dict().values()))


def test_a_model_of_other_axes_is_set_upright():
    data = replace(make_insect(), forward_axis='-z', up_axis='+y')
    rotation = upright(data)
    assert np.allclose(rotation @ [0, 0, -1], [1, 0, 0])
    assert np.allclose(rotation @ [0, 1, 0], [0, 0, 1])
    assert np.isclose(np.linalg.det(rotation), 1)


def test_what_motion_needs_of_a_model():
    data = make_insect()
    with pytest.raises(ValueError, match='forward_axis and up_axis'):
        upright(replace(data, up_axis=None))
    with pytest.raises(ValueError, match='needs joint_limits'):
        random_motion(SMIL(replace(data, joint_limits=None)), 3, np.random.default_rng(0), 1.0)


def test_betas_follow_the_shape_space():
    data = replace(make_insect(), shape_mean=np.full(5, 3.0), shape_cov=np.eye(5) * 0.01)
    drawn = np.stack([draw_betas(data, np.random.default_rng(i)) for i in range(200)])
    assert np.allclose(drawn.mean(0), 3.0, atol=0.05)
    assert np.allclose(drawn.std(0), 0.1, atol=0.03)
