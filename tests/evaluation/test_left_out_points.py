"""Points and cameras that a fit did not see: a right body tells them better than a mean pose, a wrong one worse."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.believe.sessions import made_session
from smilfit.apis.fitting.fit_config import load_fit_config
from smilfit.evaluation.verdict import judge, load_thresholds, point_numbers, stiffened, with_covariance
from smilfit.evaluation.verdict.label_measures import without_camera
from smilfit.evaluation.verdict.point_measures import N_STEPS, left_out_points
from smilfit.evaluation.verdict.refits import WIDTH
from smilfit.evaluation.verdict.session_measures import leave_out
from smilfit.handlers import Keypoint3dMSEInput, MultiviewKeypoint2dMSEInput
from smilfit.io import triangulate_keypoints
from smilfit.registry import build_registrant

CONFIG = 'configs/fit/points3d_lm.py'


@pytest.fixture(scope='module')
def walking():
    """A made animal that walks, and its points as four cameras with noise have them."""
    body, seen = made_session('made quadruped', 5, missing=0.0)
    return body, replace(triangulate_keypoints(seen[:8]), unit='mm')


def config(points):
    """Return the shipped config with its lengths in the points' unit."""
    size = float((points.xyz.amax(1) - points.xyz.amin(1)).norm(dim=-1).max())
    cfg = load_fit_config(CONFIG, {})
    cfg['handlers'][0]['mse_loss']['sigma'] = 0.05 * size
    for stage in cfg['stages']:
        stage['keypoints3d_mse_weight'] /= size**2
    return cfg


def judged(body, points):
    cfg = {**config(points), 'body_model': body, 'verbose': False}
    fitter = build_registrant(cfg)
    stiff = build_registrant({**stiffened(cfg, fitter.handlers), 'body_model': body, 'verbose': False})
    inputs, notes = [Keypoint3dMSEInput(points.to(torch.float32))], []
    numbers = point_numbers(
        body, fitter(inputs), points, inputs,
        lambda given, rows: fitter(given), lambda given, rows: stiff(given), notes.append,
    )  # fmt: skip
    assert len(notes) == N_STEPS
    return judge(numbers.values, load_thresholds(), numbers.frames), numbers.values


def test_points_left_out_are_told_better_than_by_a_mean_pose(walking):
    verdict, values = judged(*walking)
    assert values['left_out_points_ratio'].value < 0.8
    assert values['left_out_points'].value < 0.03
    assert verdict.word == 'good', verdict.reasons


def test_a_map_dealt_out_at_random_tells_less_than_a_mean_pose(walking):
    body, points = walking
    order = np.random.default_rng(1).permutation(len(points.names))
    wrong = replace(points, xyz=points.xyz[:, order])
    fitter = build_registrant({**config(wrong), 'body_model': body, 'verbose': False})
    result = left_out_points(fitter, [Keypoint3dMSEInput(wrong.to(torch.float32))], wrong, 1.0, print)
    threshold = load_thresholds()['left_out_points_ratio']
    assert result['left_out_points_ratio'].value > threshold.not_believable


def test_points_in_space_are_made_without_the_camera_that_is_left_out():
    body, seen = made_session('made quadruped', 5, missing=0.0)
    seen = seen[:4]
    points = triangulate_keypoints(seen).to(torch.float32)
    fitter = build_registrant({**config(points), 'body_model': body, 'verbose': False})
    inputs = [Keypoint3dMSEInput(points), MultiviewKeypoint2dMSEInput(seen)]
    given = []

    def fit(changed):
        given.extend(i.keypoints for i in changed)
        return fitter([changed[0]])

    out = leave_out(fit, inputs, seen, 1)
    others = triangulate_keypoints(without_camera(seen, 1))
    torch.testing.assert_close(given[0].xyz.double(), others.xyz.double(), atol=1e-4, rtol=1e-5)
    assert not given[1].visible[:, 1].any()
    assert float(out.px.nanmedian()) < float(out.mean_pose_px.nanmedian())
    # Nobody asked this fit how sure it is.
    assert out.radii.isnan().all()
    assert out.noise_px != out.noise_px


def test_the_last_stage_says_how_sure_it_is():
    cfg = with_covariance(load_fit_config('configs/fit/multiview_keypoints_lm.py', {}))
    assert cfg['optimizer']['covariance']
    assert 'covariance' not in cfg['stages'][0]['optimizer']
    plain = load_fit_config('configs/fit/multiview_keypoints.py', {})
    assert with_covariance(plain) == plain


def test_maps_of_large_animals_are_compared_with_wider_losses():
    cfg = load_fit_config('configs/fit/multiview_keypoints_lm.py', {})
    handlers = build_registrant({**cfg, 'body_model': made_session('made quadruped', 0)[0]}).handlers
    for extent, wide in ((1000.0, WIDTH * 1000), (50.0, 10.0), (None, 10.0), (float('nan'), 10.0)):
        assert stiffened(cfg, handlers, extent)['handlers'][0]['mse_loss']['sigma'] == wide
    assert stiffened(cfg, handlers, 1000.0)['handlers'][1:] == cfg['handlers'][1:]
