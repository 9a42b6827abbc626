"""Boxes, masks and entries that are sound each by itself and wrong together."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from smilfit.io.annotations import RleMask, check_images
from smilfit.structures import AnnotatedImage, AnnotationSet

SIZE = (60, 40)
POINTS = np.array([[10.0, 12.0], [50.0, 14.0], [52.0, 30.0], [45.0, 33.0]])


@pytest.fixture
def entry(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((SIZE[1], SIZE[0], 3), np.uint8))
    return AnnotatedImage('a.json, entry 0', tmp_path / 'a.png', POINTS, np.ones(len(POINTS)), SIZE)


def checked(*images):
    images = tuple(replace(image, where=f'a.json, entry {i}') for i, image in enumerate(images))
    return check_images(AnnotationSet('a', tuple(f'k{i}' for i in range(len(POINTS))), images))


def columns(first, last):
    """Make a mask of whole columns."""
    before, inside = first * SIZE[1], (last - first) * SIZE[1]
    return RleMask((before, inside, SIZE[0] * SIZE[1] - before - inside), SIZE)


@pytest.mark.parametrize(
    ('box', 'reason'),
    [
        ((70, 5, 20, 20), '60x40 px; got 20x20 px at (70, 5), which is outside'),
        ((5, -30, 20, 29), 'which is outside'),
        ((20, 20, 1, 1), 'a side of 4 px or more within the image; got 1x1 px at (20, 20)'),
        # Of a large box, too, what the image shows counts.
        ((58, 38, 40, 40), 'a side of 4 px or more'),
        ((0.1, 0.2, 0.8, 0.7), 'shares of the image'),
        # Pixels seen and not: a part of a box may be outside.
        ((-20, -5, 75, 43), ''),
        ((20, 10, 1, 20), ''),
    ],
)
def test_a_box_shows_a_part_of_its_image(entry, box, reason):
    result = checked(replace(entry, box=np.array(box, np.float64), keypoints=POINTS * 0.4 + (10, 5)))
    assert len(result) == (not reason)
    assert all(reason in skipped.reason for skipped in result.skipped)


def test_a_mask_is_of_the_animal_in_the_box(entry):
    box = np.array([9.5, 0.0, 40.0, 40.0])
    assert not checked(replace(entry, box=box, mask=columns(10, 50))).skipped
    # The box may show a part of the animal alone.
    assert not checked(replace(entry, box=box, mask=columns(45, 60))).skipped
    (skipped,) = checked(replace(entry, box=box, mask=columns(50, 60))).skipped
    assert '0 of its 400 px are in the box of 40x40 px at (9.5, 0)' in skipped.reason


def test_an_entry_that_is_there_again_is_left_out(entry):
    other = POINTS + (0, 1)
    boxed = replace(entry, box=np.array([4.0, 5, 50, 30]))
    result = checked(entry, entry, replace(entry, keypoints=other), boxed, boxed)
    assert [image.where[-1] for image in result.images] == ['0', '2', '3']
    assert [skipped.where[-1] for skipped in result.skipped] == ['1', '4']
    assert 'this entry is a.json, entry 0 again' in result.skipped[0].reason


def test_entries_of_masks_alone_differ_by_their_masks(entry):
    bare = replace(entry, keypoints=0 * POINTS, confidence=np.zeros(len(POINTS)))
    result = checked(*(replace(bare, mask=columns(*ends)) for ends in ((5, 9), (10, 30), (5, 9))))
    assert [skipped.where[-1] for skipped in result.skipped] == ['2']
