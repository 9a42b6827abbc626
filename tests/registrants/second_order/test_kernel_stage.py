"""The fused kernel and the torch path end in the same place."""

from dataclasses import replace

import pytest
import torch

from smilfit.handlers import (
    BetasPriorHandler,
    BodyPosePriorHandler,
    JointLimitHandler,
    Keypoint2dHandler,
    Keypoint3dMSEHandler,
    Keypoint3dMSEInput,
)
from smilfit.losses import (
    JointLimitLoss,
    KeypointMSELoss,
    MahalanobisPosePriorLoss,
    PoseRegLoss,
    ShapePriorLoss,
)
from smilfit.registrants import SMPLify, Stage
from smilfit.solvers import LevenbergMarquardt
from smilfit.structures import Keypoints3d
from tests.animals import ring_of_cameras
from tests.registrants.clip import ALL, make_clip, seen_by

pytest.importorskip('warp', reason='the kernel needs warp-lang')

PRIORS = (
    BodyPosePriorHandler(PoseRegLoss(), handler_key='pose_reg'),
    BetasPriorHandler(ShapePriorLoss(), handler_key='shape'),
    JointLimitHandler(JointLimitLoss(), handler_key='limits'),
)
PRIOR_WEIGHTS = {'pose_reg': 0.3, 'shape': 0.03, 'limits': 0.5}
PRIOR_WEIGHTS_PX = {key: 1e2 * weight for key, weight in PRIOR_WEIGHTS.items()}


def noisy_joints():
    body, _, points = make_clip()
    names = body.joint_names
    clean = points.select(names)
    noise = 0.05 * torch.randn(clean.xyz.shape, generator=torch.Generator().manual_seed(0)).double()
    missing = torch.rand(clean.confidence.shape, generator=torch.Generator().manual_seed(1)) < 0.1
    confidence = clean.confidence.masked_fill(missing, 0.0)
    return body, Keypoints3d(clean.xyz + noise, confidence, names)


def both(body, seen, handlers, weights, fit=ALL, shared=False, **stage):
    stage = Stage(n_iter=200, ftol=1e-14, fit=fit, weights=weights, **stage)
    results = []
    for backend in ('torch', 'warp'):
        solver = LevenbergMarquardt(backend)
        registrant = SMPLify(
            body, [stage], handlers, solver, use_one_betas_per_video=shared, ignore_keypoints=['joint_6']
        )
        results.append(registrant(seen))
    return results


def assert_same(ours, kernel):
    # What nothing but weak priors holds ends anywhere in a flat valley.
    held = [0, 1, 2, 3, 4, 5, 7]
    torch.testing.assert_close(kernel.joints()[:, held], ours.joints()[:, held], rtol=0, atol=1e-5)
    torch.testing.assert_close(kernel.per_frame_loss, ours.per_frame_loss, rtol=1e-4, atol=1e-10)
    assert kernel.history[-1]['loss_end'] == pytest.approx(ours.history[-1]['loss_end'], rel=1e-6)
    assert kernel.history[-1]['loss_end'] <= kernel.history[-1]['loss_start']


@pytest.mark.parametrize('shared', [False, True])
@pytest.mark.parametrize('sigma', [None, 1.0])
def test_3d_keypoints_with_priors(shared, sigma):
    body, seen = noisy_joints()
    handlers = [Keypoint3dMSEHandler(KeypointMSELoss(sigma)), *PRIORS]
    weights = {'keypoints3d_mse': 1.0, **PRIOR_WEIGHTS}
    assert_same(*both(body, [seen], handlers, weights, shared=shared, part_weights={'foot': 0.3}))


@pytest.mark.parametrize('lens', [0.0, -0.15])
def test_2d_keypoints(lens):
    body, seen = noisy_joints()
    pixels = seen_by(ring_of_cameras(dist=lens), replace(seen, confidence=torch.ones_like(seen.confidence)))
    handlers = [Keypoint2dHandler(), *PRIORS]
    weights = {'keypoints2d_mse': 1.0, **PRIOR_WEIGHTS_PX}
    assert_same(*both(body, [pixels], handlers, weights))


def test_2d_and_3d_together_with_some_joints_held():
    body, seen = noisy_joints()
    pixels = seen_by(ring_of_cameras(), replace(seen, confidence=torch.ones_like(seen.confidence)))
    handlers = [Keypoint2dHandler(), Keypoint3dMSEHandler(), *PRIORS]
    weights = {'keypoints2d_mse': 1e-3, 'keypoints3d_mse': 1.0, **PRIOR_WEIGHTS}
    given = [pixels.select(body.joint_names[2:]), Keypoint3dMSEInput(seen)]
    assert_same(*both(body, given, handlers, weights, fit_joint_groups=('spine', 'foot')))


def test_what_it_cannot_take_is_named():
    body, seen = noisy_joints()
    handlers = [Keypoint3dMSEHandler(), BodyPosePriorHandler(MahalanobisPosePriorLoss())]
    weights = {'keypoints3d_mse': 1.0, 'body_pose_prior': 1.0}
    with pytest.raises(
        TypeError, match="cannot take BodyPosePriorHandler 'body_pose_prior' with Mahalanobis"
    ):
        both(body, [seen], handlers, weights)
    with pytest.raises(TypeError, match='cannot take fit_log_joint_scales'):
        both(body, [seen], handlers[:1], {'keypoints3d_mse': 1.0}, (*ALL, 'log_joint_scales'))
