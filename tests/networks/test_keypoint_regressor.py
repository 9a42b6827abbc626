"""What must hold of the keypoint regressor: views, boxes, gradients, and that it learns limbs."""

import copy

import numpy as np
import pytest
import torch

from smilfit.evaluation.baseline import mean_pose
from smilfit.evaluation.keypoint_errors import pa_mpjpe
from tests.toy_keypoint_regressor import make_keypoint_regressor
from tests.toy_regressor import make_batch


def _scrambled(inputs, view, sample):
    """Fill an absent view with garbage, NaN included."""
    inputs = {k: v.clone() for k, v in inputs.items()}
    for name in ('image', 'K', 'R', 't', 'dist', 'size'):
        inputs[name][sample, view] = torch.randn_like(inputs[name][sample, view]) * 100
    inputs['K'][sample, view, 0, 0] = torch.nan
    inputs['image'][sample, view, 0, 0, 0] = torch.nan
    return inputs


def _numbers(prediction):
    points = prediction.sighting.points
    return {**prediction.params.as_dict(), 'xyz': points.xyz, 'covariance': points.covariance}


@pytest.mark.parametrize('own_boxes', [True, False])
def test_a_masked_view_changes_nothing(own_boxes):
    model = make_keypoint_regressor(own_boxes).eval()
    inputs = make_batch((0, 1, 2), missing={1: 2, 2: 0})['inputs']
    other = _scrambled(_scrambled(inputs, 2, 1), 0, 2)
    first, second = (_numbers(model.predict_parameters(x)) for x in (inputs, other))
    for name, value in first.items():
        assert value.isfinite().all(), name
        assert torch.equal(value, second[name]), name


def test_a_masked_view_changes_no_loss():
    batch = make_batch((0, 1), missing={1: 2})
    scrambled = {**batch, 'inputs': _scrambled(batch['inputs'], 2, 1)}
    scrambled['data_samples'] = copy.deepcopy(batch['data_samples'])
    scrambled['data_samples']['confidence2d'][1, 2] = 1
    scrambled['data_samples']['keypoints2d'][1, 2] = 1e6
    results = []
    for each in (batch, scrambled):
        model = make_keypoint_regressor()
        torch.manual_seed(1)
        results.append(model(**each, mode='loss'))
    for name, value in results[0].items():
        assert torch.equal(value, results[1][name]), name


def test_views_may_come_in_any_order():
    model = make_keypoint_regressor().eval()
    # An untrained head finds every place alike.
    torch.nn.init.normal_(model.vision.head.out.weight, std=2.0)
    inputs = make_batch((0, 1))['inputs']
    order = torch.tensor([2, 0, 1])
    first = _numbers(model.predict_parameters(inputs))
    second = _numbers(model.predict_parameters({k: v[:, order] for k, v in inputs.items()}))
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize('lifter', [True, False])
def test_recordings_without_parameters_teach_every_part(lifter):
    """Labels in two dimensions are all that most recordings have."""
    model = make_keypoint_regressor(lifter=lifter)
    batch = make_batch((0, 1))
    batch['data_samples']['has_params'][:] = False
    batch['data_samples']['confidence3d'][:] = 0
    losses = model(**batch, mode='loss')
    sum(losses.values()).backward()
    # What a zero-initialised layer hides of those before it comes with the second step.
    torch.optim.SGD(model.parameters(), 0.1).step()
    model.zero_grad()
    sum(model(**batch, mode='loss').values()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert float(parameter.grad.abs().sum()) > 0, name


def _errors(model, batch):
    """PA errors of points and bodies over those of the mean pose."""
    predictions = model.eval().predict(**batch)
    truth = batch['data_samples']['keypoints3d'].double().numpy()
    seen = np.ones(truth.shape[:2], bool)
    trivial = pa_mpjpe(np.broadcast_to(mean_pose(truth, seen), truth.shape), truth, seen)
    result = {
        key: np.stack([p[key].double().numpy() for p in predictions]) for key in ('points3d', 'keypoints3d')
    }
    return {key: pa_mpjpe(value, truth, seen) / trivial for key, value in result.items()}


def _learn(model, batches):
    optimiser = torch.optim.AdamW(model.parameters(), 3e-3)
    torch.manual_seed(2)
    for batch in batches:
        optimiser.zero_grad()
        sum(model(**batch, mode='loss').values()).backward()
        optimiser.step()


def test_limbs_are_learnt():
    """Placing the mean pose is not enough: the error after alignment must fall far below the mean pose's."""
    # The toy's left and right have colours of their own: a mirrored image would show another animal.
    model = make_keypoint_regressor(mirror=0.0)
    batch = make_batch(range(32), pose_sd=0.5, distance=5.0)
    _learn(model, [batch] * 120)
    assert max(_errors(model, batch).values()) < 0.3


def test_limbs_of_samples_that_it_has_not_seen_are_told():
    model = make_keypoint_regressor(mirror=0.0)
    parts = [make_batch(range(i, i + 16), pose_sd=0.5, distance=5.0) for i in range(0, 128, 16)]
    _learn(model, parts * 18)
    assert max(_errors(model, make_batch(range(1000, 1032), pose_sd=0.5, distance=5.0)).values()) < 0.5


def test_unknown_loss_keys_are_named():
    with pytest.raises(KeyError, match='heatmap'):
        make_keypoint_regressor(loss_weights={'heatmaps': 1.0})


def test_modes():
    model = make_keypoint_regressor().eval()
    batch = make_batch((0,))
    with pytest.raises(ValueError, match="mode must be 'tensor'"):
        model(**batch, mode='predictions')
    (sample,) = model(**batch, mode='predict')
    assert sample['keypoints2d'].shape == (3, 5, 2)
    assert sample['boxes'].shape == (3, 3)
    assert (sample['points_covariance'].diagonal(dim1=-2, dim2=-1) > 0).all()
