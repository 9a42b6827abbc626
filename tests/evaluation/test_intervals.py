"""Where a fit expects labels: what its intervals hold, and the noise that labels of the fit tell of."""

from dataclasses import replace

import pytest
import torch

from smilfit.body_models import SMIL
from smilfit.evaluation import ExpectedKeypoints, expected_keypoints, held
from smilfit.structures import FitCovariance, FitResult, Keypoints2d
from tests.animals import random_params, ring_of_cameras, small_animal

NOISE_PX, FIT_SD_PX, B, K = 2.0, 1.2, 50, 40
RIG = ring_of_cameras(2)
NAMES = tuple(f'point_{k}' for k in range(K))


def expected_and_seen():
    """Labels about what is expected: of camera 0 with less spread than their noise, as of a fit that follows them."""
    g = torch.Generator().manual_seed(0)
    xy = 300 + 100 * torch.rand(B, 2, K, 2, generator=g).double()
    covariance = FIT_SD_PX**2 * torch.eye(2).double().expand(B, 2, K, 2, 2)
    sd = torch.tensor([NOISE_PX**2 - FIT_SD_PX**2, NOISE_PX**2 + FIT_SD_PX**2]).sqrt().double()
    labels = xy + sd[:, None, None] * torch.randn(xy.shape, generator=g).double()
    seen = Keypoints2d(labels, torch.ones(B, 2, K).double(), NAMES, RIG)
    return ExpectedKeypoints(NAMES, xy, covariance, torch.ones(B, 2, K, dtype=torch.bool)), seen


@pytest.mark.parametrize('share', [0.5, 0.9])
def test_intervals_hold_the_share_of_labels_that_they_should(share):
    expected, seen = expected_and_seen()
    scores = expected.scores(seen, NOISE_PX, fitted=('cam0',))
    assert held(scores[:, 0], share) == pytest.approx(share, abs=0.02)
    assert held(scores[:, 1], share) == pytest.approx(share, abs=0.02)
    # As if the fit had not been given them, its own labels would seem too near.
    assert held(expected.scores(seen, NOISE_PX)[:, 0], share) > share + 0.03
    assert float(expected.sd(NOISE_PX)[0, 0, 0, 0]) == pytest.approx((NOISE_PX**2 + FIT_SD_PX**2) ** 0.5)


def test_noise_is_found_by_labels_of_the_fit_in_spite_of_wrong_ones():
    expected, seen = expected_and_seen()
    mine = replace(
        expected, xy=expected.xy[:, :1], covariance=expected.covariance[:, :1], valid=expected.valid[:, :1]
    )
    xy = seen.xy[:, :1].clone()
    labels = Keypoints2d(xy, seen.confidence[:, :1], NAMES, RIG.select(['cam0']))
    assert mine.noise_px(labels) == pytest.approx(NOISE_PX, rel=0.04)
    xy[:, :, 0] += 500
    spoilt = replace(labels, xy=xy)
    assert mine.noise_px(spoilt) == pytest.approx(NOISE_PX, rel=0.15)


def test_what_has_no_label_or_no_interval_has_no_score():
    expected, seen = expected_and_seen()
    covariance = expected.covariance.clone()
    covariance[:, 1, 0, 0, 0] = torch.inf
    confidence = seen.confidence.clone()
    confidence[:, 1, 1] = 0
    valid = expected.valid.clone()
    valid[:, 1, 2] = False
    expected = replace(expected, covariance=covariance, valid=valid)
    scores = expected.scores(replace(seen, confidence=confidence), NOISE_PX)
    assert scores[:, 1, :3].isnan().all()
    assert scores[:, 1, 3:].isfinite().all()
    with pytest.raises(ValueError, match='some label must have an interval; got none'):
        expected.noise_px(replace(seen, confidence=torch.zeros_like(confidence)))
    assert held(scores[:, 1, :3], 0.9) != held(scores[:, 1, :3], 0.9)


def test_expectations_are_the_bodys_keypoints_in_the_images():
    data = small_animal()
    body, params = SMIL(data).double(), random_params(data, 2)
    names = (*body.joint_names, 'nose')
    root = torch.randn(2, len(names), 3, 3, generator=torch.Generator().manual_seed(1)).double()
    covariance = FitCovariance(None, (), root @ root.mT, names, 1.0, torch.zeros(2, 0))
    nothing = torch.zeros(2)
    result = FitResult(params, nothing, nothing.bool(), body=body, covariance=covariance)
    matches = expected_keypoints(result, RIG, ['nose', 'joint_2'])
    points = body(params, ('nose', 'joint_2')).select(('nose', 'joint_2'))
    torch.testing.assert_close(matches.xy, RIG.project(points)[0])
    whole = covariance.in_cameras(body(params, names).select(names), RIG)
    torch.testing.assert_close(matches.covariance, whole[:, :, [-1, 2]])
    with pytest.raises(KeyError, match="no keypoint 'joint2'. Did you mean 'joint_2'"):
        expected_keypoints(result, RIG, ['joint2'])
    with pytest.raises(ValueError, match='the fit must have its covariance and its body'):
        expected_keypoints(replace(result, covariance=None), RIG)
