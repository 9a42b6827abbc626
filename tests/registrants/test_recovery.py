"""Synthetic truth is recovered, with missing points, outliers and priors."""

from dataclasses import replace

import pytest
import torch

from smilfit.body_models import SMIL
from smilfit.handlers import (
    BodyPosePriorHandler,
    JointLimitHandler,
    JointOffsetPriorHandler,
    JointScalePriorHandler,
    Keypoint2dHandler,
    Keypoint3dHandler,
    Keypoint3dLimbLenHandler,
    Keypoint3dLimbLenInput,
    Keypoint3dMSEInput,
    SmoothMotionHandler,
    rigid_limbs,
)
from smilfit.losses import KeypointMSELoss, SmoothJointLoss, SmoothPointsLoss
from smilfit.registrants import RigidInitializer, SMPLify, Stage
from smilfit.solvers import LBFGS, Adam, LevenbergMarquardt
from smilfit.structures import Keypoints3d
from tests.animals import random_params, ring_of_cameras, small_animal
from tests.registrants.clip import ALL, RIGID, error, seen_by


@pytest.mark.parametrize('optimizer', [LBFGS(), Adam(lr=0.03)])
def test_3d_keypoints_are_recovered(clip, optimizer):
    body, _truth, points = clip
    stages = [
        Stage(n_iter=20, fit=RIGID, weights={'keypoints3d_mse': 1.0}),
        Stage(
            n_iter=60 if isinstance(optimizer, LBFGS) else 800,
            ftol=1e-9,
            fit=ALL,
            weights={'keypoints3d_mse': 1.0},
        ),
    ]
    fit = SMPLify(body, stages, [Keypoint3dHandler()], optimizer, use_one_betas_per_video=True)
    result = fit([points])
    assert error(body, result, points).max() < (1e-3 if isinstance(optimizer, LBFGS) else 2e-2)
    assert result.params.betas.unique(dim=0).shape[0] == 1
    assert result.params.scale.unique().shape[0] == 1


def test_four_views_are_enough_without_3d(clip):
    body, truth, points = clip
    seen = seen_by(ring_of_cameras(4, dist=-0.05), points)
    stages = [
        Stage(n_iter=10, fit=RIGID, weights={'keypoints2d_mse': 1.0}),
        Stage(n_iter=40, ftol=1e-10, fit=ALL, weights={'keypoints2d_mse': 1.0}),
    ]
    result = SMPLify(body, stages, [Keypoint2dHandler()], use_one_betas_per_video=True)([seen])
    assert error(body, result, points).max() < 2e-3
    assert torch.allclose(result.params.scale, truth.scale, rtol=0.02)


def test_closed_form_start_is_exact_for_a_rigid_motion():
    data = small_animal()
    body = SMIL(data).double()
    truth = random_params(data, 6, angle=0.0).replace(
        betas=torch.as_tensor(data.shape_mean).expand(6, -1), scale=torch.full((6,), 1.7).double()
    )
    xyz = body(truth).joints
    conf = torch.ones(xyz.shape[:2]).double()
    conf[2, 2:] = 0
    seen = Keypoint3dMSEInput(Keypoints3d(xyz, conf, data.joint_names))
    result, report = RigidInitializer()(body, [seen], body.zero_params(6), shared=True)
    good = [0, 1, 3, 4, 5]
    assert (body(result).joints - xyz)[good].abs().max() < 1e-9
    assert report == {'frames_without_alignment': 1}
    assert torch.allclose(result.scale, truth.scale)


def test_outlier_views_do_not_decide(clip):
    """A robust loss in px: one view in four clicks 8 % of its points 150 px away."""
    body, _, points = clip
    seen = seen_by(ring_of_cameras(4), points)
    g = torch.Generator().manual_seed(0)
    wrong = torch.rand(seen.confidence.shape, generator=g) < 0.08
    xy = seen.xy + 150 * wrong[..., None]
    stages = [
        Stage(n_iter=10, fit=RIGID, weights={'keypoints2d_mse': 1.0}),
        Stage(n_iter=40, ftol=1e-10, fit=ALL, weights={'keypoints2d_mse': 1.0}),
    ]
    bad = replace(seen, xy=xy)

    def worst(sigma):
        fit = SMPLify(
            body, stages, [Keypoint2dHandler(KeypointMSELoss(sigma=sigma))], use_one_betas_per_video=True
        )
        return error(body, fit([bad]), points).median()

    robust = worst(10.0)
    assert robust < 0.01
    assert robust < 0.1 * worst(None)


def test_missing_points_may_be_anything(clip):
    """NaN under confidence 0 is missing; it does not spread (0 * NaN)."""
    body, _, points = clip
    xyz, conf = points.xyz.clone(), points.confidence.clone()
    xyz[1, 2], conf[1, 2] = float('nan'), 0.0
    stages = [Stage(n_iter=5, fit=RIGID, weights={'keypoints3d_mse': 1.0})]
    result = SMPLify(body, stages, [Keypoint3dHandler()])([Keypoints3d(xyz, conf, points.names)])
    assert all(v.isfinite().all() for v in result.params.as_dict().values())
    with pytest.raises(ValueError, match=r"finite where confidence > 0.*'joint_2' at index \(1, 2\)"):
        Keypoints3d(xyz, points.confidence, points.names)


def test_frozen_parameters_stay_bit_equal(clip):
    body, truth, points = clip
    start = truth.replace(transl=truth.transl + 0.1)
    stages = [Stage(n_iter=3, fit=('transl',), weights={'keypoints3d_mse': 1.0})]
    result = SMPLify(body, stages, [Keypoint3dHandler()])([points], init_params=start)
    for name in ('global_orient', 'body_pose', 'betas', 'scale'):
        assert torch.equal(getattr(result.params, name), getattr(start, name)), name
    assert not torch.equal(result.params.transl, start.transl)


def test_only_named_joint_groups_turn(clip):
    body, truth, points = clip
    start = truth.replace(body_pose=torch.zeros_like(truth.body_pose))
    stages = [
        Stage(n_iter=3, fit=('body_pose',), fit_joint_groups=('spine',), weights={'keypoints3d_mse': 1.0})
    ]
    result = SMPLify(body, stages, [Keypoint3dHandler()])([points], init_params=start)
    turned = result.params.body_pose.abs().amax((0, 2)) > 0
    assert turned.tolist() == [f'joint_{j}' in body.data.joint_groups['spine'] for j in range(1, 8)]


def test_limb_lengths_find_shape_and_scale_whatever_the_pose(clip):
    body, _truth, points = clip
    stages = [Stage(n_iter=50, ftol=1e-10, fit=('betas', 'scale'), weights={'keypoints3d_limb_len': 1.0})]
    fit = SMPLify(body, stages, [Keypoint3dLimbLenHandler()], use_one_betas_per_video=True, initializer=None)
    result = fit([Keypoint3dLimbLenInput(points)])
    limbs = torch.tensor(rigid_limbs(body.data, points.names))
    got, want = (
        (x[:, limbs[:, 0]] - x[:, limbs[:, 1]]).norm(dim=-1)
        for x in (body(result.params, points.names).keypoints, points.xyz)
    )
    assert (got - want).abs().max() < 1e-3


def test_rigid_limbs_are_those_that_no_pose_changes():
    data = small_animal(n_joints=8)
    body = SMIL(data).double()
    names = data.joint_names
    params = random_params(data, 20, angle=1.0).replace(
        betas=torch.zeros(20, 3).double(), scale=torch.ones(20).double()
    )
    joints = body(params).joints
    rigid = set(rigid_limbs(data, names))
    for a in range(8):
        for b in range(a + 1, 8):
            spread = (joints[:, a] - joints[:, b]).norm(dim=-1).std()
            assert (spread < 1e-9) == ((a, b) in rigid), (a, b)


def test_skeleton_gives_way_only_when_asked(clip):
    body, truth, points = clip
    offset = torch.zeros(1, 8, 3).double()
    offset[0, 4] = 0.3
    seen = replace(
        points, xyz=body(truth.replace(joint_offsets=offset.expand(5, -1, -1)), points.names).keypoints
    )
    weights = {'keypoints3d_mse': 1.0, 'joint_offset_prior': 1e-6, 'joint_scale_prior': 1e-6}
    handlers = [Keypoint3dHandler(), JointOffsetPriorHandler(), JointScalePriorHandler()]

    def run(*extra):
        stages = [Stage(n_iter=40, ftol=1e-10, fit=('body_pose', *extra), weights=weights)]
        return SMPLify(body, stages, handlers, use_one_betas_per_video=True)([seen], truth)

    stiff, soft = run(), run('joint_offsets')
    assert stiff.params.joint_offsets is None
    assert error(body, soft, seen).mean() < 0.1 * error(body, stiff, seen).mean()
    assert soft.params.joint_offsets.unique(dim=0).shape[0] == 1


def test_smooth_terms_make_it_smoother(clip):
    body, _truth, points = clip
    noisy = replace(points, xyz=points.xyz[:1] + 0.1 * torch.randn(12, *points.xyz.shape[1:]).double(),
                    confidence=torch.ones(12, points.xyz.shape[1]).double())  # fmt: skip
    handlers = [
        Keypoint3dHandler(),
        SmoothMotionHandler(),
        BodyPosePriorHandler(SmoothJointLoss(loss_func='L2'), handler_key='smooth_joint'),
    ]

    def shake(**weights):
        stages = [Stage(n_iter=20, fit=(*RIGID, 'body_pose'), weights={'keypoints3d_mse': 1.0, **weights})]
        joints = SMPLify(body, stages, handlers)([noisy]).joints()
        return joints.diff(n=2, dim=0).norm(dim=-1).mean()

    plain = shake()
    assert shake(smooth_motion=10.0) < 0.5 * plain
    assert shake(smooth_joint=1.0) < plain


def test_a_jump_is_not_smoothed_away(clip):
    body, truth, points = clip
    size = float((points.xyz[0].amax(0) - points.xyz[0].amin(0)).max())
    xyz = points.xyz[:1].repeat(12, 1, 1)
    xyz[6:, :, 2] += size
    still = replace(points, xyz=xyz, confidence=torch.ones(xyz.shape[:2]).double())
    noisy = replace(still, xyz=xyz + 0.01 * size * torch.randn(xyz.shape).double())

    def off(weight, sigma):
        handlers = [Keypoint3dHandler(), SmoothMotionHandler(SmoothPointsLoss(sigma=sigma))]
        stage = Stage(n_iter=30, fit=RIGID, weights={'keypoints3d_mse': 1.0, 'smooth_motion': weight})
        result = SMPLify(body, [stage], handlers, LevenbergMarquardt())([noisy], truth[:1])
        return error(body, result, still)

    free, held, let_go = off(0.0, None), off(2.0, None), off(2.0, 0.05)
    at_jump = slice(5, 7)
    assert held[at_jump].mean() > 3 * free[at_jump].mean()
    assert let_go[at_jump].mean() < 1.5 * free[at_jump].mean()
    assert let_go.mean() < free.mean()


def test_joint_limits_hold_a_joint_back(clip):
    """A truth beyond the limits is followed freely without the term, and hardly with it."""
    body, truth, points = clip
    pose = truth.body_pose.clone()
    pose[:, 1] = torch.tensor([1.3, 0.0, 0.0])
    seen = replace(points, xyz=body(truth.replace(body_pose=pose), points.names).keypoints)

    def beyond(weight):
        weights = {'keypoints3d_mse': 1.0, 'joint_limits': weight}
        stages = [Stage(n_iter=40, ftol=1e-9, fit=('body_pose',), weights=weights)]
        fit = SMPLify(body, stages, [Keypoint3dHandler(), JointLimitHandler()])
        return (fit([seen], truth).params.body_pose.abs() - 0.7).clamp_min(0).max()

    assert beyond(0.0) > 0.2
    assert beyond(1e4) < 0.05
