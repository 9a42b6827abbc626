"""The fused kernel and the torch path end in the same place."""

from dataclasses import replace

import pytest
import torch

from smilfit.body_models import SMIL, Landmark
from smilfit.geometry.rotation import axis_angle_to_rotmat
from smilfit.handlers import (
    BetasPriorHandler,
    BodyPosePriorHandler,
    JointLimitHandler,
    JointOffsetPriorHandler,
    Keypoint2dHandler,
    Keypoint3dMSEHandler,
    Keypoint3dMSEInput,
    LandmarkOffsetPriorHandler,
    PartSizePriorHandler,
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
from tests.animals import MARKS, marked_animal, random_params, ring_of_cameras
from tests.registrants.clip import ALL, RIGID, make_clip, seen_by

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


LINEAR_FIT = (*ALL, 'joint_offsets', 'landmark_offsets', 'part_sizes')
LINEAR_WEIGHTS = PRIOR_WEIGHTS | {
    'landmark_offset_prior': 0.1,
    'part_size_prior': 0.05,
    'joint_offset_prior': 30.0,
}
LINEAR_PRIORS = (*PRIORS, LandmarkOffsetPriorHandler(), PartSizePriorHandler(), JointOffsetPriorHandler())


def marked_clip(names):
    """A body with landmarks, own axes of joints, a truth with a part and a hinge beyond its limits, and noise."""
    data = replace(marked_animal(n_joints=8), posedirs=None, scaledirs=None, transdirs=None)
    limits, draw = data.joint_limits.copy(), torch.Generator().manual_seed(5)
    limits[2, [0, 2]] = 0.0
    axes = axis_angle_to_rotmat(torch.randn(8, 3, generator=draw).double()).numpy()
    data = replace(data, joint_limits=limits, joint_axes=axes)
    body = SMIL(data).double()
    draw = torch.Generator().manual_seed(0)
    truth = random_params(data, 5, angle=0.25).replace(
        part_sizes=torch.tensor([[0.5, -0.2]]).double().expand(5, -1).clone(),
        landmark_offsets=0.2 * torch.randn(1, 3, 3, generator=draw).double().expand(5, -1, -1).clone(),
    )
    names = (*data.joint_names, *names)
    points = body(truth, names).select(names)
    noise = 0.02 * torch.randn(points.shape, generator=draw).double()
    return body, truth, Keypoints3d(points + noise, torch.ones(5, len(names)).double(), names)


@pytest.mark.parametrize(('shared', 'pixels'), [(True, False), (False, False), (True, True)])
def test_landmarks_on_joints_and_part_sizes(shared, pixels):
    body, _, seen = marked_clip(('mark_on_joint', 'mark_known', 'mark_on_parent'))
    loss = KeypointMSELoss(reduction='sum', sigma=60.0 if pixels else None)
    seen = seen_by(ring_of_cameras(), seen) if pixels else seen
    handler = Keypoint2dHandler(loss) if pixels else Keypoint3dMSEHandler(loss)
    factor = 1e2 if pixels else 1.0
    weights = {handler.handler_key: 1.0} | {key: factor * w for key, w in LINEAR_WEIGHTS.items()}
    by_torch, by_kernel = both(body, [seen], [handler, *LINEAR_PRIORS], weights, LINEAR_FIT, shared)
    assert by_kernel.history[0]['engine'] == 'kernel'
    assert by_kernel.history[0]['loss_end'] == pytest.approx(by_torch.history[0]['loss_end'], rel=1e-9)
    for name, value in by_torch.params.as_dict().items():
        torch.testing.assert_close(getattr(by_kernel.params, name), value, atol=2e-6, rtol=0.0)


@pytest.mark.parametrize('fit', [LINEAR_FIT, RIGID])
def test_landmarks_on_skin_are_where_torch_has_them(fit):
    body, truth, seen = marked_clip(tuple(MARKS))
    handler = Keypoint3dMSEHandler(KeypointMSELoss(reduction='sum'))
    stage = Stage(n_iter=1, fit=fit, weights={handler.handler_key: 1.0} | LINEAR_WEIGHTS)
    start = truth.replace(landmark_offsets=truth.landmark_offsets + 0.3, part_sizes=-truth.part_sizes)
    energies = [
        SMPLify(body, [stage], [handler, *LINEAR_PRIORS], LevenbergMarquardt(backend))([seen], start).history[
            0
        ]
        for backend in ('torch', 'warp')
    ]
    assert energies[1]['engine'].startswith('kernel')
    assert energies[1]['loss_start'] == pytest.approx(energies[0]['loss_start'], rel=1e-12)


def test_a_landmark_that_does_not_hang_on_its_bone_is_left_to_torch():
    body, _, seen = marked_clip(())
    body = body.with_landmarks({'far': Landmark('joint_6', 'joint_3', sd=0.1)})
    seen = replace(seen, names=(*seen.names[:-1], 'far'))
    handler = Keypoint3dMSEHandler(KeypointMSELoss())
    stage = Stage(n_iter=5, fit=RIGID, weights={handler.handler_key: 1.0})
    entry = SMPLify(body, [stage], [handler], LevenbergMarquardt())([seen]).history[0]
    assert entry['engine'] == 'dense'
    assert entry['no_kernel_because'] == "the landmark 'far', whose anchor does not hang on its bone"
