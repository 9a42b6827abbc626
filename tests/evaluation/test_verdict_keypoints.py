"""A paw bent the wrong way in a few frames is found and named; a right fit and a wrong label accuse nobody."""

import json

import numpy as np
import pytest
import torch

from smilfit.body_models import SMIL
from smilfit.drawing.fit_page import add_verdict
from smilfit.drawing.report import Report
from smilfit.evaluation.verdict import (
    DOUBTFUL,
    GOOD,
    Measured,
    Verdict,
    frame_keypoints,
    judge,
    load_thresholds,
)
from smilfit.structures import Keypoints2d
from smilfit.structures.fit_record import verdict_beside
from smilfit.synthetic import make_quadruped
from tests.animals import ring_of_cameras

N, BENT = 150, list(range(20, 30))


@pytest.fixture(scope='module')
def made():
    """A walking animal's labels with noise and gaps, its true points, and those of a fit with a wrong front paw."""
    body, rng = SMIL(make_quadruped()).double(), np.random.default_rng(0)
    names = tuple(body.data.keypoint_sets['sleap'])
    plain = body.zero_params(N).replace(scale=torch.full((N,), 5.0).double())
    swing = torch.linspace(0, 20, N).sin()[:, None, None] * torch.from_numpy(
        rng.normal(0, 0.1, plain.body_pose.shape[1:])
    )
    params = plain.replace(body_pose=swing.double())
    points = body(params, names).select(names).detach()
    cameras = ring_of_cameras(3)
    pixels = cameras.project(points)[0]
    noise = torch.from_numpy(rng.normal(0, 3.0, pixels.shape))
    confidence = torch.from_numpy((rng.random(pixels.shape[:-1]) < 0.85).astype(float))
    labels = Keypoints2d(pixels + noise, confidence, names, cameras)
    wrong = params.body_pose.clone()
    wrong[BENT, body.joint_names.index('elbow_L') - 1, :] += torch.tensor([1.6, 0.0, 0.0]).double()
    bent = body(params.replace(body_pose=wrong), names).select(names).detach()
    return labels, points, bent


def test_a_right_fit_accuses_no_keypoint_even_where_labels_are_wrong(made):
    labels, points, _ = made
    assert np.nanmax(frame_keypoints(labels, points).values) < 0.03
    # One camera's label of a paw is somewhere else in some frames.
    spoilt = labels.xy.clone()
    spoilt[BENT, 1, labels.names.index('fore_paw_L')] += 80.0
    result = frame_keypoints(Keypoints2d(spoilt, labels.confidence, labels.names, labels.cameras), points)
    verdict = judge({}, load_thresholds(), {'frame_error': np.zeros(N)}, keypoints=result)
    assert verdict.frame_words == (GOOD,) * N
    alone = Keypoints2d(
        labels.xy[:, :1], labels.confidence[:, :1], labels.names, labels.cameras.select(['cam0'])
    )
    assert np.isnan(frame_keypoints(alone, points).values).all()


def test_a_paw_bent_the_wrong_way_is_found_in_its_frames_alone_and_named(made, tmp_path):
    labels, _, bent = made
    result = frame_keypoints(labels, bent)
    verdict = judge(
        {'torn': Measured(0.0)}, load_thresholds(), {'frame_error': np.zeros(N)}, keypoints=result
    )
    hit = [i for i, word in enumerate(verdict.frame_words) if word == DOUBTFUL]
    assert set(hit) <= set(BENT)
    # Where fewer than two cameras have the label nothing is known.
    seen = (labels.visible[BENT][:, :, labels.names.index('fore_paw_L')].sum(1) >= 2).tolist()
    assert [i for i, valid in zip(BENT, seen) if valid] == hit
    assert all(verdict.frame_keypoints[i][0] == 'fore_paw_L' for i in hit)
    assert 'fore_paw_L' in verdict.frame_reasons[hit[0]]
    # A word of the whole does not hide what a frame has of its own.
    whole = judge({'torn': Measured(0.03)}, load_thresholds(), {'frame_error': np.zeros(N)}, keypoints=result)
    assert 'fore_paw_L' in whole.frame_reasons[hit[0]]
    assert Verdict.from_dict(json.loads(json.dumps(verdict.as_dict()))) == verdict
    (tmp_path / 'verdict.json').write_text(json.dumps(verdict.as_dict()))
    assert verdict_beside(tmp_path / 'fit.npz', N).frame_keypoints == verdict.frame_keypoints
    page = add_verdict(Report('fit'), verdict).save(tmp_path / 'report.html').read_text()
    assert page.count('fore_paw_L') > len(hit)
