import json

import numpy as np
import pytest

from smilfit.io.annotations.animal3d import KEYPOINTS
from smilfit.registry import build_annotations

RNG = np.random.default_rng(0)


def _entry(**changes):
    entry = {
        'img_path': 'images/dog/n02085782_1.JPEG',
        'mask_path': 'masks/dog/n02085782_1.png',
        'supercategory': 1,
        'keypoint_2d': np.column_stack((RNG.uniform(0, 90, (26, 2)), RNG.random(26) < 0.7)).tolist(),
        'keypoint_3d': RNG.normal(size=(26, 3)).tolist(),
        'bbox': [3, 4, 50, 60],
        'pose': RNG.normal(size=105).tolist(),
        'shape': RNG.normal(size=20).tolist(),
        'shape_extra': RNG.normal(size=21).tolist(),
        'trans': [0.1, 0.2, 3.0],
    }
    entry.update(changes)
    return {key: value for key, value in entry.items() if value is not None}


def _read(tmp_path, entries, **options):
    path = tmp_path / 'train.json'
    path.write_text(json.dumps({'data': entries}))
    return build_annotations({'type': 'animal3d', **options}).read(path)


def test_an_entry_with_everything(tmp_path):
    entry = _entry()
    result = _read(tmp_path, [entry])
    (image,) = result.images
    assert result.keypoint_names == KEYPOINTS
    assert image.image == tmp_path / entry['img_path']
    assert image.mask.path == tmp_path / entry['mask_path']
    assert image.category == 'dog'
    points = np.array(entry['keypoint_2d'])
    np.testing.assert_array_equal(image.confidence, points[:, 2])
    np.testing.assert_array_equal(image.keypoints, points[:, :2] * points[:, 2:])
    np.testing.assert_array_equal(image.keypoints3d, entry['keypoint_3d'])
    np.testing.assert_array_equal(image.confidence3d, 1)
    np.testing.assert_array_equal(image.box, entry['bbox'])
    pose = np.array(entry['pose']).reshape(35, 3)
    np.testing.assert_array_equal(image.params['global_orient'], pose[0])
    np.testing.assert_array_equal(image.params['body_pose'], pose[1:])
    np.testing.assert_array_equal(image.params['betas'], entry['shape'] + entry['shape_extra'])
    np.testing.assert_array_equal(image.params['transl'], entry['trans'])


def test_what_nobody_fitted_is_absent(tmp_path):
    zero = _entry(
        pose=[0] * 105, shape=[0] * 20, shape_extra=[0] * 21, trans=[0] * 3, keypoint_3d=[[0] * 3] * 26
    )
    bare = _entry(pose=None, shape=None, shape_extra=None, trans=None, keypoint_3d=None, mask_path=None)
    for image in _read(tmp_path, [zero, bare], images=tmp_path / 'x').images:
        assert image.params is None
        assert image.keypoints3d is None
        assert image.image.is_relative_to(tmp_path / 'x')
    assert image.mask is None


def test_a_fourth_column_is_the_confidence(tmp_path):
    points = np.column_stack((RNG.normal(size=(26, 3)), np.arange(26) % 2))
    (image,) = _read(tmp_path, [_entry(keypoint_3d=points.tolist(), shape_extra=None)]).images
    np.testing.assert_array_equal(image.confidence3d, points[:, 3])
    assert not image.keypoints3d[::2].any()
    assert len(image.params['betas']) == 20


@pytest.mark.parametrize(
    ('change', 'reason'),
    [
        ({'img_path': None}, 'img_path must be given; it is missing'),
        ({'keypoint_2d': [[1, 2, 3]] * 25}, 'keypoint_2d must be 26x3 numbers; got shape'),
        ({'keypoint_3d': [[1, 2]] * 26}, 'keypoint_3d must have 3 or 4 columns; got 2'),
        ({'pose': [0.0] * 72}, 'pose must be 105 numbers; got shape'),
        ({'shape_extra': [1.0]}, 'must be 20 or 41 numbers; got 21'),
        ({'supercategory': 7}, 'supercategory must be 0 to 4'),
        ({'bone': [1.0] * 24}, 'got a bird'),
    ],
)
def test_bad_entries_are_reported(tmp_path, change, reason):
    result = _read(tmp_path, [_entry(), _entry(**change)])
    assert len(result) == 1
    assert 'entry 1' in result.skipped[0].where
    assert reason in result.skipped[0].reason


def test_what_is_no_animal3d(tmp_path):
    with pytest.raises(ValueError, match='data must be a list of entries; got dict'):
        _read(tmp_path, {})
