"""Input that no fit can do right by is refused before the first step, or reported: never converged in silence."""

import math
from dataclasses import replace

import pytest
import torch

from smilfit.handlers import (
    BodyPosePriorHandler,
    Keypoint2dHandler,
    Keypoint2dInput,
    Keypoint3dHandler,
    Keypoint3dLimbLenHandler,
    Keypoint3dLimbLenInput,
    PriorHandler,
)
from smilfit.losses import KeypointMSELoss, PoseRegLoss
from smilfit.registrants import SMPLify, Stage
from smilfit.solvers import LBFGS, LevenbergMarquardt
from tests.animals import ring_of_cameras
from tests.registrants.clip import ALL, RIGID, seen_by

IN_SPACE = {'keypoints3d_mse': 1.0}
SOLVERS = pytest.mark.parametrize('solver', [LBFGS(), LevenbergMarquardt()], ids=['LBFGS', 'LM'])


def fit_in_space(clip, init=None, points=None, **more):
    body, _, exact = clip
    stage = Stage(n_iter=5, fit=RIGID, weights=IN_SPACE)
    return SMPLify(body, [stage], [Keypoint3dHandler()], **more)([points or exact], init)


@pytest.mark.parametrize(
    ('name', 'change', 'message'),
    [
        ('scale', lambda x: 0 * x, r'init_params scale must be positive; got 0 in row 0 .* \(5 such rows\)'),
        ('scale', lambda x: -x, 'init_params scale must be positive'),
        ('scale', lambda x: x * math.inf, 'init_params scale must be finite; got inf'),
        ('transl', lambda x: x * math.nan, 'init_params transl must be finite; got nan, nan, nan'),
        ('body_pose', lambda x: x * math.nan, 'init_params body_pose must be finite'),
        (
            'body_pose',
            lambda x: x[:, 1:],
            r'init_params body_pose must be \(5, 7, 3\) or .*; got \(5, 6, 3\)',
        ),
        ('betas', lambda x: x[:, :2], r'init_params betas must be \(5, 3\); got \(5, 2\)'),
        ('transl', lambda x: x[:3], 'init_params transl must have 1 or 5 rows; got 3'),
        ('scale', lambda x: x[0], 'init_params scale must have 1 or 5 rows; got a number'),
    ],
)
def test_a_start_where_no_body_stands_is_refused(clip, name, change, message):
    wrong = {name: change(getattr(clip[1], name))}
    with pytest.raises(ValueError, match=message):
        fit_in_space(clip, wrong)


def test_a_start_may_lack_what_is_not_fitted(clip):
    """The end of one fit is a start of the next, with the frames that nobody saw in it."""
    _, truth, points = clip
    confidence = points.confidence.clone()
    confidence[2] = 0
    seen = replace(points, confidence=confidence)
    first = fit_in_space(clip, truth, seen)
    assert not first.fitted[2]
    again = fit_in_space(clip, first.params, seen, use_one_betas_per_video=True)
    assert again.fitted.tolist() == [True, True, False, True, True]
    assert again.params.betas.isfinite().all()


@pytest.mark.parametrize('weight', [-1.0, math.inf, math.nan])
def test_weights_are_no_rewards(clip, weight):
    handlers = [Keypoint3dHandler()]
    with pytest.raises(
        ValueError, match=r"stage 0: the weight of 'keypoints3d_mse' must be finite and not neg"
    ):
        SMPLify(clip[0], [{'keypoints3d_mse_weight': weight}], handlers)
    with pytest.raises(
        ValueError, match="stage 0: the part weight of 'foot' must be finite and not negative"
    ):
        SMPLify(clip[0], [{'keypoints3d_mse_weight': 1.0, 'foot_weight': weight}], handlers)
    with pytest.raises(ValueError, match='KeypointMSELoss: loss_weight must be finite and not negative'):
        KeypointMSELoss(loss_weight=weight)


@SOLVERS
def test_a_body_behind_all_cameras_has_not_converged(clip, solver, caplog):
    body, truth, points = clip
    # It sees the frames' points from the front; the fit begins behind it and cannot turn or move.
    ring = ring_of_cameras().select(['cam0'])
    seen = seen_by(ring, points)
    behind = truth.replace(transl=truth.transl + 3 * ring.centres()[0])
    behind = behind.replace(transl=torch.where(torch.arange(5)[:, None] < 3, behind.transl, truth.transl))
    stage = Stage(n_iter=3, fit=('betas',), weights={'keypoints2d_mse': 1.0})
    result = SMPLify(body, [stage], [Keypoint2dHandler()], solver)([seen], behind)
    assert result.report['frames_behind_cameras'] == 3
    assert not result.converged[:3].any()
    assert '3 frames: the body lies behind every camera that sees it' in caplog.text
    fine = SMPLify(body, [stage], [Keypoint2dHandler()], solver)([seen], truth)
    assert 'frames_behind_cameras' not in fine.report


def shown(points, frame, names):
    """The points, of which one frame shows some keypoints alone."""
    confidence = points.confidence.clone()
    kept = torch.tensor([name in names for name in points.names])
    confidence[frame, ~kept] = 0
    return replace(points, confidence=confidence)


class Silent(PriorHandler):
    """A prior of a user's, of which nobody knows what it holds."""

    of = ('body_pose',)
    default_key = 'silent'
    default_loss = PoseRegLoss


@pytest.mark.parametrize(
    ('fit', 'weights', 'more', 'unknowns'),
    [
        # Turn, place and scale of a frame; the pose of seven joints; three coefficients of shape.
        (RIGID, {}, {}, 7),
        (RIGID, {}, {'use_one_betas_per_video': True}, 6),
        (('transl',), {}, {}, None),
        (('transl', 'global_orient', 'body_pose'), {'pose': 1.0}, {}, 6),
        (('transl', 'global_orient', 'body_pose'), {'silent': 1.0}, {}, None),
    ],
)
def test_a_frame_that_shows_less_than_is_asked_is_reported(clip, fit, weights, more, unknowns, caplog):
    body, _, points = clip
    handlers = [Keypoint3dHandler(), BodyPosePriorHandler(PoseRegLoss(), 'pose'), Silent()]
    stage = Stage(n_iter=1, fit=fit, weights=IN_SPACE | weights)
    unseen = points.confidence.clone()
    unseen[0] = 0
    points = shown(replace(points, confidence=unseen), 3, ['joint_1'])
    report = SMPLify(body, [stage], handlers, **more)([points]).report
    if unknowns is None:
        assert 'frames_underdetermined' not in report
        return
    # By the numbers of the caller's frames, one of which nobody saw.
    assert report['frames_underdetermined'] == {'count': 1, 'rows': [3], 'unknowns': unknowns}
    assert f'1 of 4 frames show fewer numbers than the {unknowns} that are asked of each' in caplog.text


def test_keypoints_in_one_place_are_one(clip):
    _, _, points = clip
    xyz = points.xyz.clone()
    xyz[1] = xyz[1, :1]
    report = fit_in_space(clip, points=replace(points, xyz=xyz)).report
    assert report['frames_underdetermined']['rows'] == [1]
    assert 'frames_underdetermined' not in fit_in_space(clip).report


def test_one_keypoint_in_one_view_is_reported(clip):
    body, truth, points = clip
    seen = seen_by(ring_of_cameras(), points)
    confidence = torch.zeros_like(seen.confidence)
    confidence[:, 2, 4] = 1
    stage = Stage(n_iter=2, fit=RIGID, weights={'keypoints2d_mse': 1.0})
    result = SMPLify(body, [stage], [Keypoint2dHandler()])([replace(seen, confidence=confidence)], truth)
    assert result.report['frames_underdetermined'] == {'count': 5, 'rows': [0, 1, 2, 3, 4], 'unknowns': 7}


def test_lengths_of_limbs_determine_no_place(clip):
    body, truth, points = clip
    limbs = Keypoint3dLimbLenInput(points)
    stage = Stage(n_iter=2, fit=ALL, weights={'keypoints3d_limb_len': 1.0})
    report = SMPLify(body, [stage], [Keypoint3dLimbLenHandler()])([limbs], truth).report
    assert report['frames_underdetermined']['count'] == 5


def test_views_and_cameras_are_as_many(clip):
    seen = seen_by(ring_of_cameras(4), clip[2])
    with pytest.raises(
        ValueError, match='the cameras must be as many as the views; got 5 cameras and 4 views'
    ):
        Keypoint2dInput(seen.xy, seen.names, seen.confidence, ring_of_cameras(5))
