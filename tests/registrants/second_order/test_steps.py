"""Steps along time equal those of plain dense equations."""

import pytest
import torch

from smilfit.body_models import SMIL
from smilfit.handlers import Keypoint3dMSEHandler, Keypoint3dMSEInput
from smilfit.losses import KeypointMSELoss
from smilfit.registrants import Stage
from smilfit.registrants.second_order.banded import MotionModel, coupled_step, factorise_banded
from smilfit.registrants.second_order.body_problem import BodyProblem, FrameBatch
from smilfit.registrants.second_order.unknowns import VariableLayout, VariableState
from smilfit.registrants.stage_task import task_of
from tests.animals import random_params, small_animal


def some_problem(fitted, free, transl, handlers):
    data = small_animal(n_joints=8)
    body = SMIL(data).double()
    params = random_params(data, 6)
    names = data.joint_names[1:]
    seen = body(random_params(data, 6, seed=4), names).keypoints
    inputs = {'keypoints3d_mse': Keypoint3dMSEInput(seen, names, torch.rand(6, 7).double())}
    inputs = {k: i.resolve(data) for k, i in inputs.items()}
    handlers = {h.handler_key: h for h in (Keypoint3dMSEHandler(KeypointMSELoss(sigma=3.0)), *handlers)}
    for handler in handlers.values():
        handler.bind(body)
    stage = Stage(weights=dict.fromkeys(handlers, 0.6))
    task = task_of(body, stage, handlers, inputs, {}, True, None, None)
    point = VariableState.from_params(params, fitted)
    return task, VariableLayout.of(body, free, transl, fitted, point), point


def positive(*shape):
    factor = torch.randn(*shape, shape[-1]).double()
    return factor @ factor.transpose(-1, -2) + torch.eye(shape[-1]).double()


@pytest.mark.parametrize('lags', [1, 2, 3])
def test_banded_factor_solves_like_a_dense_matrix(lags):
    torch.manual_seed(lags)
    count, n = 7, 4
    below = [0.2 * torch.randn(count, n, n).double() for _ in range(lags)]
    diagonal = 4 * positive(count, n)
    whole = torch.block_diag(*diagonal)
    for lag, blocks in enumerate(below, 1):
        for t in range(lag, count):
            rows, columns = slice(n * t, n * t + n), slice(n * (t - lag), n * (t - lag) + n)
            whole[rows, columns] = blocks[t]
            whole[columns, rows] = blocks[t].t()
    sides = torch.randn(count, n, 3).double()
    expected = torch.linalg.solve(whole, sides.flatten(0, 1)).unflatten(0, (count, n))
    torch.testing.assert_close(factorise_banded(diagonal, below).solve(sides), expected)


@pytest.mark.parametrize('order', [1, 2])
def test_coupled_step_solves_the_whole_system(order):
    torch.manual_seed(order)
    count, n, q, m = 6, 3, 2, 4
    matrix, vector = positive(count, n + q), torch.randn(count, n + q).double()
    jacobian, points = torch.randn(count, m, n + q).double(), torch.randn(count, m).double()
    weight = torch.rand(count).double()
    weight[:order] = weight[4] = 0
    damping = torch.full((count,), 1e-9).double()
    # `D' W D` is the hessian of `w |D p|^2 / 2`.
    motion = MotionModel(order, 2 * weight.unsqueeze(1).expand(-1, m), points, jacobian)
    own, shared, predicted = coupled_step(matrix, vector, [motion], n, damping)

    def energy(x):
        mine, common = x[: count * n].unflatten(0, (count, n)), x[count * n :]
        step = torch.cat((mine, common.expand(count, -1)), 1)
        moved = points + (jacobian @ step.unsqueeze(-1)).squeeze(-1)
        difference = moved.diff(n=order, dim=0).square().sum(1)
        frames = (vector * step).sum(1) + 0.5 * (step * (matrix @ step.unsqueeze(-1)).squeeze(-1)).sum(1)
        return frames.sum() + (weight[order:] * difference).sum()

    zero = torch.zeros(count * n + q).double()
    expected = -torch.linalg.solve(torch.func.hessian(energy)(zero), torch.func.grad(energy)(zero))
    torch.testing.assert_close(torch.cat((own.flatten(), shared)), expected, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(predicted.sum(), energy(zero) - energy(expected), rtol=1e-6, atol=1e-7)


def test_problems_of_some_frames_keep_what_they_share():
    task, layout, point = some_problem({'betas': True}, [0, 1, 2], True, [])
    rows = torch.tensor([4, 1])
    part = BodyProblem(FrameBatch(task, layout), 6).take(rows)
    assert point.take(rows).extras['betas'].shape[0] == 1
    assert part.evaluate(point.take(rows)).energy.shape == (2,)
