"""What all heads have in common, and cameras known by their names."""

import numpy as np
import pytest
import torch

from smilfit.body_models import SMIL
from smilfit.handlers import JointOffsetPriorHandler, JointScalePriorHandler, Keypoint2dHandler
from smilfit.losses import KeypointMSELoss
from smilfit.networks import (
    BodyEstimate,
    CrossViewFusion,
    DatasetNames,
    MLPHead,
    MultiViewRegressor,
    NamedCameraHead,
    TimmBackbone,
    TrainingStatistics,
    TransformerDecoderHead,
)
from smilfit.registry import UnknownNameError
from tests.toy_regressor import make_batch
from tests.toy_samples import toy_body, toy_data

CAMERAS = ('cam0', 'cam1', 'cam2')


def make_head(kind: str, **options) -> torch.nn.Module:
    if kind == 'mlp':
        return MLPHead(5, 2, 32, 16, **options)
    return TransformerDecoderHead(5, 2, 32, 32, 1, 4, **options)


def make_regressor(head, body=None, camera_names=CAMERAS, **options) -> MultiViewRegressor:
    torch.manual_seed(0)
    network = TimmBackbone('test_convnext')
    pose = torch.linalg.qr(torch.eye(3) + 0.2 * torch.randn(5, 3, 3))[0]
    pose = pose * torch.linalg.det(pose)[:, None, None]
    names = DatasetNames(camera_names=camera_names)
    return MultiViewRegressor(
        network,
        CrossViewFusion(network.dim, 32, 1, 4),
        head,
        body or toy_body(),
        statistics=TrainingStatistics(torch.zeros(3), 2.0, 1.0, pose, names),
        **options,
    )


def shake(module: torch.nn.Module) -> None:
    for parameter in module.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.2)


@pytest.mark.parametrize('kind', ['mlp', 'decoder'])
@pytest.mark.parametrize('rotation', ['rot6d', 'axis_angle'])
@pytest.mark.parametrize('joint_sizes', ['ignore', 'separate', 'entangled_with_betas'])
def test_an_untrained_head_predicts_the_mean_pose(kind, rotation, joint_sizes):
    model = make_regressor(make_head(kind, rotation=rotation, joint_sizes=joint_sizes)).eval()
    params = model.predict_parameters(make_batch()['inputs']).params
    pose = model.statistics.mean_pose
    torch.testing.assert_close(params.rotations(), pose.expand(2, 5, 3, 3), atol=1e-6, rtol=0)
    assert torch.equal(params.scale, torch.ones(2))
    assert (params.log_joint_scales is not None) == (joint_sizes == 'separate')
    if joint_sizes == 'separate':
        assert not params.log_joint_scales.any()
        assert not params.joint_offsets.any()


@pytest.mark.parametrize('kind', ['mlp', 'decoder'])
@pytest.mark.parametrize('rotation', ['rot6d', 'axis_angle'])
def test_whatever_a_head_says_is_a_body(kind, rotation):
    head = make_head(kind, rotation=rotation, joint_sizes='separate').eval()
    shake(head)
    start = BodyEstimate.resting(torch.eye(3).expand(5, 3, 3), 2, 3)
    *_, last = head(torch.randn(3, 7, 32), torch.ones(3, 7, dtype=torch.bool), start)
    product = last.rotations @ last.rotations.mT
    torch.testing.assert_close(product, torch.eye(3).expand_as(product), atol=1e-5, rtol=0)
    assert (last.rotations - start.rotations).abs().max() > 1e-2
    # An offset of the root would be the position once more.
    assert not last.joint_offsets[:, 0].any()
    assert last.joint_offsets[:, 1:].all()
    assert last.log_joint_scales.all()


def test_a_token_outside_the_mask_is_not_read_by_the_mlp():
    head = make_head('mlp').eval()
    shake(head)
    tokens, mask = torch.randn(2, 7, 32), torch.ones(2, 7, dtype=torch.bool)
    mask[:, 4:] = False
    start = BodyEstimate.resting(torch.eye(3).expand(5, 3, 3), 2, 2)
    [whole] = head(tokens.masked_fill(~mask.unsqueeze(-1), 0.0), mask, start)
    [fewer] = head(tokens[:, :4], mask[:, :4], start)
    torch.testing.assert_close(whole.as_vector(), fewer.as_vector(), atol=1e-6, rtol=1e-5)


def test_joint_sizes_learn_and_are_held():
    handlers = [
        Keypoint2dHandler(KeypointMSELoss(), handler_key='keypoints2d'),
        JointScalePriorHandler(),
        JointOffsetPriorHandler(),
    ]
    weights = {'keypoints2d': 1e-3, 'joint_scale_prior': 1.0, 'joint_offset_prior': 1.0}
    model = make_regressor(
        make_head('decoder', joint_sizes='separate'), handlers=handlers, loss_weights=weights
    )
    losses = model(**make_batch(), mode='loss')
    assert losses['loss_joint_scale_prior'] == losses['loss_joint_offset_prior'] == 0
    losses['loss_keypoints2d'].backward()
    # The last 15 + 12 numbers are the joints' scales and offsets.
    assert model.head.correct.bias.grad[-27:].abs().max() > 1e-6
    shake(model.head)
    losses = model(**make_batch(), mode='loss')
    assert losses['loss_joint_scale_prior'] > 0
    assert losses['loss_joint_offset_prior'] > 0


def test_betas_scale_joints_where_the_model_says_how():
    data = toy_data()
    data.__dict__['scaledirs'] = 0.1 * np.ones((2, 5, 3))
    head = make_head('mlp', joint_sizes='entangled_with_betas')
    with pytest.raises(ValueError, match='scale_directions=1.0'):
        make_regressor(head, SMIL(data))
    make_regressor(head, SMIL(data, scale_directions=1.0))


def test_names_of_modes_are_checked():
    with pytest.raises(ValueError, match='rotation must be one of'):
        make_head('mlp', rotation='quaternion')
    with pytest.raises(ValueError, match='joint_sizes must be one of'):
        make_head('decoder', joint_sizes='apart')
    with pytest.raises(ValueError, match='multiple of 4'):
        MLPHead(5, 2, 32, 18)


@pytest.mark.parametrize('mode', ['delta', 'absolute'])
def test_named_cameras_may_come_in_any_order(mode):
    inputs = make_batch()['inputs']
    order = [2, 0, 1]
    predictions = []
    for names, chosen in ((CAMERAS, [0, 1, 2]), (tuple(CAMERAS[i] for i in order), order)):
        torch.manual_seed(2)
        model = make_regressor(
            make_head('mlp'), camera_head=NamedCameraHead(32, CAMERAS, mode), camera_names=names
        ).eval()
        torch.manual_seed(1)
        shake(model.camera_head)
        predictions.append(model.predict_parameters({k: v[:, chosen] for k, v in inputs.items()}).cameras)
    for name in ('K', 'R', 't'):
        first, second = (getattr(p, name) for p in predictions)
        torch.testing.assert_close(first[:, order], second, atol=1e-3, rtol=1e-4)
    product = predictions[0].R @ predictions[0].R.mT
    torch.testing.assert_close(product, torch.eye(3).expand_as(product), atol=1e-5, rtol=0)


def test_an_untrained_delta_gives_back_the_cameras():
    inputs = make_batch()['inputs']
    model = make_regressor(make_head('mlp'), camera_head=NamedCameraHead(32, CAMERAS))
    assert torch.equal(model.predict_parameters(inputs).cameras.K, inputs['K'])


def test_an_unknown_camera_is_refused_or_renamed():
    with pytest.raises(UnknownNameError, match="Did you mean 'cam1'"):
        make_regressor(
            make_head('mlp'), camera_head=NamedCameraHead(32, CAMERAS), camera_names=('cam0', 'cam11')
        )
    head = NamedCameraHead(32, CAMERAS, cameras={'new': 'cam1'})
    make_regressor(make_head('mlp'), camera_head=head, camera_names=('cam0', 'new', 'cam2'))
    with pytest.raises(ValueError, match='names that differ'):
        NamedCameraHead(32, ('a', 'a'))


def test_predicted_cameras_are_held_against_given_ones():
    weights = {'keypoints2d': 1e-3, 'camera_fov': 1.0, 'camera_rotation': 1.0, 'camera_position': 1.0}
    handlers = [Keypoint2dHandler(KeypointMSELoss(), handler_key='keypoints2d')]
    model = make_regressor(
        make_head('mlp'),
        camera_head=NamedCameraHead(32, CAMERAS, 'absolute'),
        handlers=handlers,
        loss_weights=weights,
    )
    losses = model(**make_batch(missing={0: 1}), mode='loss')
    named = [losses[f'loss_{key}'] for key in weights if key.startswith('camera')]
    assert all(value > 0 for value in named)
    sum(named).backward()
    for net in model.camera_head.nets:
        assert net[-1].bias.grad.isfinite().all()
        assert net[-1].bias.grad.any()


@pytest.mark.parametrize('place', [(40.0, 0.0, 0.0), (0.0, 0.0, 300.0)])
def test_a_body_outside_every_picture_is_still_drawn_back(place):
    """There projections are clamped to the picture, and nothing says where to go."""
    handlers = [Keypoint2dHandler(KeypointMSELoss(), handler_key='keypoints2d')]
    model = make_regressor(make_head('mlp'), handlers=handlers, loss_weights={'keypoints2d': 1e-3})
    position = slice(5 * 6 + 2, 5 * 6 + 5)
    with torch.no_grad():
        model.head.correct.bias[position] = 0.5 * torch.tensor(place)
    losses = model(**make_batch(), mode='loss')
    # What is behind a camera has no image there; it is counted.
    assert losses['loss_keypoints2d'].isfinite()
    seen = int(losses['n_behind_camera']) < 2 * 3 * 5
    losses['loss_keypoints2d'].backward()
    assert bool(model.head.correct.bias.grad[position].any()) == seen
