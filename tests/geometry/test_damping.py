"""The loop for small least-squares problems, against problems whose minimum is known."""

import pytest
import torch

from smilfit.geometry.damping import DAMPING, choose_rows, descend

MINIMA = torch.tensor([[1.7, 1.2], [0.7, 56.0], [3.0, 0.01]], dtype=torch.float64)
STARTS = torch.tensor([[5.0, 5.0], [0.2, 7.0], [1.0, 1.0]], dtype=torch.float64)


def solved(rows, ftol):
    """Minimise |(x0^2 - a, x0 x1 - b)|^2 of some rows, by Levenberg-Marquardt."""
    least = MINIMA[rows]
    targets = torch.stack((least[:, 0] ** 2, least[:, 0] * least[:, 1]), -1)

    def look(x):
        residual = torch.stack((x[:, 0] ** 2, x[:, 0] * x[:, 1]), -1) - targets
        return residual.square().sum(-1), (x, residual)

    def step(at, damping):
        x, residual = at
        upper = torch.stack((2 * x[:, 0], torch.zeros_like(x[:, 0])), -1)
        jacobian = torch.stack((upper, x.flip(-1)), -2)
        back = jacobian.transpose(-1, -2)
        normal, gradient = back @ jacobian, (back @ residual.unsqueeze(-1)).squeeze(-1)
        damped = damping.unsqueeze(-1) * normal.diagonal(dim1=-2, dim2=-1)
        change = torch.linalg.solve(normal + torch.diag_embed(damped), gradient)
        return x - change, (change * (gradient + damped * change)).sum(-1)

    return descend(look, step, STARTS[rows], DAMPING, 40, ftol, choose_rows)


@pytest.mark.parametrize('ftol', [1e-10, None])
def test_each_problem_comes_to_its_own_minimum(ftol):
    together = solved([0, 1, 2], ftol)
    assert torch.allclose(together.state[0], MINIMA, atol=1e-6)
    assert together.n_steps == 40 if ftol is None else together.n_steps < 40
    assert bool(together.ended.all()) is (ftol is not None)
    for row in range(3):
        assert torch.allclose(solved([row], ftol).state[0][0], together.state[0][row], rtol=1e-12, atol=0)
