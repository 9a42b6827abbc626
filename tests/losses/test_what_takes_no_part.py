"""A point of confidence or weight 0 takes no part, whatever its coordinates: neither in values nor in gradients."""

import math

import pytest
import torch

from smilfit.losses import Energies, KeypointMSELoss, LimbLengthLoss, reduced

ODD = pytest.mark.parametrize('odd', [math.nan, math.inf, 1e30])


def points():
    g = torch.Generator().manual_seed(0)
    pred, target = torch.randn(2, 3, 4, 3, generator=g).double()
    return pred.clone(), target.clone()


@ODD
@pytest.mark.parametrize('whose', ['pred', 'target'])
@pytest.mark.parametrize('by', ['target_conf', 'pred_conf', 'keypoint_weight'])
@pytest.mark.parametrize('sigma', [None, 0.5])
def test_keypoints(odd, whose, by, sigma):
    pred, target = points()
    loss = KeypointMSELoss(sigma)
    factor = torch.ones(4).double() if by == 'keypoint_weight' else torch.ones(3, 4).double()
    factor[..., 2] = 0
    clean = pred.clone().requires_grad_()
    wanted = loss(clean, target, **{by: factor})
    wanted.backward()
    (pred if whose == 'pred' else target)[:, 2] = odd
    pred.requires_grad_()
    result = loss(pred, target, **{by: factor})
    result.backward()
    assert torch.equal(result, wanted)
    assert torch.equal(pred.grad, clean.grad)


@ODD
@pytest.mark.parametrize('sigma', [None, 0.5])
def test_what_solvers_read_of_keypoints(odd, sigma):
    pred, target = points()
    confidence = torch.ones(3, 4).double()
    confidence[:, 1] = 0
    (wanted,) = KeypointMSELoss(sigma).stated(pred, target, target_conf=confidence)
    target[:, 1] = odd
    (result,) = KeypointMSELoss(sigma).stated(pred, target, target_conf=confidence)
    assert torch.equal(result.total(), wanted.total())
    for name in ('weighted', 'weight', 'slope', 'value'):
        one, other = (getattr(item.terms(), name) for item in (result, wanted))
        if one is not None:
            kept = confidence > 0
            assert one.isfinite().all()
            assert torch.equal(one[kept], other[kept])


@ODD
@pytest.mark.parametrize('reduction', ['mean', 'sum', 'none'])
def test_limbs(odd, reduction):
    pred, target = points()
    limbs, confidence = torch.tensor([[0, 1], [1, 2], [0, 3]]), torch.ones(3, 4).double()
    confidence[:, 2] = 0
    measure = LimbLengthLoss(reduction=reduction)
    clean = pred.clone().requires_grad_()
    wanted = measure(clean, target, limbs, target_conf=confidence)
    wanted.square().sum().backward()
    target[:, 2], pred[:, 2] = odd, odd
    pred.requires_grad_()
    result = measure(pred, target, limbs, target_conf=confidence)
    result.square().sum().backward()
    assert torch.equal(result, wanted)
    assert torch.equal(pred.grad, clean.grad)


@pytest.mark.parametrize('weight', [1.0, 20.0, 1e30])
def test_a_mean_over_nothing_is_0_whatever_its_weight(weight):
    terms = torch.ones(3, requires_grad=True)
    loss = reduced((Energies(2 * terms, torch.zeros(3)),), weight, 'mean')
    loss.backward()
    assert float(loss.detach()) == 0
    assert torch.equal(terms.grad, torch.zeros(3))
