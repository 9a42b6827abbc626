"""Robust functions: their values are the published ones, and their weights the derivatives of them."""

import math

import pytest
import torch

from smilfit.geometry.robust import Absolute, Cauchy, GemanMcClure

ROBUST = {
    'square': GemanMcClure(),
    'geman': GemanMcClure(sigma=0.7),
    'limited': GemanMcClure(sigma=0.7, limit=1.1),
    'cauchy': Cauchy(0.7),
    'absolute': Absolute(0.3),
}


@pytest.mark.parametrize('widening', [1.0, 3.0])
@pytest.mark.parametrize('name', ROBUST)
def test_the_weight_is_the_derivative_by_the_squared_residual(name, widening):
    squared = torch.tensor([1e-4, 0.05, 0.3, 1.0, 4.0, 50.0], dtype=torch.float64, requires_grad=True)
    value, weight = ROBUST[name](squared, widening)
    (slope,) = torch.autograd.grad(value.sum(), squared)
    torch.testing.assert_close(weight, slope, atol=1e-12, rtol=1e-12)


def test_values_at_one_width():
    one = torch.tensor([0.49], dtype=torch.float64)
    assert float(ROBUST['geman'](one)[0]) == pytest.approx(0.49 / 2)
    assert float(ROBUST['cauchy'](one)[0]) == pytest.approx(0.49 * math.log(2))
    assert float(ROBUST['absolute'](one)[0]) == pytest.approx(0.7 - 0.15)
