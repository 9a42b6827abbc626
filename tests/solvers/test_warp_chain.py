"""The fused tree solver against its readable twin, made-up truth, and its contracts."""

import sys
from dataclasses import replace

import pytest
import torch

from smilfit.geometry.projection import project_points
from smilfit.solvers import ChainProblem, ChainState, solve_chains, warp_available
from tests.solvers import chain_twin as twin
from tests.solvers.chain_problems import (
    PARENTS,
    PROBLEMS,
    ended,
    normal,
    seen2d,
    seen3d,
    single,
    tree,
    truth_of,
    with_priors,
)

NONE = torch.zeros(2, dtype=torch.bool)
needs_warp = pytest.mark.skipif(not warp_available(), reason='warp-lang is not installed')


def robust_and_hidden() -> ChainProblem:
    """Everything at once, from a turned start: robust terms, both kinds of data, points behind and beyond a lens."""
    base = PROBLEMS['lens']()
    both = replace(
        seen3d(tree(), truth_of(tree()), 0.02), **{k: getattr(base, k) for k in (
            'xy', 'weights2d', 'camera_K', 'camera_R', 'camera_dist', 'camera_fold', 'pose_weight',
            'limits', 'limit_maps', 'limit_weight', 'coefficient_mean', 'coefficient_precision', 'log_scale_weight')},
        camera_t=base.camera_t + torch.tensor([0.0, 0.0, -5.6], dtype=torch.float64),
        sigma2d=base.sigma2d.clone().fill_(30.0), start=truth_of(tree(), 0.6),
    )  # fmt: skip
    return replace(both, sigma3d=both.sigma3d.clone().fill_(0.2))


@needs_warp
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_energy_is_the_readable_one(dtype):
    problem = robust_and_hidden()
    x = twin.points(problem, problem.start)
    _, _, valid = project_points(x, problem.camera_K, problem.camera_R, problem.camera_t, problem.camera_dist)
    assert 0.1 < valid.double().mean() < 0.9, 'some points have an image and some have none'
    solution = solve_chains(problem if dtype == torch.float64 else single(problem), n_iter=0)
    tolerance = 1e-10 if dtype == torch.float64 else 1e-4
    torch.testing.assert_close(
        solution.energy.double(), twin.energy(problem, problem.start), rtol=tolerance, atol=0
    )
    assert not solution.iterations.any()


@needs_warp
@pytest.mark.parametrize('name', PROBLEMS)
def test_same_minimum_as_the_dense_twin(name):
    problem = PROBLEMS[name]()
    solution = solve_chains(problem, n_iter=300, ftol=1e-14)
    assert solution.converged.all()
    ours = ended(solution)
    torch.testing.assert_close(solution.energy, twin.energy(problem, ours), rtol=1e-9, atol=0)
    for i in range(problem.n_frames):
        frame = twin.frame_of(problem, i)
        dense = twin.dense_fit(frame)
        mine = ChainState(*(v[i : i + 1] for v in vars(ours).values()))
        torch.testing.assert_close(twin.points(frame, mine), twin.points(frame, dense), atol=1e-5, rtol=0)
        assert twin.energy(frame, mine).item() <= twin.energy(frame, dense).item() * (1 + 1e-7)


@needs_warp
@pytest.mark.parametrize('name', PROBLEMS)
def test_float32_ends_where_float64_does(name):
    problem = PROBLEMS[name]()
    fine, coarse = solve_chains(problem, 200, 1e-12), solve_chains(single(problem), 200, 1e-7)
    recomputed = twin.energy(problem, ended(coarse))
    torch.testing.assert_close(recomputed, fine.energy, rtol=1e-3, atol=0)
    torch.testing.assert_close(coarse.energy.double(), recomputed, rtol=1e-3, atol=0)


@needs_warp
@pytest.mark.parametrize('see', [seen3d, seen2d])
def test_truth_is_recovered(see):
    truth = truth_of(tree(5))
    problem = see(
        replace(
            tree(5), fit_coefficients=NONE, start=replace(tree(5).start, coefficients=truth.coefficients)
        ),
        truth,
    )
    solution = solve_chains(single(problem), 100, 1e-9)
    error = twin.points(problem, ended(solution)) - twin.points(problem, truth)
    assert error.abs().max() < 1e-3


@needs_warp
def test_one_step_on_fixed_joints_is_the_linear_answer():
    """With all joints fixed only translation and shape are left, and those are linear: one step ends it."""
    problem = replace(
        tree(), free_joints=torch.zeros(len(PARENTS), dtype=torch.bool), fit_scale=False,
        targets3d=normal(3, len(PARENTS) + 2, 3, seed=12),
    )  # fmt: skip
    solution = solve_chains(problem, 60, 0.0)
    end = ended(solution)
    assert torch.equal(end.rotations, problem.start.rotations)
    assert torch.equal(end.log_scale, problem.start.log_scale)
    rest = twin.points(problem, problem.start)[0]
    begin = problem.start.coefficients
    moved = [replace(problem.start, coefficients=begin + torch.eye(2)[i]) for i in range(2)]
    columns = [twin.points(problem, state)[0] - rest for state in moved]
    columns += [torch.eye(3, dtype=torch.float64)[i].expand_as(rest) for i in range(3)]
    matrix = torch.stack([c.flatten() for c in columns], 1)
    answer = torch.linalg.lstsq(matrix, (problem.targets3d - rest).flatten(1).T).solution.T
    torch.testing.assert_close(torch.cat((end.coefficients, end.transl), 1), answer, atol=1e-6, rtol=0)


@needs_warp
def test_a_deep_chain_in_float32():
    """45 joints in a row with bones of no length and a side branch of leaves: no digits are lost on the way."""
    parents = (-1, *range(44), 20, 20, 21)
    base = tree(4, parents)
    bones = torch.full((1, len(parents), 3), 0.05, dtype=torch.float64) + 0.02 * normal(1, len(parents), 3)
    bones[:, [1, 9, 30]] = 0
    truth = replace(truth_of(base, 0.1), coefficients=torch.zeros(4, 2, dtype=torch.float64))
    problem = replace(seen3d(replace(base, bones=bones), truth, 0.003), fit_coefficients=NONE,
                      pose_weight=torch.full((len(parents),), 1e-4, dtype=torch.float64))  # fmt: skip
    fine, coarse = solve_chains(problem, 300, 1e-10), solve_chains(single(problem), 300, 1e-6)
    assert coarse.converged.all()
    torch.testing.assert_close(twin.energy(problem, ended(coarse)), fine.energy, rtol=2e-3, atol=0)


@needs_warp
def test_what_is_missing_does_not_count():
    problem = PROBLEMS['3d']()
    hole = problem.weights3d.clone()
    hole[:, ::3] = 0
    gone = torch.where(
        hole[..., None] > 0, problem.targets3d, torch.full_like(problem.targets3d, float('nan'))
    )
    without = solve_chains(replace(problem, weights3d=hole, targets3d=gone), 50)
    zeros = solve_chains(replace(problem, weights3d=hole), 50)
    assert torch.equal(without.rotations, zeros.rotations)
    assert torch.equal(without.energy, zeros.energy)


@needs_warp
def test_a_frame_of_nothing_comes_back_as_it_was():
    start = truth_of(tree())
    problem = single(replace(PROBLEMS['3d'](), start=start))
    weights = problem.weights3d.clone()
    weights[1] = 0
    solution = solve_chains(replace(problem, weights3d=weights), 50)
    assert torch.equal(solution.rotations[1], problem.start.rotations[1])
    assert torch.equal(solution.coefficients[1], problem.start.coefficients[1])
    assert solution.converged.tolist() == [True, False, True]
    assert solution.iterations[1] == 0


@needs_warp
@pytest.mark.parametrize('rubbish', [float('nan'), float('inf'), 1e30])
def test_a_frame_of_rubbish_changes_no_other(rubbish):
    problem = single(PROBLEMS['2d']())
    alone = solve_chains(problem, 50)
    xy = problem.xy.clone()
    xy[1] = rubbish
    beside = solve_chains(replace(problem, xy=xy), 50)
    for name in ('rotations', 'transl', 'log_scale', 'coefficients', 'energy', 'iterations'):
        assert torch.equal(getattr(alone, name)[[0, 2]], getattr(beside, name)[[0, 2]]), name
    assert not beside.converged[1]
    for name in ('rotations', 'transl', 'log_scale', 'coefficients'):
        assert getattr(beside, name).isfinite().all()


@needs_warp
def test_graduation_finds_the_way_past_outliers():
    base = replace(
        tree(12, n_coefficients=1), fit_coefficients=NONE[:1], fit_scale=False, log_scale_weight=1.0
    )
    truth = truth_of(base, 0.8)
    truth = replace(
        truth, coefficients=torch.zeros_like(truth.coefficients), log_scale=torch.zeros_like(truth.log_scale)
    )
    clean = seen3d(base, truth)
    wild = torch.zeros_like(clean.targets3d[..., 0])
    for i in range(12):
        wild[i, [i % wild.shape[1], (3 * i + 5) % wild.shape[1]]] = 0.6
    robust = replace(clean, targets3d=clean.targets3d + wild[..., None], sigma3d=clean.sigma3d.clone().fill_(0.03),
                     pose_weight=torch.full((base.n_joints,), 1e-5, dtype=torch.float64))  # fmt: skip
    inliers = wild == 0

    def hits(graduation: tuple[float, ...]) -> int:
        solution = solve_chains(robust, 100, 1e-9, graduation)
        error = (twin.points(robust, ended(solution)) - twin.points(robust, truth)).norm(dim=-1)
        return int(((error * inliers).amax(1) < 0.05).sum())

    gradual = hits((64, 48, 32, 24, 16, 12, 8, 6, 4, 3, 2, 1.5))
    assert gradual >= 10
    assert gradual > hits(())


@needs_warp
def test_limits_hold():
    problem = replace(with_priors(seen3d(tree(), truth_of(tree(), 0.8))), limit_weight=1e4)
    theta = twin.angle(ended(solve_chains(problem, 100)).rotations)
    own = torch.einsum('jab,njb->nja', problem.limit_maps, theta)[:, 1:]
    assert own.min() > -0.31
    assert own.max() < 0.36


@needs_warp
def test_the_caller_keeps_his_tensors():
    problem = PROBLEMS['3d']()
    before = {name: tensor.clone() for name, tensor in problem.floats().items()}
    solve_chains(problem, 20)
    assert all(torch.equal(before[name], tensor) for name, tensor in problem.floats().items())


def test_warp_is_asked_for_by_name(monkeypatch):
    monkeypatch.setitem(sys.modules, 'warp', None)
    assert not warp_available()
    with pytest.raises(ImportError, match='pip install warp-lang'):
        solve_chains(tree())


@needs_warp
@pytest.mark.parametrize(
    ('argument', 'message'),
    [
        ({'n_iter': -1}, 'n_iter must not be negative'),
        ({'ftol': float('nan')}, 'ftol must not be negative'),
        ({'graduation': (4.0, 0.0)}, 'graduation must be positive'),
    ],
)
def test_control_errors(argument, message):
    with pytest.raises(ValueError, match=message):
        solve_chains(tree(), **argument)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'bones': torch.zeros(2, 8, 3).double()}, r'bones must have the shape \(1 or 3, 8, 3\)'),
        ({'bones': torch.zeros(1, 8, 3)}, 'bones must be torch.float64'),
        ({'parents': torch.tensor([-1, 0, 1, 1, 5, 4, 0, 6])}, 'joint 4 must have a parent before it'),
        ({'point_joint': torch.full((10, 1), 8)}, 'point_joint must name joints 0 to 7'),
        ({'sigma3d': None}, 'must be given together; got None for sigma3d'),
        ({'sigma3d': torch.zeros(10).double()}, 'sigma3d must be positive'),
        ({'targets3d': None, 'weights3d': None, 'sigma3d': None}, 'something must be seen'),
        ({'camera_dist': torch.zeros(1, 2, 5).double()}, 'camera_dist must come with xy'),
        (
            {'coefficient_precision': torch.eye(2).double()},
            'coefficient_precision must come with coefficient_mean',
        ),
        ({'limit_weight': -1.0}, 'limit_weight must be finite and not negative'),
    ],
)
def test_problem_errors(change, message):
    with pytest.raises(ValueError, match=message):
        replace(tree(), **change)


@needs_warp
def test_cameras_may_be_by_frame():
    problem = PROBLEMS['lens']()
    by_frame = replace(
        problem,
        camera_t=problem.camera_t.expand(3, -1, -1).contiguous(),
        camera_dist=problem.camera_dist.expand(3, -1, -1).contiguous(),
    )
    assert torch.equal(solve_chains(problem).rotations, solve_chains(by_frame).rotations)


def test_halves_are_refused():
    problem = tree()
    halves = {k: v.half() for k, v in problem.floats().items() if not k.startswith('start.')}
    with pytest.raises(ValueError, match='float32 or float64'):
        replace(problem, **halves, start=ChainState(*(v.half() for v in vars(problem.start).values())))


@needs_warp
def test_a_part_of_the_coefficients_is_fitted():
    problem = replace(PROBLEMS['3d'](), fit_coefficients=torch.tensor([False, True]))
    problem = replace(problem, start=replace(problem.start, coefficients=0.1 * normal(3, 2, seed=22)))
    solution = solve_chains(problem, 300, 1e-14)
    assert torch.equal(solution.coefficients[:, 0], problem.start.coefficients[:, 0])
    frame = twin.frame_of(problem, 1)
    dense = twin.energy(frame, twin.dense_fit(frame)).item()
    assert solution.energy[1].item() == pytest.approx(dense, rel=1e-7)
