"""SMILify's networks give SMILify's numbers."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from smilfit.body_models import SMIL
from smilfit.body_models.files import load_body_model_data
from smilfit.smilify import SmilifyNetwork
from smilfit.smilify.checkpoint import read_smilify_checkpoint
from smilfit.smilify.regressor import RigidMotion, body_parameters, regressed_joints
from tests.smilify_files import listed_images, read_listing

MOUSE, STICK = 'SMILy_Mouse_static_joints.pkl', 'SMILy_STICK.pkl'
CASES = {
    'multiview_unet_mobilenet_v3_mouse': (MOUSE, 128),
    'multiview_vit_base_stick': (STICK, 224),
    'singleview_resnet50_stick': (STICK, 128),
}
INDEX = torch.tensor([[3, 0, 1]])


@dataclass(frozen=True)
class Case:
    """A checkpoint, its network and what SMILify computed."""

    body: SMIL
    found: object
    network: SmilifyNetwork
    images: torch.Tensor
    expected: dict

    def run(self, images=None, mask=None):
        images = self.images if images is None else images
        mask = torch.ones(images.shape[:2], dtype=torch.bool) if mask is None else mask
        with torch.no_grad():
            bodies, cameras = self.network(images, INDEX[:, : images.shape[1]], mask)
        return bodies[-1], cameras


@pytest.fixture(scope='module', params=CASES)
def case(request, real_data, tmp_path_factory) -> Case:
    body_file, side = CASES[request.param]
    files = real_data / 'smilify_files'
    body = SMIL(load_body_model_data(real_data / 'models' / body_file), joint_scale_mode='inherited')
    path = tmp_path_factory.mktemp('smilify') / 'best_model.pth'
    torch.save(read_listing(files, request.param), path)
    result = read_smilify_checkpoint(path, body)
    path.unlink()
    network = SmilifyNetwork(body.n_joints, body.n_betas, **result.network)
    network.load_state_dict(result.weights)
    views = 3 if result.n_cameras else 1
    expected = dict(np.load(files / f'forward_{request.param}.npz'))
    return Case(body, result, network.eval(), listed_images(side, views), expected)


def _close(value: torch.Tensor, expected: np.ndarray) -> None:
    expected = torch.as_tensor(expected).float()
    torch.testing.assert_close(value.reshape(expected.shape), expected, atol=2e-5, rtol=1e-5)


def test_outputs_are_those_of_smilify(case):
    body, cameras = case.run()
    pose = body.raw_pose.unflatten(1, (case.body.n_joints, 6))
    _close(pose[:, 0], case.expected['global_rot'])
    _close(pose[:, 1:], case.expected['joint_rot'])
    _close(body.betas, case.expected['betas'])
    _close(body.trans, case.expected['trans'])
    _close(body.scales, case.expected['log_beta_scales'])
    _close(body.offsets, case.expected['betas_trans'])
    _close(body.camera.fov, case.expected['fov'])
    _close(body.camera.T, case.expected['cam_trans'])
    if cameras is None:
        _close(body.raw_cam_rot, case.expected['cam_rot'])
        return
    _close(body.camera.R, case.expected['cam_rot'])
    _close(body.log_mesh_scale.exp(), case.expected['mesh_scale'])
    for values, name in zip(cameras, ('fov', 'cam_rot', 'cam_trans')):
        _close(values.transpose(0, 1), case.expected[f'{name}_per_view'])


def test_joints_are_those_of_smilify(case):
    if 'joints_3d' not in case.expected:
        pytest.skip('no joints were written of the single view')
    output, _ = case.run()
    params = body_parameters(
        output, case.body, 'root_scaled', by_directions=False, motion=RigidMotion.identity(output.trans)
    )
    static = case.body.data.joint_regressor is None
    joints = case.body(params).joints if static else regressed_joints(case.body, params)
    torch.testing.assert_close(joints, torch.tensor(case.expected['joints_3d']), atol=1e-5, rtol=1e-4)


def test_a_masked_view_changes_nothing(case):
    """There it does, by some hundredths; where there is no such view the numbers are the same."""
    if case.images.shape[1] == 1:
        pytest.skip('a single view')
    mask = torch.tensor([[True, True, False]])
    first, first_cameras = case.run(mask=mask)
    other = case.images.clone()
    other[:, 2] = torch.nan
    second, cameras = case.run(other, mask)
    fewer, _ = case.run(case.images[:, :2])
    for name in ('raw_pose', 'betas', 'trans', 'scales', 'offsets', 'log_mesh_scale'):
        assert torch.equal(getattr(first, name), getattr(second, name)), name
        torch.testing.assert_close(getattr(first, name), getattr(fewer, name), atol=1e-6, rtol=1e-5)
    for a, b in zip(first_cameras, cameras):
        assert torch.equal(a[:, :2], b[:, :2])
    assert abs(first.betas - torch.tensor(case.expected['third_view_masked_betas'])).max() > 1e-3


def test_what_takes_no_part_is_told(case):
    assert set(case.found.left_out) >= {'betas', 'joint_rotations', 'fov'}
    assert case.found.regressor['by_directions'] is False
    multi = bool(case.found.n_cameras)
    assert case.found.camera_names == (('back', 'mid', 'side', 'top') if multi else ())
    assert case.found.regressor['frame'] == ('world' if multi else 'own')
    assert case.found.regressor['placement'] == ('root_scaled' if multi else 'root_by_ten')
