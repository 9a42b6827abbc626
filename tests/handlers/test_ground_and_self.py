"""The ground, the body itself, and rotations over gaps."""

from dataclasses import replace

import pytest
import torch

from smilfit.body_models import SMIL
from smilfit.body_models.bone_capsules import BoneCapsules
from smilfit.handlers import (
    BodyPosePriorHandler,
    BodyState,
    GroundContactHandler,
    GroundContactInput,
    GroundHandler,
    SelfPenetrationHandler,
    SmoothPoseHandler,
)
from smilfit.losses import GroundContactLoss, SelfPenetrationLoss, SmoothJointLoss
from smilfit.registry import build_input, build_registrant
from smilfit.structures import Keypoints3d
from tests.animals import random_params, small_animal, static_animal
from tests.handlers.worm import active, check_by_unknowns, state_of, worm, worm_data, worm_truth


def fit(body, handlers, stage, inputs, start, **kwargs):
    config = dict(
        type='SMPLify', body_model=body, handlers=handlers, stages=[stage], initializer=None, **kwargs
    )
    return build_registrant(config)(inputs, start)


def all_seen(points, names):
    return Keypoints3d(points, torch.ones(points.shape[:2]).double(), names)


def test_capsules_are_as_thick_as_the_tube():
    data = worm_data(7)
    capsules = BoneCapsules.of(data)
    assert capsules.ends.tolist() == [[j, j + 1] for j in range(6)] + [[6, 6]]
    assert ((capsules.radius > 0.15) & (capsules.radius < 0.4)).all()
    # All but neighbours, which share a joint.
    assert len(capsules.pairs) == 7 * 6 / 2 - 6
    with pytest.raises(ValueError, match='no two bones that can meet'):
        SelfPenetrationLoss().bind_body(worm_data(2))


def test_a_part_that_nobody_saw_stays_out_of_the_body():
    """Only the front half is seen, and the rest starts curled into it."""
    body = SMIL(worm_data(7)).double()
    curled = body.zero_params(1)
    pose = torch.zeros(1, 6, 3).double()
    pose[0, :, 2] = torch.tensor([0.9, 1.1, 1.1, 1.1, 1.1, 0.9]).double()
    curled = curled.replace(body_pose=pose)
    loss = SelfPenetrationLoss(reduction='sum')
    loss.bind_body(body.data)
    names = body.joint_names[:4]

    def overlap(params):
        return loss.overlap(body(params).joints, params.scale, torch.ones(1).double()).max()

    assert overlap(curled) > 0.2
    stage = dict(
        n_iter=20, ftol=1e-9, fit_transl=False, fit_global_orient=False, fit_betas=False,
        keypoints3d_mse_weight=100.0, self_penetration_weight=100.0,
    )  # fmt: skip
    handlers = [
        dict(type='Keypoint3dMSEHandler'),
        dict(type='SelfPenetrationHandler', prior_loss=dict(type='SelfPenetrationLoss', reduction='sum')),
    ]
    points = body(curled, names).keypoints
    result = fit(body, handlers, stage, [all_seen(points, names)], curled)
    assert overlap(result.params) < 0.01
    assert (body(result.params, names).keypoints - points).norm(dim=-1).max() < 0.01
    # Parts apart cost nothing, and a body of another size is judged alike.
    handler = SelfPenetrationHandler()
    handler.bind(body)
    assert handler(state_of(body, body.zero_params(1))) == 0
    large = curled.replace(scale=7 * curled.scale)
    torch.testing.assert_close(handler(state_of(body, large)), handler(state_of(body, curled)))


def test_overlaps_square_to_the_loss_and_have_its_gradient():
    body = SMIL(worm_data(7)).double()
    pose = 0.05 * torch.randn(3, 6, 3).double()
    pose[..., 2] += 1.1
    params = body.zero_params(3).replace(body_pose=pose)
    handler = SelfPenetrationHandler(SelfPenetrationLoss(loss_weight=5.0, radius_factor=1.5))
    handler.bind(body)
    state = state_of(body, params)
    assert active(handler).per_frame(state).min() > 0
    check_by_unknowns(handler, state)
    joints = state.output.joints
    numbers = (params.scale, state.body_size())
    assert torch.autograd.gradcheck(lambda x: handler.loss(x, *numbers), joints.requires_grad_(), atol=1e-6)
    with pytest.raises(ValueError, match='call bind_body'):
        SelfPenetrationLoss()(joints, *numbers)


@pytest.mark.parametrize('reduction', ['mean', 'sum'])
def test_residuals_are_of_the_pairs_that_overlap_alone(reduction):
    """Rows that are zero everywhere cost a backward pass each; a mean counts their pairs all the same."""
    body = SMIL(worm_data(12)).double()
    pose = torch.zeros(2, 11, 3).double()
    pose[:, :, 2] = torch.tensor([[0.4], [1.3]])
    params = body.zero_params(2).replace(body_pose=pose)
    loss = SelfPenetrationLoss(reduction=reduction, loss_weight=3.0)
    loss.bind_body(body.data)
    numbers = body(params).joints, params.scale, torch.ones(2).double()
    every, rows = loss.overlap(*numbers), loss.residual(*numbers).value
    count = (every > 0).sum(1)
    assert 0 < count.max() <= rows.shape[1] < every.shape[1]
    assert (rows > 0).sum(1).equal(count)
    total = 3 * rows.square().sum() / (every.numel() if reduction == 'mean' else 1)
    torch.testing.assert_close(total, loss(*numbers))
    # Where nothing overlaps there is still a row, with no slope.
    apart = body(body.zero_params(2)).joints.requires_grad_()
    rows = loss.residual(apart, *numbers[1:]).value
    assert rows.shape[1] >= 1
    assert not rows.any()
    assert not torch.autograd.grad(rows.sum(), apart)[0].any()


def test_feet_stand_on_the_ground_where_contact_is_known():
    """Labels of the feet are wrong by a third of a body's height; contact puts them right."""
    body = worm()
    names, feet = body.joint_names, ('joint_0', 'joint_3')
    pose = torch.zeros(6, 3, 3).double()
    pose[:, :, 1] = torch.tensor([-0.4, 0.8, -0.4])
    truth = worm_truth(6).replace(
        body_pose=pose, global_orient=torch.zeros(6, 3).double(), betas=torch.zeros(6, 1).double()
    )
    joints = body(truth).joints
    lowest = joints[:, [0, 3], 2].amin(1)
    truth = truth.replace(transl=truth.transl - torch.stack((0 * lowest, 0 * lowest, lowest - 0.5), 1))
    joints = body(truth).joints
    seen = joints.clone()
    seen[:, [0, 3], 2] += torch.tensor([-0.3, 0.3]).double()
    contact = (joints[:, [0, 3], 2] - 0.5).abs() < 1e-6
    handlers = [
        dict(type='Keypoint3dMSEHandler'),
        dict(type='GroundContactHandler', offset=0.5),
        dict(type='BodyPosePriorHandler'),
    ]
    stage = dict(
        n_iter=30, ftol=1e-9, keypoints3d_mse_weight=1.0, fit_betas=False, body_pose_prior_weight=1e-3
    )
    given = [all_seen(seen, names), build_input(dict(type='GroundContactInput', contact=contact))]

    def heights(weight):
        result = fit(body, handlers, stage | dict(ground_contact_weight=weight), given, truth)
        height = body(result.params, feet).keypoints[..., 2] - 0.5
        return height.amin(), height[contact].abs().max()

    free, held = heights(0.0), heights(100.0)
    assert free[0] < -0.1
    assert held[0] > -0.005
    assert held[1] < 0.005


def test_a_prior_without_contacts_only_forbids_sinking():
    body = worm()
    start = body.zero_params(2)
    start = start.replace(transl=torch.tensor([[0, 0, -0.4], [0, 0, 0.7]]).double())
    handlers = [
        dict(type='GroundHandler', keypoints='joints', normal=(0, 0, 2)),
        dict(type='Keypoint3dMSEHandler'),
    ]
    stage = dict(n_iter=20, fit_transl=True, ground_weight=1e4, keypoints3d_mse_weight=1.0)
    joints = body(start).joints
    result = fit(body, handlers, stage, [all_seen(joints, body.joint_names)], start)
    z = body(result.params).joints[..., 2]
    assert z[0].min() > -0.01
    torch.testing.assert_close(z[1], joints[1, :, 2], atol=1e-4, rtol=0)


def test_standing_feet_do_not_slide():
    body = worm()
    truth = worm_truth(8)
    still = truth.replace(**{n: v[:1].expand_as(v).clone() for n, v in truth.as_dict().items()})
    names, feet = body.joint_names, ('joint_0', 'joint_3')
    seen = body(still).joints + 0.05 * torch.randn(8, 4, 3).double()
    contact = torch.ones(8, 2, dtype=torch.bool)

    def way(slip):
        loss = dict(type='GroundContactLoss', contact_weight=0.0, slip_weight=slip)
        handlers = [
            dict(type='Keypoint3dMSEHandler'),
            dict(type='GroundContactHandler', normal=(0, 0, 1), offset=-100.0, loss=loss),
        ]
        stage = dict(n_iter=6, fit_betas=False, keypoints3d_mse_weight=1.0, ground_contact_weight=1.0)
        result = fit(body, handlers, stage, [all_seen(seen, names), GroundContactInput(contact)], still)
        return body(result.params, feet).keypoints.diff(dim=0).norm(dim=-1).mean()

    assert way(100.0) < 0.1 * way(0.0)


@pytest.mark.parametrize('frames', [None, torch.tensor([0, 1, 2, 7, 8])])
def test_ground_in_second_order(frames):
    body, truth = worm(), worm_truth(5)
    handler = GroundContactHandler(loss=GroundContactLoss(contact_weight=2.0, slip_weight=0.7))
    handler.bind(body)
    seen = GroundContactInput(torch.rand(5, 2).double())
    state = state_of(body, truth, ('joint_0', 'joint_3'), frames=frames)
    check_by_unknowns(handler, state, seen)
    prior = GroundHandler(offset=0.2, normal=(0.1, 0.2, 1.0))
    prior.bind(body)
    check_by_unknowns(prior, state, None, 3.0, 'sum')


def test_ground_wants_points_a_way_up_and_fitting_contacts():
    data = worm_data()
    with pytest.raises(KeyError, match="no joint group or keypoint set 'foots'. Did you mean 'foot'"):
        GroundHandler('foots').bind(SMIL(data))
    with pytest.raises(KeyError, match="no point 'joint_9'"):
        GroundHandler(['joint_9']).bind(SMIL(data))
    with pytest.raises(ValueError, match=r'does not state its up axis. Give normal'):
        GroundHandler().bind(SMIL(replace(data, up_axis=None)))
    with pytest.raises(ValueError, match='normal must be three numbers'):
        GroundHandler(normal=(0, 0, 0))
    with pytest.raises(ValueError, match='call bind'):
        GroundHandler().need(None)
    with pytest.raises(ValueError, match=r'contact must be in \[0, 1\]'):
        GroundContactInput(torch.full((2, 2), 2.0))
    with pytest.raises(ValueError, match='weights must not be negative'):
        GroundContactLoss(slip_weight=-1.0)
    handler = GroundContactHandler()
    handler.bind(SMIL(data))
    with pytest.raises(ValueError, match='as many columns'):
        handler.need(GroundContactInput(torch.ones(2, 3)))
    down = GroundHandler()
    down.bind(SMIL(replace(data, up_axis='-y')))
    assert down._up == (0.0, -1.0, 0.0)
    assert len(named_of_set(data)) == 2


def named_of_set(data):
    handler = GroundHandler('clicks')
    handler.bind(SMIL(data))
    return handler.need(None)


def test_smooth_poses_respect_gaps():
    body = SMIL(small_animal()).double()
    params = random_params(body.data, 6)
    gap = torch.tensor([0, 1, 2, 10, 11, 12])
    handler = SmoothPoseHandler(SmoothJointLoss(loss_func='L2', reduction='sum'))
    plain = BodyPosePriorHandler(SmoothJointLoss(loss_func='L2', reduction='sum'))
    assert handler.frame_order == plain.frame_order == 1
    assert BodyPosePriorHandler().frame_order == 0

    def score(handler, params, frames=None):
        return handler(BodyState(body, params, body(params), frames=frames))

    torch.testing.assert_close(score(handler, params), score(plain, params))
    apart = score(plain, params[:3]) + score(plain, params[3:])
    torch.testing.assert_close(score(handler, params, gap), apart)
    torch.testing.assert_close(score(plain, params, gap), apart)
    assert score(plain, params) > apart


def test_smooth_poses_from_a_config():
    body = SMIL(static_animal(n_joints=8)).double()
    truth = random_params(body.data, 1, angle=0.3).map(lambda x: x.expand(10, *x.shape[1:]).clone())
    seen = body(truth).joints
    seen = seen + 0.1 * torch.randn(seen.shape).double()

    def wrong(weight):
        handlers = [
            dict(type='Keypoint3dMSEHandler'),
            dict(type='SmoothPoseHandler', prior_loss=dict(type='SmoothJointLoss', loss_func='L2')),
        ]
        stage = dict(n_iter=6, fit_betas=False, keypoints3d_mse_weight=1.0, smooth_pose_weight=weight)
        result = fit(body, handlers, stage, [all_seen(seen, body.joint_names)], truth)
        return (body(result.params).joints - body(truth).joints).norm(dim=-1).mean()

    assert wrong(10.0) < 0.9 * wrong(0.0)
