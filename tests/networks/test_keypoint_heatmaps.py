"""Backbones of several maps, the heat map head, and targets of images."""

import pytest
import torch

from smilfit.geometry.heatmaps import WindowedMaps, cell_to_px, gaussian_targets
from smilfit.losses import HeatmapLoss
from smilfit.networks import ImageTargets, KeypointHeatmapHead, SmallUNet
from smilfit.networks.keypoints.keypoint_targets import keypoint_weights
from tests.toy_regressor import make_batch


def peak_px(logits, stride):
    """Find each map's highest cell and the mean place of the probability around it, and that probability."""
    modes, _ = WindowedMaps(logits.flatten(-2).softmax(-1).unflatten(-1, logits.shape[-2:]), 3).modes(1)
    return cell_to_px(modes.mean.squeeze(-2), stride), modes.mass.squeeze(-1)


@pytest.mark.parametrize(('stride', 'size'), [(2, (32, 48)), (4, (16, 24))])
def test_maps_lie_over_the_image_and_an_untrained_head_knows_nothing(stride, size):
    backbone = SmallUNet((16, 24, 32, 48), 24)
    head = KeypointHeatmapHead(backbone.dims, backbone.strides, 5, stride=stride, centre=True)
    maps = backbone(torch.rand(2, 3, 64, 96))
    for result, dim, pixels in zip(maps, backbone.dims, backbone.strides):
        assert result.shape == (2, dim, 64 // pixels, 96 // pixels)
    logits = head(maps)
    assert logits.shape == (2, 6, *size)
    points, centres = head.split(logits)
    assert points.shape[1] == 5
    assert centres.shape == (2, *size)
    assert (logits.flatten(2).softmax(-1) * size[0] * size[1] - 1).abs().max() < 0.1


def test_all_of_backbone_and_head_is_trained():
    backbone = SmallUNet()
    head = KeypointHeatmapHead(backbone.dims, backbone.strides, 3)
    head(backbone(torch.rand(2, 3, 64, 64))).square().sum().backward()
    modules = torch.nn.ModuleList([backbone, head])
    assert all(p.grad is not None for p in head.parameters())
    assert {n.split('.')[1] for n, p in modules.named_parameters() if p.grad is not None} >= {
        'stem',
        'top_down',
    }
    assert 2.3e6 < sum(p.numel() for p in modules.parameters()) < 2.5e6


def test_the_peak_of_a_gaussian_is_its_place():
    px = torch.tensor([[[20.3, 30.8], [25.0, 17.1]]])
    result, mass = peak_px(gaussian_targets(px, (32, 32), 2).log(), 2)
    torch.testing.assert_close(result, px, atol=0.1, rtol=0)
    assert (mass > 0.95).all()


def test_a_few_dots_are_learnt():
    torch.manual_seed(0)
    px = 8 + 48 * torch.rand(8, 2, 2)
    grid = torch.stack(torch.meshgrid(torch.arange(64), torch.arange(64), indexing='xy'), -1).float()
    blobs = torch.exp(-0.5 * (grid - px[:, :, None, None]).square().sum(-1) / 4)
    images = torch.cat((blobs, torch.zeros(8, 1, 64, 64)), 1)
    backbone = SmallUNet((8, 8), 8)
    head = KeypointHeatmapHead(backbone.dims, backbone.strides, 2)
    parameters = [*backbone.parameters(), *head.parameters()]
    optimiser, loss = torch.optim.Adam(parameters, 1e-2), HeatmapLoss()
    for _ in range(60):
        optimiser.zero_grad()
        loss(head(backbone(images)), px, torch.ones(8, 2), head.stride).backward()
        optimiser.step()
    result, _ = peak_px(head(backbone(images)), head.stride)
    assert (result - px).norm(dim=-1).median() < 1.0


@pytest.mark.parametrize('stride', [3, 8, 0])
def test_the_stride_must_fit_the_backbone(stride):
    with pytest.raises(ValueError, match='stride must be'):
        KeypointHeatmapHead((8,), (4,), 5, stride=stride)


def test_labels_count_before_reprojected_points_and_absent_views_not_at_all():
    batch = make_batch()
    inputs, data = batch['inputs'], {**batch['data_samples']}
    data['keypoints2d'], data['confidence2d'] = data['keypoints2d'].clone(), data['confidence2d'].clone()
    truth = data['keypoints2d'].clone()
    data['keypoints2d'][:, 0, 0] += 5.0
    data['confidence2d'][:, 0, 0] = 0.8
    data['confidence2d'][:, :, 1] = 0.0
    data['keypoints2d'][:, :, 1] = 0.0
    mask = inputs['view_mask'].clone()
    mask[0, 2] = False
    targets = ImageTargets.of_batch({**inputs, 'view_mask': mask}, data)
    n, views = mask.shape
    px, weight = targets.px.unflatten(0, (n, views)), targets.weight.unflatten(0, (n, views))
    assert not weight[0, 2].any()
    torch.testing.assert_close(px[1:, 0, 0], truth[1:, 0, 0] + 5.0)
    torch.testing.assert_close(weight[1:, 0, 0], torch.full((n - 1,), 0.8))
    torch.testing.assert_close(px[1:, :, 1], truth[1:, :, 1], atol=1e-2, rtol=0)
    assert (weight[1:, :, 1] == 0.5).all()


def test_points_behind_a_camera_are_no_targets():
    batch = make_batch()
    data = {**batch['data_samples'], 'confidence2d': torch.zeros_like(batch['data_samples']['confidence2d'])}
    inputs = batch['inputs']
    centre = -(inputs['R'].transpose(-1, -2) @ inputs['t'].unsqueeze(-1)).squeeze(-1)
    data['keypoints3d'] = (2 * centre[:, :1]).expand_as(data['keypoints3d'])
    weight = ImageTargets.of_batch(inputs, data).weight.unflatten(0, inputs['view_mask'].shape)
    assert not weight[:, 0].any()


def test_keypoints_are_ignored_and_weighted_by_name():
    names = ('nose', 'ear', 'tail')
    assert keypoint_weights(names, {'ear': 2.0}, ['tail']).tolist() == [1, 2, 0]
    with pytest.raises(KeyError, match="Did you mean 'tail'"):
        keypoint_weights(names, ignored=['tial'])
    with pytest.raises(ValueError, match='at least one keypoint must count'):
        keypoint_weights(names, ignored=names)
    with pytest.raises(ValueError, match='finite and not negative'):
        keypoint_weights(names, {'ear': -1.0})
