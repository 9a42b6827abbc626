"""A right fit is good, a wrong one is not believable although its px are small."""

import numpy as np
import pytest

from benchmarks.believe import real
from benchmarks.believe.cases import FREE_BONES, Case, registrant_config
from benchmarks.believe.judging import by, judged
from benchmarks.believe.sessions import made_session, shuffled
from benchmarks.believe.single_views import log, masks_of_things, rock
from smilfit.evaluation.verdict import (
    GOOD,
    NOT_BELIEVABLE,
    judge,
    load_thresholds,
    n_steps,
    session_numbers,
    stiffened,
)
from smilfit.handlers import MultiviewKeypoint2dMSEInput
from smilfit.registry import build_registrant


def verdict_on(body, seen):
    cfg = {**registrant_config(), 'body_model': body, 'verbose': False}
    fitter = build_registrant(cfg)
    stiff = build_registrant(stiffened(cfg, fitter.handlers))
    inputs = [MultiviewKeypoint2dMSEInput(seen)]
    notes = []
    numbers = session_numbers(body, fitter(inputs), seen, inputs, by(fitter), by(stiff), step=notes.append)
    assert len(notes) == n_steps(len(seen.rig))
    return judge(numbers.values, load_thresholds(), numbers.frames, keypoints=numbers.keypoints), numbers


@pytest.fixture(scope='module')
def made():
    body, seen = made_session('made quadruped', 3, n_cameras=3)
    return body, seen[:16]


def test_a_right_fit_is_good(made):
    verdict, numbers = verdict_on(*made)
    assert verdict.word == GOOD, verdict.reasons
    assert verdict.frame_words == (GOOD,) * 16
    assert not any(verdict.frame_keypoints)
    assert np.nanmax(numbers.keypoints.values) < 0.02
    for row in numbers.cameras:
        # What was left out is as good as the labels of the others tell.
        assert row.left_out_fit_px < 1.2 * row.left_out_triangulation_px
        assert row.fit_px < 2.0


def test_a_shuffled_lookup_is_not_believable(made):
    verdict, numbers = verdict_on(*shuffled(made, 0))
    assert verdict.word == NOT_BELIEVABLE
    # Other random maps do as well.
    threshold = load_thresholds()['shuffled_maps']
    assert numbers.values['shuffled_maps'].value < threshold.not_believable


@pytest.mark.parametrize('thing', [rock, log])
def test_a_mask_of_no_animal_is_not_believable_however_well_it_is_covered(thing):
    result = judged(Case('', False, lambda: masks_of_things(thing, 3, n=2), 'smalify_masks'))
    assert result.verdict.frame_words == (NOT_BELIEVABLE,) * 2
    assert all('plain as a rock' in r or 'a plain outline' in r for r in result.verdict.frame_reasons)
    assert result.overlaps.min() > 0.8


@pytest.mark.real
def test_bones_that_stretch_like_points_are_not_believable(real_data):
    result = judged(Case('', False, real.mouse, options=FREE_BONES))
    assert result.verdict.word == NOT_BELIEVABLE
    assert 'times as long as at rest' in result.verdict.reasons[0]


def test_only_priors_are_stiffened():
    body, _ = made_session('made insect', 0)
    cfg = registrant_config()
    before = build_registrant({**cfg, 'body_model': body, 'verbose': False})
    after = build_registrant({**stiffened(cfg, before.handlers), 'body_model': body, 'verbose': False})
    for loose, stiff in zip(before.stages, after.stages):
        assert stiff.weights['keypoints2d_mse'] == loose.weights['keypoints2d_mse']
        assert stiff.weights.get('pose_reg', 0.0) == pytest.approx(20 * loose.weights.get('pose_reg', 0.0))
