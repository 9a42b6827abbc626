"""Features of frozen networks on disk."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config

from smilfit.datasets.transforms import ViewDropout
from smilfit.networks import (
    CropAugment,
    FeatureCache,
    ImageNoise,
    KeypointHeatmapHead,
    KeypointRegressor,
    MeetInSpace,
    MultiViewRegressor,
    OwnBoxes,
    TimmBackbone,
    TimmPyramid,
    TrainingStatistics,
)
from smilfit.networks.backbones.feature_cache import names_of_images
from smilfit.networks.engine.runner import check_feature_caches
from smilfit.registry import MODELS, build, build_transform
from tests.toy_regressor import make_batch, make_regressor, shaken
from tests.toy_samples import toy_body

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'


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
    for expected, result, again in zip(plain, first, second):
        torch.testing.assert_close(result, expected, atol=1e-3, rtol=1e-3)
        assert torch.equal(again.flip(0), result)
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
        result = cache.features(network, IDS, IMAGES)
        assert all(torch.equal(a, b) for a, b in zip(whole, result))
    assert cache.n_damaged == 2


def test_networks_that_train_and_numbers_that_do_not_fit_are_refused(network, tmp_path):
    with pytest.raises(ValueError, match='network must be frozen'):
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


def keypoint_regressor(cache: FeatureCache | None, **augment) -> KeypointRegressor:
    torch.manual_seed(0)
    body = toy_body()
    backbone = TimmPyramid('test_resnet', dim=16, frozen=True, cache=cache)
    still = {'zoom': 0.0, 'shift': 0.0, 'rotation_deg': 0.0, 'mirror': 0.5, 'whole': 0.5, **augment}
    return KeypointRegressor(
        backbone,
        KeypointHeatmapHead(backbone.dims, backbone.strides, 5, stride=2),
        body,
        TrainingStatistics(torch.zeros(3), 1.8, 1.15, torch.eye(3).expand(5, 3, 3)),
        OwnBoxes(),
        MeetInSpace(),
        augment=CropAugment(side=64, noise=ImageNoise(0, 0, 0, blur=0, erase=0), **still),
    ).train()


def multiview_regressor(cache: FeatureCache | None) -> MultiViewRegressor:
    model = shaken(make_regressor('test_resnet'))
    model.backbone = TimmBackbone('test_resnet', frozen=True, cache=cache)
    return model.train()


def losses_and_gradients(model, seed: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    model.zero_grad()
    losses = model(**make_batch(missing={1: 0}), mode='loss')
    sum(value for name, value in losses.items() if 'loss' in name).backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {name: value.detach() for name, value in (losses | gradients).items()}


@pytest.mark.parametrize('make', [keypoint_regressor, multiview_regressor])
def test_training_with_a_cache_is_training_without_and_asks_the_backbone_once(make, tmp_path):
    cache = FeatureCache(tmp_path, dtype='float32')
    kept, plain = make(cache), make(None)
    plain.load_state_dict(kept.state_dict())
    for seed in range(8):
        # Random numbers decide which versions of the images come; after some batches all have.
        result, expected = losses_and_gradients(kept, seed), losses_and_gradients(plain, seed)
        assert result.keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(result[name], value, atol=1e-5, rtol=1e-4, msg=name)
    n_versions = 5 * (4 if make is keypoint_regressor else 1)
    assert cache.n_computed <= n_versions
    # Another run finds them, and the network itself is not needed any more.
    again = make(FeatureCache(tmp_path, dtype='float32'))
    again.load_state_dict(kept.state_dict())
    network = again.vision.backbone if make is keypoint_regressor else again.backbone
    network.feature_maps = refuse
    for name, value in losses_and_gradients(again, 0).items():
        torch.testing.assert_close(value, losses_and_gradients(kept, 0)[name], msg=name)
    assert network.cache.n_computed == 0


def test_predictions_do_not_fill_the_disk(tmp_path):
    model = multiview_regressor(FeatureCache(tmp_path)).eval()
    model(make_batch()['inputs'])
    assert list(tmp_path.iterdir()) == []


def test_what_finds_no_room_is_computed_every_time(network, tmp_path, caplog):
    cache = FeatureCache(tmp_path)
    cache.n_expected = 1000
    with caplog.at_level('INFO', 'smilfit'):
        cache.features(network, IDS[:1], IMAGES[:1])
    assert 'GB for 1000 images' in caplog.text
    size = next(tmp_path.rglob('*.bin')).stat().st_size
    small = FeatureCache(tmp_path, most_gb=2.5e-9 * size)
    for n_computed in (2, 3):
        result = small.features(network, IDS, IMAGES)
        assert (small.n_computed, small.n_not_kept) == (n_computed, n_computed - 1)
    for a, b in zip(result, network.feature_maps(IMAGES)):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-3)
    assert 'others are computed every time' in caplog.text


def test_names_are_of_the_content():
    assert names_of_images(IMAGES) == names_of_images(IMAGES.contiguous(memory_format=torch.channels_last))
    assert len({*names_of_images(IMAGES), *names_of_images(IMAGES + 1e-6)}) == 6


class Changing:
    def __call__(self, sample):
        return sample


def test_what_never_comes_again_is_refused(tmp_path):
    with pytest.raises(ValueError, match='must be frozen as a whole'):
        TimmPyramid('test_resnet', dim=16, cache=FeatureCache(tmp_path))
    for augment in ({'zoom': 0.1}, {'shift': 0.1}, {'rotation_deg': 5.0}):
        with pytest.raises(ValueError, match='crops that come again'):
            keypoint_regressor(FeatureCache(tmp_path), **augment)
    model = multiview_regressor(FeatureCache(tmp_path))
    dataset = SimpleNamespace(transforms=[ViewDropout()], n_images=7)
    check_feature_caches(model, dataset)
    assert model.backbone.cache.n_expected == 7
    with pytest.raises(ValueError, match='Changing changes them'):
        check_feature_caches(model, SimpleNamespace(datasets=[SimpleNamespace(transforms=[Changing()])]))
    model.backbone.network.train()
    with pytest.raises(ValueError, match='must be in evaluation mode'):
        model.backbone(IMAGES)


@pytest.mark.parametrize(('name', 'n_versions'), [('keypoint_frozen', 4), ('multiview_frozen', None)])
def test_the_shipped_configs_keep_what_comes_again(name, n_versions):
    cfg = Config.fromfile(CONFIGS / 'train' / f'{name}.py').to_dict()
    backbone = cfg['model']['backbone']
    assert backbone['frozen']
    assert isinstance(build(backbone['cache'], MODELS), FeatureCache)
    if n_versions is not None:
        assert build(cfg['model']['augment'], MODELS).n_versions == n_versions
    transforms = cfg['train_dataloader']['dataset'].get('transforms', [])
    assert all(build_transform(transform).keeps_images for transform in transforms)
