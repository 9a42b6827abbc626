import json

import cv2
import numpy as np
import pytest

from smilfit.io.annotations import CocoReader, check_images
from smilfit.registry import UnknownNameError, build_annotations

NAMES = ['nose', 'left_ear', 'right_ear']


def animal(number=0, **changes):
    plain = {
        'id': number,
        'image_id': 5,
        'category_id': 1,
        'keypoints': [10, 11, 2, 20, 21, 1, 0, 0, 0],
        'bbox': [4, 5, 30, 20],
        'segmentation': [[2, 1, 6, 1, 6, 4, 2, 4]],
        'iscrowd': 0,
    }
    return {**plain, **changes}


def written(path, entries, **changes):
    content = {
        'images': [{'id': 5, 'file_name': 'a.png', 'width': 40, 'height': 30}],
        'categories': [{'id': 1, 'name': 'dog', 'keypoints': NAMES}],
    }
    path.write_text(json.dumps({**content, 'annotations': entries, **changes}))
    return path


def test_an_annotation_is_read_as_written(tmp_path):
    result = CocoReader(images=tmp_path / 'pictures').read(written(tmp_path / 'a.json', [animal()]))
    image = result.images[0]
    assert image.where == 'a.json, entry 0 (a.png, id 0)'
    assert image.image == tmp_path / 'pictures' / 'a.png'
    assert image.keypoints.tolist() == [[10, 11], [20, 21], [0, 0]]
    assert image.confidence.tolist() == [1, 1, 0]
    # A box counts from the outer corner of the first pixel.
    assert image.box.tolist() == [3.5, 4.5, 30, 20]
    assert (image.size, image.category) == ((40, 30), 'dog')
    expected = np.zeros((30, 40), dtype=bool)
    expected[1:4, 2:6] = True
    np.testing.assert_array_equal(image.mask.read(), expected)
    assert result.keypoint_names == tuple(NAMES)
    assert result.flip == (('left_ear', 'right_ear'),)


def test_occluded_keypoints_can_be_dropped(tmp_path):
    image = CocoReader(occluded='drop').read(written(tmp_path / 'a.json', [animal()])).images[0]
    assert image.confidence.tolist() == [1, 0, 0]
    assert image.keypoints[1].tolist() == [0, 0]


def test_run_lengths_are_masks_and_two_animals_are_two_entries(tmp_path):
    runs = {'counts': [3, 4, 1193], 'size': [30, 40]}
    two = [animal(0, segmentation=runs), animal(1, segmentation=None, bbox=None)]
    result = CocoReader().read(written(tmp_path / 'a.json', two))
    assert result.images[0].mask.read().sum() == 4
    assert result.images[1].mask is None
    assert result.images[0].image == result.images[1].image


def test_categories_of_one_skeleton_are_read_together_others_need_a_choice(tmp_path):
    categories = [
        {'id': 1, 'name': 'dog', 'keypoints': NAMES},
        {'id': 2, 'name': 'cat', 'keypoints': NAMES},
        {'id': 3, 'name': 'fly', 'keypoints': ['wing']},
    ]
    both = [animal(0), animal(1, category_id=2)]
    path = written(tmp_path / 'a.json', both, categories=categories)
    assert [image.category for image in CocoReader().read(path).images] == ['dog', 'cat']
    result = CocoReader(category='cat').read(path)
    assert [image.where for image in result.images] == ['a.json, entry 1 (a.png, id 1)']
    assert not result.skipped
    fly = animal(2, category_id=3, keypoints=[1, 2, 2])
    path = written(tmp_path / 'a.json', [*both, fly], categories=categories)
    with pytest.raises(ValueError, match="'cat' and 'fly' do not"):
        CocoReader().read(path)
    assert CocoReader(category='fly').read(path).keypoint_names == ('wing',)
    with pytest.raises(UnknownNameError, match="'dogg' is none. Did you mean 'dog'"):
        CocoReader(category='dogg').read(path)


def test_scores_in_place_of_visibility_are_confidences(tmp_path):
    scored = animal(keypoints=[10, 11, 0.87, 20, 21, 1, 30, 31, 0])
    mixed = animal(keypoints=[10, 11, 0.87, 20, 21, 2, 30, 31, 0])
    result = CocoReader(occluded='drop').read(written(tmp_path / 'a.json', [scored, mixed, animal()]))
    assert [image.confidence.tolist() for image in result.images] == [[0.87, 1, 0], [1, 0, 0]]
    assert result.images[0].keypoints.tolist() == [[10, 11], [20, 21], [0, 0]]
    assert 'or scores in [0, 1]; got 0.87 among 0 to 2' in result.skipped[0].reason


@pytest.mark.parametrize('size', [{'width': 40.0, 'height': 30.0}, {}, {'width': None, 'height': None}])
@pytest.mark.parametrize(
    'segmentation', [[[2, 1, 6, 1, 6, 4, 2, 4]], {'counts': [3, 4, 1193], 'size': [30, 40]}, None]
)
def test_sizes_may_be_floats_or_left_to_the_image(tmp_path, size, segmentation):
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((30, 40, 3), np.uint8))
    images = [{'id': 5, 'file_name': 'a.png', **size}]
    entry = animal(segmentation=segmentation, bbox=None, keypoints=[3, 1, 2, 4, 2, 1, 0, 0, 0])
    if isinstance(segmentation, dict):
        entry['keypoints'][:6] = [0, 4, 2, 1, 5, 2]
    result = check_images(CocoReader().read(written(tmp_path / 'a.json', [entry], images=images)))
    assert not result.skipped
    (image,) = result.images
    assert image.size == (40, 30)
    assert (image.mask is None) == (segmentation is None)
    assert image.mask is None or image.mask.read().shape == (30, 40)


@pytest.mark.parametrize(
    ('size', 'reason'),
    [
        ({'width': 40.5, 'height': 30}, 'must be whole numbers; got 40.5'),
        ({'width': 40}, 'height must be given'),
        ({'width': 41.0, 'height': 30}, 'must be 41x30 px as its annotation says'),
    ],
)
def test_sizes_that_are_none_are_reported(tmp_path, size, reason):
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((30, 40, 3), np.uint8))
    images = [{'id': 5, 'file_name': 'a.png', **size}]
    result = check_images(
        CocoReader().read(written(tmp_path / 'a.json', [animal(segmentation=None)], images=images))
    )
    assert reason in result.skipped[0].reason


def test_masks_alone_are_an_annotation(tmp_path):
    path = written(tmp_path / 'a.json', [animal()], categories=[{'id': 1, 'name': 'dog'}])
    result = CocoReader().read(path)
    assert result.keypoint_names == ()
    assert result.images[0].keypoints.shape == (0, 2)


def test_broken_entries_are_reported_one_by_one(tmp_path):
    entries = [
        animal(),
        animal(category_id=7),
        animal(image_id=6),
        animal(iscrowd=1),
        animal(keypoints=[1, 2, 2]),
        animal(keypoints=[10, 11, 3, 20, 21, 1, 0, 0, 0]),
        animal(bbox=[1, 2, 0, 3]),
        animal(segmentation=[1, 2, 3]),
        animal(segmentation={'counts': 7, 'size': [3, 4]}),
        animal(category_id=[1]),
        'dog',
    ]
    result = CocoReader().read(written(tmp_path / 'a.json', entries))
    rules = (
        'category_id must be one of categories; got 7', 'image_id must be one of', 'more than one animal',
        'keypoints must be 9', 'or scores in [0, 1]; got 3', 'positive width', 'list of polygons',
        'counts must be str or list', 'category_id must be int or str', 'must be an object',
    )  # fmt: skip
    assert len(result) == 1
    for skipped, rule in zip(result.skipped, rules, strict=True):
        assert rule in skipped.reason
    assert result.skipped[0].where == 'a.json, entry 1 (a.png, id 0)'


@pytest.mark.parametrize(
    ('changes', 'rule'),
    [
        (dict(annotations={}), 'annotations must be a list'),
        (dict(images=[{'id': 1}, {'id': 1}]), 'different ids; got 1 twice'),
        (dict(images=[{}]), 'images, entry 0: id must be given'),
        (dict(categories=[{'id': 1}]), 'must have a name'),
        (dict(categories=[{'id': 1, 'name': 'dog', 'keypoints': ['a', 'a']}]), 'different names'),
    ],
)
def test_broken_files_are_refused(tmp_path, changes, rule):
    with pytest.raises(ValueError, match=rule):
        CocoReader().read(written(tmp_path / 'a.json', [animal()], **changes))


@pytest.mark.real
def test_real_ants(real_data):
    folder = real_data / 'replicant' / 'SMIL_COCO'
    reader = build_annotations(dict(type='coco', images=folder / 'data'))
    content = json.loads((folder / 'labels.json').read_text())
    result = check_images(reader.read(folder / 'labels.json'))
    assert (len(result), len(result.skipped)) == (8, 0)
    assert len(result.keypoint_names) == 51
    assert len(result.flip) == 22
    for image, written_image in zip(result.images, content['annotations'], strict=True):
        assert image.mask.read().sum() == pytest.approx(written_image['area'], rel=0.02)
        assert image.confidence.sum() >= 45
