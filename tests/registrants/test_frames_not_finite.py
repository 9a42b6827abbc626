"""A stage whose energy is not finite in some frames: they go on from elsewhere, or fail and are named."""

from dataclasses import replace

import pytest
import torch

from smilfit.body_models import SMIL
from smilfit.handlers import (
    BodyPosePriorHandler,
    Keypoint2dHandler,
    Keypoint3dHandler,
    Keypoint3dMSEInput,
    SmoothMotionHandler,
    TermHandler,
)
from smilfit.losses import SmoothPointsLoss
from smilfit.registrants import SMPLify, Stage
from smilfit.registrants.gradient_stage import run_first_order
from smilfit.registrants.recovery import frames_not_finite
from smilfit.registrants.second_order import run_second_order
from smilfit.registrants.smalify import SMALify
from smilfit.registrants.stage_task import FitState, task_of
from smilfit.solvers import LBFGS, LevenbergMarquardt
from tests.registrants.fish import fish_scene, make_fish, shipped_fitter

RIGID, POSE = ('global_orient', 'transl', 'scale'), ('global_orient', 'transl', 'scale', 'body_pose')
# Starts of a bad prediction: a scale of no size, places so far off that single precision has no body there.
STARTS = {
    'no_size': lambda truth: truth.replace(scale=1e-30 * truth.scale),
    'too_large': lambda truth: truth.replace(scale=1e25 * truth.scale),
    'turned': lambda truth: truth.replace(body_pose=1e20 * truth.body_pose),
}


class SickFrames(TermHandler):
    """Has no energy in frames of some numbers."""

    default_key = 'sick'
    frames: tuple[int, ...] = ()

    def residual(self, state, related_input):
        sick = torch.isin(state.frames, torch.tensor(self.frames))
        return 0 * state.params.transl + torch.where(sick, torch.nan, 0.0).to(state.params.transl).unsqueeze(
            1
        )


def sick(*frames):
    handler = SickFrames()
    handler.frames = frames
    return handler


@pytest.fixture(scope='module')
def scene():
    return fish_scene()


@pytest.fixture(scope='module')
def body():
    return SMIL(make_fish())


def off(body, result, points):
    """Return the largest distance from the truth, by frame."""
    keypoints = body(result.params, points.names).keypoints
    return (keypoints - points.xyz.to(keypoints)).norm(dim=-1).amax(1)


@pytest.mark.parametrize('start', STARTS)
@pytest.mark.parametrize('config', ['multiview_keypoints_lm', 'points3d_lm'])
def test_bad_starts_are_left_for_the_initializers(scene, body, config, start):
    truth, points, seen = scene
    given = points if config == 'points3d_lm' else seen
    result = shipped_fitter(config, body)([given], init_params=STARTS[start](truth))
    assert 'frames_failed' not in result.report
    assert result.per_frame_loss.isfinite().all()
    assert off(body, result, points).max() < 0.1
    assert any(stage.get('frames_restarted') for stage in result.history)


@pytest.mark.parametrize('config', ['multiview_keypoints_lm', 'points3d_lm'])
def test_one_bad_start_does_not_spoil_the_others(scene, body, config):
    truth, points, seen = scene
    given = points if config == 'points3d_lm' else seen
    fitter = shipped_fitter(config, body)
    alone = torch.arange(6) == 2
    far = truth.replace(transl=torch.where(alone.unsqueeze(1), 1e25, truth.transl))
    large = truth.replace(scale=torch.where(alone, 1e30, truth.scale))
    for start in (far, large):
        result = fitter([given], init_params=start)
        assert off(body, result, points).max() < 0.1
    assert result.report['frames_of_odd_scale'] == 1


def test_far_residuals_are_no_wrong_slopes(scene, body):
    truth, points, _ = scene
    result = shipped_fitter('points3d_lm', body)(
        [points], init_params=truth.replace(transl=truth.transl + 1e4)
    )
    assert result.per_frame_loss.isfinite().all()


@pytest.mark.parametrize('optimizer', [LevenbergMarquardt(), LevenbergMarquardt(backend='torch'), LBFGS()])
@pytest.mark.parametrize('shared', [True, False])
def test_a_failed_frame_is_named_and_the_others_go_on(scene, body, optimizer, shared):
    _, points, _ = scene
    stages = [
        Stage(n_iter=10, fit=RIGID, weights={'keypoints3d_mse': 1.0}, name='place'),
        Stage(n_iter=30, fit=POSE, weights={'keypoints3d_mse': 1.0, 'pose': 1e-4, 'sick': 1.0}, name='pose'),
        Stage(n_iter=30, fit=POSE, weights={'keypoints3d_mse': 1.0, 'pose': 1e-4}, name='last'),
    ]
    handlers = [Keypoint3dHandler(), BodyPosePriorHandler(handler_key='pose'), sick(13)]
    fitter = SMPLify(body, stages, handlers, optimizer, use_one_betas_per_video=shared)
    result = fitter([points], frames=range(10, 16))
    good = torch.arange(6) != 3
    assert result.fitted.tolist() == good.tolist()
    assert result.per_frame_loss.isfinite().tolist() == good.tolist()
    assert not result.converged[3]
    failed = result.report['frames_failed']
    assert (failed['count'], failed['rows'], failed['frames']) == (1, [3], [13])
    assert failed['causes'] == ["the term sick cannot be computed in stage 'pose'"]
    assert result.history[1]['frames_failed'] == {'13': failed['causes'][0]}
    assert off(body, result, points)[good].max() < 0.05
    # What all frames share holds for those that have failed, too.
    assert bool(result.params.scale.isfinite().all()) == shared


def test_a_fit_whose_every_frame_fails_says_so(scene, body):
    _, points, _ = scene
    stages = [Stage(n_iter=5, fit=RIGID, weights={'keypoints3d_mse': 1.0, 'sick': 1.0}, name='place')]
    fitter = SMPLify(body, stages, [Keypoint3dHandler(), sick(*range(6))], LevenbergMarquardt())
    result = fitter([points])
    assert not (result.fitted | result.converged).any()
    assert result.report['frames_failed']['frames'] == list(range(6))
    assert [stage['reason'] for stage in result.history] == ['nothing to fit']


def test_windows_keep_their_failed_frames(scene, body):
    _, points, _ = scene
    stages = [
        Stage(n_iter=10, fit=RIGID, weights={'keypoints3d_mse': 1.0}, name='place'),
        Stage(n_iter=10, fit=POSE, weights={'keypoints3d_mse': 1.0, 'sick': 1.0}, name='pose'),
    ]
    options = {'window': 3, 'overlap': 1, 'use_one_betas_per_video': True, 'shape_frames': 3}
    bad = sick(2, 4, 5)
    result = SMPLify(body, stages, [Keypoint3dHandler(), bad], LevenbergMarquardt(), **options)([points])
    assert result.report['frames_failed']['frames'] == [2, 4, 5]
    assert result.fitted.tolist() == [True, True, False, True, False, False]
    assert set(result.history[-1]['frames_failed']) == {'2', '4', '5'}


def test_single_images_fail_by_themselves(scene, body):
    _, _, seen = scene
    every = seen.rig
    cameras = replace(
        every, names=every.names[:1], **{n: getattr(every, n)[:1] for n in ('K', 'R', 't', 'size')}
    )
    view = replace(seen, xy=seen.xy[:, :1], confidence=seen.confidence[:, :1], cameras=cameras)
    weights = {'keypoints2d_mse': 1.0, 'sick': 1.0}
    stages = [Stage(n_iter=8, fit=fit, weights=weights) for fit in (('global_orient', 'transl'), POSE)]
    handlers = [Keypoint2dHandler(), sick(1, 5)]
    result = SMALify(body, stages, handlers, optimizer=LevenbergMarquardt(), n_hypotheses=2)([view])
    assert result.report['frames_failed']['frames'] == [1, 5]
    assert result.fitted.tolist() == [True, False, True, True, True, False]


def test_the_frame_that_spoils_motion_is_told_from_its_neighbours(scene, body):
    truth, _, _ = scene
    stage = Stage(n_iter=1, fit=RIGID, weights={'smooth_motion': 1.0})
    handlers = {'smooth_motion': SmoothMotionHandler(SmoothPointsLoss(order=2, sigma=0.05))}
    task = task_of(body, stage, handlers, {}, {}, False, torch.arange(6), None)
    params = truth.to(torch.float32)
    far = params.replace(transl=torch.where((torch.arange(6) == 3).unsqueeze(1), 1e25, params.transl))
    assert frames_not_finite(task, FitState(far)).tolist() == [False, False, False, True, False, False]
    assert frames_not_finite(task, FitState(params.replace(scale=0 * params.scale))).all()


def test_solvers_by_themselves_say_what_to_look_for(scene, body):
    truth, points, _ = scene
    given = {'keypoints3d_mse': Keypoint3dMSEInput(points.to(torch.float32))}
    handlers = {'keypoints3d_mse': Keypoint3dHandler()}
    stage = Stage(n_iter=1, fit=RIGID, weights={'keypoints3d_mse': 1.0})
    task = task_of(body, stage, handlers, given, {}, False, torch.arange(6), None)
    far = FitState(truth.to(torch.float32).replace(transl=torch.full((6, 3), 1e30)))
    for run, solver in ((run_second_order, LevenbergMarquardt()), (run_first_order, LBFGS())):
        with pytest.raises(FloatingPointError, match='look for a scale next to 0 or a place far'):
            run(task, solver, far)


def test_a_stage_that_breaks_down_leaves_frames_where_they_are(scene, body, caplog):
    class Breaks(LevenbergMarquardt):
        def minimise(self, *args, **kwargs):
            raise FloatingPointError('factorise_banded: the matrix must be positive definite.')

    _, points, _ = scene
    weights = {'keypoints3d_mse': 1.0}
    stages = [
        Stage(n_iter=10, fit=RIGID, weights=weights, name='place'),
        Stage(n_iter=10, fit=POSE, weights=weights, name='pose', optimizer=Breaks(backend='torch')),
    ]
    fitter = SMPLify(body, stages, [Keypoint3dHandler()], LevenbergMarquardt())
    result = fitter([points])
    assert result.fitted.all()
    assert not result.converged.any()
    assert list(result.report['stages_not_solved']) == ['pose']
    assert 'positive definite' in result.history[1]['not_solved_because']
    assert 'pose was not solved, frames stay' in caplog.text
