"""A regressor's network by itself says what the regressor says."""

import pytest
import torch

from smilfit.networks import Limbs, SmallUNet
from smilfit.networks.keypoints.batch_crops import box_affine, cut, whole_boxes
from tests.toy_keypoint_regressor import make_keypoint_regressor
from tests.toy_regressor import make_batch, make_regressor, shaken


@pytest.mark.parametrize('with_votes', [False, True])
def test_views_by_themselves_give_the_regressors_estimate(with_votes):
    model = shaken(make_regressor('test_resnet', with_votes=with_votes)).eval()
    if with_votes:
        torch.nn.init.normal_(model.orientation_head.out.weight)
    inputs = make_batch(indices=(0, 1), missing={1: 2})['inputs']
    network = model.exported_network(64).eval()
    with torch.no_grad():
        result = network(*network.inputs_of(inputs))
        right = model(inputs)
    last = right.steps[-1]
    expected = {
        'rotations': torch.cat((last.global_orient.unsqueeze(1), last.body_pose), 1),
        'betas': last.betas,
        'position': last.transl,
        'log_scale': (last.scale * right.frame.unit / model.statistics.mean_scale).log(),
        'camera_change': right.camera_change,
    }
    assert [port.name for port in network.outputs] == list(expected)
    for port, value in zip(network.outputs, result):
        assert value.shape == port.shape({'batch': 2, 'views': 3})
        torch.testing.assert_close(value, expected[port.name], atol=1e-5, rtol=1e-4, msg=port.name)
    drawn = network.drawn({'batch': 2, 'views': 3}, torch.Generator())
    for port, value in zip(network.inputs, drawn):
        assert (value.shape, value.dtype) == (port.shape({'batch': 2, 'views': 3}), port.dtype)


def test_pictures_by_themselves_give_the_regressors_maps():
    model = make_keypoint_regressor().eval()
    inputs = make_batch(missing={1: 0})['inputs']
    network = model.exported_network().eval()
    (images,) = network.inputs_of(inputs)
    # Of the second sample the first view that there is.
    given = inputs['image'][[0, 1], [0, 1]]
    assert torch.equal(images, cut(given, box_affine(whole_boxes(2, (64, 64), given), 64), 64))
    with torch.no_grad():
        assert torch.equal(network(images), model.vision.logits(images))
    assert network.outputs[0].shape({'batch': 2}) == (2, 5, 32, 32)
    assert network.facts()['keypoint_names'] == list(model.keypoint_names)


def test_what_is_no_network_in_one_piece_is_refused():
    model = make_regressor('test_resnet')
    with pytest.raises(ValueError, match='the side of images must be known'):
        model.exported_network()
    backbone = SmallUNet((16, 16, 24, 24), 16)
    keypoints = make_keypoint_regressor()
    model.limbs = Limbs(keypoints.vision.head, keypoints.vision.consensus, keypoints.lifter, 32)
    model.backbone = backbone
    with pytest.raises(ValueError, match='the network must be one piece'):
        model.exported_network(64)
