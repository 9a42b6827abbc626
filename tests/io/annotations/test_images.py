import logging
from dataclasses import replace

import cv2
import numpy as np
import pytest

from smilfit.io.annotations import ImageMask, RleMask, check_images, mask_box, read_image, read_images
from smilfit.structures import AnnotatedImage, AnnotationSet, SkippedAnnotation, VideoFrame

SIZE = (60, 40)
POINTS = np.array([[10.0, 12.0], [50.0, 14.0], [52.0, 30.0], [45.0, 33.0]])


def noise(size=SIZE, seed=0):
    return np.random.default_rng(seed).integers(0, 255, size=(size[1], size[0], 3)).astype(np.uint8)


def entry(image, **changes):
    plain = AnnotatedImage('a.json, entry 0', image, POINTS, np.ones(len(POINTS)), SIZE)
    return replace(plain, **changes)


def checked(*images):
    names = tuple(f'k{i}' for i in range(len(POINTS)))
    return check_images(AnnotationSet('a', names, images))


def reason(image):
    result = checked(image)
    assert not result.images
    assert result.skipped[0].where == image.where
    return result.skipped[0].reason


@pytest.fixture
def image_path(tmp_path):
    path = tmp_path / 'a.png'
    cv2.imwrite(str(path), noise())
    return path


def test_good_entries_stay_and_get_their_size(image_path):
    mask = RleMask([0, SIZE[0] * SIZE[1]], SIZE)
    result = checked(
        entry(image_path),
        entry(image_path, size=None, mask=mask),
        entry(image_path, box=np.array([5.0, 5, 50, 30])),
    )
    assert len(result) == 3
    assert not result.skipped
    assert [image.size for image in result.images] == [SIZE] * 3
    np.testing.assert_array_equal(result.images[0].keypoints, POINTS)
    np.testing.assert_array_equal(read_image(result.images[0]), noise()[..., ::-1])


def test_missing_and_unreadable_images_are_left_out_and_the_rest_goes_on(image_path, tmp_path):
    (tmp_path / 'text.png').write_text('no image')
    result = checked(
        entry(tmp_path / 'none.png', where='x'), entry(image_path), entry(tmp_path / 'text.png', where='y')
    )
    assert len(result) == 1
    assert [skipped.where for skipped in result.skipped] == ['x', 'y']
    assert 'must exist' in result.skipped[0].reason
    assert 'must open' in result.skipped[1].reason


def test_sizes_must_agree(image_path):
    assert 'must be 61x40 px' in reason(entry(image_path, size=(61, 40)))
    assert 'turned by a quarter' in reason(entry(image_path, size=SIZE[::-1]))
    wrong = RleMask([0, 100], (10, 10))
    assert 'the mask must be of the size of its image, 60x40 px; got 10x10' in reason(
        entry(image_path, mask=wrong)
    )


def test_masks_that_do_not_decode_are_reported(image_path, tmp_path):
    assert 'must fill' in reason(entry(image_path, mask=RleMask([7], SIZE)))
    assert 'must exist' in reason(entry(image_path, mask=ImageMask(tmp_path / 'none.png')))


def test_nothing_to_fit_is_reported(image_path):
    empty = RleMask([SIZE[0] * SIZE[1]], SIZE)
    nobody = np.zeros(len(POINTS))
    assert 'its mask is empty' in reason(entry(image_path, mask=empty, confidence=nobody))
    assert 'got neither' in reason(entry(image_path, confidence=nobody))


def test_a_mask_without_keypoints_is_enough(image_path):
    mask = RleMask([0, SIZE[0] * SIZE[1]], SIZE)
    alone = AnnotatedImage('a', image_path, np.zeros((0, 2)), np.zeros(0), mask=mask)
    result = check_images(AnnotationSet('a', (), (alone,)))
    assert result.images[0].mask is mask
    assert len(checked(entry(image_path, mask=mask, confidence=np.zeros(len(POINTS))))) == 1


def test_an_empty_mask_beside_keypoints_is_dropped_and_counted(image_path, caplog):
    with caplog.at_level(logging.WARNING, logger='smilfit'):
        result = checked(entry(image_path, mask=RleMask([SIZE[0] * SIZE[1]], SIZE)))
    assert result.images[0].mask is None
    assert '1 empty masks are left out' in caplog.text


def test_keypoints_outside_lose_their_confidence_and_are_counted(image_path, caplog):
    points = POINTS.copy()
    points[1] = (59.6, 3.0)
    points[2] = (59.4, -0.4)
    with caplog.at_level(logging.WARNING, logger='smilfit'):
        result = checked(entry(image_path, keypoints=points))
    assert result.images[0].confidence.tolist() == [1, 0, 1, 1]
    assert result.images[0].keypoints[1].tolist() == [0, 0]
    assert '1 keypoints of 1 entries are outside' in caplog.text
    assert 'all 4 are outside' in reason(entry(image_path, keypoints=POINTS + 100))


@pytest.mark.parametrize('known', ['box', 'mask', 'picture'])
def test_rows_and_columns_exchanged_are_found(image_path, known):
    box, mask = None, None
    if known == 'box':
        box = np.array([9.0, 11, 45, 24])
    elif known == 'mask':
        drawn = np.zeros((SIZE[1], SIZE[0]), dtype=np.uint8)
        drawn[11:35, 9:54] = 1
        cv2.imwrite(str(image_path.with_name('mask.png')), drawn)
        mask = ImageMask(image_path.with_name('mask.png'))
    assert not checked(entry(image_path, box=box, mask=mask)).skipped
    message = reason(entry(image_path, box=box, mask=mask, keypoints=POINTS[:, ::-1].copy()))
    assert 'Rows and columns seem exchanged' in message


def test_a_turned_image_is_read_as_its_annotator_saw_it(tmp_path):
    from PIL import Image

    stored = noise()[..., ::-1]
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / 'turned.png'
    Image.fromarray(stored).save(path, exif=exif)
    upright = np.rot90(stored, -1)
    points = POINTS[:, ::-1].copy()
    assert checked(entry(path, size=None, keypoints=points)).images[0].size == SIZE[::-1]
    np.testing.assert_array_equal(read_image(entry(path, size=None)), upright)
    np.testing.assert_array_equal(read_image(entry(path, size=SIZE[::-1])), upright)
    np.testing.assert_array_equal(read_image(entry(path)), stored)


def test_sixteen_bits_are_scaled(tmp_path):
    grey = np.arange(0, 65536, 512, dtype=np.uint16).reshape(8, 16)
    cv2.imwrite(str(tmp_path / 'grey.png'), grey)
    np.testing.assert_array_equal(read_image(entry(tmp_path / 'grey.png'))[..., 1], grey >> 8)


@pytest.mark.parametrize(('most', 'bits'), [(4095, 12), (1000, 10), (65535, 0), (20_000, 0)])
def test_few_bits_in_sixteen_are_told(tmp_path, caplog, most, bits):
    grey = np.linspace(0, most, SIZE[0] * SIZE[1]).astype(np.uint16).reshape(SIZE[::-1])
    cv2.imwrite(str(tmp_path / 'grey.png'), grey)
    with caplog.at_level(logging.WARNING, logger='smilfit'):
        assert len(checked(entry(tmp_path / 'grey.png'))) == 1
    notes = f'uses {bits} and will be nearly black'
    assert (notes in caplog.text) if bits else not caplog.text


def test_many_images_are_read_and_a_broken_one_is_reported(image_path, tmp_path, write_video):
    video = write_video(tmp_path / 'v.avi')
    cut = tmp_path / 'cut.jpg'
    cv2.imwrite(str(cut), noise())
    cut.write_bytes(cut.read_bytes()[:700])
    images = [
        entry(VideoFrame(video, 4), size=(96, 64)),
        entry(image_path),
        entry(cut),
        entry(VideoFrame(video, 1), size=None),
        entry(VideoFrame(video, 4), size=None, keypoints=POINTS + 1),
        entry(VideoFrame(tmp_path / 'none.avi', 0)),
        entry(VideoFrame(video, 99)),
    ]
    result = dict(read_images(images))
    assert sorted(result) == list(range(7))
    np.testing.assert_array_equal(result[1], read_image(images[1]))
    # The i-th frame's blue is 20 i.
    for position, index in ((0, 4), (3, 1), (4, 4)):
        assert abs(result[position][..., 2].mean() - 20 * index) < 5
    np.testing.assert_array_equal(result[3], read_image(images[3]))
    for position, message in ((2, 'must decode'), (5, 'must exist'), (6, 'frame 6 must decode')):
        assert isinstance(result[position], SkippedAnnotation)
        assert message in result[position].reason

    kept = checked(*images)
    assert len(kept) == 5
    assert kept.images[0].size == (96, 64)
    assert 'must be one of its 6; got 99' in kept.skipped[1].reason


def test_the_box_of_a_mask_holds_its_pixels():
    mask = np.zeros((8, 9), dtype=bool)
    mask[2:5, 3:8] = True
    assert mask_box(mask) == (2.5, 1.5, 5.0, 3.0)
