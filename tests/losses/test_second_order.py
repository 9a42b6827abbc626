"""Residuals square to the loss, and curvatures are its second derivative."""

from dataclasses import replace

import pytest
import torch
from torch.autograd.functional import hessian, jacobian

from smilfit.losses import (
    JointLimitLoss,
    JointOffsetPriorLoss,
    JointPriorLoss,
    JointScalePriorLoss,
    KeypointMSELoss,
    LimbLengthLoss,
    MahalanobisPosePriorLoss,
    MaxMixturePriorLoss,
    PoseRegLoss,
    ShapePriorLoss,
    SmoothPointsLoss,
)
from tests.animals import small_animal
from tests.losses.test_losses import write_mixture

DATA = small_animal(n_joints=8)
POSE = 0.8 * torch.randn(3, 7, 3, generator=torch.Generator().manual_seed(0)).double()
BETAS = torch.randn(3, 3, generator=torch.Generator().manual_seed(1)).double()


def bound(loss):
    if hasattr(loss, 'bind_body'):
        loss.bind_body(
            replace(DATA, joint_groups={'spine': DATA.joint_names[1:4], 'foot': DATA.joint_names[-1:]})
        )
    return loss


CASES = {
    'pose_reg': (PoseRegLoss(loss_weight=3.0), POSE),
    'mahalanobis': (MahalanobisPosePriorLoss(reduction='sum'), POSE),
    'limits': (JointLimitLoss(loss_weight=2.0), POSE),
    'joint_prior': (JointPriorLoss(use_full_body=True, smooth_spine=True, lock_foot=True), POSE),
    'betas': (ShapePriorLoss(), BETAS),
    'scales': (JointScalePriorLoss(), POSE),
    'offsets': (JointOffsetPriorLoss(reduction='sum', loss_weight=0.5), POSE),
}


@pytest.mark.parametrize('name', CASES)
@pytest.mark.parametrize('overrides', [{}, {'loss_weight_override': 0.3, 'reduction_override': 'sum'}])
def test_residuals_square_to_the_loss(name, overrides):
    loss, value = CASES[name]
    loss = bound(loss)
    torch.testing.assert_close(loss.residual(value, **overrides).square().sum(), loss(value, **overrides))


@pytest.mark.parametrize('name', [n for n in CASES if n != 'joint_prior'])
def test_curvature_is_the_second_derivative(name):
    loss, value = CASES[name]
    loss = bound(loss)

    def of_one(row):
        return loss(torch.cat((row.unsqueeze(0), value[1:])))

    exact = hessian(of_one, value[0]).reshape(value[0].numel(), -1)
    given = loss.curvature(value)[0]
    given = torch.block_diag(*given) if given.ndim == 3 else given
    torch.testing.assert_close(given, exact, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('name', [n for n in CASES if hasattr(CASES[n][0], 'gradient')])
@pytest.mark.parametrize('overrides', [{}, {'loss_weight_override': 0.3, 'reduction_override': 'sum'}])
def test_gradient_is_the_derivative(name, overrides):
    loss, value = CASES[name]
    loss = bound(loss)
    exact = jacobian(lambda v: loss(v, **overrides), value)
    torch.testing.assert_close(loss.gradient(value, **overrides), exact.flatten(1))


def test_mixture_residual_is_the_loss_less_a_constant(tmp_path):
    write_mixture(tmp_path, 21)
    loss = MaxMixturePriorLoss(tmp_path, 3, reduction='sum', loss_weight=2.0)
    values = [loss(p) - loss.residual(p).square().sum() for p in (POSE, -2 * POSE, 0 * POSE)]
    torch.testing.assert_close(values[0], values[1], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(values[0], values[2], rtol=1e-5, atol=1e-5)
    exact = hessian(lambda row: loss(torch.cat((row.unsqueeze(0), POSE[1:]))), POSE[0])
    torch.testing.assert_close(loss.curvature(POSE)[0], exact.reshape(21, 21), rtol=1e-5, atol=1e-5)


def test_limb_residuals_square_to_the_loss():
    loss = LimbLengthLoss(loss_weight=4.0)
    limbs = torch.tensor([[0, 1], [2, 3]])
    confidence = torch.rand(3, 7).double()
    arguments = dict(pred=POSE, target=POSE.flip(0), limbs=limbs, target_conf=confidence)
    torch.testing.assert_close(loss.residual(**arguments).square().sum(), loss(**arguments))


@pytest.mark.parametrize('sigma', [None, 0.7])
def test_reweighted_squares_have_the_loss_and_its_gradient(sigma):
    loss = KeypointMSELoss(sigma=sigma, loss_weight=3.0)
    confidence = torch.rand(3, 7).double()
    pred = POSE.clone().requires_grad_()
    value = loss(pred, 0 * POSE, target_conf=confidence)
    (gradient,) = torch.autograd.grad(value, pred)
    terms, weight = loss.reweight(POSE.square().sum(-1), confidence)
    torch.testing.assert_close(terms.sum(), value.detach())
    torch.testing.assert_close(2 * weight.unsqueeze(-1) * POSE, gradient)


@pytest.mark.parametrize('order', [1, 2])
def test_motion_weights_leave_gaps_alone(order):
    points = torch.randn(7, 4, 3).double()
    size = torch.rand(7).double() + 1
    continuous = torch.tensor([False, True, True, False, True, True, True]) & (torch.arange(7) >= order)
    loss = SmoothPointsLoss(order=order, loss_weight=2.0)
    energy, weight = loss.weights(points, size, continuous)
    torch.testing.assert_close(energy.sum(), loss(points, size, continuous))
    change = torch.zeros_like(points)
    change[order:] = points.diff(n=order, dim=0)
    torch.testing.assert_close(weight * change.square().sum((1, 2)), energy)
    assert weight[~continuous].abs().sum() == 0
