"""What must hold of the multi-view regressor, whatever its weights."""

import copy

import pytest
import torch

from smilfit.geometry.rotation import axis_angle_to_rotmat
from smilfit.handlers import JointLimitHandler, Keypoint3dHandler
from smilfit.networks import CrossViewFusion, MultiViewRegressor, TimmBackbone, TransformerDecoderHead
from smilfit.networks.heads import corrected_cameras
from smilfit.networks.scene_frame import cameras_of
from tests.toy_regressor import WEIGHTS, make_batch, make_regressor, shaken
from tests.toy_samples import toy_body


def _numbers(prediction):
    return {**prediction.params.as_dict(), 'change': prediction.camera_change}


def _scrambled(inputs, view, sample):
    """Fill an absent view with garbage, NaN included."""
    inputs = {k: v.clone() for k, v in inputs.items()}
    for name in ('image', 'K', 'R', 't', 'dist', 'size'):
        inputs[name][sample, view] = torch.randn_like(inputs[name][sample, view]) * 100
    inputs['K'][sample, view, 0, 0] = torch.nan
    inputs['image'][sample, view, 0, 0, 0] = torch.nan
    return inputs


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('votes', [True, False])
@pytest.mark.parametrize('backbone', ['test_convnext', 'test_resnet'])
def test_a_masked_view_changes_nothing(backbone, votes, training):
    """Bit for bit; with batch normalisation in training too."""
    model = shaken(make_regressor(backbone, with_votes=votes)).train(training)
    batch = make_batch((0, 1, 2), missing={1: 2, 2: 0})
    other = _scrambled(_scrambled(batch['inputs'], 2, 1), 0, 2)
    first, second = (copy.deepcopy(model).predict_parameters(x) for x in (batch['inputs'], other))
    for name, value in _numbers(first).items():
        assert value.isfinite().all(), name
        assert torch.equal(value, _numbers(second)[name]), name


def test_a_masked_view_changes_no_loss():
    model = shaken(make_regressor())
    batch = make_batch((0, 1), missing={1: 2})
    scrambled = {**batch, 'inputs': _scrambled(batch['inputs'], 2, 1)}
    # What the file says of an absent view's keypoints counts for nothing either.
    scrambled['data_samples'] = copy.deepcopy(batch['data_samples'])
    scrambled['data_samples']['confidence2d'][1, 2] = 1
    scrambled['data_samples']['keypoints2d'][1, 2] = 1e6
    first, second = model(**batch, mode='loss'), model(**scrambled, mode='loss')
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


@pytest.mark.parametrize('votes', [True, False])
def test_a_masked_view_is_as_good_as_none(votes):
    model = shaken(make_regressor(with_votes=votes)).eval()
    inputs = make_batch((0, 1), missing={0: 2, 1: 2})['inputs']
    fewer = {k: v[:, :2] for k, v in inputs.items()}
    first, second = model.predict_parameters(inputs), model.predict_parameters(fewer)
    for name, value in first.params.as_dict().items():
        torch.testing.assert_close(value, getattr(second.params, name), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize('votes', [True, False])
def test_views_may_come_in_any_order(votes):
    model = shaken(make_regressor(with_votes=votes)).eval()
    inputs = make_batch((0, 1), n_views=4, missing={1: 3})['inputs']
    order = [2, 0, 3, 1]
    first = model.predict_parameters(inputs)
    second = model.predict_parameters({k: v[:, order] for k, v in inputs.items()})
    for name, value in first.params.as_dict().items():
        torch.testing.assert_close(value, getattr(second.params, name), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(first.camera_change[:, order], second.camera_change, atol=1e-5, rtol=1e-5)
    # Not because the views are not looked at.
    assert (first.camera_change[0, 0] - first.camera_change[0, 1]).abs().max() > 1e-4


def test_fusion_is_equivariant_over_views():
    fusion = CrossViewFusion(6, 16, 2, 4)
    tokens, rays, mask = torch.randn(2, 3, 5, 6), torch.randn(2, 3, 5, 6), torch.rand(2, 3, 5) > 0.3
    order = [2, 0, 1]
    torch.testing.assert_close(
        fusion(tokens[:, order], rays[:, order], mask[:, order]), fusion(tokens, rays, mask)[:, order],
        atol=1e-5, rtol=1e-5,
    )  # fmt: skip


def test_an_untrained_regressor_says_rest_pose_at_the_scene(model, batch):
    prediction = model.predict_parameters(batch['inputs'])
    params, eye = prediction.params, torch.eye(3)
    # The identity, exactly; not two parallel vectors.
    assert torch.equal(params.rotations(), eye.expand(2, 5, 3, 3))
    assert torch.equal(params.betas, torch.zeros(2, 2))
    assert torch.equal(params.transl, prediction.frame.origin)
    assert torch.equal(params.scale, torch.ones(2))


def test_sizes_are_read_as_logarithms(model, batch):
    """Taken for the size itself it would be near none, and negative for half of the animals."""
    with torch.no_grad():
        result = []
        for change in (-2.0, 2.0):
            model.head.correct.bias[-1] = change
            result.append(model.predict_parameters(batch['inputs']).params.scale.log())
        # Steps of the decoder add up; a smaller animal is as much smaller as a larger one is larger.
        assert bool((result[1] > 0.1).all())
        torch.testing.assert_close(result[0], -result[1], atol=1e-5, rtol=0)


def test_an_untrained_camera_head_gives_the_given_cameras_back(model, batch):
    cameras = model.predict_parameters(batch['inputs']).cameras
    for name in ('K', 'R', 't'):
        assert torch.equal(getattr(cameras, name), batch['inputs'][name])


def test_camera_corrections_turn_about_the_camera_and_keep_the_principal_point(batch):
    cameras = cameras_of(batch['inputs'])
    change = torch.zeros(2, 3, 7)
    change[..., 1] = 0.2
    change[..., 6] = 0.1
    corrected = corrected_cameras(cameras, change, torch.tensor(2.0))
    torch.testing.assert_close(corrected.centres(), cameras.centres(), atol=1e-5, rtol=0)
    torch.testing.assert_close(corrected.K[..., 2], cameras.K[..., 2])
    torch.testing.assert_close(corrected.K[..., 0, 0], cameras.K[..., 0, 0] * torch.tensor(0.1).exp())


def test_the_estimate_is_fed_back():
    """The same weights from another start, or after another step, give another correction."""
    head = shaken(make_regressor()).head
    tokens, mask = torch.randn(1, 6, 32), torch.ones(1, 6, dtype=torch.bool)
    from smilfit.networks import BodyEstimate

    start = BodyEstimate.resting(torch.eye(3).expand(5, 3, 3), 2, 1)
    steps = [start, *head(tokens, mask, start)]
    corrections = [b.position - a.position for a, b in zip(steps, steps[1:])]
    assert len(corrections) == 3
    assert (corrections[1] - corrections[0]).abs().max() > 1e-6
    turned = BodyEstimate(
        axis_angle_to_rotmat(torch.full((1, 5, 3), 0.5)), start.betas, start.position, start.log_scale
    )
    other = head(tokens, mask, turned)[0].position - turned.position
    assert (other - corrections[0]).abs().max() > 1e-4


def test_all_head_rotations_are_rotations():
    model = shaken(make_regressor(), 10.0)
    R = model.predict_parameters(make_batch()['inputs']).params.rotations()
    torch.testing.assert_close(R @ R.mT, torch.eye(3).expand_as(R), atol=1e-5, rtol=0)
    assert (torch.linalg.det(R) > 0.99).all()
    assert (R - torch.eye(3)).abs().max() > 0.1


@pytest.mark.parametrize('votes', [True, False])
def test_every_parameter_has_a_gradient_in_every_step(votes, batch):
    """Distributed training waits for all of them; also where the curriculum switched a loss off."""
    model = make_regressor(with_votes=votes)
    for weights in ({}, {'keypoints2d_mse': 0.0}, {'keypoints3d_mse': 0.0, 'camera': 0.0}):
        model.set_loss_weights({**WEIGHTS, **weights})
        model.zero_grad(set_to_none=True)
        loss, _ = model.parse_losses(model(**batch, mode='loss'))
        loss.backward()
        assert [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None] == []


def test_a_tiny_batch_is_learnt():
    model, batch = make_regressor(with_cameras=False), make_batch((0, 1))
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3)
    history = []
    for _ in range(120):
        loss, _ = model.parse_losses(model(**batch, mode='loss'))
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        history.append(float(loss.detach()))
    assert min(history[-10:]) < 0.1 * history[0]


def test_truth_predicted_costs_nothing(batch):
    """The losses of the true parameters are 0, in the scene frame as in the world."""
    from smilfit.networks.regressors import Observation
    from smilfit.networks.scene_frame import SceneFrame
    from smilfit.structures import BodyParams

    model = make_regressor()
    truth = BodyParams(**batch['data_samples']['params'])
    frame = SceneFrame(torch.tensor([[0.3, 0.1, -0.2]]).repeat(2, 1), torch.tensor(1.7))
    local = truth.replace(transl=frame.from_world(truth.transl), scale=truth.scale / frame.unit)
    cameras = cameras_of(batch['inputs'])
    seen = Observation.of(batch['data_samples'], batch['inputs']['view_mask'], cameras, frame)
    terms, counts = model._terms(local, seen, frame, batch['data_samples'])
    assert terms.keys() == WEIGHTS.keys() - {'camera'}
    assert all(float(value) < 1e-5 for value in terms.values()), terms
    assert counts['n_behind_camera'] == 0


@pytest.mark.parametrize('what', ['params', 'keypoints'])
def test_what_is_not_known_contributes_exactly_nothing(what):
    """A batch of one known and one unknown sample has the losses and gradients of the known one."""
    keys = ('global_orient', 'body_pose', 'betas', 'transl', 'scale')
    if what == 'keypoints':
        keys = ('keypoints2d_mse', 'keypoints3d_mse')
    weights = {k: (WEIGHTS[k] if k in keys else 0.0) for k in WEIGHTS}
    gradients = []
    for with_unknown in (False, True):
        model = shaken(make_regressor(loss_weights=weights))
        batch = make_batch((0, 1) if with_unknown else (0,))
        samples = batch['data_samples']
        if with_unknown and what == 'params':
            samples['has_params'][1] = False
            samples['params'] = {k: v.clone() for k, v in samples['params'].items()}
            for value in samples['params'].values():
                value[1] = torch.nan
        elif with_unknown:
            samples['confidence2d'][1] = 0
            samples['confidence3d'][1] = 0
            samples['keypoints2d'][1] = torch.nan
            samples['keypoints3d'][1] = 1e9
        loss, _ = model.parse_losses(model(**batch, mode='loss'))
        loss.backward()
        gradients.append([p.grad.clone() for p in model.parameters() if p.requires_grad])
    for a, b in zip(*gradients):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)


def test_a_batch_without_any_truth_has_loss_zero(batch):
    samples = batch['data_samples']
    samples['has_params'][:] = False
    samples['confidence2d'][:] = 0
    samples['confidence3d'][:] = 0
    losses = make_regressor()(**batch, mode='loss')
    assert all(float(value.detach()) == 0 for value in losses.values()), losses


def test_keypoints_behind_a_camera_are_counted_and_cost_nothing(batch):
    model = make_regressor(loss_weights={**dict.fromkeys(WEIGHTS, 0.0), 'keypoints2d_mse': 1.0})
    before = model(**batch, mode='loss')
    inputs = batch['inputs']
    # Turn one camera round: the scene's origin stays in front of the other two.
    flip = torch.diag(torch.tensor([-1.0, 1.0, -1.0]))
    inputs['R'][0, 0] = flip @ inputs['R'][0, 0]
    inputs['t'][0, 0] = flip @ inputs['t'][0, 0]
    after = model(**batch, mode='loss')
    assert before['n_behind_camera'] == 0
    assert after['n_behind_camera'] == 5
    assert after['loss_keypoints2d_mse'] < 2 * before['loss_keypoints2d_mse']


def test_predictions_have_the_documented_form(model, batch):
    predictions = shaken(model).eval()(**batch, mode='predict')
    assert len(predictions) == 2
    one = predictions[1]
    shapes = {k: tuple(one[k].shape) for k in ('joints', 'keypoints3d', 'keypoints2d', 'view_mask')}
    assert shapes == {'joints': (5, 3), 'keypoints3d': (5, 3), 'keypoints2d': (3, 5, 2), 'view_mask': (3,)}
    assert {k: tuple(v.shape) for k, v in one['params'].items()} == {
        'global_orient': (3,), 'body_pose': (4, 3), 'betas': (2,), 'transl': (3,), 'scale': ()
    }  # fmt: skip
    assert torch.equal(one['truth']['keypoints3d'], batch['data_samples']['keypoints3d'][1])
    cameras = one['cameras']
    in_camera = one['keypoints3d'] @ cameras['R'].mT + cameras['t'].unsqueeze(1)
    pixels = in_camera @ cameras['K'].mT
    torch.testing.assert_close(one['keypoints2d'], pixels[..., :2] / pixels[..., 2:], atol=1e-3, rtol=1e-4)


def test_gradient_at_the_rest_pose_is_finite_with_pose_priors():
    """Axis-angle priors meet the identity exactly, where careless logarithms give NaN."""
    from smilfit.handlers import BodyPosePriorHandler

    torch.manual_seed(0)
    network = TimmBackbone('test_convnext')
    model = MultiViewRegressor(
        network,
        CrossViewFusion(network.dim, 32, 1, 4),
        TransformerDecoderHead(5, 2, 32, 32, 1, 4),
        toy_body(),
        [BodyPosePriorHandler(), Keypoint3dHandler()],
    )
    loss, _ = model.parse_losses(model(**make_batch(), mode='loss'))
    loss.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


def test_errors_name_what_is_wrong(model, batch):
    with pytest.raises(KeyError, match='keypoints3d_mse'):
        model.set_loss_weights({'keypoint3d_mse': 1.0})
    model.set_loss_weights({**dict.fromkeys(WEIGHTS, 0.0), 'camera': 1.0})
    with pytest.raises(ValueError, match='switched on'):
        model(**batch, mode='loss')
    batch['inputs']['view_mask'][1] = False
    with pytest.raises(ValueError, match=r'samples \[1\]'):
        model(**batch)
    with pytest.raises(ValueError, match='joint limits'):
        make_regressor_with([JointLimitHandler()])


def make_regressor_with(handlers):
    network = TimmBackbone('test_convnext')
    return MultiViewRegressor(
        network, CrossViewFusion(network.dim, 32, 1, 4), TransformerDecoderHead(5, 2, 32, 32, 1, 4), toy_body(),
        handlers,
    )  # fmt: skip


@pytest.mark.parametrize('with_votes', [False, True])
def test_a_step_in_bfloat16_has_a_loss_near_that_of_float32(with_votes):
    model, batch = make_regressor('test_vit', with_votes=with_votes).train(), make_batch()
    losses = []
    for half in (False, True):
        with torch.autocast('cpu', torch.bfloat16, enabled=half):
            result = model(**batch, mode='loss')
        losses.append(sum(value for name, value in result.items() if name.startswith('loss')))
    losses[1].backward()
    torch.testing.assert_close(losses[1], losses[0], rtol=0.05, atol=0.05)
