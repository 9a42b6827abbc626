"""Samples as a regressor takes them, splits that keep neighbours together, workers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from smilfit.datasets import MultiViewDataset, open_dataset, split_samples
from smilfit.registry import build_dataset
from smilfit.structures import Cameras
from tests.datasets.blob_session import NAMES, find_blob


def test_a_sample_has_the_agreed_form(dataset_path):
    data = build_dataset({'type': 'MultiViewDataset', 'data_path': str(dataset_path), 'split': 'all'})
    C, K = 4, 5
    shapes = {
        'inputs': {
            'image': (C, 3, 64, 64), 'view_mask': (C,), 'K': (C, 3, 3), 'R': (C, 3, 3), 't': (C, 3), 'dist': (C, 5),
            'size': (C, 2),
        },
        'data_samples': {
            'keypoints2d': (C, K, 2), 'confidence2d': (C, K), 'keypoints3d': (K, 3), 'confidence3d': (K,),
            'to_original': (C, 2, 3), 'has_params': (), 'has_betas': (), 'params_weight': (), 'session': (),
            'frame': (), 'index': (),
        },
    }  # fmt: skip
    params = {'global_orient': (3,), 'body_pose': (3, 3), 'betas': (2,), 'transl': (3,), 'scale': ()}
    sample = data[50]
    for part, wanted in shapes.items():
        assert {n: tuple(v.shape) for n, v in sample[part].items() if n != 'params'} == wanted
    assert {n: tuple(v.shape) for n, v in sample['data_samples']['params'].items()} == params
    assert sample['inputs']['image'].dtype == torch.uint8
    assert sample['inputs']['view_mask'].tolist() == [True, False, False, True]
    for name in ('image', 'K', 'R', 't', 'dist', 'size'):
        assert not sample['inputs'][name][1].any()
    data_samples = sample['data_samples']
    assert bool(data_samples['has_params'])
    assert float(data_samples['params']['scale']) == 2.0
    assert (int(data_samples['session']), int(data_samples['frame'])) == (1, 2)
    assert not bool(data[0]['data_samples']['has_params'])
    assert data.metainfo['keypoint_names'] == NAMES
    assert data.metainfo['body_model_file'] == 'four.smil.json'


def test_points_of_a_sample_project_onto_its_images(dataset_path):
    data = MultiViewDataset(dataset_path, split='all')
    for index in (0, 30, 55):
        sample = data[index]
        inputs, truth = sample['inputs'], sample['data_samples']
        keep = inputs['view_mask'].nonzero().squeeze(-1)
        cameras = Cameras(
            tuple(map(str, keep.tolist())), *(inputs[n][keep] for n in ('K', 'R', 't', 'size', 'dist'))
        )
        pixels, _, _ = cameras.project(truth['keypoints3d'])
        assert (truth['confidence2d'][keep] > 0).all()
        torch.testing.assert_close(pixels, truth['keypoints2d'][keep], atol=1e-3, rtol=0)
        for c, points in zip(keep.tolist(), pixels.numpy()):
            image = inputs['image'][c].permute(1, 2, 0).numpy()
            for point in points:
                if point.min() > 6 and point.max() < 57:
                    np.testing.assert_allclose(find_blob(image, point, 3.5), point, atol=0.1)


def test_workers_and_collate_give_what_one_process_gives(dataset_path):
    data = MultiViewDataset(dataset_path, split='all', test_mode=True)
    data[0]  # open here first: workers must not inherit the handle
    loader = DataLoader(data, batch_size=7, num_workers=2)
    images = torch.cat([batch['inputs']['image'] for batch in loader])
    indices = torch.cat([batch['data_samples']['index'] for batch in loader])
    assert indices.tolist() == list(range(60))
    for i in (0, 13, 59):
        assert torch.equal(images[i], data[i]['inputs']['image'])


def test_views_by_name_and_by_number(dataset_path):
    named = MultiViewDataset(dataset_path, split='all', views=('right', 'above'))
    assert len(named) == 48
    assert named[0]['inputs']['view_mask'].tolist() == [False, True, True, False]
    most = MultiViewDataset(dataset_path, split='all', views=2, test_mode=True)
    assert most[0]['inputs']['view_mask'].tolist() == [True, True, False, False]
    drawn = MultiViewDataset(dataset_path, split='all', views=2)
    masks = {tuple(drawn[0]['inputs']['view_mask'].tolist()) for _ in range(30)}
    assert len(masks) == 3
    assert all(sum(mask) == 2 for mask in masks)


def test_fraction_is_even_in_time(dataset_path):
    data = MultiViewDataset(dataset_path, split='all', fraction=0.1)
    assert len(data) == 6
    assert data.indices.tolist() == [0, 12, 24, 35, 47, 59]


def test_transforms_run_in_training_only(dataset_path):
    config = [{'type': 'ViewDropout', 'probability': 1.0}]
    data = MultiViewDataset(dataset_path, split='all', transforms=config)
    assert int(data[0]['inputs']['view_mask'].sum()) == 1
    data = MultiViewDataset(dataset_path, split='all', transforms=config, test_mode=True)
    assert int(data[0]['inputs']['view_mask'].sum()) == 3


@pytest.mark.parametrize('loader', ['train', 'val', 'test'])
def test_the_base_config_builds(dataset_path, loader):
    from mmengine.config import Config

    root = Path(__file__).parents[2]
    config = Config.fromfile(root / 'configs' / '_base_' / 'datasets' / 'multiview.py')
    data = build_dataset(config[f'{loader}_dataloader']['dataset'] | {'data_path': str(dataset_path)})
    assert len(data) > 0
    assert int(data[0]['inputs']['view_mask'].sum()) >= 2


def test_bad_options(dataset_path, tmp_path):
    for options, message in (
        ({'split': 'training'}, "Did you mean 'train'"),
        ({'split_by': 'sessions'}, "Did you mean 'session'"),
        ({'split_by': 'session'}, 'must be at least 3'),
        ({'views': ('lft',)}, "Did you mean 'left'"),
        ({'views': 0}, 'at least 1'),
        ({'fraction': 0.0}, r'must be in \(0, 1\]'),
        ({'ratios': (0.5, 0.1, 0.1)}, 'of sum 1'),
        ({'split': 'val', 'ratios': (0.9, 0.0, 0.1)}, 'must have a sample'),
    ):
        with pytest.raises(ValueError, match=message):
            MultiViewDataset(dataset_path, **options)


@pytest.mark.parametrize('lengths', [(120,), (1000, 40, 300), (25,) * 30, (4000, 2000)])
@pytest.mark.parametrize('gap', [0, 2])
def test_time_blocks(lengths, gap):
    session = np.repeat(np.arange(len(lengths)), lengths)
    frame = np.concatenate([np.arange(n) * 2 for n in lengths])
    names = [f's{i}' for i in range(len(lengths))]
    parts = split_samples(session, frame, names, gap=gap, block_size=50)
    again = split_samples(session, frame, names, gap=gap, block_size=50)
    joined = np.concatenate(list(parts.values()))
    assert len(set(joined)) == len(joined)
    for name, ratio in (('train', 0.85), ('val', 0.05), ('test', 0.1)):
        np.testing.assert_array_equal(parts[name], again[name])
        if gap == 0:
            assert len(parts[name]) == pytest.approx(ratio * len(frame), abs=2)
        assert len(parts[name]) > 0
    if gap == 0:
        assert len(joined) == len(frame)
        return
    assert len(joined) >= 0.95 * len(frame)
    for one, two in (('train', 'val'), ('train', 'test'), ('val', 'test')):
        for s in range(len(lengths)):
            a, b = (frame[parts[n][session[parts[n]] == s]] for n in (one, two))
            if len(a) and len(b):
                assert np.abs(a[:, None] - b).min() > gap


def test_long_recordings_are_held_out_in_several_places():
    n = 10000
    parts = split_samples(np.zeros(n, int), np.arange(n), ['a'], gap=5)
    for name, ratio in (('train', 0.85), ('val', 0.05), ('test', 0.1)):
        stretches = 1 + int((np.diff(parts[name]) > 1).sum())
        assert stretches == 5
        assert len(parts[name]) == pytest.approx(ratio * n, abs=55)


def test_sessions_stay_whole():
    session, frame = np.repeat(np.arange(20), 10), np.tile(np.arange(10), 20)
    names = [f's{i}' for i in range(20)]
    parts = split_samples(session, frame, names, 'session')
    groups = [set(session[parts[n]]) for n in ('train', 'val', 'test')]
    assert [len(g) for g in groups] == [17, 1, 2]
    assert len(set.union(*groups)) == 20
    # The order of recording does not decide.
    order = np.arange(20)[::-1]
    moved = split_samples(session, frame, [names[i] for i in order], 'session')
    assert {names[order[s]] for s in set(session[moved['test']])} == {names[s] for s in groups[2]}
    three = split_samples(np.arange(3), np.zeros(3, int), ['a', 'b', 'c'], 'session')
    assert [len(three[n]) for n in ('train', 'val', 'test')] == [1, 1, 1]


def test_one_door(dataset_path):
    file = open_dataset(dataset_path)
    assert file.session_names == ('first', 'second')
    assert file.true_params('first') is None
    assert file.true_params('second').scale.tolist() == [2.0] * 12


def test_auto_holds_sessions_out_where_there_are_enough(dataset_path, caplog):
    for n, which in ((5, 'session'), (4, 'time_block')):
        names = [f'day_{i}' for i in range(n)]
        session, frame = np.repeat(np.arange(n), 30), np.tile(np.arange(30), n)
        auto = split_samples(session, frame, names, 'auto', (0.6, 0.2, 0.2))
        named = split_samples(session, frame, names, which, (0.6, 0.2, 0.2))
        assert all(np.array_equal(auto[part], named[part]) for part in named)
    MultiViewDataset(dataset_path, split='test', split_by='auto', gap=0)
    assert 'say little of other animals' in caplog.text
