import json

import cv2
import numpy as np
import pytest

from smilfit.io.annotations import ImageMask, PolygonMask, RleMask, mask_box


def run_lengths(mask):
    """Count runs column by column, background first."""
    flat = np.concatenate(([False], mask.T.ravel()))
    starts = np.flatnonzero(flat[1:] != flat[:-1])
    return np.diff(np.concatenate(([0], starts, [mask.size]))).tolist()


def compress(counts):
    """Write run lengths as COCO's text, digit by digit."""
    text = ''
    for i, count in enumerate(counts):
        rest = count - counts[i - 2] if i > 2 else count
        while True:
            digit, rest = rest & 31, rest >> 5
            done = rest == (-1 if digit & 16 else 0)
            text += chr(48 + (digit if done else digit | 32))
            if done:
                break
    return text


@pytest.mark.parametrize('density', [0.0, 0.02, 0.5, 1.0])
def test_run_lengths_round_trip(density):
    mask = np.random.default_rng(0).random((37, 61)) < density
    mask = cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
    counts = run_lengths(mask)
    np.testing.assert_array_equal(RleMask(counts, (61, 37)).read(), mask)
    np.testing.assert_array_equal(RleMask(compress(counts), (61, 37)).read(), mask)
    np.testing.assert_array_equal(RleMask(compress(counts).encode(), (61, 37)).read(), mask)


def test_long_runs_survive_compression():
    mask = np.zeros((1000, 1500), dtype=bool)
    mask[:, 700:703] = True
    np.testing.assert_array_equal(RleMask(compress(run_lengths(mask)), (1500, 1000)).read(), mask)


@pytest.mark.parametrize(
    ('counts', 'reason'),
    [
        ([3, 4], 'must fill 4x3'),
        ('', 'must fill 4x3'),
        ([-1, 13], 'must fill'),
        ('5 7', "characters '0' to 'o'"),
        ('5o', 'cut short'),
        ('o' * 20 + '0', 'below 2'),
    ],
)
def test_broken_run_lengths_say_so(counts, reason):
    with pytest.raises(ValueError, match=reason):
        RleMask(counts, (4, 3)).read()


def test_a_polygon_holds_the_pixels_whose_centres_it_holds():
    rng = np.random.default_rng(1)
    corners = rng.uniform(-5, 45, size=(7, 2)).astype(np.float32)
    mask = PolygonMask([corners.ravel().tolist()], (40, 30)).read()
    x, y = np.meshgrid(np.arange(40) + 0.5, np.arange(30) + 0.5)
    crossings = np.zeros((30, 40), dtype=int)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0)):
        between = (y0 <= y) != (y1 <= y)
        crossings += between & (x0 + (y - y0) * (x1 - x0) / (y1 - y0) <= x)
    np.testing.assert_array_equal(mask, crossings % 2 == 1)
    assert mask.any()
    assert not mask.all()


def test_a_rectangle_of_whole_pixels_is_exact_and_polygons_unite():
    left, right = [2, 1, 6, 1, 6, 4, 2, 4], [5, 2, 9, 2, 9, 6, 5, 6]
    expected = np.zeros((8, 10), dtype=bool)
    expected[1:4, 2:6] = True
    expected[2:6, 5:9] = True
    np.testing.assert_array_equal(PolygonMask([left, right], (10, 8)).read(), expected)


@pytest.mark.parametrize('polygon', [[1, 2, 3, 4], [1, 2, 3, 4, 5, 6, 7], [0, 0, 1, np.nan, 2, 2]])
def test_broken_polygons_say_so(polygon):
    with pytest.raises(ValueError, match='three or more corners'):
        PolygonMask([polygon], (4, 4)).read()


def test_an_image_of_labels_by_number_colour_and_palette(tmp_path):
    from PIL import Image

    labels = np.random.default_rng(0).integers(0, 4, size=(6, 9)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / 'grey.png'), labels)
    np.testing.assert_array_equal(ImageMask(tmp_path / 'grey.png').read(), labels > 0)
    np.testing.assert_array_equal(ImageMask(tmp_path / 'grey.png', (1, 3)).read(), labels % 2 == 1)

    indexed = Image.fromarray(labels).convert('P')
    palette = [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0]
    indexed.putpalette(palette)
    indexed.save(tmp_path / 'indexed.png')
    np.testing.assert_array_equal(ImageMask(tmp_path / 'indexed.png', (2,)).read(), labels == 2)
    np.testing.assert_array_equal(ImageMask(tmp_path / 'indexed.png', ((0, 128, 0),)).read(), labels == 2)

    colours = np.zeros((6, 9, 4), np.uint8)
    colours[..., 3] = 255
    colours[..., 2] = labels
    cv2.imwrite(str(tmp_path / 'colours.png'), colours)
    np.testing.assert_array_equal(ImageMask(tmp_path / 'colours.png').read(), labels > 0)
    np.testing.assert_array_equal(ImageMask(tmp_path / 'colours.png', ((3, 0, 0),)).read(), labels == 3)


def test_images_that_are_no_masks_say_so(tmp_path):
    with pytest.raises(FileNotFoundError, match='must exist'):
        ImageMask(tmp_path / 'none.png').read()
    (tmp_path / 'text.png').write_text('no image')
    with pytest.raises(ValueError, match='must be an image that opens'):
        ImageMask(tmp_path / 'text.png').read()
    cv2.imwrite(str(tmp_path / 'colours.png'), np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(ValueError, match='must be colours'):
        ImageMask(tmp_path / 'colours.png', (1,)).read()


@pytest.mark.real
def test_real_run_lengths_fill_their_boxes(real_data):
    for dog in json.loads((real_data / 'stanfordextra' / 'StanfordExtra_sample.json').read_text()):
        mask = RleMask(dog['seg'], (dog['img_width'], dog['img_height'])).read()
        box = mask_box(mask)
        # Annotators drew the boxes by hand.
        np.testing.assert_allclose(box, dog['img_bbox'], atol=0.08 * max(mask.shape))
        labelled = np.array([joint[:2] for joint in dog['joints'] if joint[2]]).round().astype(int)
        assert mask[labelled[:, 1].clip(0, len(mask) - 1), labelled[:, 0]].mean() > 0.5
