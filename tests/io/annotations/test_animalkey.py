import json
import pickle

import numpy as np
import pytest

from smilfit.io.annotations.animalkey import KEYPOINTS
from smilfit.registry import build_annotations

RNG = np.random.default_rng(0)


def _points(count=28):
    return np.column_stack((RNG.uniform(0, 60, (count, 2)), RNG.random(count) < 0.7))


def _write(folder, points, frame='00012', suffix='.jpg'):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f'{frame}{suffix}').touch()
    if points is not None:
        (folder / f'{frame}.pkl').write_bytes(pickle.dumps(points, 2))


def _read(path, **options):
    return build_annotations({'type': 'animalkey', **options}).read(path)


def test_a_folder_of_frames(tmp_path):
    points = _points()
    _write(tmp_path, points)
    _write(tmp_path, None, '00013')
    (tmp_path / 'masks').mkdir()
    for frame in ('00012', '00013'):
        (tmp_path / f'masks/{frame}.png').touch()
    (tmp_path / 'bboxes.json').write_text(json.dumps({'00012.jpg': [1, 2, 3, 4], '00013': [5, 6, 7, 8]}))
    result = _read(tmp_path, category='cow')
    assert result.keypoint_names == KEYPOINTS
    assert result.temporal
    first, second = result.images
    np.testing.assert_array_equal(first.confidence, points[:, 2])
    np.testing.assert_array_equal(first.keypoints, points[:, :2] * points[:, 2:])
    assert (first.sequence, first.frame, first.category) == (tmp_path.name, 12, 'cow')
    np.testing.assert_array_equal(first.box, [1, 2, 3, 4])
    assert not second.confidence.any()
    assert second.mask.path == tmp_path / 'masks/00013.png'
    np.testing.assert_array_equal(second.box, [5, 6, 7, 8])


def test_boxes_of_full_images_are_not_boxes_of_crops(tmp_path):
    _write(tmp_path / 'walk', _points())
    (tmp_path / 'walk/full_size').mkdir()
    (tmp_path / 'walk/bboxes.json').write_text('{"00012": [1, 2, 3, 4]}')
    assert _read(tmp_path).images[0].box is None


def test_folders_are_sequences_and_names_are_numbers_where_unknown(tmp_path):
    for name in ('run', 'walk'):
        _write(tmp_path / name, _points(30))
    result = _read(tmp_path)
    assert result.keypoint_names[29] == 'keypoint_29'
    assert [image.sequence for image in result.images] == ['run', 'walk']
    assert _read(tmp_path, names=[f'p{i}' for i in range(30)]).keypoint_names[0] == 'p0'


class _Runs:
    def __reduce__(self):
        return (open, ('/tmp/never', 'w'))


def test_bad_frames_are_reported(tmp_path):
    _write(tmp_path, _points(), '1')
    _write(tmp_path, _points(7), '2')
    _write(tmp_path, _Runs(), '3')
    _write(tmp_path, None, '4')
    result = _read(tmp_path)
    assert len(result) == 1
    reasons = [skip.reason for skip in result.skipped]
    assert 'keypoints must be 28x3 numbers' in reasons[0]
    assert 'Nothing was run' in reasons[1]
    assert 'must have keypoints or a mask; got neither' in reasons[2]


def test_what_is_no_animalkey(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'must hold <frame>\.pkl'):
        _read(tmp_path)
    (tmp_path / '1.pkl').write_bytes(pickle.dumps(np.zeros(3), 2))
    with pytest.raises(ValueError, match='must be an array of K x 3 numbers'):
        _read(tmp_path)
    (tmp_path / '1.pkl').write_bytes(pickle.dumps(_points(), 2))
    with pytest.raises(FileNotFoundError, match='must hold the frames'):
        _read(tmp_path)
    (tmp_path / '1.jpg').touch()
    (tmp_path / 'bboxes.json').write_text('{"1": [1, 2]}')
    with pytest.raises(ValueError, match='1 must be 4 numbers'):
        _read(tmp_path)
