"""Doubt of one view: another answer that costs as little, a trunk in the image plane, keypoints on a line."""

import math
from dataclasses import replace

import pytest
import torch

from smilfit.body_models import SMIL
from smilfit.registrants import AmbiguityThresholds, one_view_ambiguity
from smilfit.registrants.views.ambiguity import trunk_direction
from smilfit.structures import Cameras, FitResult, Keypoints2d
from smilfit.synthetic import make_quadruped

DATA = make_quadruped()
CAMERA = Cameras(
    ('picture',),
    torch.tensor([[[250.0, 0, 112], [0, 250, 112], [0, 0, 1]]]),
    torch.eye(3).unsqueeze(0),
    torch.zeros(1, 3),
    torch.full((1, 2), 224.0),
)


def turned(*degrees):
    """The animal's forward axis so many degrees behind the image plane."""
    angle = torch.tensor(degrees) * math.pi / 180
    return torch.stack((0 * angle, -angle, 0 * angle), -1)


def result(losses, *degrees):
    orients = torch.stack([turned(*row) for row in degrees])
    losses = torch.tensor(losses)
    best = orients[torch.arange(len(losses)), losses.argmin(1)]
    params = SMIL(DATA).zero_params(len(losses)).replace(global_orient=best)
    return FitResult(
        params,
        losses.amin(1),
        torch.ones(len(losses), dtype=torch.bool),
        start_losses=losses,
        start_orients=orients,
    )


def test_the_trunk_points_where_the_root_is_turned_to():
    matches = trunk_direction(DATA, turned(0.0, 30.0, -90.0), CAMERA.R)
    expected = torch.tensor([[1.0, 0, 0], [math.cos(math.pi / 6), 0, 0.5], [0, 0, -1]])
    assert torch.allclose(matches, expected, atol=1e-6)


def test_what_costs_as_little_is_doubted():
    fit = result([[10.0, 60, 90], [10, 12, 90], [10, 90, 13]], (50.0, -60, 40), (50, -60, 40), (20, 90, -15))
    doubt = one_view_ambiguity(fit, DATA, CAMERA)
    assert doubt.doubted.tolist() == [False, True, True]
    assert torch.allclose(doubt.margin, torch.tensor([50.0, 2, 80]).double())
    assert torch.allclose(doubt.sign_margin, torch.tensor([50.0, 2, 3]).double())
    assert doubt.depth_deg.tolist() == pytest.approx([50, 50, 20], abs=1e-3)
    assert doubt.reasons[0] == ''
    assert 'costs 2.0 more' in doubt.reasons[1]
    assert 'other side of the image plane costs 3.0 more' in doubt.reasons[2]
    assert doubt.report()['rows'] == [1, 2]


def test_where_nothing_fits_well_differences_count_less():
    """Ten times the noise that nine keypoints have."""
    seen = Keypoints2d(torch.randn(1, 1, 9, 2), torch.ones(1, 1, 9), tuple('abcdefghi'), CAMERA)
    doubt = one_view_ambiguity(result([[180.0, 220]], (50.0, -60)), DATA, CAMERA, seen)
    assert doubt.margin.tolist() == pytest.approx([4.0])


def test_thresholds_are_the_callers():
    fit = result([[10.0, 60]], (50.0, -60))
    assert one_view_ambiguity(
        fit, DATA, CAMERA, thresholds=AmbiguityThresholds(margin=51.0)
    ).doubted.tolist() == [True]


def test_flat_trunks_lines_of_keypoints_and_frames_without_a_fit_are_doubted():
    fit = result([[10.0, 60]] * 4, *[(50.0, -60)] * 3, (2.0, 60))
    fit = fit.expanded(torch.tensor([True, True, True, True, False]))
    xy = torch.randn(5, 1, 9, 2, generator=torch.Generator().manual_seed(0))
    xy[1, 0] = torch.linspace(0, 100, 9).unsqueeze(1)
    confidence = torch.ones(5, 1, 9)
    confidence[2, 0, 5:] = 0
    cameras = CAMERA.map(lambda x: x.expand(5, *x.shape))
    seen = Keypoints2d(xy, confidence, tuple('abcdefghi'), cameras)
    doubt = one_view_ambiguity(fit, DATA, cameras, seen)
    assert doubt.doubted.tolist() == [False, True, True, True, True]
    assert doubt.reasons[1:] == (
        'the keypoints lie on a line',
        '5 keypoints',
        'the trunk lies in the image plane to 2 degrees',
        'not fitted',
    )
    assert doubt.n_keypoints.tolist() == [9, 9, 5, 9, 9]
    assert math.isnan(doubt.margin[4])


def test_a_model_that_states_no_axis_has_the_one_along_which_it_spreads():
    plain = replace(DATA, forward_axis=None)
    along = trunk_direction(plain, torch.zeros(1, 3), CAMERA.R)
    assert along[0, 0].abs() > 0.99


def test_a_fit_without_starts_cannot_tell():
    params = SMIL(DATA).zero_params(1)
    fit = FitResult(params, torch.zeros(1), torch.ones(1, dtype=torch.bool))
    with pytest.raises(ValueError, match='must have start_losses'):
        one_view_ambiguity(fit, DATA, CAMERA)
