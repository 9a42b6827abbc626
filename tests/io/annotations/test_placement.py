"""Keypoints against their images, boxes and masks, over a whole set."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from smilfit.io.annotations import BadjaReader, ImageMask, StanfordExtraReader, check_images
from smilfit.structures import AnnotatedImage, AnnotationSet
from tests.io.annotations.test_badja import data_set, frame

SIZE = (100, 70)
N = 12


def filling_set(folder, known, size=SIZE, n=4):
    """Make entries whose animals fill their images: points all over, or all over masks."""
    rng = np.random.default_rng(0)
    entries = []
    for i in range(n):
        image = folder / f'{i}.png'
        cv2.imwrite(str(image), np.zeros((size[1], size[0], 3), np.uint8))
        points = rng.uniform((0, 0), np.array(size) - 1, size=(N, 2))
        box, mask = None, None
        if known == 'box':
            box = np.array([-0.5, -0.5, *size])
        elif known == 'mask':
            drawn = np.zeros((size[1], size[0]), np.uint8)
            # A bar, wider than high.
            drawn[size[1] // 4 : size[1] // 2] = 1
            points[:, 1] = rng.uniform(size[1] // 4, size[1] // 2 - 1, size=N)
            mask = ImageMask(folder / f'{i}_mask.png')
            cv2.imwrite(str(mask.path), drawn)
        entries.append(AnnotatedImage(f'a.json, entry {i}', image, points, np.ones(N), size, box, mask))
    return AnnotationSet('a', tuple(f'k{i}' for i in range(N)), tuple(entries))


def exchanged(annotations):
    images = tuple(replace(image, keypoints=image.keypoints[:, ::-1].copy()) for image in annotations.images)
    return replace(annotations, images=images)


@pytest.mark.parametrize(
    ('known', 'size'), [('image', SIZE), ('box', SIZE), ('mask', SIZE), ('mask', (80, 80))]
)
def test_exchanged_rows_and_columns_of_animals_that_fill_their_images(tmp_path, known, size):
    right = filling_set(tmp_path, known, size)
    assert not check_images(right).skipped
    result = check_images(exchanged(right))
    assert not result.images
    assert all('Rows and columns seem exchanged' in skipped.reason for skipped in result.skipped)
    whole = [skipped for skipped in result.skipped if 'of the whole set' in skipped.reason]
    assert bool(whole) == (known != 'mask')


def test_one_exchanged_entry_of_many_is_none_of_the_set(tmp_path):
    right = filling_set(tmp_path, 'image')
    mixed = replace(right, images=(*right.images[:3], exchanged(right).images[3]))
    assert len(check_images(mixed)) >= 3


def test_points_below_their_images_are_no_exchange(tmp_path):
    """Legs that go on below the image would be inside it by the other order; all else would not."""
    right = filling_set(tmp_path, 'image')
    images = []
    for image in right.images:
        points = image.keypoints.copy()
        points[:3] = (30, SIZE[1] + 10)
        images.append(replace(image, keypoints=points))
    assert len(check_images(replace(right, images=tuple(images)))) == len(images)


def shrunk(tmp_path, by):
    """Make a BADJA data set, then replace images and masks by smaller ones."""
    folder = data_set(tmp_path, cow=[frame('0001'), frame('0002')])
    for path in tmp_path.glob('extra/*/*.png'):
        image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        cv2.imwrite(str(path), cv2.resize(image, None, fx=by, fy=by, interpolation=cv2.INTER_NEAREST))
    return folder


@pytest.mark.parametrize(
    ('by', 'reason'),
    [
        (1.0, ''),
        # Most points are outside.
        (0.45, '36x22 px; 3 of 4 are outside, up to x = 70 and y = 30. Images of another size'),
        # Inside, but beside the animal.
        (3.5, 'of the whole set, keypoints must lie on their masks; '),
    ],
)
def test_frames_of_another_size_than_annotated(tmp_path, by, reason):
    result = check_images(BadjaReader().read(shrunk(tmp_path, by)))
    assert len(result) == (0 if reason else 2)
    assert all(reason in skipped.reason for skipped in result.skipped)


def test_frames_of_another_size_without_masks_are_known_by_their_sequence(tmp_path):
    """A frame whose points happen to be inside is of the size of the others."""
    near = frame()['joints']
    for joint, place in {8: (10, 30), 12: (12, 25), 15: (14, 30), 33: (20, 10)}.items():
        near[joint] = list(place)
    frames = [frame('0001'), frame('0002'), frame('0003', joints=near), frame('0004', joints=near)]
    folder = data_set(tmp_path, cow=frames, dog=[frame('1001', joints=near)])
    read = BadjaReader(masks=False).read
    assert len(check_images(read(folder))) == 5
    for path in tmp_path.glob('extra/*/*.png'):
        cv2.imwrite(str(path), np.zeros((22, 36), np.uint8))
    result = check_images(read(folder))
    assert [image.sequence for image in result.images] == ['dog']
    reasons = [skipped.reason for skipped in result.skipped]
    assert ['3 of 4 are outside' in reason for reason in reasons] == [True, True, False, False]
    for reason in reasons[2:]:
        assert 'of the whole sequence, keypoints must be within their images; 6 of 16 are outside' in reason
    # One label beside its image is no other size.
    some = [frame('0001', joints=[*near[:8], [10, 60], *near[9:]]), *frames[2:]]
    (folder / 'cow.json').write_text(json.dumps(some))
    assert len(check_images(read(folder))) == 4


@pytest.mark.real
def test_real_dogs_in_either_order(real_data):
    folder = real_data / 'stanfordextra'
    right = StanfordExtraReader(images=folder / 'sample_imgs').read(folder / 'StanfordExtra_sample.json')
    kept = check_images(right)
    assert len(kept) > 20
    assert not [skipped for skipped in kept.skipped if 'exchanged' in skipped.reason]
    assert not check_images(exchanged(right)).images
