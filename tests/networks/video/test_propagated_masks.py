"""Masks of a walking blob, from some of them: better than staying, and as good as is said."""

import numpy as np
import pytest

from smilfit.networks.video.flow import DISFlow, FlowFields, flow_fields
from smilfit.networks.video.propagated_masks import propagate_masks
from tests.networks.video.moving_animal import blob, walking

T, GIVEN = 25, (2, 9, 16, 23)


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


@pytest.fixture(scope='module')
def video():
    images = [walking(t) for t in range(T)]
    return images, flow_fields(images, DISFlow())


def test_masks_follow_the_animal(video):
    images, flow = video
    result = propagate_masks(images, {t: blob(t) for t in GIVEN}, flow)
    assert result.known.all()
    others = [t for t in range(T) if t not in GIVEN]
    met = [iou(result.masks[t], blob(t)) for t in others]
    stayed = [iou(blob(min(GIVEN, key=lambda g: abs(g - t))), blob(t)) for t in others]
    assert np.mean(met) > 0.9
    assert np.mean(met) > np.mean(stayed) + 0.1
    # What is expected of masks is about what they are; those that are left out for it are farther from the others.
    assert 0.6 < result.expected_iou < np.mean(met) + 0.03
    for t in GIVEN:
        np.testing.assert_array_equal(result.masks[t], blob(t))
    again = propagate_masks(images, {t: blob(t) for t in GIVEN}, flow)
    np.testing.assert_array_equal(again.masks, result.masks)


def test_nothing_goes_over_a_cut(video):
    images, flow = video
    cut = FlowFields(flow.forward, flow.backward, np.arange(T - 1) == 17, flow.scale)
    result = propagate_masks(images, {2: blob(2), 9: blob(9)}, cut)
    assert result.known.tolist() == [True] * 18 + [False] * 7
    assert np.isnan(result.expected_iou)


def test_too_few_masks_or_of_another_size_are_named(video):
    images, flow = video
    with pytest.raises(ValueError, match='two masks at least must be given; got 1'):
        propagate_masks(images, {2: blob(2)}, flow)
    with pytest.raises(ValueError, match=r'must have the size of the images, \(96, 96\) px; that of frame 9'):
        propagate_masks(images, {2: blob(2), 9: blob(9)[:50]}, flow)
