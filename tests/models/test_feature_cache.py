"""Features of frozen networks on disk."""

import pytest
import torch

from smilfit.models import FeatureCache, TimmPyramid


@pytest.fixture
def network() -> TimmPyramid:
    torch.manual_seed(0)
    return TimmPyramid('test_resnet', dim=16, frozen=True).train()


IDS, IMAGES = ['a', 'b', 'c'], torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def refuse(rows: list[int]) -> torch.Tensor:
    raise AssertionError(f'images {rows} were computed again')


def test_what_is_kept_is_what_was_computed_and_the_backbone_is_not_asked_again(network, tmp_path):
    plain = network.feature_maps(IMAGES)
    first = FeatureCache(tmp_path).features(network, IDS, IMAGES)
    cache = FeatureCache(tmp_path)
    second = cache.features(network, IDS[::-1], refuse)
    assert (cache.n_read, cache.n_computed) == (3, 0)
    for expected, found, again in zip(plain, first, second):
        torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)
        assert torch.equal(again.flip(0), found)
    network.decode(second)[0].sum().backward()
    assert all(p.grad is not None for p in network.top_down.lateral.parameters())


def test_a_changed_weight_or_crop_is_another_place(network, tmp_path):
    cache = FeatureCache(tmp_path)
    before = cache.features(network, IDS, IMAGES)
    with torch.no_grad():
        next(network.network.parameters()).mul_(1.5)
    after = cache.features(network, IDS, IMAGES)
    assert cache.n_computed == 6
    assert not torch.equal(before[-1], after[-1])
    cache.features(network, IDS, IMAGES, {'margin': 1.2})
    assert cache.n_computed == 9
    cache.features(network, IDS, refuse, {'margin': 1.2})


def test_only_what_is_missing_or_damaged_is_computed(network, tmp_path):
    cache = FeatureCache(tmp_path)
    cache.features(network, IDS[:1], IMAGES[:1])
    path = next(tmp_path.rglob('*.bin'))
    whole = cache.features(network, IDS, IMAGES)
    assert (cache.n_read, cache.n_computed) == (1, 3)
    for damage in (path.read_bytes()[:-9], b'\0' * len(path.read_bytes())):
        path.write_bytes(damage)
        found = cache.features(network, IDS, IMAGES)
        assert all(torch.equal(a, b) for a, b in zip(whole, found))
    assert cache.n_damaged == 2


def test_networks_that_train_and_numbers_that_do_not_fit_are_refused(network, tmp_path):
    with pytest.raises(ValueError, match='must be frozen'):
        FeatureCache(tmp_path).features(TimmPyramid('test_resnet', dim=16), IDS, IMAGES)
    with pytest.raises(ValueError, match='dtype must be one of'):
        FeatureCache(tmp_path, dtype='int8')
    with torch.no_grad():
        for parameter in network.network.parameters():
            parameter.mul_(1e4)
    with pytest.raises(ValueError, match='finite in float16'):
        FeatureCache(tmp_path).features(network, IDS, IMAGES)


def test_crops_of_another_size_must_be_told(network, tmp_path):
    cache = FeatureCache(tmp_path)
    cache.features(network, IDS, IMAGES)
    with pytest.raises(ValueError, match='Name the size of the crops'):
        cache.features(network, ['d'], IMAGES[:1, :, :32, :32])
