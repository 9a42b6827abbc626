"""Angles about named axes: what they mean, and how sure they are."""

import numpy as np
import torch

from smilfit.body_models import load_body_model
from smilfit.body_models.pose_sampling import PoseSampler
from smilfit.geometry.rotation import axis_angle_to_rotmat, rotmat_to_axis_angle
from smilfit.io.exports import bone_axes, joint_angles
from smilfit.structures import FitCovariance


def test_a_turn_about_one_axis_is_that_angle():
    body = load_body_model('quadruped')
    axes = bone_axes(body)
    torch.testing.assert_close(axes @ axes.mT, torch.eye(3).double().expand_as(axes))
    for k in range(3):
        params = body.zero_params().to(torch.float64)
        params = params.replace(body_pose=0.4 * axes[1:, k].unsqueeze(0))
        result = joint_angles(body, params).degrees[0, 1:, 3:]
        wanted = np.zeros(3)
        wanted[k] = np.degrees(0.4)
        np.testing.assert_allclose(result, np.broadcast_to(wanted, result.shape), atol=1e-9)


def test_the_deviation_is_that_of_drawn_turns():
    body = load_body_model('quadruped').double()
    params = PoseSampler(body)(1, torch.Generator().manual_seed(3)).to(torch.float64)
    columns = tuple(f'{name}.turn_{axis}' for name in body.joint_names for axis in 'xyz')
    generator = torch.Generator().manual_seed(0)
    root = 0.01 * torch.randn(len(columns), len(columns), generator=generator, dtype=torch.float64)
    blocks = torch.block_diag(*(root[3 * j : 3 * j + 3, :3] for j in range(body.n_joints)))
    points = torch.zeros(1, 0, 3, 3)
    known = FitCovariance((blocks @ blocks.T).unsqueeze(0), columns, points, (), 1.0)
    sd = joint_angles(body, params, known).sd[0]
    # Turn joints about the world's axes, their parents held, and look at how the angles scatter.
    draws = torch.randn(20000, len(columns), generator=generator, dtype=torch.float64) @ blocks.T
    j = 5
    turns = params.rotations()
    chain, above = [], int(body.data.parents[j])
    while above >= 0:
        chain.insert(0, turns[0, above])
        above = int(body.data.parents[above])
    world = torch.linalg.multi_dot([torch.eye(3).double(), *chain])
    moved = world.T @ axis_angle_to_rotmat(draws[:, 3 * j : 3 * j + 3]) @ world @ turns[0, j]
    drawn = params[torch.zeros(len(moved), dtype=torch.long)]
    pose = drawn.body_pose.clone()
    pose[:, j - 1] = rotmat_to_axis_angle(moved)
    scatter = joint_angles(body, drawn.replace(body_pose=pose)).degrees[:, j].std(0)
    np.testing.assert_allclose(sd[j], scatter, rtol=0.03)
