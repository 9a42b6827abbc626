"""Images with masks as training samples and as Inputs of fits."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from smilfit.datasets import (
    CropJitter,
    DatasetFile,
    MultiViewDataset,
    PreprocessOptions,
    ViewDropout,
    image_sessions,
    open_dataset,
    preprocess,
)
from smilfit.datasets.transforms import keep_views, move_crops
from smilfit.handlers import Keypoint2dInput, SilhouetteInput
from smilfit.synthetic import make_quadruped
from tests.datasets.blob_session import MaskSession, make_body
from tests.datasets.image_set import ImageSet, make_images

SIDE = 64


@pytest.fixture(scope='module')
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[DatasetFile, ImageSet]:
    folder = tmp_path_factory.mktemp('pictures')
    data = make_quadruped()
    image_set = make_images(folder, data, 3)
    images = list(image_set.annotations.images)
    images[1] = replace(images[1], mask=None)
    images[2].image.write_bytes(b'no picture')
    sessions, _ = image_sessions(replace(image_set.annotations, images=tuple(images)))
    options = PreprocessOptions(crop_mode='bbox_crop', target_resolution=SIDE, num_workers=0)
    preprocess(sessions, folder / 'a.h5', data, options)
    return open_dataset(folder / 'a.h5'), image_set


def test_samples_have_masks_where_images_have(made):
    file, _ = made
    dataset = MultiViewDataset(file.path, split='all', views=1)
    # The image that did not decode is no sample.
    assert len(dataset) == 2
    first, second = dataset[0], dataset[1]
    assert first['data_samples']['has_mask'].tolist() == [True]
    assert second['data_samples']['has_mask'].tolist() == [False]
    assert not second['data_samples']['mask'].any()
    np.testing.assert_array_equal(first['data_samples']['mask'][0], file.mask(0, 'picture'))
    assert first['inputs']['image'][0, :, first['data_samples']['mask'][0] > 0].float().mean() > 50


def test_masks_move_and_go_with_their_images(made):
    file, _ = made
    sample = MultiViewDataset(file.path, split='all', test_mode=True)[0]
    # A shift by whole pixels moves every pixel of the mask.
    moved = move_crops(sample, torch.tensor([[[1.0, 0, 5], [0, 1, -3]]]).double())
    before, after = sample['data_samples']['mask'][0], moved['data_samples']['mask'][0]
    assert torch.equal(after[: SIDE - 3, 5:], before[3:, : SIDE - 5])
    assert not after[:, :5].any()
    # Under any jitter the mask stays on the animal: bright pixels, which the background has none of.
    torch.manual_seed(0)
    jittered = CropJitter(0.1, 0.2, 30.0)(sample)
    bright = jittered['inputs']['image'][0].float().mean(0) > 60
    mask = jittered['data_samples']['mask'][0] > 0
    assert (bright & mask).sum() > 0.97 * mask.sum()
    assert jittered['data_samples']['mask'].unique().tolist() == [0, 255]
    gone = keep_views(sample, torch.zeros(1, dtype=torch.bool))
    assert not gone['data_samples']['mask'].any()
    assert not gone['data_samples']['has_mask'].any()
    assert ViewDropout(1.0)(sample)['data_samples']['has_mask'].all()


def test_inputs_of_images_are_in_stored_px(made):
    file, images = made
    names = images.annotations.keypoint_names
    keypoints = Keypoint2dInput.from_dataset(file, 'made', 'keypoints2d')
    silhouettes = SilhouetteInput.from_dataset(file, 'made', 'silhouette')
    assert keypoints.observed().tolist() == [True, True, False]
    assert silhouettes.observed().tolist() == [True, False, False]
    torch.testing.assert_close(silhouettes.cameras.K, keypoints.cameras.K)
    assert (silhouettes.cameras.size == SIDE).all()
    points = torch.from_numpy(images.annotations.images[0].keypoints3d)
    off = keypoints.cameras[0].project(points[None])[0] - keypoints.keypoints[0].select(names).xy
    assert float(off.abs().max()) < 1e-6


def test_rigs_keep_their_original_px(tmp_path):
    preprocess(
        [MaskSession(n_frames=2)], tmp_path / 'a.h5', make_body(), PreprocessOptions(target_resolution=128)
    )
    file = open_dataset(tmp_path / 'a.h5')
    assert not file.has_own_cameras('one')
    assert file.temporal('one')
    assert file.labels('one') == ('one, frame 0', 'one, frame 1')
    assert file.intrinsics_known('one').tolist() == [True, True]
    seen = Keypoint2dInput.from_dataset(file, 'one', 'keypoints2d')
    assert seen.cameras.K.shape == (3, 3, 3)
    torch.testing.assert_close(seen.cameras.K, file.cameras('one').K)
    silhouettes = SilhouetteInput.from_dataset(file, 'one', 'silhouette')
    assert silhouettes.masks.shape == (2, 3, 128, 128)
    assert silhouettes.cameras.K.shape == (2, 3, 3, 3)
    # Blobs are where keypoints are, in stored px too.
    stored = file.keypoints2d('one', stored=True)
    x, y = stored.xy[0, 0, 0].round().long().tolist()
    assert silhouettes.masks[0, 0, y, x] == 1


def test_a_file_without_masks_says_so(made, tmp_path):
    _, image_set = made
    images = tuple(replace(im, mask=None) for im in image_set.annotations.images[:2])
    sessions, _ = image_sessions(replace(image_set.annotations, images=images))
    preprocess(sessions, tmp_path / 'a.h5', make_quadruped(), PreprocessOptions(target_resolution=32))
    with pytest.raises(ValueError, match="session 'made' must have a mask for the handler 'silhouette'"):
        SilhouetteInput.from_dataset(open_dataset(tmp_path / 'a.h5'), 'made', 'silhouette')
    assert 'mask' not in MultiViewDataset(tmp_path / 'a.h5', split='all')[0]['data_samples']


def test_resized_masks_have_the_same_outline(made):
    file, _ = made
    whole = SilhouetteInput.from_dataset(file, 'made', 'silhouette')
    small = whole.resized(SIDE // 4)
    # A block of 4 x 4 px is one pixel, and its centre is where the cameras say.
    u = (torch.arange(SIDE // 4) * 4 + 1.5).double()
    points = torch.cat((torch.rand(1, 5, 2), torch.full((1, 5, 1), 3.0)), -1).double()
    ratio = whole.cameras[0].project(points)[0] - u[0]
    torch.testing.assert_close(small.cameras[0].project(points)[0] * 4, ratio)
    assert abs(float(small.masks[0].mean() - whole.masks[0].mean())) < 0.01
    assert whole.resized(SIDE) is whole


def test_stills_are_split_without_gaps(tmp_path: Path, made):
    file, _ = made
    parts = [MultiViewDataset(file.path, split=s, ratios=(0.5, 0.0, 0.5), gap=3) for s in ('train', 'test')]
    assert sum(len(part) for part in parts) == 2
