"""Scales and offsets that betas drive: rates against automatic derivatives, also where a scale is held."""

import pytest
import torch

from smilfit.body_models.rest_shape import (
    MIN_JOINT_SCALE,
    driven_log_rates,
    driven_offsets,
    driven_scales,
)


@pytest.mark.parametrize('logarithmic', [False, True])
def test_rates_are_the_derivatives_of_the_logarithms(logarithmic: bool) -> None:
    directions = torch.rand(3, 4, 3, dtype=torch.float64)
    betas = torch.randn(5, 3, dtype=torch.float64)
    betas[0] = -4.0  # every scale of this body is held where it is linear
    result = driven_log_rates(betas, directions, logarithmic)
    for body, rates in zip(betas, result):
        jacobian = torch.autograd.functional.jacobian(
            lambda b: driven_scales(b[None], directions, logarithmic)[0].log(), body
        )
        torch.testing.assert_close(rates, jacobian.permute(2, 0, 1), rtol=1e-9, atol=1e-12)


def test_a_scale_never_turns_negative() -> None:
    scales = driven_scales(torch.tensor([[-9.0]]), torch.ones(1, 2, 3), False)
    assert torch.all(scales == MIN_JOINT_SCALE)


def test_offsets_are_linear_in_betas() -> None:
    directions, betas = torch.randn(2, 4, 3), torch.randn(3, 2)
    torch.testing.assert_close(driven_offsets(2 * betas, directions), 2 * driven_offsets(betas, directions))
