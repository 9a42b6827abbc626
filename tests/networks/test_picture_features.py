"""What must hold of a lifter that reads the pictures where its keypoints were seen."""

import logging

import pytest
import torch
from torch import nn

from smilfit.networks import PointLifter
from smilfit.networks.engine.checkpoint_loader import check_weights
from smilfit.networks.keypoints.two_passes import features_at
from tests.toy_keypoint_regressor import make_keypoint_regressor
from tests.toy_regressor import make_batch


def _model(**kwargs):
    model = make_keypoint_regressor(mirror=0.0, feature_map=-1, loss_weights={'seen': 1.0}, **kwargs)
    body, sampler = model.body_model, model.lifter.sampler
    torch.manual_seed(3)
    dim = model.vision.backbone.dims[-1]
    model.lifter = PointLifter(body, sampler=sampler, dim=64, n_blocks=1, feature_dim=dim)
    # An untrained head finds every place alike.
    torch.nn.init.normal_(model.vision.head.out.weight, std=2.0)
    return model


def _reading(model):
    nn.init.normal_(model.lifter.features.out.weight, std=0.3)
    nn.init.normal_(model.lifter.out.weight, std=0.05)
    return model.eval()


@pytest.mark.parametrize('cells', [4, 16])
def test_a_map_is_read_at_px_of_its_image(cells):
    side = 64
    centres = (torch.arange(cells) + 0.5) * side / cells - 0.5
    maps = torch.stack(torch.meshgrid(centres, centres, indexing='xy')).unsqueeze(0)
    px = torch.tensor([[[20.0, 31.5], [8.0, 50.0], [-9.0, 200.0]]])
    read = features_at(maps, px, side)
    torch.testing.assert_close(read[0, :2], px[0, :2])
    torch.testing.assert_close(read[0, 2], torch.stack((centres[0], centres[-1])))


def test_pictures_teach_the_lifter_alone():
    model, batch = _model(), make_batch((0, 1))
    for _ in range(3):
        # What zero-initialised layers hide of those before them comes step by step.
        model.zero_grad()
        seen = {k: v for k, v in model(**batch, mode='loss').items() if k.startswith('loss_seen')}
        sum(seen.values()).backward()
        torch.optim.SGD(model.lifter.parameters(), 0.01).step()
    assert {'loss_seen_keypoints3d', 'loss_seen_body_pose'} <= set(seen)
    assert all(float(p.grad.abs().sum()) > 0 for p in model.lifter.features.parameters())
    assert all(p.grad is None or not p.grad.any() for p in model.vision.parameters())


def test_what_pictures_show_changes_the_body_and_nothing_else():
    model, batch = _reading(_model()), make_batch((0, 1))
    first = model.predict_parameters(batch['inputs'])
    model.lifter.features.out.weight.data.zero_()
    second = model.predict_parameters(batch['inputs'])
    assert torch.equal(first.sighting.points.xyz, second.sighting.points.xyz)
    assert (first.params.body_pose - second.params.body_pose).abs().max() > 1e-4


def test_order_and_absence_of_views():
    model = _reading(_model())
    inputs = make_batch((0, 1), missing={1: 2})['inputs']
    order = torch.tensor([2, 0, 1])
    first = model.predict_parameters(inputs).params.as_dict()
    other = {k: v.clone() for k, v in inputs.items()}
    other['image'][1, 2] = torch.rand_like(other['image'][1, 2])
    for changed in ({k: v[:, order] for k, v in inputs.items()}, other):
        second = model.predict_parameters(changed).params.as_dict()
        for name, value in first.items():
            torch.testing.assert_close(value, second[name], atol=1e-4, rtol=1e-4)


def test_training_goes_on_from_weights_without_features(caplog):
    model = _model()
    weights = {k: v for k, v in model.state_dict().items() if 'features' not in k}
    with caplog.at_level(logging.INFO, logger='smilfit'):
        check_weights('first.pth', model, weights, to_train=True)
    assert 'no weights of lifter.features' in caplog.text
    with pytest.raises(ValueError, match='2 missing'):
        check_weights('first.pth', model, weights)
    with pytest.raises(ValueError, match='1 missing'):
        half = weights | {'lifter.features.out.weight': model.lifter.features.out.weight}
        check_weights('first.pth', model, half, to_train=True)


def test_mirrored_pictures_are_refused():
    with pytest.raises(ValueError, match='mirror=0'):
        make_keypoint_regressor(mirror=0.5, feature_map=-1)


def test_another_runtime_gives_no_features():
    model = _model().eval()
    model.vision.runtime = lambda crops: crops.new_zeros(len(crops), 5, 32, 32)
    with pytest.raises(ValueError, match='Predict without --network'):
        model.predict_parameters(make_batch((0,))['inputs'])
