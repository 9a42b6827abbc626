"""One shape for all frames: stationary for the whole problem, the truth, and the contracts."""

import sys
from dataclasses import replace

import pytest
import torch

from smilfit.solvers import (
    ChainProblem,
    ChainState,
    Processes,
    solve_chains,
    solve_shared_chains,
    warp_available,
)
from tests.solvers import chain_twin as twin
from tests.solvers.chain_problems import PROBLEMS, ended, seen3d, single, tree, truth_of

needs_warp = pytest.mark.skipif(not warp_available(), reason='warp-lang is not installed')


class Twice(Processes):
    """Two processes that hold the same frames."""

    count = 2

    def sum(self, value):
        return 2 * value


def one_shape(problem: ChainProblem) -> ChainState:
    """A truth whose shape and scale are those of its first frame."""
    truth = truth_of(problem)
    return replace(
        truth,
        coefficients=truth.coefficients[:1].expand_as(truth.coefficients).contiguous(),
        log_scale=truth.log_scale[:1].expand_as(truth.log_scale).contiguous(),
    )


@needs_warp
@pytest.mark.parametrize('name', PROBLEMS)
def test_the_end_is_stationary_for_the_whole_problem(name):
    problem = PROBLEMS[name]()
    solution = solve_shared_chains(problem, 300, 1e-14)
    state = ended(solution)
    assert solution.converged.all()
    assert torch.equal(state.coefficients, state.coefficients[:1].expand_as(state.coefficients))
    torch.testing.assert_close(solution.energy, twin.energy(problem, state), rtol=1e-9, atol=0)
    n_own = 3 * problem.n_joints + 3

    def slope(state: ChainState) -> torch.Tensor:
        own = torch.zeros(problem.n_frames, n_own, dtype=torch.float64, requires_grad=True)
        shape = torch.zeros(1, 1 + state.coefficients.shape[1], dtype=torch.float64, requires_grad=True)
        step = torch.cat((own, shape.expand(problem.n_frames, -1)), 1)
        total = twin.energy(problem, twin.moved(problem, state, step)).sum()
        return torch.cat([g.flatten() for g in torch.autograd.grad(total, (own, shape))])

    assert slope(state).norm() < 1e-5 * slope(problem.start).norm()


@needs_warp
def test_the_shape_is_recovered_by_all_frames_together():
    problem = tree(12)
    truth = one_shape(problem)
    noisy = seen3d(problem, truth, 0.01)
    together = solve_shared_chains(single(noisy), 200, 1e-8)
    alone = solve_chains(single(noisy), 200, 1e-8)
    error = (together.coefficients[0].double() - truth.coefficients[0]).norm()
    assert error < 0.5 * (alone.coefficients.double() - truth.coefficients).norm(dim=1).mean()
    assert (together.log_scale[0].double() - truth.log_scale[0]).abs() < 0.02
    assert together.energy.sum() >= alone.energy.sum()


@needs_warp
def test_processes_that_add_their_sums_fit_as_one():
    """Twice the same frames, in one process or in two that add up, end in the same place."""
    problem = PROBLEMS['3d']()
    twice = replace(
        problem,
        start=ChainState(*(torch.cat((v, v)) for v in vars(problem.start).values())),
        targets3d=torch.cat((problem.targets3d, problem.targets3d)),
        weights3d=torch.cat((problem.weights3d, problem.weights3d)),
    )
    one, two = (
        solve_shared_chains(twice, 100),
        solve_shared_chains(problem, 100, processes=Twice()),
    )
    torch.testing.assert_close(one.coefficients[:3], two.coefficients, rtol=0, atol=1e-8)
    torch.testing.assert_close(one.rotations[:3], two.rotations, rtol=0, atol=1e-8)


@needs_warp
def test_frames_of_nothing_and_of_rubbish_change_no_other():
    problem = tree(5)
    whole = seen3d(problem, one_shape(problem), 0.01)
    weights, targets = whole.weights3d.clone(), whole.targets3d.clone()
    weights[1], targets[3] = 0, float('nan')
    broken = solve_shared_chains(replace(whole, weights3d=weights, targets3d=targets), 100)
    kept = [0, 2, 4]
    start = ChainState(*(v[kept] for v in vars(whole.start).values()))
    alone = solve_shared_chains(
        replace(whole, start=start, weights3d=whole.weights3d[kept], targets3d=whole.targets3d[kept]), 100
    )
    torch.testing.assert_close(broken.rotations[kept], alone.rotations, rtol=0, atol=1e-8)
    assert torch.equal(broken.rotations[1], whole.start.rotations[1])
    assert torch.equal(broken.coefficients[1], broken.coefficients[0])
    assert broken.converged.tolist() == [True, False, True, False, True]
    assert broken.coefficients.isfinite().all()


@needs_warp
def test_graduation_finds_the_way_past_outliers():
    problem = tree(6)
    truth = one_shape(problem)
    clean = seen3d(problem, truth)
    targets = clean.targets3d.clone()
    targets[torch.arange(6), torch.arange(6)] += 0.8
    weight = torch.full((problem.n_joints,), 1e-5, dtype=torch.float64)
    robust = replace(clean, targets3d=targets, sigma3d=clean.sigma3d.clone().fill_(0.05), pose_weight=weight)
    solution = solve_shared_chains(robust, 200, 1e-10, (32, 24, 16, 12, 8, 6, 4, 3, 2))
    assert (solution.coefficients[0] - truth.coefficients[0]).abs().max() < 0.05


def test_warp_is_asked_for_by_name(monkeypatch):
    monkeypatch.setitem(sys.modules, 'warp', None)
    with pytest.raises(ImportError, match='solve_shared_chains: warp must be installed'):
        solve_shared_chains(tree())


@needs_warp
@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            {'fit_coefficients': torch.zeros(2, dtype=torch.bool), 'fit_scale': False},
            'coefficients or scale must be fitted',
        ),
        ({'start': truth_of(tree())}, r'start.coefficients must be the same in all frames'),
    ],
)
def test_errors(change, message):
    with pytest.raises(ValueError, match=message):
        solve_shared_chains(replace(tree(), **change))
