"""Ellipses hold the share of labels that they should, by a scale in which the camera in question has no part."""

from dataclasses import replace

import pytest
import torch

from smilfit.evaluation import ExpectedKeypoints, radii, scaled_by_other_cameras, share_inside
from smilfit.evaluation.ellipses import LEAST_LABELS, radius_of, scale_of
from smilfit.structures import Keypoints2d
from tests.animals import ring_of_cameras

NOISE_PX, B, K, C = 2.0, 60, 20, 3
RIG = ring_of_cameras(C)
NAMES = tuple(f'point_{k}' for k in range(K))


def expected_and_seen(times=1.0):
    """Long, slanting ellipses, and labels that miss them by so many times what they say."""
    g = torch.Generator().manual_seed(0)
    root = torch.tensor([[3.0, 0.0], [2.0, 0.5]]).double()
    covariance = (root @ root.mT).expand(B, C, K, 2, 2)
    xy = 300 + 100 * torch.rand(B, C, K, 2, generator=g).double()
    whole = torch.linalg.cholesky(covariance + NOISE_PX**2 * torch.eye(2))
    error = (whole @ torch.randn(B, C, K, 2, 1, generator=g).double())[..., 0]
    seen = Keypoints2d(xy + times * error, torch.ones(B, C, K).double(), NAMES, RIG)
    return ExpectedKeypoints(NAMES, xy, covariance, torch.ones(B, C, K, dtype=torch.bool)), seen


def by_camera(found):
    return {name: found[:, c] for c, name in enumerate(RIG.names)}


@pytest.mark.parametrize('share', [0.5, 0.9, 0.99])
def test_ellipses_hold_what_they_should(share):
    assert share_inside(radii(*expected_and_seen(), NOISE_PX), share) == pytest.approx(share, abs=0.015)


def test_the_scale_is_found_by_the_other_cameras():
    result = by_camera(radii(*expected_and_seen(times=3.0), NOISE_PX))
    for answer in scaled_by_other_cameras(result).values():
        assert answer.scale == pytest.approx(3.0, rel=0.05)
        assert answer.inside == pytest.approx(0.9, abs=0.03)
        assert answer.unscaled < 0.4
        assert answer.n_labels == B * K


def test_a_camera_that_the_others_know_nothing_of_is_not_excused():
    result = by_camera(radii(*expected_and_seen(), NOISE_PX))
    first = RIG.names[0]
    answers = scaled_by_other_cameras(result | {first: 5 * result[first]})
    # Its own errors do not widen its ellipses; the others' are too wide for it.
    assert answers[first].inside < 0.2
    assert answers[RIG.names[1]].inside > 0.95


def test_labels_without_an_ellipse_do_not_count():
    expected, seen = expected_and_seen()
    covariance = expected.covariance.clone()
    covariance[:, 0, 0] = torch.inf * torch.eye(2).double().nan_to_num(nan=0.0)
    confidence, valid = seen.confidence.clone(), expected.valid.clone()
    confidence[:, 0, 1], valid[:, 0, 2] = 0, False
    expected = replace(expected, covariance=covariance, valid=valid)
    result = radii(expected, replace(seen, confidence=confidence), NOISE_PX)
    assert result[:, 0, :3].isnan().all()
    assert result[:, 0, 3:].isfinite().all()
    nothing = result[:, 0, :1]
    assert share_inside(nothing) != share_inside(nothing)
    assert scale_of(result.flatten()[: LEAST_LABELS - 1]) != scale_of(nothing)
    assert radius_of(0.9) == pytest.approx(2.1460, abs=1e-4)
