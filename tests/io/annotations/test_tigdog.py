import numpy as np
import pytest
import scipy.io

from smilfit.io.annotations.tigdog import LANDMARKS
from smilfit.registry import build_annotations
from tests.io.annotations.mat_writers import write_mat73

RNG = np.random.default_rng(0)
XY = RNG.uniform(1, 60, (3, 19, 2))
SEEN = RNG.random((3, 19, 1)) < 0.7
MASKS = RNG.random((3, 8, 10)) < 0.4


def _save5(path, variables):
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = {}
    for name, value in variables.items():
        if isinstance(value, list):
            cell = np.empty((len(value), 1), dtype=object)
            cell[:, 0] = value
            value = cell
        plain[name] = value
    scipy.io.savemat(path, plain)
    return path


def _write(root, save):
    """Two shots of horses, the second without landmarks, as `behaviorDiscovery2.0` has them."""
    save(root / 'ranges/horse/ranges.mat', {'ranges': np.array([[4, 101, 103], [5, 104, 110]])})
    frames = [{'p': xy, 'v': seen.astype(np.uint8)} for xy, seen in zip(XY, SEEN)]
    save(root / 'landmarks/horse/4.mat', {'landmarks': frames})
    return root


def _read(root, **options):
    return build_annotations({'type': 'tigdog', **options}).read(root)


@pytest.mark.parametrize('save', [_save5, write_mat73])
def test_a_shot_is_a_sequence_of_images(tmp_path, save):
    root = _write(tmp_path / 'behaviorDiscovery2.0', save)
    save(root / 'horseSeg/seg4.mat', {'segments': [mask.astype(np.uint8) for mask in MASKS]})
    result = _read(tmp_path)
    assert result.keypoint_names == LANDMARKS[:18]
    assert result.temporal
    assert len(result) == 3
    for i, image in enumerate(result.images):
        assert image.image == root / f'horse/{101 + i:08d}.jpg'
        assert (image.sequence, image.frame, image.category) == ('horse+4', i, 'horse')
        seen = SEEN[i, :18, 0]
        np.testing.assert_array_equal(image.confidence, seen)
        # MATLAB's first pixel is 1.
        np.testing.assert_allclose(image.keypoints[seen], XY[i, :18][seen] - 1)
        assert not image.keypoints[~seen].any()
        np.testing.assert_array_equal(image.mask.read(), MASKS[i])
    assert 'shot 5' in result.skipped[0].where
    assert 'must exist' in result.skipped[0].reason


def test_options(tmp_path):
    root = _write(tmp_path, _save5)
    result = _read(root, with_neck=True, first_pixel=0, images=tmp_path / 'frames', animals=['horse'])
    assert result.keypoint_names == LANDMARKS
    assert result.images[0].image == tmp_path / 'frames/horse/00000101.jpg'
    assert result.images[0].mask is None
    seen = SEEN[0, :, 0]
    np.testing.assert_allclose(result.images[0].keypoints[seen], XY[0][seen])
    with pytest.raises(KeyError, match=r"no animal 'hors'. Did you mean 'horse'"):
        _read(root, animals=['hors'])


def test_bad_shots_and_frames_are_reported(tmp_path):
    root = _write(tmp_path, _save5)
    frames = [{'p': XY[0], 'v': SEEN[0]}, {'p': XY[1, :5], 'v': SEEN[1]}, np.zeros((0, 0))]
    _save5(root / 'landmarks/horse/4.mat', {'landmarks': frames})
    _save5(root / 'landmarks/horse/5.mat', {'landmarks': frames})
    result = _read(root)
    assert len(result) == 1
    reasons = [skip.reason for skip in result.skipped]
    assert (
        'landmarks must be a struct of positions (19 x 2) and visibility; got [(5, 2), (19, 1)]' in reasons[0]
    )
    assert result.skipped[1].where.endswith('frame 3 of 3')
    assert 'landmarks must be 7 cells, one a frame of the range; got 3' in reasons[2]


def test_what_is_no_tigdog(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'must hold ranges/<animal>/ranges\.mat'):
        _read(tmp_path)
    _save5(tmp_path / 'ranges/horse/ranges.mat', {'ranges': np.zeros((2, 2))})
    with pytest.raises(ValueError, match=r'ranges must be N x 3.*got \(2, 2\)'):
        _read(tmp_path)
