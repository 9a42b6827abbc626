"""A right fit is good, a wrong one is not believable although its px are small."""

import pytest

from benchmarks.believe_cases import CONFIG, made_session, shuffled
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
from smilfit.registry import build_registrant, read_config


def verdict_on(body, seen):
    cfg = {**read_config(CONFIG).to_dict(), 'body_model': body, 'verbose': False}
    fitter = build_registrant(cfg)
    stiff = build_registrant(stiffened(cfg, fitter.handlers))
    inputs = [MultiviewKeypoint2dMSEInput(seen)]
    told = []
    fits = [lambda given, rows, by=by: by(given, frames=rows) for by in (fitter, stiff)]
    numbers = session_numbers(body, fitter(inputs), seen, inputs, *fits, step=told.append)
    assert len(told) == n_steps(len(seen.rig))
    return judge(numbers.values, load_thresholds(), numbers.frames), numbers


@pytest.fixture(scope='module')
def made():
    body, seen = made_session('quadruped', 3, n_cameras=3)
    return body, seen[:16]


def test_a_right_fit_is_good(made):
    verdict, numbers = verdict_on(*made)
    assert verdict.word == GOOD, verdict.reasons
    assert verdict.frame_words == (GOOD,) * 16
    for row in numbers.cameras:
        # What was left out is as good as the labels of the others tell.
        assert row.left_out_fit_px < 1.2 * row.left_out_triangulation_px
        assert row.fit_px < 2.0


def test_a_shuffled_lookup_is_not_believable(made):
    verdict, numbers = verdict_on(*shuffled(made, 0))
    assert verdict.word == NOT_BELIEVABLE
    # Other random maps do as well.
    assert numbers.values['shuffled_maps'].value < 4.0
