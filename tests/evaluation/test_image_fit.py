"""Figures of single images."""

import numpy as np
import pytest

from smilfit.evaluation import image_fit, mask_iou, mean_of


def square(low, high, side=64):
    mask = np.zeros((side, side), bool)
    mask[low:high, low:high] = True
    return mask


def test_overlap_of_squares():
    assert mask_iou(square(0, 20), square(0, 20)) == 1.0
    # 10 x 10 of 20 x 20 twice: 100 of 700.
    assert mask_iou(square(0, 20), square(10, 30)) == pytest.approx(1 / 7)
    assert mask_iou(square(0, 20), square(20, 30)) == 0.0
    assert mask_iou(square(0, 0), square(0, 0)) == 1.0


def test_keypoints_are_counted_in_px_of_the_reference_crop():
    truth = np.full((4, 2), 30.0)
    pixels = truth + np.array([[0, 1.0], [0, 2.0], [0, 3.0], [0, 60.0]])
    confidence = np.array([1.0, 0.5, 1.0, 0.0])
    # A crop of 112 px: 2.5 px there are 5 px of 224.
    fit = image_fit('a', pixels, truth, confidence, 112, square(0, 20), square(0, 20))
    assert fit.n_keypoints == 3
    assert fit.median_px == pytest.approx(4.0)
    assert fit.pck_5px == pytest.approx(2 / 3)
    # 0.15 of a side of 20 px is 3 px.
    assert fit.pck_area == pytest.approx(1.0)
    assert fit.iou == 1.0


def test_a_point_without_image_misses_and_what_is_unknown_is_none():
    pixels = np.array([[np.nan, np.nan], [5.0, 5.0]])
    fit = image_fit('a', pixels, np.full((2, 2), 5.0), np.ones(2), 224)
    assert fit.pck_5px == 0.5
    assert fit.iou is None
    assert fit.pck_area is None
    blind = image_fit('b', pixels, np.zeros((2, 2)), np.zeros(2), 224, square(0, 20), square(0, 20))
    assert blind.pck_5px is None
    means = mean_of([fit, blind])
    assert means == {'mean_median_px': np.inf, 'mean_pck_5px': 0.5, 'mean_iou': 1.0}
    assert mean_of([]) == {}
