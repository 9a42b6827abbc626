"""Doubt of one view: another answer that costs as little, a trunk in the image plane, keypoints on a line."""

import math
from dataclasses import replace

import pytest
import torch

from smilfit.body_models import SMIL
from smilfit.evaluation.verdict import (
    DOUBTFUL,
    GOOD,
    NOT_FITTED,
    judge,
    load_thresholds,
    trunk_direction,
    view_frames,
)
from smilfit.structures import Cameras, FitResult, Keypoints2d
from smilfit.synthetic import make_quadruped

BODY = SMIL(make_quadruped())
N_KEYPOINTS = 9


def camera(count):
    K = torch.tensor([[250.0, 0, 112], [0, 250, 112], [0, 0, 1]])
    still = torch.eye(3), torch.zeros(3), torch.full((2,), 224.0)
    return Cameras(('picture',), *(x.expand(count, 1, *x.shape) for x in (K, *still)))


def keypoints(count):
    xy = 50 * torch.randn(count, 1, N_KEYPOINTS, 2, generator=torch.Generator().manual_seed(0))
    return Keypoints2d(xy, torch.ones(count, 1, N_KEYPOINTS), tuple('abcdefghi'), camera(count))


def turned(*degrees):
    """The animal's forward axis so many degrees behind the image plane."""
    angle = torch.tensor(degrees) * math.pi / 180
    return torch.stack((0 * angle, -angle, 0 * angle), -1)


def result(losses, *degrees):
    orients = torch.stack([turned(*row) for row in degrees])
    losses = torch.tensor(losses)
    best = orients[torch.arange(len(losses)), losses.argmin(1)]
    params = BODY.zero_params(len(losses)).replace(global_orient=best)
    done = torch.ones(len(losses), dtype=torch.bool)
    return FitResult(params, losses.amin(1), done, start_losses=losses, start_orients=orients)


def judged(fit, seen):
    return judge({}, load_thresholds(), view_frames(BODY, fit, seen))


def test_the_trunk_points_where_the_root_is_turned_to():
    found = trunk_direction(BODY.data, turned(0.0, 30.0, -90.0), torch.eye(3))
    expected = torch.tensor([[1.0, 0, 0], [math.cos(math.pi / 6), 0, 0.5], [0, 0, -1]])
    assert torch.allclose(found, expected, atol=1e-6)


def test_what_costs_as_little_is_doubtful():
    fit = result([[10.0, 60, 90], [10, 12, 90], [10, 90, 13]], (50.0, -60, 40), (50, 120, -60), (20, 90, -15))
    found = view_frames(BODY, fit, keypoints(3))
    assert found['other_direction'].tolist() == pytest.approx([50, 2, 80])
    assert found['other_side'].tolist() == pytest.approx([50, 80, 3])
    assert found['trunk_flat'].tolist() == pytest.approx([50, 50, 20], abs=1e-3)
    verdict = judged(fit, keypoints(3))
    assert verdict.frame_words == (GOOD, DOUBTFUL, DOUBTFUL)
    assert 'turned by more than 40 degrees' in verdict.frame_reasons[1]
    assert 'other side of the image plane' in verdict.frame_reasons[2]


def test_where_nothing_fits_well_differences_count_less():
    """Ten times the noise that nine keypoints have."""
    found = view_frames(BODY, result([[180.0, 220]], (50.0, -60)), keypoints(1))
    assert found['other_direction'].tolist() == pytest.approx([4.0])


def test_flat_trunks_lines_of_keypoints_and_frames_without_a_fit():
    fit = result([[10.0, 60]] * 3, *[(50.0, -60)] * 2, (2.0, 60))
    fit = fit.expanded(torch.tensor([True, True, True, False]))
    seen = keypoints(4)
    xy = seen.xy.clone()
    xy[1, 0] = torch.linspace(0, 100, N_KEYPOINTS).unsqueeze(1) + 0.05 * xy[1, 0]
    verdict = judged(fit, replace(seen, xy=xy))
    assert verdict.frame_words == (GOOD, DOUBTFUL, DOUBTFUL, NOT_FITTED)
    assert 'keypoints lie on a line' in verdict.frame_reasons[1]
    assert 'trunk lies in the image plane to 2 degrees' in verdict.frame_reasons[2]


def test_without_keypoints_starts_are_compared_by_ratio():
    seen = keypoints(1)
    blind = replace(seen, confidence=torch.zeros_like(seen.confidence))
    found = view_frames(BODY, result([[10.0, 12.0]], (50.0, -60)), blind)
    assert found['start_margin'].tolist() == pytest.approx([1.2])
    assert math.isnan(view_frames(BODY, result([[10.0, 12.0]], (50.0, -60)), seen)['start_margin'][0])


def test_a_model_that_states_no_axis_has_the_one_along_which_it_spreads():
    plain = replace(BODY.data, forward_axis=None)
    assert trunk_direction(plain, torch.zeros(1, 3), torch.eye(3))[0, 0].abs() > 0.99


def test_a_fit_with_one_start_has_nothing_to_compare():
    params = BODY.zero_params(1)
    fit = FitResult(params, torch.zeros(1), torch.ones(1, dtype=torch.bool))
    assert view_frames(BODY, fit, keypoints(1)) == {}
