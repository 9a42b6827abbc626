"""What is read from a training set before training."""

from dataclasses import replace

import pytest
import torch

from smilfit.body_models import SMIL
from smilfit.geometry.rotation import axis_angle_to_rotmat
from smilfit.networks.engine import compute_statistics
from smilfit.networks.engine.training_statistics import centre_and_spread
from tests.toy_samples import ToyDataset, toy_body, toy_data


class _Changed(ToyDataset):
    def __init__(self, change, n=16):
        super().__init__(n=n)
        self.change = change

    def __getitem__(self, index):
        sample = super().__getitem__(index)
        self.change(sample['data_samples'])
        return sample


def _no_params(s):
    s['has_params'] = torch.tensor(False)
    s['params'] = {k: torch.full_like(v, 1e6) for k, v in s['params'].items()}


def _no_points(s):
    s['confidence3d'] = torch.zeros(5)


def _nothing(s):
    _no_params(s)
    _no_points(s)


def test_position_size_and_scale_are_those_of_the_set():
    data, body = ToyDataset(n=16), toy_body()
    statistics = compute_statistics(data, body)
    samples = [data[i]['data_samples'] for i in range(16)]
    xyz = torch.stack([s['keypoints3d'] for s in samples])
    torch.testing.assert_close(statistics.mean_position, xyz.mean((0, 1)), atol=1e-5, rtol=0)
    mean_scale = torch.stack([s['params']['scale'] for s in samples]).mean()
    torch.testing.assert_close(statistics.mean_scale, mean_scale)
    _, spread = centre_and_spread(xyz, torch.ones(16, 5, dtype=torch.bool))
    torch.testing.assert_close(statistics.scene_unit, spread.mean())
    assert statistics.names.camera_names == ('cam0', 'cam1', 'cam2')
    # The mean of rotations near the identity is near the mean of their vectors.
    mean = torch.stack([s['params']['body_pose'] for s in samples]).mean(0)
    torch.testing.assert_close(statistics.mean_pose[1:], axis_angle_to_rotmat(mean), atol=0.03, rtol=0)
    assert torch.equal(statistics.mean_pose[0], torch.eye(3))


@pytest.mark.parametrize(('change', 'tolerance'), [(_no_params, 0.15), (_no_points, 0.01), (_nothing, 0.25)])
def test_what_is_missing_is_found_otherwise(change, tolerance):
    """From 3D keypoints alone, parameters alone, or 2D keypoints alone; of the right size each time."""
    best = compute_statistics(ToyDataset(n=16), toy_body())
    other = compute_statistics(_Changed(change), toy_body())
    assert abs(other.mean_scale / best.mean_scale - 1) < tolerance
    assert abs(other.scene_unit / best.scene_unit - 1) < tolerance
    assert (other.mean_position - best.mean_position).norm() < tolerance * best.scene_unit


def test_units_scale_through():
    """The set in another unit has the same statistics in that unit."""

    def in_metres(s):
        s['keypoints3d'] = s['keypoints3d'] / 1000
        for name in ('transl', 'scale'):
            s['params'][name] = s['params'][name] / 1000

    best, metres = (
        compute_statistics(ToyDataset(n=8), toy_body()),
        compute_statistics(_Changed(in_metres, 8), toy_body()),
    )
    for name in ('mean_position', 'scene_unit', 'mean_scale'):
        torch.testing.assert_close(getattr(metres, name) * 1000, getattr(best, name), rtol=1e-4, atol=1e-6)


def test_parameters_of_another_model_are_refused():
    data = toy_data()
    fewer = SMIL(replace(data, shapedirs=data.shapedirs[..., :1]))
    with pytest.raises(ValueError, match='--body-model'):
        compute_statistics(ToyDataset(n=2), fewer)


def test_an_empty_set_is_refused():
    with pytest.raises(ValueError, match='at least one sample'):
        compute_statistics(ToyDataset(n=0), toy_body())


def test_a_set_that_shows_nothing_is_refused():
    def blind(s):
        _nothing(s)
        s['confidence2d'] = torch.zeros(3, 5)

    with pytest.raises(ValueError, match='nothing to learn'):
        compute_statistics(_Changed(blind, 2), toy_body())


def test_where_keypoints_are_on_average_is_kept_by_camera():
    """Images of single views count for their own camera; a view that is absent counts for none."""
    whole = [ToyDataset(n=4)[i] for i in range(4)]
    for sample in whole:
        sample['data_samples']['confidence2d'][1, 2] = 0
    wanted = torch.stack([s['data_samples']['keypoints2d'] for s in whole]).mean(0) / 64
    single = [_one_view(sample, c) for sample in whole for c in range(3)]
    for samples in (whole, single):
        result = compute_statistics(_Given(samples), toy_body(), summarise=lambda xyz, seen: {})
        places = torch.tensor([result.summaries['mean_place'][f'cam{c}'] for c in range(3)])
        assert places[1, 2].isnan().all()
        places[1, 2] = wanted[1, 2]
        torch.testing.assert_close(places, wanted)


def _one_view(sample, camera):
    views = (
        'image',
        'view_mask',
        'K',
        'R',
        't',
        'dist',
        'size',
        'keypoints2d',
        'confidence2d',
        'to_original',
    )
    result = {
        part: {k: v[camera : camera + 1] if k in views else v for k, v in sample[part].items()}
        for part in ('inputs', 'data_samples')
    }
    result['data_samples']['view'] = torch.tensor(camera)
    return result


class _Given(ToyDataset):
    def __init__(self, samples):
        super().__init__(n=len(samples))
        self.samples = samples

    def __getitem__(self, index):
        return self.samples[index]
