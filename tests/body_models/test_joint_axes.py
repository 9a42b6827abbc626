"""Limits along joints' own axes: files, losses, draws, sliders and tables of angles mean the same."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from smilfit.apis.viewer.model_scene import ModelScene
from smilfit.body_models import SMIL, load_body_model_data
from smilfit.body_models.files.smil_json import write_smil_json
from smilfit.body_models.pose_sampling import LimitPoses
from smilfit.evaluation.verdict.body_measures import limits_share
from smilfit.geometry.rotation import axis_angle_to_rotmat
from smilfit.io.exports.joint_angles import joint_angles
from smilfit.losses import JointLimitLoss
from tests.animals import small_animal


def with_axes():
    """An animal with axes of its own, whose second joint below the root is a hinge."""
    data = small_animal()
    turns = torch.from_numpy(np.random.default_rng(3).normal(size=(data.n_joints, 3)))
    limits = data.joint_limits.copy()
    limits[2, [0, 2]] = 0.0
    return replace(data, joint_axes=axis_angle_to_rotmat(turns).numpy(), joint_limits=limits)


def plain(data):
    return replace(data, joint_axes=None)


def turned_into(data, own):
    """Rotation vectors of components along the joints' own axes."""
    return torch.einsum('jab,njb->nja', torch.as_tensor(data.joint_axes[1:]).to(own), own)


def test_a_file_keeps_them(tmp_path):
    data = with_axes()
    read = load_body_model_data(write_smil_json(data, tmp_path / 'a.smil.json'))
    np.testing.assert_array_equal(read.joint_axes, data.joint_axes)
    assert read.content_hash() == data.content_hash() != plain(data).content_hash()
    bent = data.joint_axes.copy()
    bent[3, 0, 0] += 0.1
    with pytest.raises(ValueError, match='right angles, right-handed.*joint_3'):
        write_smil_json(replace(data, joint_axes=bent), tmp_path / 'b.smil.json')


def test_turned_axes_and_turned_poses_cost_the_same():
    data, own = with_axes(), 0.8 * torch.randn(7, 5, 3, generator=torch.Generator().manual_seed(0)).double()
    energies = []
    for model, pose in ((plain(data), own), (data, turned_into(data, own))):
        loss = JointLimitLoss(reduction='sum')
        loss.bind_body(model)
        energies.append(loss(pose))
    torch.testing.assert_close(*energies, rtol=1e-5, atol=0)


def test_slopes_are_those_of_the_residuals():
    loss, pose = JointLimitLoss(reduction='sum', locked_factor=50.0), 0.6 * torch.ones(1, 5, 3).double()
    loss.bind_body(with_axes())
    result = loss.residual(pose)
    numeric = torch.autograd.functional.jacobian(lambda p: loss.residual(p).value, pose)
    dense = torch.stack([numeric[0, j, :, 0, j] for j in range(5)])
    torch.testing.assert_close(result.slope[0], dense, rtol=1e-6, atol=1e-9)
    below, above = result.interval.unbind(-1)
    own = (result.interval_map @ pose.unsqueeze(-1)).squeeze(-1)
    outside = (below - own).relu() + (own - above).relu()
    torch.testing.assert_close(outside, result.value, rtol=1e-5, atol=1e-6)


def test_draws_sliders_and_tables_speak_of_them():
    data = with_axes()
    source = LimitPoses()
    source.bind(data)
    drawn = source(50, torch.Generator().manual_seed(1))
    body = SMIL(data)
    params = body.zero_params(50).replace(body_pose=drawn)
    assert not limits_share(body, params).any()
    degrees = joint_angles(body, params).degrees[:, 2, :3]
    assert np.abs(degrees[:, [0, 2]]).max() < 1e-3 < np.abs(degrees[:, 1]).max()
    shown = ModelScene(body, 'small').pose(angles={'joint_2': (0.0, 0.4, 0.0)})
    rotation = torch.zeros(1, 5, 3)
    rotation[0, 1] = torch.as_tensor(data.joint_axes[2][:, 1]) * 0.4
    posed = body(body.zero_params(1).replace(body_pose=rotation), ('vertices',)).vertices[0]
    np.testing.assert_allclose(shown.vertices, posed.numpy(), atol=1e-5)
