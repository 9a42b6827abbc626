import json

import numpy as np
import pytest

from smilfit.io.annotations import check_images
from smilfit.registry import build_annotations


def dog(**changes):
    joints = [[float(i), 2.0 * i, float(i % 3 > 0)] for i in range(24)]
    plain = {
        'img_path': 'n01-Some_breed/a.jpg', 'img_width': 60, 'img_height': 50, 'joints': joints,
        'img_bbox': [1, 2, 30, 40], 'is_multiple_dogs': False, 'seg': 'h0',
    }  # fmt: skip
    return {**plain, **changes}


def written(path, content):
    path.write_text(json.dumps(content))
    return path


def test_an_entry_is_read_as_written(tmp_path):
    path = written(tmp_path / 'dogs.json', [dog()])
    result = build_annotations(dict(type='stanfordextra', images=tmp_path / 'Images')).read(path)
    image = result.images[0]
    assert image.where == 'dogs.json, entry 0 (n01-Some_breed/a.jpg)'
    assert image.image == tmp_path / 'Images' / 'n01-Some_breed' / 'a.jpg'
    assert (image.size, image.category, image.sequence) == ((60, 50), 'Some_breed', '')
    assert image.keypoints[4].tolist() == [4, 8]
    # Of what is not visible the coordinates are not kept.
    assert image.keypoints[3].tolist() == [0, 0]
    assert image.confidence.tolist() == [float(i % 3 > 0) for i in range(24)]
    assert image.box.tolist() == [1, 2, 30, 40]
    assert ('left_front_paw', 'right_front_paw') in result.flip
    assert len(result.flip) == 9
    assert not result.temporal


def test_several_dogs_in_one_annotation_are_reported_or_kept(tmp_path):
    path = written(tmp_path / 'dogs.json', [dog(), dog(is_multiple_dogs=True)])
    result = build_annotations(dict(type='stanfordextra')).read(path)
    assert len(result) == 1
    assert result.skipped[0].where.startswith('dogs.json, entry 1')
    assert 'several animals' in result.skipped[0].reason
    assert len(build_annotations(dict(type='stanfordextra', multiple='keep')).read(path)) == 2
    with pytest.raises(ValueError, match="multiple must be 'skip' or 'keep'; got 'kep'"):
        build_annotations(dict(type='stanfordextra', multiple='kep'))


def test_broken_entries_are_reported_one_by_one(tmp_path):
    entries = [
        dog(),
        dog(joints=[[1, 2, 1]] * 23),
        dog(joints=[[1, 2, 7]] * 24),
        dog(img_width='60'),
        dog(img_width=0),
        dog(seg=[1, 2]),
        dog(img_bbox=[1, 2]),
        dog(joints=[[1, None, 1]] * 24),
        'dog',
        {'img_path': 'a.jpg'},
        dog(img_path=' '),
    ]
    result = build_annotations(dict(type='stanfordextra')).read(written(tmp_path / 'dogs.json', entries))
    assert len(result) == 1
    rules = (
        'joints must be 24x3', 'visibility in [0, 1]', 'img_width must be int', 'must be positive',
        'seg must be text', 'img_bbox must be 4', 'joints must be finite', 'must be an object',
        'img_width must be given', "image's name must be given",
    )  # fmt: skip
    for skipped, rule in zip(result.skipped, rules, strict=True):
        assert rule in skipped.reason


def test_other_files_are_refused(tmp_path):
    reader = build_annotations(dict(type='stanfordextra'))
    with pytest.raises(FileNotFoundError, match='must exist'):
        reader.read(tmp_path / 'none.json')
    for content, rule in (
        (dict(a=1), 'must be a list'),
        ([dict(a=1)], 'entries with img_path'),
        ([], 'entries with'),
    ):
        with pytest.raises(ValueError, match=rule):
            reader.read(written(tmp_path / 'x.json', content))
    (tmp_path / 'x.json').write_text('{')
    with pytest.raises(ValueError, match='must be JSON'):
        reader.read(tmp_path / 'x.json')


def test_a_split_chooses_entries(tmp_path):
    path = written(tmp_path / 'dogs.json', [dog(img_path=f'{i}.jpg') for i in range(5)])
    np.save(tmp_path / 'split.npy', np.array([3, 1]))
    result = build_annotations(dict(type='stanfordextra', split=tmp_path / 'split.npy')).read(path)
    assert [image.image.name for image in result.images] == ['3.jpg', '1.jpg']
    assert result.images[0].where == 'dogs.json, entry 3 (3.jpg)'
    np.save(tmp_path / 'split.npy', np.array([5]))
    with pytest.raises(ValueError, match='whole numbers below 5'):
        build_annotations(dict(type='stanfordextra', split=tmp_path / 'split.npy')).read(path)
    np.save(tmp_path / 'split.npy', np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match='file of numbers'):
        build_annotations(dict(type='stanfordextra', split=tmp_path / 'split.npy')).read(path)


@pytest.mark.real
def test_real_dogs_pass_every_check(real_data):
    folder = real_data / 'stanfordextra'
    reader = build_annotations(dict(type='stanfordextra', images=folder / 'sample_imgs'))
    result = check_images(reader.read(folder / 'StanfordExtra_sample.json'))
    assert (len(result), len(result.skipped)) == (25, 0)
    assert result.images[0].category == 'Rhodesian_ridgeback'


@pytest.mark.real
def test_real_animal_pose(real_data):
    path = real_data / 'animalpose' / 'animal_pose_data.json'
    result = build_annotations(dict(type='animalpose')).read(path)
    assert (len(result), len(result.skipped)) == (104, 0)
    assert 'L_F_Elbow' in result.keypoint_names
    labelled = np.sum([image.confidence for image in result.images], axis=0)
    unlabelled = {result.keypoint_names[i] for i in np.flatnonzero(labelled == 0)}
    assert unlabelled == {'TailEnd', 'Chin', 'L_EarTip', 'R_EarTip'}
    for image in result.images:
        mask = image.mask.read()
        assert mask.shape == image.size[::-1]
        x, y = image.keypoints[image.confidence > 0].round().astype(int).T
        # Keypoints are on the animal, give or take its edge.
        near = [mask[max(v - 12, 0) : v + 13, max(u - 12, 0) : u + 13].any() for u, v in zip(x, y)]
        assert np.mean(near) > 0.7
    gone = check_images(result)
    assert len(gone.skipped) == 104
    assert 'must exist' in gone.skipped[0].reason
