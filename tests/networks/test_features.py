"""Features of a head's crop, and several vectors fused into one."""

import pytest
import torch

from smilfit.networks import SmalEstimate, TimmBackbone
from smilfit.networks.features import FeatureFusion, HeadBranch, TransformerFeatureFusion, share_inside
from smilfit.registry import MODELS, UnknownNameError, build

DIMS = {'visual': 12, 'head': 8, 'params': 5}
FUSIONS = [
    dict(type='FeatureFusion', inputs=DIMS, hidden_dim=16),
    dict(type='TransformerFeatureFusion', inputs=DIMS, dim=16, n_layers=1, n_heads=2),
]


def _branch(**changes) -> HeadBranch:
    backbone = dict(type='TimmBackbone', name='test_vit')
    return build(dict(type='HeadBranch', backbone=backbone, side=64, **changes), MODELS).eval()


def _features(n: int = 3) -> dict[str, torch.Tensor]:
    return {name: torch.randn(n, dim) for name, dim in DIMS.items()}


def test_a_head_has_the_features_of_its_crop_wherever_it_is():
    branch = _branch()
    patch = torch.rand(3, 64, 64)
    images = torch.zeros(2, 3, 150, 200)
    images[0, :, 10:74, 20:84] = patch
    images[1, :, 50:114, 90:154] = patch
    result = branch(images, torch.tensor([[20.0, 10, 64], [90.0, 50, 64]]))
    assert result.features.shape == (2, 768)
    assert result.valid.all()
    torch.testing.assert_close(result.features[0], result.features[1])
    crop = branch.project(branch.backbone(patch.unsqueeze(0)).mean((2, 3)))
    torch.testing.assert_close(result.features[:1], crop, rtol=1e-4, atol=1e-4)


def test_boxes_are_about_the_known_keypoints():
    branch = _branch(margin=2.0)
    px = torch.tensor([[[10.0, 20], [29, 24], [900, 900]], [[0, 0], [0, 0], [0, 0]]])
    boxes = branch.boxes_around(px, torch.tensor([[True, True, False], [False] * 3]))
    # 20 px wide, twice that by the margin, about (19.5, 22).
    assert boxes[0].tolist() == [0.0, 2.5, 40.0]
    assert boxes[1].isnan().any()


def test_heads_outside_and_without_keypoints_are_masked_and_counted():
    branch = _branch()
    images = torch.rand(4, 3, 100, 100)
    boxes = torch.tensor([[10.0, 10, 40], [-300, 5, 40], [torch.nan] * 3, [80, 10, 40]])
    result = branch(images, boxes)
    assert result.valid.tolist() == [True, False, False, True]
    assert (result.n_outside, result.n_unknown) == (1, 1)
    assert not result.features[1:3].any()
    torch.testing.assert_close(
        result.features[0], branch(images[:1], boxes[:1]).features[0], rtol=1e-4, atol=1e-5
    )
    assert not branch(images[:1], boxes[1:2]).valid.any()
    # Half of the last one is in the image: with more asked for, it is outside.
    assert share_inside(boxes, images.shape[-2:])[3] == 0.5
    assert _branch(least_inside=0.6)(images, boxes).n_outside == 2


def test_a_head_outside_has_no_gradient_and_the_others_have():
    branch = _branch().train()
    images = torch.rand(2, 3, 80, 80, requires_grad=True)
    branch(images, torch.tensor([[5.0, 5, 50], [500, 5, 50]])).features.square().sum().backward()
    assert images.grad[0].any()
    assert not images.grad[1].any()


@pytest.mark.parametrize('cfg', FUSIONS)
def test_inputs_are_by_name_and_what_is_masked_has_no_influence(cfg):
    fusion = build(cfg, MODELS).eval()
    features = _features()
    result = fusion(features)
    assert result.shape == (3, fusion.dim)
    turned = dict(reversed(features.items()))
    assert torch.equal(fusion(turned), result)
    mask = {'head': torch.tensor([True, False, True])}
    masked = fusion(features, mask)
    torch.testing.assert_close(masked[[0, 2]], result[[0, 2]])
    other = fusion({**features, 'head': torch.randn(3, 8)}, mask)
    torch.testing.assert_close(other[1], masked[1])
    assert not torch.allclose(other[0], masked[0])


@pytest.mark.parametrize('cfg', FUSIONS)
def test_all_parts_are_trained(cfg):
    fusion = build(cfg, MODELS)
    mask = {name: torch.tensor([True, True, False]) for name in DIMS}
    (fusion(_features(), mask) * torch.randn(fusion.dim)).square().sum().backward()
    assert all(p.grad is not None for p in fusion.parameters())


def test_usual_sizes_are_those_of_animer():
    fusion = FeatureFusion({'visual': 1280, 'head': 768, 'params': 359})
    estimate = SmalEstimate(torch.eye(3).expand(2, 35, 3, 3), torch.zeros(2, 41), torch.zeros(2, 3))
    vectors = {'visual': torch.zeros(2, 1280), 'head': torch.zeros(2, 768), 'params': estimate.as_vector()}
    assert fusion(vectors).shape == (2, 512)


def test_wrong_inputs_are_refused():
    fusion = FeatureFusion(DIMS)
    features = _features()
    with pytest.raises(UnknownNameError, match="no input 'haed'"):
        fusion({**features, 'haed': features['head']})
    with pytest.raises(UnknownNameError, match="no input 'x'"):
        fusion(features, {'x': torch.ones(3, dtype=torch.bool)})
    with pytest.raises(UnknownNameError, match="'params' must be given"):
        fusion({name: features[name] for name in ('visual', 'head')})
    with pytest.raises(ValueError, match=r'must be \(B, 8\)'):
        fusion({**features, 'head': torch.zeros(3, 9)})
    with pytest.raises(ValueError, match='positive dimensions'):
        TransformerFeatureFusion({})
    with pytest.raises(ValueError, match='margin must be at least 1'):
        HeadBranch(TimmBackbone('test_vit'), margin=0.5)
