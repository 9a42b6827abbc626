"""A regressor of whole bodies that begins at what its own heat maps say."""

import pytest
import torch

from smilfit.body_models.pose_sampling import PoseSampler
from smilfit.handlers import Keypoint2dHandler
from smilfit.networks import (
    CrossViewFusion,
    KeypointHeatmapHead,
    Limbs,
    MeetInSpace,
    MultiViewRegressor,
    OrientationHead,
    PointLifter,
    SmallUNet,
    TransformerDecoderHead,
)
from tests.networks.test_keypoint_regressor import _scrambled
from tests.toy_regressor import make_batch
from tests.toy_samples import toy_body

WEIGHTS = {'keypoints2d_mse': 1e-3, 'heatmap': 1.0, 'lifter': 1.0}


def _regressor(**kwargs) -> MultiViewRegressor:
    torch.manual_seed(0)
    body = toy_body()
    backbone = SmallUNet(widths=(16, 16, 24, 24), fine_dim=16)
    limbs = Limbs(
        KeypointHeatmapHead(backbone.dims, backbone.strides, 5),
        MeetInSpace(),
        PointLifter(body, sampler=PoseSampler(body, scale=1.15), dim=32, n_blocks=1),
        out_dim=32,
        lifter_samples=8,
    )
    # An untrained head finds every place alike.
    torch.nn.init.normal_(limbs.heatmap_head.out.weight, std=2.0)
    return MultiViewRegressor(
        backbone,
        CrossViewFusion(backbone.dims[2], 32, 1, 4),
        TransformerDecoderHead(5, 2, 32, 32, 1, 4),
        body,
        handlers=[Keypoint2dHandler()],
        limbs=limbs,
        token_map=2,
        loss_weights=WEIGHTS,
        **kwargs,
    )


def test_the_body_begins_where_the_points_are_lifted_to():
    model = _regressor().eval()
    prediction = model.predict_parameters(make_batch((0, 1))['inputs'])
    start, frame = prediction.limbs.start, prediction.frame
    # An untrained decoder corrects nothing.
    torch.testing.assert_close(prediction.params.rotations(), start.rotations)
    torch.testing.assert_close(prediction.params.transl, frame.to_world(start.position))


def test_a_masked_view_changes_nothing():
    model = _regressor().eval()
    inputs = make_batch((0, 1), missing={1: 2})['inputs']
    first, second = (model.predict_parameters(x) for x in (inputs, _scrambled(inputs, 2, 1)))
    for name, value in first.params.as_dict().items():
        assert value.isfinite().all(), name
        assert torch.equal(value, second.params.as_dict()[name]), name


def test_recordings_without_parameters_teach_every_part():
    """No part waits for parameters, which no real recording has."""
    model = _regressor()
    batch = make_batch((0, 1))
    batch['data_samples']['has_params'][:] = False
    batch['data_samples']['confidence3d'][:] = 0
    sum(model(**batch, mode='loss').values()).backward()
    # What zero-initialised layers hide of those before them comes with the second step.
    torch.optim.SGD(model.parameters(), 1e-2).step()
    model.zero_grad()
    losses = model(**batch, mode='loss')
    assert {'loss_heatmap', 'loss_lifter_keypoints3d', 'loss_keypoints2d_mse'} <= losses.keys()
    sum(losses.values()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert float(parameter.grad.abs().sum()) > 0, name


def test_one_head_gives_the_start():
    with pytest.raises(ValueError, match='orientation_head and limbs'):
        _regressor(orientation_head=OrientationHead(24, 8))
