import json

import cv2
import numpy as np
import pytest

from smilfit.io.annotations import BadjaReader, check_images
from smilfit.registry import build_annotations

SIZE = (80, 50)


def frame(name='0007', **changes):
    joints, visibility = [[0, 0]] * 37, [False] * 37
    for joint, place in {8: (10, 60), 12: (12, 55), 15: (14, 30), 33: (30, 70), 20: (40, 65)}.items():
        joints[joint], visibility[joint] = list(place), joint != 20
    plain = {
        'image_path': f'extra/rgb/{name}.png',
        'segmentation_path': f'extra/masks/{name}.png',
        'joints': joints,
        'visibility': visibility,
    }
    return {**plain, **changes}


def data_set(folder, **sequences):
    """Write a data set of sequences with images and masks of columns 25 to 74 and rows 5 to 44."""
    (folder / 'joint_annotations').mkdir()
    for name, frames in sequences.items():
        (folder / 'joint_annotations' / f'{name}.json').write_text(json.dumps(frames))
        for entry in frames:
            for key in ('image_path', 'segmentation_path'):
                path = folder / entry[key]
                path.parent.mkdir(parents=True, exist_ok=True)
                drawn = np.zeros((SIZE[1], SIZE[0]), np.uint8)
                drawn[5:45, 25:75] = 255
                cv2.imwrite(str(path), drawn)
    return folder / 'joint_annotations'


def test_rows_and_columns_become_x_and_y_in_the_order_of_time(tmp_path):
    folder = data_set(tmp_path, cow=[frame('0007'), frame('0002')])
    result = check_images(BadjaReader().read(folder / 'cow.json'))
    assert not result.skipped
    assert result.temporal
    assert [(image.sequence, image.frame) for image in result.images] == [('cow', 2), ('cow', 7)]
    image = result.images[1]
    assert image.where == 'cow.json, entry 0 (extra/rgb/0007.png)'
    assert image.size == SIZE
    assert image.keypoints[result.keypoint_names.index('upper_right_1')].tolist() == [60, 10]
    assert image.confidence[result.keypoint_names.index('lower_right_3')] == 0
    assert image.mask.read().sum() == 40 * 50
    assert len(result.keypoint_names) == 37
    assert ('upper_left_1', 'upper_right_1') in result.flip


def test_a_folder_has_one_sequence_a_file_and_options_hold(tmp_path):
    folder = data_set(tmp_path, cow=[frame()], dog=[frame(), frame('0008')])
    result = BadjaReader(masks=False, occluded='keep').read(folder)
    assert [image.sequence for image in result.images] == ['cow', 'dog', 'dog']
    assert result.images[0].mask is None
    assert result.images[0].confidence[20] == 1
    assert result.images[0].keypoints[20].tolist() == [65, 40]
    with pytest.raises(FileNotFoundError, match='must hold'):
        BadjaReader().read(tmp_path)


def test_a_file_in_the_other_order_is_found_by_its_masks(tmp_path):
    turned = [place[::-1] for place in frame()['joints']]
    folder = data_set(tmp_path, cow=[frame(), frame('0009', joints=turned)])
    result = check_images(BadjaReader().read(folder))
    assert len(result) == 1
    assert 'Rows and columns seem exchanged' in result.skipped[0].reason


def test_broken_entries_are_reported(tmp_path):
    entries = [
        frame(),
        frame(joints=[[1, 2]] * 36),
        frame(joints=[[0, 0]] * 37),
        frame(visibility=[True]),
        frame(image_path=3),
        3,
    ]
    (tmp_path / 'cow.json').write_text(json.dumps(entries))
    result = BadjaReader().read(tmp_path / 'cow.json')
    rules = (
        '37x2 numbers',
        'got (0, 0)',
        'visibility must be 37',
        'image_path must be str',
        'must be an object',
    )
    for skipped, rule in zip(result.skipped, rules, strict=True):
        assert rule in skipped.reason
    (tmp_path / 'cow.json').write_text('[{"img_path": 1}]')
    with pytest.raises(ValueError, match='with image_path and joints'):
        BadjaReader().read(tmp_path / 'cow.json')
    with pytest.raises(ValueError, match="occluded must be 'drop' or 'keep'"):
        BadjaReader(occluded='kep')


@pytest.mark.real
def test_real_sequences(real_data):
    result = build_annotations(dict(type='badja')).read(real_data / 'badja')
    assert not result.skipped
    counts = {
        name: sum(image.sequence == name for image in result.images) for name in ('bear', 'cows', 'rs_dog')
    }
    assert counts == {'bear': 17, 'cows': 21, 'rs_dog': 201}
    for image in result.images:
        x, y = image.keypoints[image.confidence > 0].T
        # Videos are 16:9 and these animals are longer than high: rows are in the smaller range.
        assert y.max() < 1080
        assert x.max() < 1920
    assert max(image.keypoints[:, 0].max() for image in result.images) > 1200
