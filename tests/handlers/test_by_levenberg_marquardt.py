"""The same observations and priors in second order: the truth is found, and never worse than by L-BFGS."""

import pytest
import torch

from smilfit.body_models import SMIL
from smilfit.handlers import (
    GroundContactInput,
    MeshInput,
    PointCloudInput,
    SilhouetteInput,
    sample_surface,
)
from smilfit.losses import SelfPenetrationLoss, fit_pose_mixture
from smilfit.registry import build_registrant
from smilfit.structures import Keypoints3d
from tests.handlers.test_silhouettes import cameras_of, masks_of
from tests.handlers.worm import near, worm, worm_data, worm_truth

LM = dict(type='LevenbergMarquardt')
LBFGS = dict(type='LBFGS', max_iter=10, line_search_fn='strong_wolfe')


def fit(body, handlers, stage, inputs, start, optimizer=LM):
    config = dict(
        type='SMPLify',
        body_model=body,
        handlers=handlers,
        stages=[dict(fit_betas=False) | stage],
        optimizer=optimizer,
        initializer=None,
    )
    return build_registrant(config)(inputs, start)


def vertices(body, params):
    return body(params, ('vertices',)).vertices


def off(body, params, truth):
    return (vertices(body, params) - vertices(body, truth)).norm(dim=-1).mean()


def all_seen(points, names):
    return Keypoints3d(points, torch.ones(points.shape[:2]).double(), names)


def test_a_scan_to_a_hair():
    body, truth = worm(), worm_truth(3)
    points = sample_surface(vertices(body, truth), body.faces, 300)[0]
    handlers = [dict(type='PointCloudHandler', loss=dict(type='PointDistanceLoss', sigma=0.2))]
    stage = dict(n_iter=30, ftol=1e-9, point_cloud_weight=10.0)
    result = fit(body, handlers, stage, [PointCloudInput(points)], near(truth, 0.15))
    assert off(body, result.params, truth) < 1e-3


def test_both_directions_keep_their_weights_whichever_frames_are_left():
    """One frame starts at its end and is done at once; the others' terms must not change by that."""
    body, truth = worm(), worm_truth(3)
    points = sample_surface(vertices(body, truth), body.faces, 200)[0]
    handlers = [dict(type='PointCloudHandler', template_weight=0.2), dict(type='BodyPosePriorHandler')]
    stage = dict(n_iter=25, ftol=1e-6, point_cloud_weight=10.0, body_pose_prior_weight=1e-4)
    given = PointCloudInput([points[0], points[1, :90], points[2, :150]])
    start = near(truth, 0.1)
    first = fit(body, handlers, stage, [given], start)
    start = start.replace(
        **{n: torch.cat((getattr(first.params, n)[:1], v[1:])) for n, v in start.as_dict().items()}
    )
    again = fit(body, handlers, stage, [given], start)
    torch.testing.assert_close(again.per_frame_loss, first.per_frame_loss, rtol=1e-3, atol=1e-6)
    assert off(body, again.params, truth) < 0.05


def test_meshes():
    body, truth = worm(), worm_truth(2)
    seen = MeshInput(vertices(body, truth), body.faces)
    stage = dict(n_iter=15, ftol=1e-10, mesh_weight=1.0)
    result = fit(body, [dict(type='MeshVertexHandler')], stage, [seen], near(truth, 0.2))
    assert off(body, result.params, truth) < 1e-6
    surface = [dict(type='MeshSurfaceHandler', n_points=250, max_normal_angle_deg=75.0)]
    result = fit(body, surface, stage | dict(n_iter=30), [seen], near(truth, 0.1))
    assert off(body, result.params, truth) < 1e-3


def test_masks_by_distances_and_not_by_rendering():
    body, truth = worm(), worm_truth(2)
    cameras = cameras_of(-0.05)
    seen = SilhouetteInput(masks_of(body, truth, cameras), cameras)
    handlers = [
        dict(type='SilhouetteDistanceHandler', n_mask_points=150),
        dict(type='BodyPosePriorHandler'),
    ]
    stage = dict(n_iter=20, ftol=1e-6, silhouette_weight=1.0, body_pose_prior_weight=1e-3)
    start = near(truth, 0.15, 2)
    result = fit(body, handlers, stage, [seen], start)
    assert off(body, result.params, truth) < 0.4 * off(body, start, truth)
    with pytest.raises(TypeError, match="SilhouetteHandler 'silhouette', of which SilhouetteRenderer"):
        fit(body, [dict(type='SilhouetteHandler')], dict(silhouette_weight=1.0), [seen], start)


def test_a_body_leaves_itself():
    """Bones that cross exactly have no direction out but the one across both."""
    body = SMIL(worm_data(7)).double()
    curled = body.zero_params(1)
    pose = torch.zeros(1, 6, 3).double()
    pose[0, :, 2] = torch.tensor([0.9, 1.1, 1.1, 1.1, 1.1, 0.9]).double()
    curled = curled.replace(body_pose=pose)
    names = body.joint_names[:4]
    points = body(curled, names).keypoints
    handlers = [dict(type='Keypoint3dMSEHandler'), dict(type='SelfPenetrationHandler')]
    stage = dict(
        n_iter=40, fit_transl=False, fit_global_orient=False,
        keypoints3d_mse_weight=100.0, self_penetration_weight=100.0,
    )  # fmt: skip
    result = fit(body, handlers, stage, [all_seen(points, names)], curled)
    loss = SelfPenetrationLoss()
    loss.bind_body(body.data)
    joints = body(result.params).joints
    assert loss.overlap(joints, result.params.scale, torch.ones(1).double()).max() < 1e-4
    assert (joints[:, :4] - points).norm(dim=-1).max() < 1e-4


@pytest.mark.parametrize('slip', [0.0, 1.0])
def test_standing_feet_end_where_first_order_ends(slip):
    body = worm()
    truth = worm_truth(6)
    still = truth.replace(**{n: v[:1].expand_as(v).clone() for n, v in truth.as_dict().items()})
    seen = body(still).joints + 0.05 * torch.randn(6, 4, 3).double()
    loss = dict(type='GroundContactLoss', slip_weight=slip)
    ground = dict(type='GroundContactHandler', normal=(0, 0, 1), offset=float(seen[..., 2].mean()), loss=loss)
    handlers = [dict(type='Keypoint3dMSEHandler'), ground, dict(type='BodyPosePriorHandler')]
    stage = dict(
        n_iter=40, ftol=1e-7,
        keypoints3d_mse_weight=1.0, ground_contact_weight=1.0, body_pose_prior_weight=1e-3,
    )  # fmt: skip
    given = [all_seen(seen, body.joint_names), GroundContactInput(torch.ones(6, 2, dtype=torch.bool))]
    ours, theirs = (fit(body, handlers, stage, given, still, o).history[-1] for o in (LM, LBFGS))
    # What slides couples frames, so that all of them are solved for together.
    assert ours['engine'] == ('banded' if slip else 'dense')
    assert ours['loss_end'] == pytest.approx(theirs['loss_end'], rel=1e-3)


def test_a_mixture_of_ones_own():
    body, truth = worm(), worm_truth(2, 0.0)
    poses = 0.1 * torch.randn(200, 3, 3).double()
    poses[:, :, 2] += torch.where(torch.rand(200, 1) < 0.5, 0.6, -0.6)
    pose = torch.zeros(2, 3, 3).double()
    pose[:, :, 2] = torch.tensor([[0.6], [-0.6]])
    truth = truth.replace(body_pose=pose)
    names = body.joint_names
    prior = dict(type='MaxMixturePriorLoss', mixture=fit_pose_mixture(poses, 2))
    handlers = [dict(type='Keypoint3dMSEHandler'), dict(type='BodyPosePriorHandler', prior_loss=prior)]
    stage = dict(
        n_iter=30, fit_global_orient=False, fit_transl=False,
        keypoints3d_mse_weight=100.0, body_pose_prior_weight=1e-2,
    )  # fmt: skip
    start = truth.replace(body_pose=torch.zeros_like(pose))
    result = fit(body, handlers, stage, [all_seen(body(truth, names).keypoints, names)], start)
    # Nothing that was seen tells how the last joint turns.
    assert (result.params.body_pose - pose)[:, 2, 2].abs().max() < 0.1
