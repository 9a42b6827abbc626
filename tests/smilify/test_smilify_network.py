"""What must hold of SMILify's networks here, whatever their weights: its faults are not ours."""

import pytest
import torch

from smilfit.body_models import SMIL
from smilfit.handlers import Keypoint2dHandler, Keypoint3dHandler
from smilfit.losses import KeypointMSELoss
from smilfit.networks import DatasetNames, TrainingStatistics
from smilfit.networks.scene_frame import cameras_of
from smilfit.registry import UnknownNameError
from smilfit.smilify import SmilifyNetwork, SmilifyRegressor
from smilfit.smilify.regressor import RigidMotion, from_view_cameras, to_view_cameras
from tests.toy_regressor import make_batch
from tests.toy_samples import toy_body, toy_data

SMALL = {'dim': 32, 'depth': 1, 'heads': 2, 'dim_head': 16, 'mlp_dim': 32, 'dropout': 0.0, 'n_iters': 2}


def make_network(**options) -> SmilifyNetwork:
    torch.manual_seed(0)
    options = {'backbone': 'unet_mobilenet_v3', 'fusion_heads': 4, 'fusion_layers': 1, **SMALL, **options}
    return SmilifyNetwork(5, 2, **options)


def shaken_network(**options) -> SmilifyNetwork:
    """Return the layers that start at zero some weight."""
    network = make_network(**options)
    for name, parameter in network.named_parameters():
        if name.endswith('_head.weight') or name.startswith('regressor'):
            torch.nn.init.normal_(parameter, std=0.05)
        if name.startswith('camera_heads') and name.endswith('8.weight'):
            torch.nn.init.normal_(parameter, std=0.3)
    return network.eval()


def make_smilify(network: SmilifyNetwork, **options) -> SmilifyRegressor:
    names = tuple(f'cam{i}' for i in range(network.n_cameras))
    data_names = options.pop('data_names', names)
    statistics = TrainingStatistics.neutral(5, DatasetNames(camera_names=data_names))
    model = SmilifyRegressor(
        network,
        SMIL(toy_data(), joint_scale_mode='inherited'),
        camera_names=names,
        handlers=[Keypoint2dHandler(KeypointMSELoss()), Keypoint3dHandler()],
        statistics=statistics,
        **{'loss_weights': {'keypoints2d_mse': 1e-3, 'keypoints3d_mse': 1.0}, **options},
    )
    return model.eval()


@pytest.mark.parametrize('head', ['transformer_decoder', 'mlp'])
@pytest.mark.parametrize('rotation', ['rot6d', 'axis_angle'])
@pytest.mark.parametrize('n_cameras', [0, 3])
def test_an_untrained_network_predicts_the_resting_pose(head, rotation, n_cameras):
    """There it starts at (1, 0, 0, 1, 0, 0), two parallel vectors, and joints turned by 80 degrees."""
    model = make_smilify(make_network(head=head, rotation=rotation, n_cameras=n_cameras))
    params = model.predict_parameters(make_batch()['inputs']).params
    eye = torch.eye(3)
    assert torch.equal(params.global_orient, eye.expand(2, 3, 3))
    assert torch.equal(params.body_pose, eye.expand(2, 4, 3, 3))
    assert not params.betas.any()
    assert not params.log_joint_scales.any()
    assert torch.equal(params.scale, torch.ones(2))


@pytest.mark.parametrize('head', ['transformer_decoder', 'mlp'])
@pytest.mark.parametrize('training', [True, False])
def test_a_masked_view_changes_nothing(head, training):
    model = make_smilify(shaken_network(head=head, n_cameras=3), camera_use='corrected').train(training)
    model.network.view_fusion.eval()
    inputs = make_batch((0, 1), missing={1: 2})['inputs']
    other = {name: value.clone() for name, value in inputs.items()}
    for name in ('image', 'K', 'R', 't'):
        other[name][1, 2] = torch.nan
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.eval()
    first, second = model.predict_parameters(inputs), model.predict_parameters(other)
    for name, value in first.params.as_dict().items():
        assert value.isfinite().all()
        assert torch.equal(value, getattr(second.params, name)), name


def test_cameras_are_known_by_name_in_any_order():
    network = shaken_network(n_cameras=3)
    inputs = make_batch()['inputs']
    first = make_smilify(network, camera_use='predicted').predict_parameters(inputs)
    order = [2, 0, 1]
    model = make_smilify(network, camera_use='predicted', data_names=('cam2', 'cam0', 'cam1'))
    second = model.predict_parameters({name: value[:, order] for name, value in inputs.items()})
    torch.testing.assert_close(first.cameras.K[:, order], second.cameras.K)
    torch.testing.assert_close(first.cameras.t[:, order], second.cameras.t)
    for name, value in first.params.as_dict().items():
        torch.testing.assert_close(value, getattr(second.params, name), atol=1e-5, rtol=1e-4)
    # Not because the cameras are alike: by another's name a view is another.
    wrong = make_smilify(network, camera_use='predicted').predict_parameters(
        {name: value[:, order] for name, value in inputs.items()}
    )
    assert (wrong.cameras.t - second.cameras.t).abs().max() > 1e-2


def test_an_unknown_camera_is_refused_or_renamed():
    network = make_network(n_cameras=3)
    with pytest.raises(UnknownNameError, match="Did you mean 'cam1'"):
        make_smilify(network, data_names=('cam0', 'cam11', 'cam2'))
    model = make_smilify(network, data_names=('cam0', 'new', 'cam2'), cameras={'new': 'cam1'})
    model.predict_parameters(make_batch()['inputs'])
    model.use_cameras(('cam0', 'cam2'))
    with pytest.raises(ValueError, match='use_cameras'):
        model.predict_parameters(make_batch()['inputs'])


def test_cameras_of_a_single_view_are_rotations():
    """There nine free numbers are taken for a matrix."""
    network = shaken_network(head='mlp')
    output, _ = network(make_batch()['inputs']['image'], torch.zeros(2, 3).long(), torch.ones(2, 3).bool())
    R = output[-1].camera.R
    torch.testing.assert_close(R @ R.mT, torch.eye(3).expand(2, 3, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.linalg.det(R), torch.ones(2), atol=1e-5, rtol=0)


@pytest.mark.parametrize('frame', ['world', 'first_camera'])
@pytest.mark.parametrize('missing', [None, 0])
def test_corrected_cameras_of_an_untrained_network_are_the_given_ones(frame, missing):
    model = make_smilify(make_network(n_cameras=3), camera_use='corrected', frame=frame, unit=10.0)
    for head in model.network.camera_heads:
        torch.nn.init.zeros_(head.layers[-1].weight)
    inputs = make_batch(missing={0: missing})['inputs']
    given, result = cameras_of(inputs), model.predict_parameters(inputs).cameras
    mask = inputs['view_mask']
    for name in ('K', 'R', 't'):
        torch.testing.assert_close(
            getattr(result, name)[mask], getattr(given, name)[mask], atol=2e-4, rtol=1e-5
        )


def test_the_frame_of_the_first_camera_goes_to_the_world_and_back():
    """What is seen does not depend on where the world is."""
    cameras = cameras_of(make_batch()['inputs'])
    motion = RigidMotion.from_camera(cameras.R[:, 1], cameras.t[:, 1])
    seen = to_view_cameras(cameras, motion)
    torch.testing.assert_close(seen.R[:, 1], torch.eye(3).expand(2, 3, 3), atol=1e-6, rtol=0)
    torch.testing.assert_close(seen.T[:, 1], torch.zeros(2, 3), atol=1e-5, rtol=0)
    back = from_view_cameras(seen, cameras, motion, keep_lens=True)
    for name in ('K', 'R', 't'):
        torch.testing.assert_close(getattr(back, name), getattr(cameras, name), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize('placement', ['root_scaled', 'root_by_ten', 'as_posed'])
def test_a_moved_world_moves_the_body(placement):
    """In the first camera's frame and in the world it is the same body, seen by the same cameras."""
    network = shaken_network(n_cameras=3, mesh_scale=True)
    inputs = make_batch()['inputs']
    options = {'placement': placement, 'camera_use': 'predicted'}
    here, valid = (make_smilify(network, frame=f, **options) for f in ('world', 'first_camera'))
    body = toy_body()
    points, pixels = [], []
    for model in (here, valid):
        prediction = model.predict_parameters(inputs)
        points.append(model.body_model(prediction.params).joints)
        pixels.append(prediction.cameras.project(points[-1])[0])
    torch.testing.assert_close(pixels[0], pixels[1], atol=2e-2, rtol=1e-3)
    assert (points[0] - points[1]).abs().max() > 1
    lengths = [torch.cdist(p, p) for p in points]
    torch.testing.assert_close(*lengths, atol=1e-3, rtol=1e-4)
    assert body.n_joints == 5


def test_a_body_of_its_own_world_is_put_before_the_camera_that_saw_it():
    network = shaken_network()
    model = make_smilify(network, frame='own', camera_use='predicted', placement='as_posed')
    inputs = {k: v[:, :1] for k, v in make_batch()['inputs'].items()}
    prediction = model.predict_parameters(inputs)
    output, _ = network(inputs['image'], torch.zeros(2, 1).long(), inputs['view_mask'])
    plain = make_smilify(network, placement='as_posed').predict_parameters(inputs)
    joints = model.body_model(plain.params).joints
    # PyTorch3D: row vectors, x to the left, y up.
    expected = joints @ output[-1].camera.R + output[-1].camera.T.unsqueeze(1)
    moved = model.body_model(prediction.params).joints
    in_camera = moved @ inputs['R'][:, 0].mT + inputs['t'][:, :1]
    torch.testing.assert_close(in_camera, expected * torch.tensor([-1.0, -1.0, 1.0]), atol=1e-3, rtol=1e-4)


def test_directions_of_joint_sizes_that_a_model_lacks_are_no_error():
    """There the default mode fails on models without them."""
    model = make_smilify(make_network(n_cameras=3, joint_sizes='none'), by_directions=True)
    params = model.predict_parameters(make_batch()['inputs']).params
    assert params.log_joint_scales is None
    assert params.joint_offsets is None


def test_steps_are_supervised_at_their_scale():
    """There the logarithm of the scale is taken for the scale in all steps but the last."""
    network = make_network(n_cameras=3, mesh_scale=True)
    network.transformer_head.mesh_scale_head.bias.data[:] = 1.0
    steps = make_smilify(network).predict_parameters(make_batch()['inputs']).steps
    torch.testing.assert_close(
        torch.stack([p.scale for p in steps]).log(), torch.tensor([[0.1] * 2, [0.2] * 2])
    )


def test_training_reaches_every_weight_that_takes_part():
    for head in ('transformer_decoder', 'mlp'):
        network = shaken_network(head=head, n_cameras=3)
        model = make_smilify(network, camera_use='predicted', frame='world').train()
        batch = make_batch()
        model.loss_weights['camera_fov'] = 1.0
        losses = model(**batch, mode='loss')
        sum(v for k, v in losses.items() if k.startswith('loss')).backward()
        without = {n for n, p in model.named_parameters() if p.requires_grad and p.grad is None}
        assert not without
        assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_options_that_do_not_go_together_are_refused():
    single, several = make_network(), make_network(n_cameras=3)
    for network, options, words in (
        (several, {'frame': 'own'}, 'single view'),
        (single, {'camera_use': 'corrected'}, 'corrects no cameras'),
        (single, {'frame': 'camera'}, 'frame must be one of'),
        (several, {'unit': 0.0}, 'unit must be positive'),
    ):
        with pytest.raises(ValueError, match=words):
            make_smilify(network, **options)
    with pytest.raises(ValueError, match='inherited'):
        SmilifyRegressor(single, toy_body())
    with pytest.raises(ValueError, match='camera_names must name the 3'):
        SmilifyRegressor(several, toy_body())
    with pytest.raises(UnknownNameError, match='unet_resnet34'):
        make_network(backbone='unet_resnet35')
