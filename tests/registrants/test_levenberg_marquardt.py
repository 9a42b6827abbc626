"""Levenberg-Marquardt: truth recovered, frames by themselves, and what it refuses."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from smilfit.body_models import SMIL
from smilfit.handlers import (
    BetasPriorHandler,
    BodyPosePriorHandler,
    Keypoint2dHandler,
    Keypoint2dInput,
    Keypoint3dLimbLenHandler,
    Keypoint3dLimbLenInput,
    Keypoint3dMSEHandler,
    Keypoint3dMSEInput,
    SmoothMotionHandler,
)
from smilfit.losses import (
    JointPriorLoss,
    KeypointMSELoss,
    MahalanobisPosePriorLoss,
    PoseRegLoss,
    ShapePriorLoss,
    SmoothPointsLoss,
)
from smilfit.registrants import SMPLify, Stage
from smilfit.registrants.second_order import body_problem as frame_batch_module
from smilfit.registrants.second_order import body_problem as problem_module
from smilfit.solvers import LBFGS, LevenbergMarquardt
from smilfit.structures import BodyParams, Keypoints2d, Keypoints3d
from tests.animals import random_params, ring_of_cameras, static_animal
from tests.registrants.clip import ALL, error, make_clip, seen_by

POSE = ('global_orient', 'transl', 'body_pose')


def pose_prior(weight=1e-6):
    handler = BodyPosePriorHandler(PoseRegLoss(reduction='sum'), handler_key='pose_reg')
    return handler, {'pose_reg': weight}


def fit(body, inputs, handlers, weights, fit=ALL, shared=False, n_iter=60, initializer='rigid', **solver):
    stage = Stage(n_iter=n_iter, ftol=1e-10, fit=fit, weights=weights)
    return SMPLify(
        body,
        [stage],
        handlers,
        LevenbergMarquardt(**solver),
        use_one_betas_per_video=shared,
        initializer=initializer,
    )(inputs)


def points3d_handlers(sigma=None):
    prior, weight = pose_prior()
    handlers = [Keypoint3dMSEHandler(KeypointMSELoss(sigma, reduction='sum')), prior]
    return handlers, {'keypoints3d_mse': 1.0} | weight


@pytest.mark.parametrize('shared', [False, True])
def test_recovers_truth_from_3d(shared):
    body, _, points = make_clip()
    handlers, weights = points3d_handlers()
    result = fit(body, [points], handlers, weights, shared=shared)
    assert error(body, result, points).max() < 3e-3
    assert bool(result.converged.all())
    if shared:
        assert result.params.betas.unique(dim=0).shape[0] == 1


def test_recovers_truth_from_four_views_with_gaps():
    body, _, points = make_clip()
    seen = seen_by(ring_of_cameras(), points)
    hidden = torch.rand(seen.confidence.shape, generator=torch.Generator().manual_seed(4)) < 0.2
    seen = replace(seen, confidence=seen.confidence.masked_fill(hidden, 0.0))
    prior, weight = pose_prior()
    handlers = [Keypoint2dHandler(KeypointMSELoss(reduction='sum')), prior]
    result = fit(body, [seen], handlers, {'keypoints2d_mse': 1.0} | weight, shared=True)
    assert result.history[-1]['loss_end'] < 2e-5
    # A point that one camera alone sees is held by nothing but the prior along its ray.
    assert error(body, result, points).mean() < 2e-3


def test_reaches_at_most_the_energy_of_lbfgs():
    body, _, points = make_clip()
    noisy = replace(points, xyz=points.xyz + 0.05 * torch.randn(points.xyz.shape).double())
    prior, weight = pose_prior(0.01)
    handlers = [Keypoint3dMSEHandler(KeypointMSELoss(reduction='sum')), prior, BetasPriorHandler()]
    weights = {'keypoints3d_mse': 1.0, 'betas_prior': 0.1} | weight
    stage = Stage(n_iter=100, ftol=1e-9, fit=ALL, weights=weights)
    ours, theirs = (SMPLify(body, [stage], handlers, s)([noisy]) for s in (LevenbergMarquardt(), LBFGS()))
    assert ours.history[-1]['loss_end'] <= theirs.history[-1]['loss_end'] * (1 + 1e-6)


def test_a_bad_frame_changes_no_other():
    body, _, points = make_clip()
    garbage = replace(points, xyz=points.xyz.clone())
    garbage.xyz[2] = 40 * torch.randn(points.xyz[2].shape).double()
    # A sum: what a mean divides by depends on nothing but counts, but let it be out of the way.
    handlers, weights = points3d_handlers()
    clean = fit(body, [points], handlers, weights)
    spoiled = fit(body, [garbage], handlers, weights)
    others = [0, 1, 3, 4]
    torch.testing.assert_close(clean.joints()[others], spoiled.joints()[others], rtol=0, atol=1e-6)
    assert bool(clean.converged.all())
    assert bool(spoiled.converged[others].all())


def test_blocks_of_frames_and_finished_frames_change_nothing(monkeypatch):
    body, _, points = make_clip()
    # Means: a block must weigh its frames as the whole clip does.
    handlers = [Keypoint3dMSEHandler(), BodyPosePriorHandler(MahalanobisPosePriorLoss())]
    weights = {'keypoints3d_mse': 1.0, 'body_pose_prior': 1e-3}
    for shared in (False, True):
        whole = fit(body, [points], handlers, weights, shared=shared)
        for kept in (1, 9):
            with monkeypatch.context() as patched:
                patched.setattr(frame_batch_module, 'CHUNK', 2)
                patched.setattr(problem_module, 'BLOCK', 3)
                patched.setattr(problem_module, 'BLOCKS_KEPT', kept)
                blocks = fit(body, [points], handlers, weights, shared=shared)
            torch.testing.assert_close(whole.joints(), blocks.joints(), rtol=0, atol=1e-6)


def deep_chain(n_joints=60):
    """A tail of many joints, some bones of no length, in float32."""
    data = static_animal(n_joints=6)
    joints = np.cumsum(np.tile([[0.05, 0.01, 0.0]], (n_joints, 1)), 0)
    joints[10] = joints[9]
    weights = np.zeros((data.n_vertices, n_joints))
    weights[np.arange(data.n_vertices), np.arange(data.n_vertices) % n_joints] = 1
    return replace(
        data,
        joint_names=tuple(f'j{i}' for i in range(n_joints)),
        parents=np.arange(-1, n_joints - 1),
        joints=joints,
        weights=type(data.weights).from_dense(weights),
        shapedirs=None,
        shape_mean=None,
        joint_limits=None,
        joint_groups={},
        keypoint_sets={},
        joint_symmetry=(),
        pose_prior_mean=None,
        pose_prior_precision=None,
    )


def test_a_deep_chain_far_away_in_float32():
    data = deep_chain()
    body = SMIL(data)
    g = torch.Generator().manual_seed(0)
    truth = BodyParams(
        0.5 * torch.randn(9, 3, generator=g),
        0.06 * torch.randn(9, 59, 3, generator=g),
        torch.zeros(9, 0),
        torch.full((9, 3), 30.0),
        torch.ones(9),
    )
    joints = body(truth).joints
    points = Keypoints3d(joints, torch.ones(9, 60), data.joint_names)
    handlers, weights = points3d_handlers()
    stage = Stage(n_iter=60, ftol=1e-10, fit=POSE, weights=weights)
    start = {'transl': truth.transl, 'global_orient': truth.global_orient}
    result = SMPLify(body, [stage], handlers, LevenbergMarquardt('torch'))([points], start)
    assert error(body, result, points).max() < 2e-3


def test_outliers_are_survived():
    body, truth, points = make_clip()
    g = torch.Generator().manual_seed(1)
    wrong = torch.rand(points.confidence.shape, generator=g) < 0.1
    spoiled = points.xyz + torch.where(wrong, 1.0, 0.0).unsqueeze(-1) * torch.randn(
        points.xyz.shape, generator=g
    )
    seen = replace(points, xyz=spoiled)
    handlers, weights = points3d_handlers(sigma=0.05)
    # The shape is known: eight joints are few to tell an outlier from a long bone.
    start = truth.replace(body_pose=torch.zeros_like(truth.body_pose))
    stage = Stage(n_iter=60, ftol=1e-9, fit=POSE, weights=weights)
    result = SMPLify(body, [stage], handlers, LevenbergMarquardt())([seen], start)
    median = error(body, result, points).median(1).values
    assert bool((median < 0.02).all())


def test_any_residual_has_an_automatic_jacobian():
    body, truth, points = make_clip()
    seen = Keypoint3dLimbLenInput(points.xyz[:, :8], points.names[:8], points.confidence[:, :8])
    handlers = [
        Keypoint3dMSEHandler(KeypointMSELoss(reduction='sum')),
        Keypoint3dLimbLenHandler(),
        BodyPosePriorHandler(JointPriorLoss(use_full_body=True, smooth_spine=True)),
    ]
    weights = {'keypoints3d_mse': 1.0, 'keypoints3d_limb_len': 10.0, 'body_pose_prior': 1e-7}
    result = fit(body, [points, seen], handlers, weights)
    assert error(body, result, points).max() < 1e-2
    alone = SMPLify(
        body,
        [Stage(n_iter=40, ftol=1e-9, fit=('betas',), weights={'keypoints3d_limb_len': 1.0})],
        handlers,
        LevenbergMarquardt(),
        use_one_betas_per_video=True,
        initializer=None,
    )([points, seen], truth.replace(betas=torch.zeros_like(truth.betas)))
    torch.testing.assert_close(alone.params.betas, truth.betas, atol=1e-2, rtol=0)


def moving_clip():
    body, _, points = make_clip()
    xyz = points.xyz[:1] + 0.1 * torch.randn(12, *points.xyz.shape[1:]).double()
    return body, Keypoints3d(xyz, torch.ones(xyz.shape[:2]).double(), points.names)


@pytest.mark.parametrize(('order', 'sigma'), [(1, None), (2, None), (2, 0.1)])
def test_smooth_motion_reaches_lbfgs_minimum(order, sigma):
    torch.manual_seed(0)
    body, rough = moving_clip()
    prior, weight = pose_prior(0.1)
    handlers = [
        Keypoint3dMSEHandler(KeypointMSELoss(reduction='sum')),
        SmoothMotionHandler(SmoothPointsLoss(order, reduction='sum', sigma=sigma)),
        prior,
    ]
    weights = {'keypoints3d_mse': 1.0, 'smooth_motion': 3.0} | weight
    stage = Stage(n_iter=150, ftol=1e-11, fit=POSE, weights=weights)
    frames = [0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12]
    ours, theirs = (
        SMPLify(body, [stage], handlers, s, use_one_betas_per_video=True)([rough], frames=frames)
        for s in (LevenbergMarquardt(), LBFGS())
    )
    assert ours.history[-1]['loss_end'] <= theirs.history[-1]['loss_end'] * (1 + 1e-5)
    alone = SMPLify(
        body, [replace(stage, weights={'keypoints3d_mse': 1.0} | weight)], handlers, LevenbergMarquardt()
    )([rough])
    jerk = [r.joints().diff(n=order, dim=0)[5:].square().sum() for r in (ours, alone)]
    assert jerk[0] < 0.5 * jerk[1]


def test_cameras_are_corrected_with_the_shape():
    body, _, points = make_clip()
    cameras = ring_of_cameras()
    seen = seen_by(cameras, points)
    shift = 0.01 * torch.randn(4, 6, generator=torch.Generator().manual_seed(2)).double()
    wrong = Keypoints2d(seen.xy, seen.confidence, seen.names, cameras.shifted(shift))
    prior, weight = pose_prior()
    handlers = [Keypoint2dHandler(KeypointMSELoss(reduction='sum')), prior]
    weights = {'keypoints2d_mse': 1.0} | weight
    held = fit(body, [wrong], handlers, weights, shared=True)
    freed = fit(body, [wrong], handlers, weights, (*ALL, 'cameras'), shared=True, n_iter=100)
    assert freed.history[-1]['loss_end'] < 1e-3 * held.history[-1]['loss_end']
    pixels, _, _ = freed.cameras.project(body(freed.params, seen.names).keypoints)
    assert (pixels - seen.xy).norm(dim=-1).max() < 0.05
    stage = Stage(n_iter=30, fit=(*ALL, 'cameras'), weights=weights)
    by_gradient = SMPLify(body, [stage], handlers, LBFGS(), use_one_betas_per_video=True)([wrong])
    assert by_gradient.history[-1]['loss_end'] < 0.1 * held.history[-1]['loss_end']


def test_frames_that_nobody_saw_are_not_made_up():
    body, _, points = make_clip()
    confidence = points.confidence.clone()
    confidence[[1, 4]] = 0
    handlers, weights = points3d_handlers()
    for solver in (LevenbergMarquardt(), LBFGS()):
        stage = Stage(n_iter=30, fit=ALL, weights=weights)
        result = SMPLify(body, [stage], handlers, solver, use_one_betas_per_video=True)(
            [replace(points, confidence=confidence)]
        )
        assert result.fitted.tolist() == [True, False, True, True, False]
        assert result.converged[[1, 4]].tolist() == [False, False]
        assert bool(result.params.body_pose[[1, 4]].isnan().all())
        assert bool(result.params.betas.isfinite().all())
        assert result.report['frames_not_observed'] == 2
        assert error(body, result, points)[[0, 2, 3]].max() < 1e-2
    with pytest.raises(ValueError, match='at least one of 5 frames must have an observation'):
        fit(body, [replace(points, confidence=0 * confidence)], handlers, weights)


def test_nan_in_an_input_is_masked_and_counted():
    body, _, points = make_clip()
    xyz = points.xyz.clone()
    xyz[1, 2, 0] = torch.nan
    xyz[3, 0] = torch.inf
    handlers, weights = points3d_handlers()
    seen = Keypoint3dMSEInput(xyz, points.names)
    result = fit(body, [seen], handlers, weights)
    assert result.report['masked_points'] == {'keypoints3d_mse': 2}
    assert error(body, result, points)[points.confidence * xyz.isfinite().all(-1) > 0].max() < 1e-2


def test_covariance_covers_the_truth():
    torch.manual_seed(3)
    body, truth, points = make_clip()
    count, noise = 400, 0.02
    rows = torch.arange(count) % 5
    clean = points.xyz[rows]
    seen = Keypoints3d(
        clean + noise * torch.randn_like(clean), torch.ones(clean.shape[:2]).double(), points.names
    )
    handlers, weights = points3d_handlers()
    stage = Stage(n_iter=30, ftol=1e-9, fit=POSE, weights=weights)
    registrant = SMPLify(body, [stage], handlers, LevenbergMarquardt(covariance=True))
    result = registrant([seen], truth[rows])
    covariance = result.covariance
    assert covariance.noise == pytest.approx(noise, rel=0.05)
    at = body(result.params, covariance.keypoint_names).keypoints
    index = [covariance.keypoint_names.index(n) for n in points.names]
    off = (at[:, index] - clean) / covariance.keypoint_sd()[:, index]
    assert float((off.abs() < 1.645).double().mean()) == pytest.approx(0.9, abs=0.03)
    assert covariance.parameters.shape == (count, len(covariance.columns), len(covariance.columns))


class TestRefusals:
    def test_inherited_joint_scales(self):
        body, _, points = make_clip()
        inherited = SMIL(replace(body.data, joint_scale_mode='inherited')).double()
        handlers, weights = points3d_handlers()
        with pytest.raises(ValueError, match='joint scales must be of the mode "local"'):
            fit(inherited, [points], handlers, weights, (*ALL, 'log_joint_scales'))

    def test_cameras_without_cameras(self):
        body, _, points = make_clip()
        handlers, weights = points3d_handlers()
        with pytest.raises(ValueError, match='exactly one input must have cameras'):
            fit(body, [points], handlers, weights, (*ALL, 'cameras'))

    @pytest.mark.parametrize(
        ('field', 'value', 'message'),
        [
            ('K', 0.0, 'have a positive focal length'),
            ('R', 2.0, 'have a rotation R'),
            ('t', torch.nan, 'be finite'),
        ],
    )
    def test_degenerate_cameras(self, field, value, message):
        _, _, points = make_clip()
        cameras = ring_of_cameras()
        broken = getattr(cameras, field).clone()
        broken[1] = value * broken[1]
        seen = seen_by(cameras, points)
        with pytest.raises(ValueError, match=f"camera 'cam1' must {message}"):
            Keypoint2dInput(replace(seen, cameras=replace(cameras, **{field: broken})))

    @pytest.mark.parametrize(
        ('arguments', 'message'),
        [
            ({'backend': 'gpu'}, 'backend must be one of'),
            ({'damping': 0.0}, 'damping must be positive'),
            ({'gnc_schedule': (4.0, 0.5)}, 'factors of 1 or more'),
        ],
    )
    def test_solver_arguments(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            LevenbergMarquardt(**arguments)

    def test_nothing_finite_to_start_from(self):
        body, _, points = make_clip()
        handlers, weights = points3d_handlers()
        stage = Stage(n_iter=5, fit=ALL, weights=weights)
        # Finite itself, but its square is not.
        start = random_params(body.data, 5).replace(transl=torch.full((5, 3), 1e200, dtype=torch.float64))
        result = SMPLify(body, [stage], handlers, LevenbergMarquardt(), initializer=None)([points], start)
        assert not result.fitted.any()
        causes = result.report['frames_failed']['causes']
        assert all(
            'cannot be computed' in cause and 'transl has run away to 1e+200' in cause for cause in causes
        )


def test_shape_prior_and_mixed_terms_from_a_config_like_stage():
    body, _, points = make_clip()
    handlers = [Keypoint3dMSEHandler(), BetasPriorHandler(ShapePriorLoss())]
    weights = {'keypoints3d_mse': 1.0, 'betas_prior': 1e-6}
    assert error(body, fit(body, [points], handlers, weights, shared=True), points).max() < 2e-2
