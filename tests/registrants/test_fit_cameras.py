"""Cameras that a fit may move, by name, and cameras that contradict each other."""

import logging
from pathlib import Path

import pytest
import torch

import smilfit as sf
from smilfit.handlers import Keypoint2dHandler, SmoothMotionHandler
from smilfit.losses import KeypointMSELoss
from smilfit.registrants import SMPLify, Stage
from smilfit.registry import UnknownNameError
from smilfit.solvers import LBFGS, LevenbergMarquardt
from smilfit.structures import Keypoints2d
from tests.animals import ring_of_cameras
from tests.registrants.clip import ALL, make_clip, seen_by
from tests.registrants.test_levenberg_marquardt import pose_prior

# L-BFGS is slow; which camera moves is what is asked of it.
SOLVERS = ((LevenbergMarquardt(), 40, 0.1), (LBFGS(), 3, 1.0))


def recording(camera: int, amount: float):
    """A clip of which one camera is turned and moved by so much."""
    body, truth, points = make_clip()
    cameras = ring_of_cameras()
    seen = seen_by(cameras, points)
    shift = torch.zeros(4, 6, dtype=torch.float64)
    shift[camera] = amount * torch.tensor([1.0, -1, 1, 1, -1, 2], dtype=torch.float64)
    return body, truth, Keypoints2d(seen.xy, seen.confidence, seen.names, cameras.shifted(shift)), cameras


def fitter(body, cameras, solver, n_iter=40):
    prior, weight = pose_prior()
    handlers = [Keypoint2dHandler(KeypointMSELoss(reduction='sum')), prior]
    keys = {f'{k}_weight': w for k, w in ({'keypoints2d_mse': 1.0} | weight).items()}
    stage = dict(n_iter=n_iter, ftol=1e-10, fit_cameras=cameras, **{f'fit_{n}': True for n in ALL}, **keys)
    return SMPLify(body, [stage, stage], handlers, solver, use_one_betas_per_video=True)


@pytest.mark.parametrize(('solver', 'n_iter', 'share'), SOLVERS)
def test_a_named_camera_alone_moves(solver, n_iter, share):
    body, truth, seen, true = recording(2, 0.02)
    name = true.names[2]
    result = fitter(body, (name,), solver, n_iter)([seen], truth)
    for c in range(4):
        same = [
            torch.equal(getattr(result.cameras, n)[c], getattr(seen.cameras, n)[c]) for n in ('K', 'R', 't')
        ]
        assert all(same) == (c != 2)
    before, after = ((x.R[2] - true.R[2]).norm() for x in (seen.cameras, result.cameras))
    assert after < share * before


@pytest.mark.parametrize('engine', ['dense', 'banded', 'kernel'])
def test_good_cameras_keep_every_bit_on_every_engine(engine):
    """Frames alone, tied by a motion term, and after a stage that the kernel solved."""
    body, truth, seen, true = recording(2, 0.02)
    prior, weight = pose_prior()
    keys = {'keypoints2d_mse_weight': 1.0, **{f'{k}_weight': w for k, w in weight.items()}}
    handlers = [Keypoint2dHandler(KeypointMSELoss(reduction='sum')), prior]
    if engine == 'banded':
        handlers.append(SmoothMotionHandler())
        keys['smooth_motion_weight'] = 1e-3
    moving = dict(n_iter=10, fit_cameras=[true.names[2]], **{f'fit_{n}': True for n in ALL[:4]}, **keys)
    still = moving | {'fit_cameras': False}
    backend, stages = ('auto', [still, moving]) if engine == 'kernel' else ('torch', [moving])
    result = SMPLify(body, stages, handlers, LevenbergMarquardt(backend))([seen], truth)
    # The kernel moves no cameras, and says so.
    ran = [(entry['engine'], entry.get('no_kernel_because')) for entry in result.history]
    assert (
        ran
        == {
            'dense': [('dense', "backend='torch'")],
            'banded': [('banded', "backend='torch'")],
            'kernel': [('kernel', None), ('dense', 'fit_cameras')],
        }[engine]
    )
    for c in range(4):
        same = [
            torch.equal(getattr(result.cameras, n)[c], getattr(seen.cameras, n)[c]) for n in ('K', 'R', 't')
        ]
        assert all(same) == (c != 2)


def test_covariance_names_the_columns_of_moved_cameras():
    body, _, seen, true = recording(2, 0.02)
    result = fitter(body, [true.names[2]], LevenbergMarquardt(covariance=True), 15)([seen])
    columns = [c for c in result.covariance.columns if c.startswith('cameras')]
    assert columns == [f'cameras[{i}]' for i in range(12, 18)]
    rows = [result.covariance.columns.index(c) for c in columns]
    variance = result.covariance.parameters.diagonal(dim1=1, dim2=2)[:, rows]
    assert bool((variance.isfinite() & (variance > 0)).all())


def test_all_cameras_are_told_and_names_are_checked(caplog):
    body, _, seen, true = recording(2, 0.0)
    with caplog.at_level(logging.WARNING):
        fitter(body, True, LevenbergMarquardt(), 2)([seen])
    assert 'moves all cameras' in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        fitter(body, true.names[:2], LevenbergMarquardt(), 2)([seen])
    assert 'moves all cameras' not in caplog.text
    with pytest.raises(UnknownNameError, match="fits the camera 'sid'"):
        fitter(body, 'sid', LevenbergMarquardt(), 2)([seen])
    with pytest.raises(ValueError, match='fit_cameras must be True, False or names of cameras, each once'):
        fitter(body, ('a', 'a'), LevenbergMarquardt())
    with pytest.raises(ValueError, match="so fit must hold 'cameras'"):
        Stage(fit=('transl',), fit_cameras=('a',))
    assert 'cameras' not in fitter(body, False, LevenbergMarquardt()).stages[0].fit


def test_a_fit_tells_of_cameras_that_contradict(caplog):
    body, _, seen, true = recording(2, 0.5)
    with caplog.at_level(logging.WARNING):
        result = fitter(body, False, LevenbergMarquardt(), 2)([seen])
    assert caplog.text.count('contradicts the others') == 1
    assert f"Camera '{true.names[2]}' contradicts the others" in caplog.text
    assert f'smilfit calibrate camera SESSION --camera {true.names[2]}' in caplog.text
    assert result.report['camera_consistency']['keypoints2d_mse']['contradicting'] == [true.names[2]]
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        fitter(body, False, LevenbergMarquardt(), 2)([recording(2, 0.0)[2]])
    assert 'must agree' not in caplog.text


@pytest.mark.real
def test_the_mouse_false_side_moves_alone(real_data: Path, caplog):
    root = real_data / 'mouse_sessions'
    body = sf.load_body_model(real_data / 'models/SMILy_Mouse_static_joints.pkl')
    session = sf.SleapSession(root / 'minimal_session', joint_lookup=root / 'joint_lookup.csv', unit='mm')
    seen = session.keypoints2d()[:20]
    place = ('global_orient', 'transl', 'scale')
    weights = {'keypoints2d_mse': 1.0}
    stages = [
        Stage(n_iter=10, fit=place, weights=weights),
        Stage(n_iter=15, fit=(*place, 'body_pose', 'cameras'), fit_cameras=('side',), weights=weights),
    ]
    handlers = [sf.Keypoint2dHandler(KeypointMSELoss(sigma=20.0, reduction='sum'))]
    with caplog.at_level(logging.WARNING):
        result = SMPLify(body, stages, handlers, LevenbergMarquardt(), use_one_betas_per_video=True)([seen])
    assert "Camera 'side' contradicts the others" in caplog.text
    for c, name in enumerate(seen.cameras.names):
        given = seen.cameras.to(result.cameras.R.dtype)
        assert (
            torch.equal(result.cameras.R[c], given.R[c]) and torch.equal(result.cameras.t[c], given.t[c])
        ) == (name != 'side')
