"""The loss of where views meet: truth costs nothing, gradients reach every part, and training by it helps."""

import pytest
import torch
from torch import nn
from torch.utils.data import default_collate

from smilfit.geometry.heatmaps import gaussian_targets
from smilfit.networks import CropAugment
from smilfit.networks.keypoints.consensus_loss import consensus_energy
from tests.networks.blobs import STRIDE, blobs, make_cameras
from tests.toy_keypoint_regressor import make_keypoint_regressor
from tests.toy_samples import toy_sample


def test_clean_maps_cost_nothing_and_unknown_points_take_no_part():
    points = 10 * torch.randn(2, 3, 3)
    cameras = make_cameras(4, 2)
    px, _, _ = cameras.project(points)
    mask = torch.ones(2, 4, dtype=torch.bool)
    known = torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.5, 1.0]])
    spoiled = torch.where((known > 0).unsqueeze(-1), points, torch.nan)
    logits = blobs(px).requires_grad_()
    energy = consensus_energy(logits, STRIDE, cameras, mask, spoiled, known, torch.tensor(20.0))
    assert float(energy.value.detach()[known > 0].max()) < 1e-4
    assert torch.equal(energy.weight, known)
    (energy.value * energy.weight).sum().backward()
    assert logits.grad.isfinite().all()
    away = consensus_energy(blobs(px), STRIDE, cameras, mask, points + 20, known, torch.tensor(20.0))
    valid = away.value[known > 0]
    torch.testing.assert_close(valid, torch.full_like(valid, 3**0.5 - 0.01), atol=1e-2, rtol=0)


def batch(count=2):
    samples = default_collate([toy_sample(i) for i in range(count)])
    samples['inputs']['image'] = samples['inputs']['image'].float() / 255
    return samples['inputs'], samples['data_samples']


def only_consensus(**augment):
    model = make_keypoint_regressor(
        lifter=False, loss_weights={'heatmap': 0.0, 'centre': 0.0, 'consensus': 1.0}, mirror=0.0
    )
    still = {'zoom': 0.0, 'shift': 0.0, 'rotation_deg': 0.0, 'mirror': 0.0}
    model.augment = CropAugment(side=64, noise=nn.Identity(), **{**still, **augment})
    return model


def test_the_gradient_reaches_the_backbone():
    model = only_consensus()
    inputs, truth = batch()
    # An absent view has none, and whatever stands there stays out.
    inputs['view_mask'][0, 1] = False
    inputs['image'][0, 1] = torch.nan
    losses = model.loss(inputs, truth)
    losses['loss_consensus'].backward()
    gradients = [p.grad for p in model.vision.backbone.parameters()]
    assert all(g is not None and g.isfinite().all() for g in gradients)
    assert sum(float(g.abs().sum()) for g in gradients) > 0


def test_the_loss_is_of_the_cameras_of_the_crops():
    """Maps that are right in their crops cost nothing, however the crops are cut, turned and mirrored."""
    model = only_consensus(zoom=0.2, shift=0.05, rotation_deg=40.0, mirror=0.5)
    inputs, truth = batch()
    model.swap = torch.arange(5)
    seen = {}

    def right(images, px, weight, swap):
        seen['crops'] = CropAugment.forward(model.augment, images, px, torch.ones_like(weight), swap)
        return seen['crops']

    def maps(crops):
        stride = model.vision.head.stride
        size = (crops.shape[-2] // int(stride), crops.shape[-1] // int(stride))
        return (gaussian_targets(seen['crops'].px, size, stride) + 1e-9).log(), None

    model.augment.forward, model.vision.network = right, maps
    truth['confidence3d'] = torch.ones_like(truth['confidence3d'])
    assert float(model.loss(inputs, truth)['loss_consensus']) < 0.02
    assert seen['crops'].mirrored.any()


def test_training_through_it_lowers_the_error_in_space():
    model = only_consensus(whole=1.0)
    inputs, truth = batch(4)
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    result = []
    for _ in range(40):
        loss = model.loss(inputs, truth)['loss_consensus']
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        result.append(float(loss.detach()))
    assert result[-1] < 0.4 * result[0]


def test_it_is_off_unless_asked_for():
    model = make_keypoint_regressor(lifter=False)
    assert 'loss_consensus' not in model.loss(*batch())
    with pytest.raises(KeyError, match='consensus'):
        model.set_loss_weights({'consensuss': 1.0})
