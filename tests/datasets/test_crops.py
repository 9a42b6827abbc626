"""Crops are where their affine map says, in every mode, with every lens."""

import numpy as np
import pytest
import torch

from smilfit.body_models import BodyModelData
from smilfit.datasets import CROP_MODES, Crop, PreprocessOptions, cut, find_crop, open_dataset, preprocess
from smilfit.datasets.crops import apply_affine, decode_image, encode_jpeg, invert_affine
from smilfit.structures import Cameras
from tests.datasets.blob_session import BlobSession, draw_blobs, find_blob


@pytest.mark.parametrize('no_undistort', [False, True])
@pytest.mark.parametrize('mode', CROP_MODES)
@pytest.mark.parametrize('resolution', [128, 400])
def test_known_points_lie_in_the_stored_crops(tmp_path, body, mode, no_undistort, resolution):
    # Missing labels move the keypoint box, so that it leaves the image in some views.
    # Undistortion moves a round blob's centroid by its curvature, so blobs are no wider than sampling asks for.
    sigma = 4.0 if resolution < 200 else 2.0
    session = BlobSession(n_frames=3, sigma=sigma, missing=[(0, 0, 0), (0, 0, 1), (1, 1, 2), (1, 1, 4)])
    options = PreprocessOptions(
        crop_mode=mode, no_undistort=no_undistort, target_resolution=resolution, bbox_margin=1.3
    )
    preprocess([session], tmp_path / 'out.h5', body, options)
    file = open_dataset(tmp_path / 'out.h5')
    source, result = file.cameras('one'), 0
    assert (source.dist is None) is not no_undistort
    for i in range(3):
        record = file.record(i)
        affine = invert_affine(record.to_original)
        cameras = source.transformed(torch.from_numpy(affine), torch.from_numpy(record.size))
        np.testing.assert_allclose(record.K, cameras.K, atol=1e-9)
        pixels, _, valid = cameras.project(session.points[i])
        assert valid.all()
        for c in range(3):
            image = file.image(i, c)
            scale = np.sqrt(np.linalg.det(affine[c, :, :2]))
            for k, point in enumerate(pixels[c].numpy()):
                radius = 2.75 * sigma * scale + 1
                if (point < radius + 2).any() or (point > resolution - 3 - radius).any():
                    continue
                np.testing.assert_allclose(find_blob(image, point, radius), point, atol=0.05)
                result += 1
                if record.confidence2d[c, k] > 0:
                    np.testing.assert_allclose(record.keypoints2d[c, k], point, atol=1e-6)
    assert result >= 25


@pytest.mark.parametrize('crop', [Crop(0, 0, 90, 70, 45), Crop(-8, 22, 60, 60, 96), Crop(50, -9, 50, 90, 64)])
def test_cut_agrees_with_its_affine(crop):
    spot = np.array([[crop.x + 0.53 * crop.width, crop.y + 0.46 * crop.height]])
    image = draw_blobs(spot, 90, 70)
    (expected,) = apply_affine(crop.affine(), spot)
    stored = cut(image, crop)
    assert stored.shape == (crop.resolution, crop.resolution, 3)
    sx = crop.resolution / crop.width
    np.testing.assert_allclose(find_blob(stored, expected, 12 * sx), expected, atol=0.05)


def test_outside_of_the_image_is_black_and_nothing_is_stretched():
    white = np.full((40, 60, 3), 255, np.uint8)
    stored = cut(white, Crop(-20, -20, 40, 40, 80))
    assert (stored[:39, :] == 0).all()
    assert (stored[:, :39] == 0).all()
    assert (stored[41:, 41:] == 255).all()
    assert (cut(white, Crop(100, 100, 40, 40, 20)) == 0).all()


def test_shrinking_averages_over_every_source_pixel():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)
    stored = cut(image, Crop(0, 0, 80, 60, 20))
    means = image.reshape(20, 3, 20, 4, 3).mean((1, 3))
    assert np.abs(stored - means).max() <= 0.5 + 1e-9


def test_boxes():
    assert find_crop('default', (1280, 1024), 224) == Crop(0, 0, 1280, 1024, 224)
    assert find_crop('centred', (1280, 1024), 224) == Crop(128, 0, 1024, 1024, 224)
    points = np.array([[10.0, 20.0], [109.0, 50.0]])
    box = find_crop('bbox_crop', (1280, 1024), 224, points, margin=1.05)
    assert box.width == box.height == 105
    inside = apply_affine(box.affine(), points)
    assert (inside > 0).all()
    assert (inside < 223).all()
    with pytest.raises(ValueError, match="Did you mean 'centred'"):
        find_crop('centered', (10, 10), 5)
    with pytest.raises(ValueError, match='must have a keypoint'):
        find_crop('bbox_crop', (10, 10), 5, np.zeros((0, 2)))


def test_affine_inverts_and_composes_with_cameras():
    crop = Crop(-7, 13, 50, 80, 33)
    points = np.random.default_rng(0).normal(size=(9, 2)) * 100
    valid = apply_affine(crop.affine(), points)
    np.testing.assert_allclose(apply_affine(invert_affine(crop.affine()), valid), points, atol=1e-10)


def test_jpeg_keeps_red_red():
    image = np.zeros((16, 16, 3), np.uint8)
    image[..., 0] = 200
    decoded = decode_image(encode_jpeg(image, 95), 'here')
    assert np.abs(decoded.astype(int) - image).max() <= 4
    with pytest.raises(ValueError, match='must decode'):
        decode_image(np.arange(50, dtype=np.uint8), 'here')


def test_beyond_the_lens_fold_the_image_is_black(tmp_path, body: BodyModelData):
    """A wide-angle image undistorted to corners that no ray reached shows nothing there, not a mirror image."""
    wide = BlobSession(n_frames=2)
    rig = wide.cameras
    strong = Cameras(
        rig.names, rig.K, rig.R, rig.t, rig.size, rig.dist * 0 + torch.tensor([-1.6, 0, 0, 0, 0])
    )
    assert float(strong.fold[0]) < 0.5
    session = BlobSession(n_frames=2, cameras=strong)
    session.image = lambda frame, camera: np.full(
        (int(strong.size[camera, 1]), int(strong.size[camera, 0]), 3), 255, np.uint8
    )
    preprocess([session], tmp_path / 'out.h5', body, PreprocessOptions(target_resolution=64))
    file = open_dataset(tmp_path / 'out.h5')
    record, image = file.record(0), file.image(0, 0).astype(int).sum(-1)
    v, u = np.mgrid[:64, :64]
    radius = np.hypot(
        (u - record.K[0, 0, 2]) / record.K[0, 0, 0], (v - record.K[0, 1, 2]) / record.K[0, 1, 1]
    )
    assert image[radius > float(strong.fold[0]) + 0.05].max() < 120
    assert image[radius < 0.3].min() > 700
