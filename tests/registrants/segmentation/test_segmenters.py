"""Masks of made images come within IoU 0.9 of the truth; what cannot be the animal is refused, with the reason."""

import cv2
import numpy as np
import pytest

from smilfit.evaluation import mask_iou
from smilfit.registrants.segmentation import (
    BackgroundSubtraction,
    Frame,
    GrabCutSegmenter,
    MaskFiles,
    MaskLimits,
    Segmentation,
    Segmenter,
    contrast,
    joined_parts,
)
from smilfit.registry import SEGMENTERS, build, build_segmenter

SIDE = 160


def animal_at(x, y, turn=30.0, fat=1.0):
    """Draw a body with a head and a thin tail."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    cv2.ellipse(mask, (x, y), (34, round(18 * fat)), turn, 0, 360, 1, -1)
    ahead = np.array([np.cos(np.deg2rad(turn)), np.sin(np.deg2rad(turn))])
    head, tail = np.array([x, y]) + 36 * ahead, np.array([x, y]) - 58 * ahead
    cv2.circle(mask, tuple(head.round().astype(int).tolist()), round(10 * fat), 1, -1)
    cv2.line(mask, (x, y), tuple(tail.round().astype(int).tolist()), 1, 3)
    return mask > 0


def picture_of(mask, rng, light=(190, 180, 170), ground=60):
    """Paint an animal, brighter on one side, on a rough ground that stays the same."""
    texture = cv2.GaussianBlur(np.random.default_rng(7).normal(size=(SIDE, SIDE, 3)), (0, 0), 2) * 60
    image = ground + texture
    shade = np.linspace(0.7, 1.1, SIDE)[:, None, None] * np.array(light, float)
    image[mask] = np.broadcast_to(shade, image.shape)[mask]
    return np.clip(image + rng.normal(size=image.shape) * 4, 0, 255).astype(np.uint8)


@pytest.fixture
def frame():
    """A frame whose fitted body is thinner than the animal, and turned."""
    truth = animal_at(80, 80)
    image = picture_of(truth, np.random.default_rng(0))
    return Frame(image, animal_at(84, 77, 42.0, 0.75), 'top', 3), truth


def test_graph_cuts_find_the_animal_beside_a_poor_fit(frame):
    seen, truth = frame
    result = GrabCutSegmenter().segment(seen)
    assert not result.refused
    assert mask_iou(result.mask, truth) > 0.9
    assert mask_iou(result.mask, truth) > mask_iou(seen.silhouette, truth) + 0.2
    assert result.quality > 0.8
    np.testing.assert_array_equal(GrabCutSegmenter().segment(seen).mask, result.mask)


def test_graph_cuts_work_on_a_part_of_the_image_at_another_size(frame):
    seen, truth = frame
    wide = np.pad(np.arange(SIDE), (90, 200), mode='reflect')
    image = cv2.resize(seen.image[np.ix_(wide, wide)], None, fx=2, fy=2)
    grown = [
        cv2.resize(np.pad(m, (90, 200)).astype(np.uint8), None, fx=2, fy=2) > 0
        for m in (seen.silhouette, truth)
    ]
    result = GrabCutSegmenter(side_px=120).segment(Frame(image, grown[0]))
    assert mask_iou(result.mask, grown[1]) > 0.85


def test_graph_cuts_refuse_an_animal_of_its_grounds_colour():
    truth = animal_at(80, 80)
    image = np.random.default_rng(0).integers(40, 90, (SIDE, SIDE, 3)).astype(np.uint8)
    result = GrabCutSegmenter().segment(Frame(image, truth))
    assert result.refused
    assert not result.mask.any()
    assert result.quality == 0


def moving_frames(places, rng):
    truths = [animal_at(*place) for place in places]
    return [
        Frame(picture_of(m, rng), animal_at(*p, fat=0.8), 'top', i)
        for i, (m, p) in enumerate(zip(truths, places))
    ], truths


def test_what_differs_from_the_empty_place_is_the_animal():
    rng = np.random.default_rng(1)
    frames, truths = moving_frames([(62 + 6 * i, 104 - 6 * i) for i in range(9)], rng)
    segmenter = BackgroundSubtraction(n_frames=9)
    segmenter.prepare(frames)
    overlap = [mask_iou(segmenter.segment(f).mask, truth) for f, truth in zip(frames, truths)]
    assert min(overlap) > 0.9


def test_an_animal_that_hardly_moves_has_no_background():
    rng = np.random.default_rng(1)
    frames, _ = moving_frames([(80 + i % 2, 80) for i in range(6)], rng)
    segmenter = BackgroundSubtraction(n_frames=6)
    segmenter.prepare(frames)
    result = segmenter.segment(frames[0])
    assert 'hardly moves' in result.refused
    assert not result.mask.any()


def test_masks_are_read_from_files(frame, tmp_path):
    seen, truth = frame
    (tmp_path / 'top').mkdir()
    cv2.imwrite(str(tmp_path / 'top' / '000003.png'), truth.astype(np.uint8) * 255)
    result = MaskFiles(tmp_path).segment(seen)
    np.testing.assert_array_equal(result.mask, truth)
    assert result.quality == 1
    before = MaskFiles(tmp_path).fingerprint()
    assert MaskFiles(tmp_path).may_find('top', 3)
    assert not MaskFiles(tmp_path).may_find('top', 4)
    other = MaskFiles(tmp_path, '{camera}/{frame:04d}.png').segment(seen)
    assert other.refused == 'there is no file {camera}/{frame:04d}.png'
    cv2.imwrite(str(tmp_path / 'top' / '000003.png'), np.ones((8, 9), np.uint8))
    assert MaskFiles(tmp_path).fingerprint() != before
    with pytest.raises(ValueError, match='must have the size of its image, 160 x 160 px; got 9 x 8'):
        MaskFiles(tmp_path).segment(seen)


class Given(Segmenter):
    def __init__(self, mask):
        super().__init__()
        self.mask = mask

    def find_mask(self, frame):
        return self.mask


@pytest.mark.parametrize(
    ('found', 'reason'),
    [
        (animal_at(80, 80, fat=3.0) | animal_at(80, 80, 120.0, 3.0), 'its area is'),
        (np.zeros((SIDE, SIDE), bool), 'it is empty'),
        (animal_at(80, 80) | animal_at(38, 80, 180.0), "it touches the image's edge"),
        (animal_at(118, 112), 'it covers'),
        (animal_at(80, 80) | (np.indices((SIDE, SIDE)).sum(0) < 70), 'it is in pieces'),
    ],
)
def test_a_mask_that_cannot_be_the_animal_is_refused(frame, found, reason):
    seen = Frame(frame[0].image, animal_at(80, 80))
    result = Given(found).segment(seen)
    assert result.refused.startswith(reason)
    assert isinstance(result, Segmentation)
    assert not result.mask.any()


def test_parts_within_a_small_gap_hang_together():
    body, tail, far = (np.zeros((40, 40), bool) for _ in range(3))
    body[10:30, 5:15], tail[18:20, 16:30], far[2:5, 30:38] = True, True, True
    kept = joined_parts(body | tail | far, body, bridge=0.2)
    np.testing.assert_array_equal(kept, body | tail)
    assert not joined_parts(far, body).any()


def test_contrast_is_nothing_where_colours_are_shared():
    mask = np.zeros((60, 60), bool)
    mask[20:40, 20:40] = True
    assert contrast(np.where(mask, 200, 20)[..., None].repeat(3, 2).astype(np.uint8), mask) == 1.0
    assert contrast(np.full((60, 60, 3), 77, np.uint8), mask) == 0.0
    assert contrast(np.zeros((60, 60, 3), np.uint8), np.ones((60, 60), bool)) == 0.0


def test_a_frame_without_the_body_is_refused(frame):
    empty = Frame(frame[0].image, np.zeros((SIDE, SIDE), bool))
    assert GrabCutSegmenter().segment(empty).refused == 'the fitted body is not in the image'
    everywhere = Frame(frame[0].image, np.ones((SIDE, SIDE), bool))
    assert 'leaves no background' in GrabCutSegmenter().segment(everywhere).refused


def test_segmenters_are_built_from_configs(tmp_path):
    assert isinstance(build_segmenter(dict(type='GrabCutSegmenter', core=0.5)), GrabCutSegmenter)
    assert build(dict(type='BackgroundSubtraction', n_frames=7)).n_prepared == 7
    assert isinstance(build_segmenter(dict(type='MaskFiles', folder=str(tmp_path))), MaskFiles)
    assert set(SEGMENTERS.module_dict) >= {'GrabCutSegmenter', 'BackgroundSubtraction', 'MaskFiles'}


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda _: GrabCutSegmenter(core=1.5), 'core must be between 0 and 1'),
        (lambda _: BackgroundSubtraction(n_frames=2), 'least_frames must be positive and at most n_frames'),
        (lambda p: MaskFiles(p / 'none'), 'masks must be in a folder'),
        (lambda p: MaskFiles(p, '{camera}.png'), 'must name camera and frame'),
        (lambda p: MaskFiles(p, '{camera}/{row}.png'), 'must name camera and frame'),
        (lambda _: MaskLimits(least_area=2), 'shares must be in'),
        (lambda _: Frame(np.zeros((4, 4, 3), np.uint8), np.zeros((3, 3), bool)), 'must have the same pixels'),
        (
            lambda _: BackgroundSubtraction().segment(Frame(np.zeros((4, 4, 3), np.uint8), np.ones((4, 4), bool))),
            'must be prepared',
        ),
    ],
)  # fmt: skip
def test_errors(make, message, tmp_path):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        make(tmp_path)
