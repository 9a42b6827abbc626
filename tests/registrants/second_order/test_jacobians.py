"""Geometric Jacobians against finite differences of the body model."""

from dataclasses import replace

import pytest
import torch

from smilfit.body_models import SMIL
from smilfit.handlers import (
    BetasPriorHandler,
    BodyPosePriorHandler,
    BodyState,
    JointOffsetPriorHandler,
    Keypoint2dHandler,
    Keypoint2dInput,
    Keypoint3dLimbLenHandler,
    Keypoint3dLimbLenInput,
    Keypoint3dMSEHandler,
    Keypoint3dMSEInput,
    LandmarkOffsetPriorHandler,
    PartSizePriorHandler,
)
from smilfit.losses import BaseLoss, JointPriorLoss, KeypointMSELoss, MahalanobisPosePriorLoss
from smilfit.registrants import Stage
from smilfit.registrants.second_order.body_problem import FrameBatch
from smilfit.registrants.second_order.point_sets import point_set
from smilfit.registrants.second_order.unknowns import VariableLayout, VariableState
from smilfit.registrants.stage_task import FitState, task_of
from tests.animals import marked_animal, random_params, ring_of_cameras

NAMES = ('joint_3', 'nose', 'mark_on_skin', 'tail', 'joint_7', 'joint_0', 'mark_on_joint', 'mark_known')
EPS = 1e-6


def setting(handlers, inputs, directions=0.0, extras=False, cameras=False, log=False):
    data = replace(marked_animal(n_joints=8), log_scale_directions=log)
    body = SMIL(data, scale_directions=directions, offset_directions=directions).double()
    params = random_params(data, 3)
    fitted = {'betas': False, 'log_scale': True, 'joint_offsets': False}
    fitted |= {'landmark_offsets': False, 'part_sizes': False}
    if extras:
        draw = torch.randn(2, 3, 8, 3, generator=torch.Generator().manual_seed(5)).double()
        params = params.replace(log_joint_scales=0.1 * draw[0], joint_offsets=0.1 * draw[1])
        fitted['log_joint_scales'] = False
    draw = torch.randn(3, 3, 3, generator=torch.Generator().manual_seed(7)).double()
    params = params.replace(
        scale=params.scale[:1].expand(3).clone(), landmark_offsets=0.2 * draw, part_sizes=0.4 * draw[:, 0, :2]
    )
    shift = 0.05 * torch.randn(4, 6, generator=torch.Generator().manual_seed(6)).double() if cameras else None
    if cameras:
        fitted['cameras'] = True
    point = VariableState.from_params(params, fitted, shift)
    layout = VariableLayout.of(body, [0, 1, 3, 4, 7], True, fitted, point)
    for handler in handlers:
        handler.bind(body)
    inputs = {i.handler_key: i.resolve(data) for i in inputs}
    stage = Stage(weights={h.handler_key: 0.7 for h in handlers})
    task = task_of(body, stage, {h.handler_key: h for h in handlers}, inputs, {'tail': 0.5}, True, None, None)
    return body, FrameBatch(task, layout), point


def stepped(problem, at, column, eps):
    """Where a step along one column leads, in all frames."""
    own = torch.zeros(3, problem.layout.n_own).double()
    shared = torch.zeros(problem.layout.n_shared).double()
    if column < problem.layout.n_own:
        own[:, column] = eps
    else:
        shared[column - problem.layout.n_own] = eps
    return problem.moved(at, own, shared)


@pytest.mark.parametrize(
    ('directions', 'extras', 'log'), [(0.0, False, False), (1.0, True, False), (1.0, True, True)]
)
@pytest.mark.parametrize('names', [NAMES, None])
def test_points_move_as_the_jacobian_says(directions, extras, names, log):
    body, problem, point = setting([], [], directions, extras, log=log)
    at = problem.evaluate(point)
    points = point_set(body, names)
    rows = slice(5, 17)
    jacobian = at.kinematics.jacobian(points if names else points.part(rows), problem.layout)

    def places(p):
        if names:
            return body(p.params(), names).keypoints
        return body(p.params(), ('vertices',)).vertices[:, rows]

    for column in range(jacobian.shape[-1]):
        ahead, behind = (places(stepped(problem, at, column, s * EPS)) for s in (1, -1))
        torch.testing.assert_close(jacobian[..., column], (ahead - behind) / (2 * EPS), atol=1e-7, rtol=1e-6)


def draw(*shape, seed=2):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).double()


def make_terms():
    count = len(NAMES)
    seen = Keypoint3dMSEInput(draw(3, count, 3), NAMES)
    pixels = Keypoint2dInput(300 + 60 * draw(3, 4, count, 2), NAMES, cameras=ring_of_cameras(dist=-0.1))
    limbs = Keypoint3dLimbLenInput(draw(3, 3, 3), ('joint_3', 'joint_1', 'joint_4'))
    return {
        'points': ([Keypoint3dMSEHandler(KeypointMSELoss(sigma=2.0))], [seen]),
        'pixels': ([Keypoint2dHandler(KeypointMSELoss(sigma=90.0))], [pixels]),
        'limbs': ([Keypoint3dLimbLenHandler()], [limbs]),
        'correlated': ([BodyPosePriorHandler(MahalanobisPosePriorLoss())], []),
        'automatic': ([BodyPosePriorHandler(JointPriorLoss(True, smooth_spine=True))], []),
        'betas': ([BetasPriorHandler()], []),
        'offsets': ([JointOffsetPriorHandler()], []),
        'landmarks': ([LandmarkOffsetPriorHandler()], []),
        'sizes': ([PartSizePriorHandler()], []),
    }


TERMS = make_terms()


@pytest.mark.parametrize(('name', 'cameras'), [*((n, False) for n in TERMS), ('pixels', True)])
def test_equations_have_the_energys_gradient(name, cameras):
    handlers, inputs = TERMS[name]
    _, problem, point = setting(handlers, inputs, 1.0, True, cameras)
    at = problem.evaluate(point)
    equations = problem.equations(at, torch.arange(3), problem.models(at)[0])
    eigenvalues = torch.linalg.eigvalsh(equations.matrix)
    assert bool((eigenvalues > -1e-9 * eigenvalues.amax(1, keepdim=True)).all())
    for column in range(equations.vector.shape[1]):
        ahead, behind = (problem.evaluate(stepped(problem, at, column, s * EPS)).energy for s in (1, -1))
        slope = (ahead - behind) / (2 * EPS)
        size = equations.vector.abs().max()
        torch.testing.assert_close(equations.vector[:, column], slope, atol=float(2e-6 * size), rtol=1e-4)


class FlatLoss(BaseLoss):
    """A loss of pixels that leaves derivatives to be found."""

    def residual(self, pred, target, target_conf, keypoint_weight=None):
        return (pred - target) * target_conf.unsqueeze(-1)


def test_automatic_derivatives_do_not_move_cameras():
    _, inputs = TERMS['pixels']
    _, problem, point = setting([Keypoint2dHandler(FlatLoss())], inputs, cameras=True)
    at = problem.evaluate(point)
    with pytest.raises(
        TypeError, match="MultiviewKeypoint2dMSEHandler 'keypoints2d_mse' by the cameras must be"
    ):
        problem.equations(at, torch.arange(3), problem.models(at)[0])


def test_energy_is_the_loss():
    for handlers, inputs in TERMS.values():
        _, problem, point = setting(handlers, inputs, 1.0, True)
        values = problem.task.values(FitState(point.params()))
        energy = problem.evaluate(point).energy
        torch.testing.assert_close(energy.sum(), torch.stack(list(values.values())).sum())


def test_the_hessian_of_exact_points_is_the_second_derivative():
    body, problem, point = setting([], [])
    handler = Keypoint3dMSEHandler(KeypointMSELoss(reduction='sum'))
    exact = Keypoint3dMSEInput(body(point.params(), NAMES).keypoints, NAMES).resolve(body.data)
    key = handler.handler_key
    task = task_of(body, Stage(weights={key: 1.0}), {key: handler}, {key: exact}, {}, True, None, None)
    problem = FrameBatch(task, problem.layout)
    at = problem.evaluate(point)
    equations = problem.equations(at, torch.arange(3), problem.models(at)[0])
    for column in range(0, equations.vector.shape[1], 5):
        moved = problem.evaluate(stepped(problem, at, column, 1e-4)).energy
        model = 0.5 * 1e-8 * equations.matrix[:, column, column]
        torch.testing.assert_close(moved, model, rtol=1e-2, atol=1e-13)


def test_state_of_frames_picks_frames():
    handlers, inputs = TERMS['points']
    _, problem, point = setting(handlers, inputs)
    at = problem.evaluate(point)
    rows = torch.tensor([2, 0])
    part = problem.take(rows).evaluate(point.take(rows))
    assert isinstance(at.state.take(rows), BodyState)
    # A mean over fewer frames weighs each of them more.
    torch.testing.assert_close(part.energy / part.energy.sum(), at.energy[rows] / at.energy[rows].sum())
