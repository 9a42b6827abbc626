"""Single images of dataset files, and several files as one."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils.data import default_collate

from smilfit.datasets import (
    MixedDataset,
    MixedSampler,
    MultiViewDataset,
    PictureDataset,
    PreprocessOptions,
    preprocess,
)
from smilfit.networks.engine import build_data_loader
from smilfit.structures import BodyParams, Cameras
from tests.datasets.blob_session import NAMES, BlobSession, make_body
from tests.ranks import on_two_ranks


@pytest.fixture(scope='module')
def small_set(tmp_path_factory):
    path = tmp_path_factory.mktemp('data') / 'small.h5'
    session = BlobSession('small', 5, names=NAMES[1:4])
    preprocess(
        [session], path, make_body(), PreprocessOptions(target_resolution=48), body_model_file='b.smil.json'
    )
    return path


def test_every_view_is_a_sample_of_its_own_with_the_values_of_the_whole_one(dataset_path):
    whole = MultiViewDataset(dataset_path, split='all', test_mode=True)
    images = PictureDataset(dataset_path, split='all', test_mode=True)
    views = torch.stack([whole[i]['inputs']['view_mask'] for i in range(len(whole))])
    assert len(images) == int(views.sum())
    for item in (0, 4, len(images) - 1):
        sample = images[item]
        data, c = sample['data_samples'], int(sample['data_samples']['view'])
        expected = whole[int(data['index'])]
        for name, value in sample['inputs'].items():
            assert torch.equal(value[0], expected['inputs'][name][c])
        for name in ('keypoints2d', 'confidence2d', 'to_original'):
            assert torch.equal(data[name][0], expected['data_samples'][name][c])
        assert torch.equal(data['keypoints3d'], expected['data_samples']['keypoints3d'])


def test_resized_images_keep_their_projections(dataset_path):
    plain = PictureDataset(dataset_path, split='all', test_mode=True)
    small = PictureDataset(dataset_path, split='all', test_mode=True, resolution=40)
    sample, resized = plain[3], small[3]
    assert resized['inputs']['image'].shape == (1, 3, 40, 40)
    data = resized['data_samples']
    cameras = Cameras(('c',), **{n: resized['inputs'][n].double() for n in ('K', 'R', 't', 'size', 'dist')})
    px, _, _ = cameras.project(data['keypoints3d'].double())
    seen = data['confidence2d'][0] > 0
    assert seen.any()
    torch.testing.assert_close(px[0][seen].float(), data['keypoints2d'][0][seen], atol=1e-2, rtol=0)

    def original(of):
        points = of['data_samples']['keypoints2d'][0][seen]
        affine = of['data_samples']['to_original'][0]
        return points @ affine[:, :2].T + affine[:, 2]

    torch.testing.assert_close(original(resized), original(sample), atol=1e-2, rtol=0)


def test_sessions_and_views_are_chosen_by_name(dataset_path):
    second = PictureDataset(dataset_path, split='all', sessions=['second'], views=['left'])
    assert {int(second[i]['data_samples']['session']) for i in range(len(second))} == {1}
    assert {int(second[i]['data_samples']['view']) for i in range(len(second))} == {0}
    with pytest.raises(KeyError, match='second'):
        PictureDataset(dataset_path, split='all', sessions=['secnd'])
    with pytest.raises(ValueError, match='must have an image'):
        PictureDataset(dataset_path, split='all', sessions=['second'], views=['above'])
    with pytest.raises(ValueError, match='names of cameras'):
        PictureDataset(dataset_path, views=2)


def test_keypoints_come_in_the_order_asked_for_and_unknown_ones_without_confidence(dataset_path):
    plain = PictureDataset(dataset_path, split='all')
    names = ('tail', 'wing', 'root')
    asked = PictureDataset(dataset_path, split='all', keypoint_names=names)
    own = plain.keypoint_names
    for key in ('keypoints3d', 'confidence3d'):
        before, after = plain[0]['data_samples'][key], asked[0]['data_samples'][key]
        assert torch.equal(after[0], before[own.index('tail')])
        assert torch.equal(after[2], before[own.index('root')])
        assert not after[1].any()
    assert not asked[0]['data_samples']['confidence2d'][:, 1].any()
    assert asked.metainfo['keypoint_names'] == names
    with pytest.raises(ValueError, match=r'wing.*it has .*root'):
        PictureDataset(dataset_path, split='all', keypoint_names=['wing'])


def test_sets_of_other_keypoints_and_sizes_make_one_batch(dataset_path, small_set):
    parts = [PictureDataset(p, split='all', resolution=48) for p in (small_set, dataset_path)]
    mixed = MixedDataset(parts, weights=(1, 3))
    assert mixed.keypoint_names == (*NAMES[1:4], NAMES[0], NAMES[4])
    batch = default_collate([mixed[0], mixed[len(mixed) - 1]])
    assert batch['inputs']['image'].shape == (2, 1, 3, 48, 48)
    assert not batch['data_samples']['confidence2d'][0, :, 3:].any()
    assert batch['data_samples']['dataset'].tolist() == [0, 1]
    with pytest.raises(ValueError, match='images must be of one size'):
        MixedDataset([PictureDataset(p, split='all') for p in (small_set, dataset_path)])
    with pytest.raises(ValueError, match='one positive number'):
        MixedDataset(parts, weights=(1, 0))


def test_sets_of_another_body_model_come_without_their_parameters(dataset_path, tmp_path):
    other = replace(make_body(), shapedirs=None)
    session = BlobSession('other', 3)
    session.true_params = BodyParams.zeros(3, 4, 0)
    options = PreprocessOptions(target_resolution=64, num_workers=0)
    preprocess([session], tmp_path / 'other.h5', other, options, body_model_file='o.smil.json')
    parts = [
        PictureDataset(dataset_path, split='all', sessions=['second']),
        PictureDataset(tmp_path / 'other.h5', split='all'),
    ]
    assert bool(parts[1][0]['data_samples']['has_params'])
    mixed = MixedDataset(parts)
    data = default_collate([mixed[0], mixed[len(mixed) - 1]])['data_samples']
    assert data['has_params'].tolist() == [True, False]
    assert data['params']['betas'].shape == (2, 2)
    assert data['confidence2d'].sum() > 5


def _draw(folder: str, path: str) -> None:
    cfg = {
        'batch_size': 2,
        'num_workers': 0,
        'sampler': {'type': 'MixedSampler', 'samples_per_epoch': 20},
        'dataset': {
            'type': 'MixedDataset',
            'datasets': [
                {'type': 'PictureDataset', 'data_path': path, 'split': 'all', 'sessions': [name]}
                for name in ('first', 'second')
            ],
            'weights': [1, 1],
        },
    }
    loader = build_data_loader(cfg, seed=3)
    seen = [
        f'{i} {v}'
        for b in loader
        for i, v in zip(*(b['data_samples'][k].tolist() for k in ('index', 'view')))
    ]
    Path(folder, f'{torch.distributed.get_rank()}.txt').write_text('\n'.join(seen))


def test_two_processes_draw_different_images_by_a_config(dataset_path, tmp_path):
    on_two_ranks(_draw, str(tmp_path), str(dataset_path))
    first, second = ((tmp_path / f'{rank}.txt').read_text().splitlines() for rank in (0, 1))
    assert len(first) == len(second) == 10
    assert len({*first, *second}) == 20
    assert sum(int(entry.split()[0]) < 48 for entry in first + second) == 10


class Parts:
    sizes, weights = (10, 40), (3.0, 1.0)

    def __len__(self) -> int:
        return 50


def drawn(rank: int, world: int, epochs: range, **options) -> list[list[int]]:
    sampler = MixedSampler(Parts(), seed=4, **options)
    sampler.rank, sampler.world_size = rank, world
    sampler.n_each = sampler.n_each // world
    orders = []
    for epoch in epochs:
        sampler.set_epoch(epoch)
        orders.append(list(sampler))
    return orders


def test_parts_come_in_their_shares_and_every_sample_before_one_comes_again():
    orders = drawn(0, 1, range(4), samples_per_epoch=20)
    for order in orders:
        assert sum(i < 10 for i in order) == 15
    small = [i for order in orders for i in order if i < 10]
    assert sorted(small) == sorted([*range(10)] * 6)
    large = [i for order in drawn(0, 1, range(8), samples_per_epoch=20) for i in order if i >= 10]
    assert sorted(large) == [*range(10, 50)]


def test_processes_share_an_epoch_out_and_a_resumed_one_goes_on():
    whole = drawn(0, 1, range(3), samples_per_epoch=20)
    halves = [drawn(rank, 2, range(3), samples_per_epoch=20) for rank in range(2)]
    for epoch, order in enumerate(whole):
        assert order[0::2] == halves[0][epoch]
        assert order[1::2] == halves[1][epoch]
    assert drawn(0, 1, range(2, 3), samples_per_epoch=20) == whole[2:]
    with pytest.raises(ValueError, match='samples_per_epoch'):
        MixedSampler(Parts(), samples_per_epoch=0)
