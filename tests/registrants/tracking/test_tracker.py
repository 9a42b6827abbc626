"""Tracking: the truth of made frames, the batch fit of the same frame, jumps, gaps, and what is too little."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import smilfit as sf
from smilfit.synthetic import make_rig, random_motion

CONFIG = Path(__file__).resolve().parents[3] / 'configs' / 'fit' / 'multiview_keypoints_lm.py'
N_FRAMES = 24
SCALE = 100.0


@pytest.fixture(scope='module')
def body():
    return sf.load_body_model('quadruped')


@pytest.fixture(scope='module')
def truth(body):
    rng = np.random.default_rng(3)
    params = random_motion(body, N_FRAMES, rng, 150.0, SCALE, betas=np.zeros(body.n_betas))
    return params.to(torch.float32)


@pytest.fixture(scope='module')
def seen(body, truth):
    """All joints in four cameras with lenses, without noise."""
    rig = make_rig(4, 150.0, np.random.default_rng(4), size=(1280, 1024))
    xy = rig.project(joints_of(body, truth).double())[0].float()
    return sf.Keypoints2d(xy, torch.ones(xy.shape[:3]), tuple(body.joint_names), rig)


def joints_of(body, params):
    with torch.no_grad():
        return body(params).joints


def error(body, truth, poses):
    """The mean distance of joints in body lengths, frame by frame."""
    result = torch.from_numpy(np.stack([pose.joints for pose in poses]))
    return (result - joints_of(body, truth)).norm(dim=-1).mean(1) / (SCALE * body.rest_size)


def handlers():
    """The tracker's terms as a registrant knows them."""
    return [
        sf.Keypoint2dHandler(sf.KeypointMSELoss(sigma=10.0, reduction='sum')),
        sf.BodyPosePriorHandler(sf.PoseRegLoss(reduction='sum'), handler_key='pose_reg'),
        sf.JointLimitHandler(sf.JointLimitLoss(reduction='sum', required=False)),
    ]


def test_a_recording_is_found_again(body, truth, seen):
    tracker = sf.Tracker(body, seen.rig, truth)
    poses = list(tracker.follow(seen))
    assert tracker.counts == {'restarted': 1, 'tracked': N_FRAMES - 1}
    assert all(pose.believable and pose.converged for pose in poses)
    # What priors hold back of limbs that stand far from rest.
    assert float(error(body, truth, poses).max()) < 2e-3
    assert max(pose.residual_px.max() for pose in poses) < 0.5
    params = sf.BodyParams.cat([pose.params for pose in poses])
    result = torch.from_numpy(np.stack([pose.joints for pose in poses]))
    assert torch.allclose(joints_of(body, params), result, atol=1e-3 * SCALE)
    assert torch.allclose(params.scale, truth.scale)


def test_a_frame_is_the_batch_fit_of_that_frame(body, truth, seen):
    noisy = replace(seen, xy=seen.xy + 2 * torch.randn(seen.xy.shape))[:6]
    tracker = sf.Tracker(body, seen.rig, truth, motion_weight=0.0, n_iter=200, ftol=1e-9)
    params = sf.BodyParams.cat([pose.params for pose in tracker.follow(noisy)])
    terms = handlers()
    weights = dict(zip((h.handler_key for h in terms), (1.0, 5.0, 100.0)))
    stage = sf.Stage(n_iter=200, ftol=1e-9, fit=('global_orient', 'transl', 'body_pose'), weights=weights)
    solver = sf.LevenbergMarquardt(gnc_schedule=())
    fit = sf.SMPLify(body, [stage], terms, solver)([noisy], init_params=params)
    assert fit.history[-1]['engine'] == 'kernel'
    assert fit.history[-1]['loss_start'] <= fit.history[-1]['loss_end'] * (1 + 1e-4)
    far = (joints_of(body, params) - joints_of(body, fit.params)).norm(dim=-1)
    assert float(far.max()) < 1e-3 * SCALE * body.rest_size


def test_an_animal_that_is_suddenly_elsewhere_is_found_at_once(body, truth, seen):
    tracker = sf.Tracker(body, seen.rig, truth)
    order = [0, 1, 2, 20, 21, 22]
    moved = seen.rig.project(_moved(body, truth[order]).double())[0].float()
    poses = [tracker(xy) for xy in moved]
    assert [pose.state for pose in poses] == ['restarted', 'tracked', 'tracked'] * 2
    result = torch.from_numpy(np.stack([pose.joints for pose in poses]))
    assert (
        float((result - _moved(body, truth[order])).norm(dim=-1).mean(1).max())
        < 2e-3 * SCALE * body.rest_size
    )


def _moved(body, params):
    """The second half of the frames half a turn round and a body's length away."""
    joints = joints_of(body, params)
    half = len(joints) // 2
    joints[half:, :, :2] = -joints[half:, :, :2] + SCALE * body.rest_size
    return joints


def test_cameras_that_miss_the_animal_are_done_without(body, truth, seen):
    tracker = sf.Tracker(body, seen.rig, truth)
    pixels = seen.xy.numpy().copy()
    pixels[4:8, 0] = np.nan
    confidence = np.ones(pixels.shape[:3])
    confidence[8:12, 1:3] = 0
    confidence[12:14, 1] = np.nan
    poses = [tracker(xy, c) for xy, c in zip(pixels, confidence)]
    assert all(pose.believable for pose in poses)
    assert float(error(body, truth, poses).max()) < 4e-3
    assert np.isnan(poses[5].residual_px).tolist() == [True, False, False, False]
    assert np.isnan(poses[9].distances_px).all(1).tolist() == [False, True, True, False]


def test_what_is_too_little_is_told(body, truth, seen):
    tracker = sf.Tracker(body, seen.rig, truth)
    confidence = np.ones(seen.xy.shape[:3])
    confidence[0, 1:] = 0  # One camera alone cannot start.
    confidence[6] = 0
    confidence[7, :, 3:] = 0
    confidence[10, 1:] = 0
    poses = [tracker(xy, c) for xy, c in zip(seen.xy[:12], confidence)]
    assert [i for i, pose in enumerate(poses) if pose.state == 'too little'] == [0, 6, 7]
    for i in (0, 6, 7):
        assert not poses[i].believable
        assert not poses[i].converged
        assert bool(poses[i].params.transl.isnan().all())
        assert bool(poses[i].params.body_pose.isnan().all())
        assert np.isnan(poses[i].joints).all()
        assert np.isnan(poses[i].residual_px).all()
    assert 'two cameras' in poses[0].reason
    assert 'fewer than 4 keypoints' in poses[6].reason
    assert [poses[i].state for i in (1, 8)] == ['restarted', 'tracked']
    assert not poses[10].believable
    assert poses[10].reason == 'one camera alone saw it'
    assert tracker.counts['too little'] == 3
    tracker.reset()
    assert not tracker.counts
    assert tracker(seen.xy[3]).state == 'restarted'


def test_labels_of_no_animal_are_not_believed(body, truth, seen):
    tracker = sf.Tracker(body, seen.rig, truth)
    list(tracker.follow(seen[:3]))
    pose = tracker(np.random.default_rng(0).uniform(0, 1000, seen.xy.shape[1:]))
    assert pose.state == 'lost'
    assert not pose.believable
    assert 'of the body length' in pose.reason
    after = tracker(seen.xy[3])
    assert after.believable
    assert float(error(body, truth[3:4], [after]).max()) < 2e-3


def test_a_limb_that_is_hidden_moves_on_with_its_motion(body, truth, seen):
    confidence = np.ones(seen.xy.shape[:3])
    hidden = [i for i, name in enumerate(seen.names) if 'tail' in name.lower()]
    assert hidden
    confidence[10:14][:, :, hidden] = 0
    far = {}
    for weight in (0.0, 5e3):
        tracker = sf.Tracker(body, seen.rig, truth, motion_weight=weight)
        poses = [tracker(xy, c) for xy, c in zip(seen.xy, confidence)]
        result = torch.from_numpy(np.stack([pose.joints for pose in poses[10:14]]))
        far[weight] = float((result - joints_of(body, truth[10:14])).norm(dim=-1)[:, hidden].mean())
    assert far[5e3] < 0.7 * far[0.0]


def test_outliers_do_not_turn_the_animal(body, truth, seen):
    rng = np.random.default_rng(1)
    xy = seen.xy.numpy().copy()
    wrong = rng.random(xy.shape[:3]) < 0.08
    xy[wrong] += rng.normal(0, 150, (int(wrong.sum()), 2))
    tracker = sf.Tracker(body, seen.rig, truth)
    poses = [tracker(frame) for frame in xy]
    assert all(pose.believable for pose in poses)
    assert float(error(body, truth, poses).median()) < 4e-3


def test_the_shape_is_that_of_the_fit(body, truth, seen):
    shape = truth.replace(scale=1.1 * truth.scale, betas=truth.betas + 0.3)
    tracker = sf.Tracker(body, seen.rig, shape)
    result = tracker(seen.xy[0]).params
    assert torch.equal(result.scale, shape.scale[:1])
    assert torch.equal(result.betas, shape.betas[:1])


def test_what_cannot_be_tracked_is_refused(body, truth, seen):
    rig = seen.rig
    one = rig.select(rig.names[:1])
    for text, call in {
        'two or more': lambda: sf.Tracker(body, one, truth),
        'one for all frames': lambda: sf.Tracker(
            body, rig, truth.replace(scale=torch.linspace(1, 2, N_FRAMES))
        ),
        'of a fitted frame': lambda: sf.Tracker(body, rig, truth.replace(transl=torch.nan * truth.transl)),
        'motion_order must be 1 or 2': lambda: sf.Tracker(body, rig, truth, motion_order=3),
        'sigma_px must be positive': lambda: sf.Tracker(body, rig, truth, sigma_px=0.0),
        'pose_weight must be finite': lambda: sf.Tracker(body, rig, truth, pose_weight=-1.0),
        'pixels must be': lambda: sf.Tracker(body, rig, truth)(seen.xy[0, :3]),
        'confidence must be': lambda: sf.Tracker(body, rig, truth)(seen.xy[0], np.ones(3)),
        'in this order': lambda: next(sf.Tracker(body, rig, truth).follow(seen.select(seen.names[::-1]))),
    }.items():
        with pytest.raises(ValueError, match=text):
            call()


def test_the_real_mouse_is_where_its_windowed_fit_has_it(real_data):
    folder = real_data / 'mouse_sessions'
    session = sf.SleapSession(
        folder / 'minimal_session',
        joint_lookup=folder / 'joint_lookup.csv',
        exclude_cameras=('side',),
        unit='mm',
    )
    seen = session.keypoints2d()[:40]
    body = sf.load_body_model(real_data / 'models' / 'SMILy_Mouse_static_joints.pkl')
    body = body.with_landmarks(session.landmarks(body.data))
    cfg = sf.read_config(CONFIG)
    fit = sf.build_registrant({**cfg, 'body_model': body, 'verbose': False})([seen])
    tracker = sf.Tracker(body, seen.rig, fit)
    poses = list(tracker.follow(seen))
    assert tracker.counts == {'restarted': 1, 'tracked': 39}
    assert np.mean([pose.believable for pose in poses]) > 0.95
    far = np.linalg.norm(np.stack([pose.points for pose in poses]) - fit.keypoints3d.xyz.numpy(), axis=-1)
    assert np.median(far) < 0.5  # mm
    pixels = seen.rig.project(fit.keypoints3d.xyz.double())[0]
    theirs = (pixels - seen.xy).norm(dim=-1)[seen.visible].median()
    ours = np.nanmedian(np.stack([pose.distances_px for pose in poses]))
    assert ours < 1.1 * float(theirs)
