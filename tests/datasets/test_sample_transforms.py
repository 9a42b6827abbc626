"""Transforms: light leaves geometry alone; geometry moves images, cameras and keypoints together."""

import copy

import numpy as np
import pytest
import torch

from smilfit.datasets import (
    CropJitter,
    MultiViewDataset,
    PhotometricJitter,
    PreprocessOptions,
    ViewDropout,
    preprocess,
)
from smilfit.structures import Cameras
from tests.datasets.blob_session import BlobSession, find_blob, make_body


@pytest.fixture(scope='module', params=[False, True])
def sample(request, tmp_path_factory):
    path = tmp_path_factory.mktemp('jitter') / 'o.h5'
    options = PreprocessOptions(target_resolution=200, no_undistort=request.param)
    preprocess([BlobSession(n_frames=1, missing=[(0, 0, 1)])], path, make_body(), options)
    return MultiViewDataset(path, split='all')[0]


def _cameras(sample) -> Cameras:
    return Cameras(('0', '1', '2'), *(sample['inputs'][n] for n in ('K', 'R', 't', 'size', 'dist')))


def _same(a, b) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(a[k], b[k]) for k in a)
    return torch.equal(a, b)


@pytest.mark.parametrize('transform', [PhotometricJitter(), CropJitter(), ViewDropout(0.9)])
def test_the_given_sample_stays_as_it_is(sample, transform):
    before = copy.deepcopy(sample)
    assert not _same(transform(sample), before)
    assert _same(sample, before)


def test_light_changes_images_only(sample):
    changed = PhotometricJitter(0.3, 0.3, 0.05, 2.0)(sample)
    assert _same(changed['data_samples'], sample['data_samples'])
    for name in ('view_mask', 'K', 'R', 't', 'dist', 'size'):
        assert torch.equal(changed['inputs'][name], sample['inputs'][name])
    assert not torch.equal(changed['inputs']['image'], sample['inputs']['image'])


def test_each_light_option_does_its_own(sample):
    sample = copy.deepcopy(sample)
    sample['inputs']['image'] = (sample['inputs']['image'].float() * 0.2 + 100).to(torch.uint8)
    before = sample['inputs']['image'].float()
    off = {'brightness': 0.0, 'contrast': 0.0, 'noise': 0.0, 'blur_px': 0.0}
    assert torch.equal(PhotometricJitter(**off)(sample)['inputs']['image'].float(), before)
    shifts = PhotometricJitter(**off | {'brightness': 0.2})(sample)['inputs']['image'].float() - before
    assert (shifts.amax((1, 2, 3)) - shifts.amin((1, 2, 3)) <= 1).all()
    assert len(set(shifts.mean((1, 2, 3)).round().tolist())) == 3
    shared = (
        PhotometricJitter(**off | {'brightness': 0.2}, shared=True)(sample)['inputs']['image'].float()
        - before
    )
    assert shared.max() - shared.min() <= 1
    noisy = PhotometricJitter(**off | {'noise': 0.1})(sample)['inputs']['image'].float() - before
    assert noisy.std() > 1
    assert noisy.mean().abs() < 0.5
    torch.manual_seed(3)
    blurred = PhotometricJitter(**off | {'blur_px': 4.0})(sample)['inputs']['image'].float()
    assert (blurred.amax((1, 2, 3)) < before.amax((1, 2, 3)) - 2).all()
    torch.testing.assert_close(blurred.mean((1, 2, 3)), before.mean((1, 2, 3)), atol=0.5, rtol=0)


def test_blur_keeps_blobs_in_place(sample):
    blurred = PhotometricJitter(0, 0, 0, 3.0)(sample)
    for c in range(3):
        for k in range(5):
            point = sample['data_samples']['keypoints2d'][c, k].numpy()
            if sample['data_samples']['confidence2d'][c, k] > 0 and point.min() > 25 and point.max() < 174:
                image = blurred['inputs']['image'][c].permute(1, 2, 0).numpy()
                np.testing.assert_allclose(find_blob(image, point, 18), point, atol=0.05)


@pytest.mark.parametrize('seed', range(4))
def test_jittered_crops_keep_their_geometry(sample, seed):
    torch.manual_seed(seed)
    moved = CropJitter(shift=0.1, scale=0.2, rotation_deg=25)(sample)
    truth, before = moved['data_samples'], sample['data_samples']
    assert not torch.allclose(moved['inputs']['K'], sample['inputs']['K'])
    for name in ('R', 't', 'dist', 'size'):
        assert torch.equal(moved['inputs'][name], sample['inputs'][name])
    pixels, _, _ = _cameras(moved).project(truth['keypoints3d'])
    seen, result = truth['confidence2d'] > 0, 0
    torch.testing.assert_close(pixels[seen], truth['keypoints2d'][seen], atol=2e-3, rtol=0)
    assert not truth['keypoints2d'][~seen].any()

    def original(data):
        affine = data['to_original']
        return data['keypoints2d'] @ affine[..., :2].transpose(1, 2) + affine[:, None, :, 2]

    torch.testing.assert_close(original(truth)[seen], original(before)[seen], atol=2e-3, rtol=0)
    for c in range(3):
        image = moved['inputs']['image'][c].permute(1, 2, 0).numpy()
        for point in pixels[c].numpy():
            if point.min() > 14 and point.max() < 185:
                np.testing.assert_allclose(find_blob(image, point, 10), point, atol=0.05)
                result += 1
    assert result >= 6


def test_view_dropout_leaves_zeros_and_enough_views(sample):
    left = set()
    for _ in range(40):
        changed = ViewDropout(0.4, min_views=2)(sample)
        mask = changed['inputs']['view_mask']
        left.add(int(mask.sum()))
        for name in ('image', 'K', 'R', 't', 'dist', 'size'):
            assert not changed['inputs'][name][~mask].any()
            assert torch.equal(changed['inputs'][name][mask], sample['inputs'][name][mask])
        for name in ('keypoints2d', 'confidence2d', 'to_original'):
            assert not changed['data_samples'][name][~mask].any()
        assert torch.equal(changed['data_samples']['keypoints3d'], sample['data_samples']['keypoints3d'])
    assert left == {2, 3}


def test_ranges_are_checked():
    for make in (
        lambda: PhotometricJitter(brightness=-1),
        lambda: CropJitter(scale=1.0),
        lambda: ViewDropout(1.5),
        lambda: ViewDropout(min_views=0),
    ):
        with pytest.raises(ValueError, match='must be'):
            make()
