"""Single steps of trees: gradients and factors against the dense twin, and the two loops against each other."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from smilfit.solvers import (
    ChainLeastSquares,
    ChainProblem,
    ChainQuadratic,
    ChainState,
    LevenbergMarquardt,
    MotionCoupling,
    motion_quadratic,
    solve_chains,
    solve_motion,
    solve_shared_chains,
    warp_available,
)
from tests.solvers import chain_twin as twin
from tests.solvers.chain_problems import (
    PROBLEMS,
    ended,
    normal,
    seen3d,
    skinned,
    tree,
    truth_of,
    with_priors,
)

pytestmark = pytest.mark.skipif(not warp_available(), reason='warp-lang is not installed')
if warp_available():
    from smilfit.solvers import ChainLoads, ChainMotion, ChainSteps


def many_coefficients():
    """More columns than one vector holds."""
    base = skinned(3, 19)
    return with_priors(seen3d(base, truth_of(base), 0.02))


def among_the_cameras():
    """Cameras stand among the points, so that some lie behind: their depth is a constant, but not their place."""
    base = PROBLEMS['2d']()
    return replace(base, camera_t=base.camera_t - torch.tensor([0.0, 0.0, 5.8], dtype=torch.float64))


ALL = {
    **PROBLEMS,
    'wide': many_coefficients,
    'skin': lambda: with_priors(seen3d(skinned(), truth_of(tree()), 0.02)),
}


def some_state(problem: ChainProblem) -> ChainState:
    """A turned state, whose limits are violated in part."""
    return truth_of(problem, 0.5)


def vector(problem: ChainProblem, loads: 'ChainLoads', state: ChainState) -> Tensor:
    """Loads by the dense unknowns of `twin.world_moved`, frame by frame."""
    n = problem.n_frames
    zero = torch.zeros(n, 3 * problem.n_joints + 4 + problem.n_coefficients, dtype=torch.float64)

    def work(step: Tensor) -> Tensor:
        motion = twin.twists(problem, state, step)
        return (
            (loads.force * motion['velocity']).sum()
            + (loads.moment * motion['angular']).sum()
            + (loads.torque * motion['turns']).sum()
            + (loads.transl * motion['transl']).sum()
        )

    result = torch.func.grad(work)(zero)
    border = loads.border.expand(n, -1)
    s = problem.n_coefficients
    result[:, -s:] += border[:, :s]
    result[:, -s - 1] += border[:, s]
    return result


def offsets_of_joints() -> ChainProblem:
    """Every joint has three columns of its own, so that most chunks of the border move little of the tree."""
    base = tree(3, parents=(-1, 0, 1, 2, 3, 1, 5, 6, 0, 8), n_coefficients=32)
    dirs = torch.zeros_like(base.bone_dirs)
    for j in range(base.n_joints):
        dirs[j, :, 3 * j : 3 * j + 3] = torch.eye(3)
    dirs[:, :, 30:] = 0.1 * normal(base.n_joints, 3, 2, seed=31)
    return with_priors(seen3d(replace(base, bone_dirs=dirs), truth_of(base), 0.02))


def test_columns_are_left_out_where_they_move_nothing():
    """The same step as with every column at every joint."""
    problem = offsets_of_joints()
    state, damping = some_state(problem), torch.full((3,), 1e-3, dtype=torch.float64)
    sparse = ChainSteps(problem)
    step = sparse.factorise(state, damping).step()
    nothing = torch.zeros(3, problem.n_joints, 6, problem.n_border, dtype=torch.float64)
    every = ChainSteps(problem).factorise(state, damping, extra=ChainQuadratic(border_cross=nothing)).step()
    assert len(sparse.launch.chain.chunk.numpy()) < problem.n_joints * sparse.launch.n_chunks
    torch.testing.assert_close(step.motion.rows, every.motion.rows, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(step.motion.border, every.motion.border, rtol=1e-9, atol=1e-9)
    hessian = twin.world_hessian(problem, state)
    tiny = ChainSteps(problem).factorise(state, torch.full((3,), 1e-12, dtype=torch.float64))
    loads = tiny.gradient()
    back = (hessian @ dense_step(problem, tiny.solve(loads))[..., None])[..., 0]
    torch.testing.assert_close(back, vector(problem, loads, state), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize('name', [*ALL, 'behind'])
def test_gradient_is_autograd_s(name):
    problem = among_the_cameras() if name == 'behind' else ALL[name]()
    state = some_state(problem)
    steps = ChainSteps(problem)
    factor = steps.factorise(state, torch.full((problem.n_frames,), 1e-2, dtype=torch.float64))
    torch.testing.assert_close(factor.energy, twin.energy(problem, state), rtol=1e-10, atol=0)
    zero = torch.zeros(
        problem.n_frames, 3 * problem.n_joints + 4 + problem.n_coefficients, dtype=torch.float64
    )
    wanted = torch.func.grad(lambda s: twin.energy(problem, twin.world_moved(problem, state, s)).sum())(zero)
    torch.testing.assert_close(vector(problem, factor.gradient(), state), wanted, rtol=1e-8, atol=1e-8)


def dense_step(problem: ChainProblem, motion: 'ChainMotion') -> Tensor:
    """A motion by the dense unknowns."""
    s = problem.n_coefficients
    border = motion.border.expand(problem.n_frames, -1)
    return torch.cat((motion.turns.flatten(1), motion.transl, border[:, s:], border[:, :s]), 1)


@pytest.mark.parametrize('name', [*PROBLEMS, 'wide'])
def test_a_step_with_next_to_no_damping_solves_the_dense_system(name):
    """H m = load: the twin's Gauss-Newton hessian times the motion gives the loads back; so does any second load."""
    problem = ALL[name]()
    if name == 'wide':
        # Points of one rigid point: there is no bound then.
        one = torch.zeros_like(problem.point_share)
        one[:, 0] = 1
        problem = replace(problem, point_share=one)
    state = some_state(problem)
    factor = ChainSteps(problem).factorise(state, torch.full((problem.n_frames,), 1e-12, dtype=torch.float64))
    hessian = twin.world_hessian(problem, state)
    gradient = factor.gradient()
    # Once more the same: the factor does not wear out.
    for loads in (
        gradient,
        gradient.plus(gradient, -2.0),
        gradient.with_force(normal(*gradient.force.shape)),
    ):
        step = dense_step(problem, factor.solve(loads))
        back = (hessian @ step[..., None])[..., 0]
        torch.testing.assert_close(back, vector(problem, loads, state), rtol=1e-3, atol=1e-3)


def test_skin_points_bound_the_curvature_from_above():
    problem = ALL['skin']()
    state = some_state(problem)
    factor = ChainSteps(problem).factorise(state, torch.full((problem.n_frames,), 1e-12, dtype=torch.float64))
    loads = factor.gradient()
    step = dense_step(problem, factor.solve(loads))
    power = (step * vector(problem, loads, state)).sum(1)
    assert (
        power >= (step * (twin.world_hessian(problem, state) @ step[..., None])[..., 0]).sum(1) * (1 - 1e-9)
    ).all()


def test_predicted_reduction_is_the_models():
    """Under small steps the energy falls as predicted; also that of all frames under one border."""
    problem = PROBLEMS['3d']()
    state = solve_shared_chains(problem, 3)
    state = ended(state)
    for shared in (False, True):
        steps = ChainSteps(problem, shared)
        factor = steps.factorise(state, torch.full((problem.n_frames,), 3e2, dtype=torch.float64))
        step = factor.step()
        actual = factor.energy - steps.energy(steps.follow(state, step.motion))
        torch.testing.assert_close(step.predicted_reduction.sum(), actual.sum(), rtol=5e-3, atol=0)
        if not shared:
            torch.testing.assert_close(step.predicted_reduction, actual, rtol=5e-3, atol=0)


@pytest.mark.parametrize('name', ALL)
@pytest.mark.parametrize('graduation', [(), (4.0, 2.0)])
def test_the_fused_loop_is_the_host_s(name, graduation):
    problem = ALL[name]()
    if graduation:
        sigmas = {'sigma3d': problem.sigma3d, 'sigma2d': problem.sigma2d}
        given = {'sigma3d': 0.2, 'sigma2d': 30.0}
        problem = replace(
            problem, **{k: torch.full_like(v, given[k]) for k, v in sigmas.items() if v is not None}
        )
    n_iter, ftol = 120, 1e-7
    fused = solve_chains(problem, n_iter, ftol, graduation)
    solver = LevenbergMarquardt(gnc_schedule=graduation)
    point, status, _ = solver.minimise(
        ChainLeastSquares(problem), problem.start, n_iter - len(graduation), ftol, robust=bool(graduation)
    )
    assert fused.iterations.tolist() == status.n_iter.tolist()
    assert fused.converged.tolist() == status.converged.tolist()
    torch.testing.assert_close(twin.energy(problem, point), fused.energy, rtol=1e-8, atol=0)


def quadratic(problem: ChainProblem, places: Tensor) -> ChainQuadratic:
    """Springs of strength 3 that draw joints to places, as torch would tell them."""
    state = some_state(problem)
    here = twin.joints(problem, state)
    b, j = here.shape[:2]
    gradient, hessian = torch.zeros(b, j, 6).double(), torch.zeros(b, j, 6, 6).double()
    gradient[..., 3:] = 6 * (here - places)
    hessian[..., range(3, 6), range(3, 6)] = 6.0
    return ChainQuadratic(gradient, hessian)


def test_an_extra_quadratic_is_worth_a_term():
    """Springs from torch, or points on the joints that are seen with the same weight: the same step."""
    problem = PROBLEMS['3d']()
    state = some_state(problem)
    j = problem.n_joints
    places = twin.joints(problem, state) + 0.1 * normal(problem.n_frames, j, 3, seed=20)
    # Joints come first among the points, and stand in their own place.
    weights = problem.weights3d.clone()
    weights[:, :j] = 0
    without = replace(problem, weights3d=weights)
    weights, targets = problem.weights3d.clone(), problem.targets3d.clone()
    weights[:, :j], targets[:, :j] = 3.0, places
    within = replace(problem, weights3d=weights, targets3d=targets)
    damping = torch.full((problem.n_frames,), 1e-9, dtype=torch.float64)
    one = ChainSteps(without).factorise(state, damping, extra=quadratic(problem, places)).step()
    other = ChainSteps(within).factorise(state, damping).step()
    torch.testing.assert_close(one.motion.turns, other.motion.turns, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(one.motion.border, other.motion.border, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(one.predicted_reduction, other.predicted_reduction, rtol=1e-4, atol=0)


def test_extra_turns_and_border_are_priors():
    """What the kernel knows of pose and coefficients, told by torch."""
    problem = replace(PROBLEMS['3d'](), limits=None, limit_maps=None, limit_weight=0.0)
    start = problem.start
    b, j, s = problem.n_frames, problem.n_joints, problem.n_coefficients
    bare = replace(
        problem, pose_weight=None, coefficient_mean=None, coefficient_precision=None, log_scale_weight=0.0
    )
    weight = torch.cat((problem.pose_weight.new_zeros(1), problem.pose_weight[1:]))
    eye = torch.eye(3, dtype=torch.float64)
    hessian = torch.zeros(b, s + 1, s + 1, dtype=torch.float64)
    hessian[:, :s, :s] = 2 * problem.coefficient_precision
    hessian[:, s, s] = 2 * problem.log_scale_weight
    gradient = torch.zeros(b, s + 1, dtype=torch.float64)
    gradient[:, :s] = (start.coefficients - problem.coefficient_mean) @ (2 * problem.coefficient_precision)
    extra = ChainQuadratic(
        rotation_gradient=torch.zeros(b, j, 3, dtype=torch.float64),
        rotation_hessian=(2 * weight[:, None, None] * eye).expand(b, j, 3, 3).contiguous(),
        border_gradient=gradient,
        border_hessian=hessian,
    )
    damping = torch.full((b,), 1e-3, dtype=torch.float64)
    one = ChainSteps(bare).factorise(start, damping, extra=extra).step()
    other = ChainSteps(problem).factorise(start, damping).step()
    torch.testing.assert_close(one.motion.turns, other.motion.turns, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(one.motion.border, other.motion.border, rtol=1e-9, atol=1e-12)


def test_half_a_quadratic_is_refused():
    with pytest.raises(ValueError, match='rotation_gradient and rotation_hessian must be given together'):
        ChainQuadratic(rotation_gradient=torch.zeros(1, 1, 3))


def test_an_old_factor_is_refused():
    problem = PROBLEMS['3d']()
    steps = ChainSteps(problem)
    damping = torch.ones(problem.n_frames, dtype=torch.float64)
    old = steps.factorise(problem.start, damping)
    steps.factorise(problem.start, damping)
    with pytest.raises(RuntimeError, match='must be the latest'):
        old.step()
    assert steps.memory > 0


@pytest.mark.parametrize('shared', [False, True])
def test_predicted_reduction_of_a_solution_is_the_steps(shared):
    """Without couplings a motion that answers the negative gradient is the step; damping counts in both."""
    problem = with_priors(seen3d(tree(), truth_of(tree()), 0.02))
    factor = ChainSteps(problem, shared).factorise(
        problem.start, torch.full((problem.n_frames,), 0.3, dtype=torch.float64)
    )
    gradient = factor.gradient()
    loads = gradient.plus(gradient, -2.0)
    result, step = factor.predicted_reduction(loads, factor.solve(loads)), factor.step()
    torch.testing.assert_close(result.sum(), step.predicted_reduction.sum(), rtol=1e-9, atol=0)
    if not shared:
        torch.testing.assert_close(result, step.predicted_reduction, rtol=1e-9, atol=0)


@pytest.mark.parametrize('shared', [False, True])
def test_motion_is_solved_as_the_dense_system(shared):
    """All frames in one dense matrix, with the twin's hessian and couplings, against conjugate gradients."""
    n = 6
    problem = with_priors(seen3d(tree(n), truth_of(tree(n)), 0.05))
    state = some_state(problem)
    if shared:
        state = replace(state, **{k: getattr(state, k)[:1].expand_as(getattr(state, k)).contiguous()
                                  for k in ('coefficients', 'log_scale')})  # fmt: skip
    weight = 2.0 + normal(n, problem.n_joints, seed=21).abs()
    weight[3] = 0
    couplings = [MotionCoupling(1, weight), MotionCoupling(2, 5 * weight)]
    places = twin.joints(problem, state)
    extra = motion_quadratic(couplings, places)
    steps = ChainSteps(problem, shared)
    factor = steps.factorise(state, torch.full((n,), 1e-10, dtype=torch.float64), extra=extra)
    gradient = factor.gradient()
    zero = gradient.plus(gradient, -1.0)
    motion, count = solve_motion(factor, couplings, zero.plus(gradient, -1.0), 1e-9, 300)
    assert 1 < count < 300
    own = dense_step(problem, motion).shape[1]
    jacobian = twin.place_jacobian(problem, state)
    hessian = torch.zeros(n, own, n, own, dtype=torch.float64)
    for i, block in enumerate(twin.world_hessian(problem, state)):
        hessian[i, :, i] = block
    basis = torch.zeros(n * own, n, problem.n_joints, 3, dtype=torch.float64)
    for i in range(n):
        basis[i * own : (i + 1) * own, i] = jacobian[i].permute(2, 0, 1)
    coupled = torch.stack([sum(c.gradient(row) for c in couplings) for row in basis])
    hessian = hessian.view(n * own, -1) + basis.flatten(1) @ coupled.flatten(1).T
    if shared:
        # Everything but the border is a frame's own.
        k = own - problem.n_border
        join = torch.zeros(n * own, n * k + problem.n_border, dtype=torch.float64)
        for i in range(n):
            join[i * own : i * own + k, i * k : (i + 1) * k] = torch.eye(k)
            join[i * own + k : (i + 1) * own, n * k :] = torch.eye(problem.n_border)
        hessian = join.T @ hessian @ join
    total = sum(c.energy(places).sum() for c in couplings) + twin.energy(problem, state).sum()
    wanted_gradient = torch.func.grad(
        lambda s: (
            twin.energy(problem, twin.world_moved(problem, state, s)).sum()
            + sum(
                c.energy(twin.joints(problem, twin.world_moved(problem, state, s))).sum() for c in couplings
            )
        )
    )(torch.zeros(n, own, dtype=torch.float64)).flatten()
    assert total > 0
    dense = torch.linalg.solve(hessian, -(join.T @ wanted_gradient if shared else wanted_gradient))
    result = dense_step(problem, motion)
    if shared:
        dense = join @ dense
    velocity = torch.einsum('bjcn,bn->bjc', jacobian, dense.view(n, own))
    torch.testing.assert_close(motion.velocity, velocity, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(result.flatten(), dense, rtol=1e-3, atol=1e-3)
