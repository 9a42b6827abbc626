"""Backbones that give maps of several strides."""

import pytest
import timm
import torch
from torch import nn

from smilfit.networks import KeypointHeatmapHead, SmallUNet, TimmPyramid, ViTPyramid
from smilfit.networks.backbones.pyramids import SHIPPED
from smilfit.registry import build_backbone

CNNS = ['test_resnet', 'test_convnext', 'test_efficientnet', 'mobilenetv3_small_050']


@pytest.mark.parametrize('name', CNNS)
def test_maps_double_in_stride_and_all_that_is_trainable_is_trained(name):
    backbone = TimmPyramid(name, dim=24)
    assert backbone.strides == (4, 8, 16, 32)
    maps = backbone(torch.rand(2, 3, 64, 96))
    for result, dim, stride in zip(maps, backbone.dims, backbone.strides):
        assert result.shape == (2, dim, 64 // stride, 96 // stride)
    # The decoder's blocks start as identities: what is behind their zeros learns from the second step on.
    with torch.no_grad():
        for parameter in backbone.top_down.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    head = KeypointHeatmapHead(backbone.dims, backbone.strides, 3)
    head(backbone(torch.rand(2, 3, 64, 96))).square().sum().backward()
    assert all(p.grad is not None for p in backbone.parameters() if p.requires_grad)


def test_a_high_resolution_network_is_a_pyramid_too():
    backbone = TimmPyramid('hrnet_w18_small', dim=16).eval()
    with torch.no_grad():
        maps = backbone(torch.rand(1, 3, 64, 64))
    assert [m.shape[-1] for m in maps] == [16, 8, 4, 2]
    with pytest.raises(ValueError, match='grad_checkpointing must be something'):
        TimmPyramid('hrnet_w18_small', grad_checkpointing=True)


def test_the_finest_map_sees_far_more_than_its_own_cells():
    backbone = TimmPyramid('test_resnet', dim=16).eval()
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            # Untrained blocks are identities, which see nothing.
            nn.init.ones_(module.weight)
    images = torch.rand(1, 3, 128, 128, requires_grad=True)
    backbone(images)[0][0, :, 16, 16].sum().backward()
    assert images.grad[0, :, :24].any()
    assert images.grad[0, :, :, -20:].any()
    images.grad = None
    backbone.feature_maps(images)[0][0, :, 16, 16].sum().backward()
    assert not images.grad[0, :, :24].any()


def test_a_vit_gives_its_patches_and_a_fine_map():
    backbone = ViTPyramid('test_vit', dim=32)
    assert backbone.strides == (4, 16)
    fine, patches = backbone(torch.rand(2, 3, 64, 96))
    assert fine.shape == (2, 32, 16, 24)
    assert patches.shape == (2, backbone.dims[1], 4, 6)
    fine.square().sum().backward()
    assert all(p.grad is not None for p in backbone.parameters() if p.requires_grad)
    with pytest.raises(ValueError, match='multiples of the patches'):
        backbone(torch.rand(1, 3, 60, 64))


def test_networks_that_are_no_pyramids_are_refused():
    with pytest.raises(ValueError, match='Take ViTPyramid for a ViT'):
        TimmPyramid('test_vit', out_indices=[1, 2])
    with pytest.raises(ValueError, match='must have square patches'):
        ViTPyramid('test_resnet')
    with pytest.raises(ValueError, match='halves'):
        ViTPyramid('test_vit', n_deconvolutions=5)
    with pytest.raises(ValueError, match='widths must be'):
        SmallUNet((32,))


@pytest.mark.parametrize('kind', [TimmPyramid, ViTPyramid])
def test_weights_of_a_file_are_those_that_timm_wrote(kind, tmp_path):
    name = 'test_resnet' if kind is TimmPyramid else 'test_vit'
    whole = timm.create_model(name, num_classes=7)
    torch.save(whole.state_dict(), tmp_path / 'weights.pth')
    backbone = kind(name, checkpoint=tmp_path / 'weights.pth').eval()
    image = torch.rand(1, 3, *backbone._probe_size())
    expected = whole.eval().forward_features((image - backbone.mean) / backbone.std)
    result = backbone.feature_maps(image)[-1]
    if kind is ViTPyramid:
        expected = expected[:, whole.num_prefix_tokens :].transpose(1, 2).reshape(result.shape)
    torch.testing.assert_close(result, expected)


def test_a_frozen_network_keeps_weights_and_statistics_and_its_decoder_learns():
    backbone = TimmPyramid('test_resnet', frozen=True).train()
    assert not any(p.requires_grad for p in backbone.network.parameters())
    assert all(p.requires_grad for p in backbone.top_down.parameters())
    before = {k: v.clone() for k, v in backbone.network.state_dict().items()}
    backbone(torch.rand(4, 3, 64, 64))[0].sum().backward()
    assert all(torch.equal(v, backbone.network.state_dict()[k]) for k, v in before.items())


@pytest.mark.parametrize('name', ['test_resnet', 'test_convnext', 'test_vit'])
def test_first_stages_are_frozen_and_later_ones_are_not(name):
    kind = ViTPyramid if name == 'test_vit' else TimmPyramid
    backbone = kind(name, frozen_stages=2).train()
    info = backbone.network.feature_info
    first = {n for n, p in backbone.network.named_parameters() if not p.requires_grad}
    assert any(n.startswith(info[1]['module']) for n in first)
    assert not any(n.startswith(info[-1]['module']) for n in first)
    for norm in (m for m in backbone.network.modules() if isinstance(m, nn.BatchNorm2d)):
        assert norm.training == norm.weight.requires_grad
    with pytest.raises(ValueError, match='frozen_stages must be from 0'):
        kind(name, frozen_stages=20)


@pytest.mark.parametrize('name', ['test_resnet', 'test_vit'])
def test_checkpointed_gradients_are_the_same(name):
    kind = ViTPyramid if name == 'test_vit' else TimmPyramid
    images, gradients = torch.rand(2, 3, 64, 64), []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        # Statistics of a batch would be counted twice.
        backbone = kind(name, grad_checkpointing=checkpointing).eval()
        backbone.network.train()
        for module in backbone.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        backbone(images)[0].square().mean().backward()
        gradients.append({n: p.grad for n, p in backbone.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name_, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name_], atol=1e-6, rtol=1e-4)


def test_a_misspelt_argument_of_the_network_below_is_named():
    with pytest.raises(
        TypeError, match="TimmPyramid: unknown argument 'pretraned'. Did you mean 'pretrained'"
    ):
        build_backbone({'type': 'TimmPyramid', 'name': 'test_resnet', 'pretraned': True})


def test_the_small_net_takes_weights_of_its_own_widths(tmp_path):
    given = SmallUNet((16, 24), 16)
    torch.save(
        {k: v.bfloat16() if v.is_floating_point() else v for k, v in given.state_dict().items()},
        tmp_path / 'w.pth',
    )
    result = SmallUNet((16, 24), 16, checkpoint=tmp_path / 'w.pth')
    for name, value in result.state_dict().items():
        torch.testing.assert_close(value, given.state_dict()[name], atol=0, rtol=2**-8)
    with pytest.raises(ValueError, match='SmallUNet of these widths'):
        SmallUNet((16, 32), 16, checkpoint=tmp_path / 'w.pth')


def test_the_weights_that_come_with_the_package_are_those_of_the_default_widths():
    first, second = SmallUNet(checkpoint='animals'), SmallUNet(checkpoint='animals')
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters()))
    assert SHIPPED['animals'].stat().st_size < 10e6
