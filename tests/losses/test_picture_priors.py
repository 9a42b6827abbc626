"""Priors of fits to pictures: squares of residuals, second derivatives, and what they are for."""

import pytest
import torch
from torch.autograd.functional import hessian, jacobian

from smilfit.losses import FocalPriorLoss, SplayPriorLoss, TiedJointScalePriorLoss
from tests.animals import small_animal

DATA = small_animal(n_joints=8)
DRAW = torch.Generator().manual_seed(0)
POSE = torch.randn(3, 7, 3, generator=DRAW).double()
SCALES = 0.3 * torch.randn(3, 8, 3, generator=DRAW).double()
FOCAL = torch.randn(3, 1, generator=DRAW).double()


def ties(**kwargs):
    loss = TiedJointScalePriorLoss(**kwargs)
    loss.bind_body(DATA)
    return loss


CASES = {
    'splay': (SplayPriorLoss(loss_weight=3.0), POSE),
    'ties': (ties(groups=('spine',), tie=7.0, loss_weight=2.0), SCALES),
    'focal': (FocalPriorLoss(sd=0.2), FOCAL),
}


@pytest.mark.parametrize('name', CASES)
@pytest.mark.parametrize('overrides', [{}, {'loss_weight_override': 0.3, 'reduction_override': 'sum'}])
def test_residuals_square_to_the_loss(name, overrides):
    loss, value = CASES[name]
    torch.testing.assert_close(loss.residual(value, **overrides).square().sum(), loss(value, **overrides))


@pytest.mark.parametrize('name', ['splay', 'ties'])
def test_curvature_and_gradient_are_derivatives(name):
    loss, value = CASES[name]
    exact = hessian(lambda v: loss(v), value)
    size = value[0].numel()
    given = loss.curvature(value)[0]
    given = torch.block_diag(*given) if given.ndim == 3 else given
    torch.testing.assert_close(given, exact[0, ..., 0, :, :].reshape(size, size), rtol=1e-5, atol=1e-6)
    if hasattr(loss, 'gradient'):
        exact = jacobian(lambda v: loss(v), value).flatten(1)
        torch.testing.assert_close(loss.gradient(value), exact, rtol=1e-5, atol=1e-6)


def test_only_named_axes_splay():
    pose = torch.zeros(1, 4, 3)
    pose[..., 1] = 1.0
    assert SplayPriorLoss()(pose) == 0
    assert SplayPriorLoss(axes=('y',))(pose) == 1


def test_tied_scales_that_agree_cost_no_more_than_untied_ones():
    left, right = (DATA.joint_names.index(n) for n in DATA.joint_symmetry[0])
    both, one = (torch.zeros(1, 8, 3).double() for _ in range(2))
    both[:, [left, right]] = 0.1
    one[:, left] = 0.1
    assert torch.isclose(ties()(both), ties(tie=0.0)(both))
    assert ties()(one) > 10 * ties(tie=0.0)(one)


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match='axes must be some of'):
        SplayPriorLoss(axes=('w',))
    with pytest.raises(ValueError, match='sd must be positive'):
        FocalPriorLoss(sd=0)
    with pytest.raises(ValueError, match='tie must not be negative'):
        TiedJointScalePriorLoss(tie=-1)
    with pytest.raises(KeyError, match="Did you mean 'spine'"):
        ties(groups=('spin',))
    with pytest.raises(ValueError, match='bind_body'):
        TiedJointScalePriorLoss()(SCALES)
