"""Marks stand where they belong, differ for every eye, and are named in the legend."""

from itertools import combinations

import numpy as np
import pytest

from smilfit.drawing.marks import ANNOTATED, FITTED, MARKS, START_BODY, legend_strip, put_text, scale_of

# Linear RGB as a person sees it who lacks one kind of cone: Machado, Oliveira & Fernandes (2009), severity 1.
VISION = {
    'normal': np.eye(3),
    'protanopia': [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    'deuteranopia': [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    'tritanopia': [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}  # fmt: skip
TO_XYZ = np.array(
    [[0.4339, 0.3762, 0.1899], [0.2126, 0.7152, 0.0722], [0.0177, 0.1095, 0.8729]]
)  # white is 1


def lab(colour: tuple[int, int, int], vision: str) -> np.ndarray:
    """CIELAB of an sRGB colour as somebody sees it."""
    c = np.array(colour) / 255
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ np.clip(np.array(VISION[vision]) @ linear, 0, 1)
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize('vision', VISION)
def test_every_eye_tells_the_colours_apart(vision):
    for one, other in combinations(MARKS, 2):
        distance = np.linalg.norm(lab(one.colour, vision) - lab(other.colour, vision))
        # Keypoints lie on bodies and on each other; a body at the start lies beside the fitted one.
        assert distance > (30 if {one, other} & {ANNOTATED, FITTED} else 20), (one.word, other.word)


@pytest.mark.parametrize('mark', MARKS)
def test_a_mark_is_centred_at_its_pixel_and_small(mark):
    canvas = np.full((60, 80, 3), 100, np.uint8)
    mark.stamp(canvas, np.array([20.0, 30.0]), 1.0)
    changed = np.argwhere((canvas != 100).any(-1))
    np.testing.assert_allclose(changed.mean(0), [30, 20], atol=0.2)  # no half pixel off
    assert np.abs(changed - [30, 20]).max() <= 10
    assert (canvas == mark.colour).all(-1).any()


def test_a_dot_is_seen_inside_its_ring():
    canvas = np.full((60, 80, 3), 100, np.uint8)
    FITTED.stamp(canvas, np.array([20.0, 30.0]), 1.0)
    assert (canvas[30, 20] == 100).all()
    ring = (canvas == FITTED.colour).all(-1)
    ANNOTATED.stamp(canvas, np.array([20.0, 30.0]), 1.0)
    assert tuple(canvas[30, 20]) == ANNOTATED.colour
    assert (canvas == FITTED.colour).all(-1).sum() > 0.5 * ring.sum()


@pytest.mark.parametrize('width', [128, 224, 1200])
def test_the_legend_shows_every_colour_and_fits(width):
    strip = legend_strip(MARKS, width, scale_of(np.zeros((width, width, 3))))
    assert strip.shape[1] == width
    for mark in MARKS:
        assert (strip == mark.colour).all(-1).any()
    # Letters end before the edge.
    assert (strip[:, -2:] == strip[0, -1]).all()
    only = legend_strip(MARKS[:2], width, 0.6)
    assert not (only == START_BODY.colour).all(-1).any()


def test_texts_stay_inside():
    canvas = np.zeros((120, 160, 3), np.uint8)
    put_text(canvas, 'a long name Ω', (159, 0), 0.4)
    assert (canvas > 200).any()
