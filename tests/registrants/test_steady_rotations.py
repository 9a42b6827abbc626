"""Rotations held steady over time, in second order: exact derivatives, L-BFGS's minimum, gaps left alone."""

from dataclasses import replace

import pytest
import torch

from smilfit.body_models import SMIL
from smilfit.handlers import BodyPosePriorHandler, Keypoint3dMSEHandler, SmoothPoseHandler
from smilfit.losses import KeypointMSELoss, PoseRegLoss, SmoothJointLoss
from smilfit.registrants import SMPLify, Stage
from smilfit.registrants.second_order.body_problem import FrameBatch
from smilfit.registrants.second_order.unknowns import VariableLayout, VariableState
from smilfit.registrants.stage_task import ActiveTerm, StageTask
from smilfit.solvers import LBFGS, LevenbergMarquardt
from smilfit.structures import Keypoints3d
from tests.animals import random_params, static_animal

POSE = ('global_orient', 'transl', 'body_pose')
FRAMES = [0, 1, 2, 3, 6, 7, 8, 9]


def shaky_clip():
    """One pose, seen with noise."""
    body = SMIL(static_animal(n_joints=8)).double()
    truth = random_params(body.data, 1, angle=0.4).map(lambda x: x.expand(8, *x.shape[1:]).clone())
    noise = torch.randn(8, 8, 3, generator=torch.Generator().manual_seed(4)).double()
    seen = body(truth).joints + 0.1 * noise
    return body, Keypoints3d(seen, torch.ones(8, 8).double(), body.joint_names)


@pytest.mark.parametrize('degree', [False, True])
def test_the_jacobian_is_that_of_the_rotations(degree):
    body, _ = shaky_clip()
    params = random_params(body.data, 4)
    handler = SmoothPoseHandler(SmoothJointLoss('sum', degree=degree, loss_func='L2'))
    task = StageTask(
        body, Stage(), (ActiveTerm(handler, None, 2.0, None),), {}, False, torch.tensor([0, 1, 2, 5])
    )
    point = VariableState.from_params(params, {})
    free = [0, 2, 3, 6]
    block = FrameBatch(task, VariableLayout.of(body, free, True, {}, point))
    at = block.evaluate(point)
    own, (model,) = block.models(at)
    assert own == []
    assert at.energy.sum() == pytest.approx(float(task.terms[0].value(at.state)))
    assert at.energy[3] == 0
    eps = 1e-6
    for column in range(model.jacobian.shape[-1]):
        sides = []
        for sign in (1, -1):
            own = torch.zeros(4, block.layout.n_own).double()
            own[:, column] = sign * eps
            moved = block.evaluate(block.moved(at, own, torch.zeros(0).double()))
            sides.append(block.models(moved)[1][0].value)
        slope = (sides[0] - sides[1]) / (2 * eps)
        torch.testing.assert_close(model.jacobian[..., column], slope, atol=1e-8, rtol=1e-6)


@pytest.mark.parametrize('kind', [SmoothPoseHandler, BodyPosePriorHandler])
def test_levenberg_marquardt_ends_at_or_below_lbfgs(kind):
    body, seen = shaky_clip()
    handlers = [
        Keypoint3dMSEHandler(KeypointMSELoss(reduction='sum')),
        BodyPosePriorHandler(PoseRegLoss('sum'), 'pose_reg'),
        kind(SmoothJointLoss('sum', loss_func='L2'), 'steady'),
    ]
    weights = {'keypoints3d_mse': 1.0, 'pose_reg': 0.01, 'steady': 3.0}
    stage = Stage(n_iter=120, ftol=1e-9, fit=(*POSE, 'betas'), weights=weights)
    ours, theirs = (
        SMPLify(body, [stage], handlers, s, use_one_betas_per_video=True)([seen], frames=FRAMES)
        for s in (LevenbergMarquardt(), LBFGS())
    )
    assert ours.history[0]['loss_end'] <= theirs.history[0]['loss_end'] * (1 + 1e-6)
    free = replace(stage, weights=weights | {'steady': 0.0})
    alone = SMPLify(body, [free], handlers, LevenbergMarquardt(), use_one_betas_per_video=True)([seen])

    def jumps(result):
        return result.params.rotations()[:, 1:].diff(dim=0).square().sum((1, 2, 3))

    inside = torch.tensor(FRAMES).diff() == 1
    assert jumps(ours)[inside].sum() < 0.1 * jumps(alone)[inside].sum()
    # Nothing holds the two sides of a gap together.
    assert jumps(ours)[3] > 3 * jumps(ours)[inside].max()


def test_one_frame_alone():
    body, seen = shaky_clip()
    handlers = [Keypoint3dMSEHandler(), SmoothPoseHandler(SmoothJointLoss(loss_func='L2'))]
    stage = Stage(n_iter=20, fit=POSE, weights={'keypoints3d_mse': 1.0, 'smooth_pose': 1.0})
    result = SMPLify(body, [stage], handlers, LevenbergMarquardt())([seen[:1]])
    assert result.history[0]['loss_end'] < 0.3 * result.history[0]['loss_start']
    assert result.history[0]['terms']['smooth_pose'] == 0
