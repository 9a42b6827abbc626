"""Networks that are fine-tuned by matrices of low rank: nothing changes at first, little is trained, all merges."""

import pytest
import torch

from smilfit.networks import FeatureCache, TimmBackbone, ViTPyramid
from smilfit.networks.backbones.lora import LoRALinear, merge_lora
from smilfit.networks.engine.checkpoint_loader import check_weights

IMAGE = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def _moved(network, seed: int = 0):
    """Give the matrices numbers of some size, as training does."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, LoRALinear):
            module.lora.up.data = 0.3 * torch.randn(module.lora.up.shape, generator=generator)
    return network


@pytest.mark.parametrize('kind', [TimmBackbone, ViTPyramid])
def test_an_untrained_one_is_the_network_itself_and_trains_the_matrices_alone(kind, caplog):
    plain = kind('test_vit').eval()
    with caplog.at_level('INFO', 'smilfit'):
        backbone = kind('test_vit', lora=dict(rank=4)).eval()
    new = backbone.load_state_dict(plain.state_dict(), strict=False)
    assert not new.unexpected_keys
    assert all('.lora.' in name for name in new.missing_keys)
    first, second = (f(IMAGE) if isinstance(f(IMAGE), list) else [f(IMAGE)] for f in (plain, backbone))
    for a, b in zip(first, second):
        assert torch.equal(a, b)
    trained = {n: p.numel() for n, p in backbone.network.named_parameters() if p.requires_grad}
    width, depth = backbone.map_dims[0], len(backbone.network.blocks)
    # Of each block: qkv takes rank (D + 3 D), proj rank (D + D).
    assert sum(trained.values()) == backbone.lora_counts[0] == depth * 4 * (4 + 2) * width
    assert set(trained) == {name.removeprefix('network.') for name in new.missing_keys}
    assert (
        f'lora of rank 4 trains {backbone.lora_counts[0]} of {backbone.lora_counts[1]} numbers' in caplog.text
    )


def test_merged_and_unmerged_compute_the_same_and_merged_loads_as_the_plain_network():
    backbone = _moved(TimmBackbone('test_vit', lora=dict(rank=8, alpha=16))).eval()
    plain = TimmBackbone('test_vit').eval()
    merged = merge_lora(backbone)
    with torch.no_grad():
        right = backbone(IMAGE)
        torch.testing.assert_close(merged(IMAGE), right, rtol=1e-5, atol=1e-5)
        plain.load_state_dict(merged.state_dict())
        torch.testing.assert_close(plain(IMAGE), right, rtol=1e-5, atol=1e-5)
    # The model itself is as it was, and one without such layers is not copied.
    assert any(isinstance(module, LoRALinear) for module in backbone.modules())
    assert merge_lora(plain) is plain


def test_gradients_reach_the_matrices_and_training_moves_the_maps():
    backbone = TimmBackbone('test_vit', lora=dict(rank=2)).train()
    before = {name: p.detach().clone() for name, p in backbone.named_parameters()}
    optimizer = torch.optim.SGD([p for p in backbone.parameters() if p.requires_grad], 0.1)
    for _ in range(2):
        optimizer.zero_grad()
        (backbone(IMAGE) - 1).pow(3).mean().backward()
        optimizer.step()
    moved = {name for name, p in backbone.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {name for name in before if '.lora.' in name}


def test_other_layers_of_any_network_can_be_named():
    backbone = TimmBackbone('test_convnext', lora=dict(rank=2, layers=['mlp.fc1'])).train()
    backbone(IMAGE).sum().backward()
    trained = [p for p in backbone.parameters() if p.requires_grad]
    assert trained
    assert all(p.grad is not None for p in trained)


def test_a_checkpoint_of_before_can_be_trained_on():
    plain, backbone = TimmBackbone('test_vit'), TimmBackbone('test_vit', lora=dict(rank=2))
    check_weights('x.pth', backbone, plain.state_dict(), to_train=True)
    with pytest.raises(ValueError, match='missing'):
        check_weights('x.pth', backbone, plain.state_dict())


def test_what_cannot_be_is_refused(tmp_path):
    with pytest.raises(ValueError, match='none ends in'):
        TimmBackbone('test_resnet', lora=dict(rank=2))
    with pytest.raises(ValueError, match='rank must be at least 1'):
        TimmBackbone('test_vit', lora=dict(rank=0))
    with pytest.raises(ValueError, match='lora freezes the network itself'):
        TimmBackbone('test_vit', lora=dict(rank=2), frozen=True)
    with pytest.raises(ValueError, match='frozen as a whole'):
        TimmBackbone('test_vit', lora=dict(rank=2), cache=FeatureCache(tmp_path))
