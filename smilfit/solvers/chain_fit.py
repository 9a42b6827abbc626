"""Fit posed trees to seen points by the fused kernel: each frame in one launch, or all under one shape.

The kernels are NVIDIA Warp's, an optional dependency that is imported where it is used. They are compiled at first
use (some seconds, kept on disk).
"""

import math
from dataclasses import dataclass
from importlib.util import find_spec

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from smilfit.geometry.damping import DAMPING, DampingPolicy
from smilfit.solvers.chain_problem import ChainProblem, ChainSolution, ChainState
from smilfit.solvers.chain_steps import ChainStep, ChainSteps
from smilfit.solvers.levenberg_marquardt import LevenbergMarquardt
from smilfit.solvers.processes import Processes


def warp_available() -> bool:
    """Check whether warp is installed."""
    return find_spec('warp') is not None


def solve_chains(
    problem: ChainProblem,
    n_iter: int = 50,
    ftol: float = 1e-6,
    graduation: tuple[float, ...] = (),
    policy: DampingPolicy = DAMPING,
    threads: int | None = None,
) -> ChainSolution:
    """Minimise the energy of every frame by itself.

    Each frame has its own damping, acceptance and end, by the policy; whatever the threads, every bit is the same.

    Args:
        problem: the tree, what was seen and where to start. The floats' type is the type of the work.
        n_iter: most steps of a frame, rejected ones included.
        ftol: relative decrease of the energy below which a frame has converged.
        graduation: factors on the robust sigmas of the first iterations, one each, such as (16, 8, 4, 2); then 1.
        policy: of damping.
        threads: most threads of a CPU; `torch.get_num_threads()` if None.

    Raises:
        ImportError: warp is not installed.
        ValueError: an argument that is out of range.
    """
    require_warp('solve_chains')
    check_control('solve_chains', n_iter, ftol, graduation)
    if threads is not None and threads < 1:
        raise ValueError(f'solve_chains: threads must be at least 1; got {threads}.')
    from smilfit.solvers.kernel.warp_fit import fit_kernel
    from smilfit.solvers.kernel.warp_launch import Launch, empty_answers, joint_roles, own_state

    launch = Launch(problem, None, joint_roles(problem), threads)
    launch.control(n_iter, ftol, graduation, policy)
    state = own_state(problem.start)
    answers = empty_answers(state)
    if problem.n_frames:
        launch.launch(fit_kernel(launch.types.scalar), [launch.observed, launch.view_state(state, answers)])
    answers['converged'] = answers['converged'].bool()
    return ChainSolution(**vars(state), **answers)


def require_warp(where: str) -> None:
    """Refuse to go on without warp."""
    if not warp_available():
        raise ImportError(f'{where}: warp must be installed; it is not. Run: pip install warp-lang')


def check_control(where: str, n_iter: int, ftol: float, graduation: tuple[float, ...]) -> None:
    """Refuse controls that are out of range."""
    if n_iter < 0:
        raise ValueError(f'{where}: n_iter must not be negative; got {n_iter}.')
    if not ftol >= 0:
        raise ValueError(f'{where}: ftol must not be negative; got {ftol}.')
    if not all(f > 0 and math.isfinite(f) for f in graduation):
        raise ValueError(f'{where}: graduation must be positive factors; got {tuple(graduation)}.')


@dataclass(frozen=True)
class ChainEvaluation:
    """A state and its energy by frame."""

    point: ChainState
    energy: Float[Tensor, ' B']
    robust_scale: float


class ChainLeastSquares:
    """A tree's least squares, as `LeastSquares` asks for it.

    Frames in which nothing is seen, or whose energy is not finite at the start, take no part: they have no energy.

    Args:
        problem: the problem and where it starts.
        shared: whether the border (coefficients, scale) is one of all frames, and of all processes.
        processes: those that hold other frames.
        robust_scale: of the first evaluation.
    """

    def __init__(
        self,
        problem: ChainProblem,
        shared: bool = False,
        processes: Processes | None = None,
        robust_scale: float = 1.0,
    ) -> None:
        self.problem, self.coupled, self.processes = problem, shared, processes or Processes()
        self.active = _observed(problem)
        self.steps = ChainSteps(problem, shared, self.active, self.processes.sum)
        self.start_energy = self.steps.energy(problem.start, robust_scale)
        finite = self.start_energy.isfinite()
        if not bool(finite.all()):
            self.active = self.active & finite
            self.steps = ChainSteps(problem, shared, self.active, self.processes.sum)

    def evaluate(self, point: ChainState, robust_scale: float = 1.0) -> ChainEvaluation:
        """Compute the energies."""
        energy = torch.where(self.active, self.steps.energy(point, robust_scale), 0)
        return ChainEvaluation(point, energy, robust_scale)

    def step(
        self, at: ChainEvaluation, damping: Float[Tensor, ' B'], n_together: int | None = None
    ) -> ChainStep:
        """Solve the damped system."""
        return self.steps.factorise(at.point, damping, at.robust_scale).step()

    def moved(self, at: ChainEvaluation, step: ChainStep) -> ChainState:
        """Take a step."""
        return self.steps.follow(at.point, step.motion)

    def take(self, index: Int[Tensor, ' n']) -> 'ChainLeastSquares':
        """Return the problem of some frames alone."""
        return ChainLeastSquares(self.problem.take(index), self.coupled, self.processes)

    def total(self, values: Tensor) -> Tensor:
        """Sum over the frames that take part, and over all processes where they hang together."""
        whole = torch.where(self.active, values, 0).sum(dtype=torch.float64)
        return (self.processes.sum(whole) if self.coupled else whole).to(values.dtype)


def solve_shared_chains(
    problem: ChainProblem,
    n_iter: int = 50,
    ftol: float = 1e-6,
    graduation: tuple[float, ...] = (),
    processes: Processes | None = None,
    damping: float = DAMPING.start,
) -> ChainSolution:
    """Minimise the sum of all frames' energies under the same coefficients and scale.

    The problem's energy is the same as in `solve_chains`, so the terms of coefficients and scale count once a frame.
    A start whose poses are near, such as `solve_chains` with the shape fixed gives, saves steps. Frames in which
    nothing is seen keep their pose and take the others' shape.

    Args:
        problem: with coefficients or a scale to fit, and a start that has them the same in all frames.
        n_iter: most steps, rejected ones included.
        ftol: relative decrease of the sum in one step below which it has converged.
        graduation: factors on the robust sigmas of the first steps, one each; then 1.
        processes: those that hold other frames; every one must call it alike.
        damping: of the first step.

    Raises:
        ImportError: warp is not installed.
        ValueError: an argument that is out of range, or a start whose shapes differ.
        FloatingPointError: no frame's energy is finite at the start.
    """
    require_warp('solve_shared_chains')
    check_control('solve_shared_chains', n_iter, ftol, graduation)
    _check_shared(problem)
    graduation = graduation[:n_iter]
    one = ChainLeastSquares(problem, True, processes, (*graduation, 1.0)[0])
    solver = LevenbergMarquardt(damping=damping, gnc_schedule=graduation)
    state, status, result = solver.minimise(
        one, problem.start, n_iter - len(graduation), ftol, robust=bool(graduation)
    )
    # What no frame of its own decided, a frame without anything seen takes from the others.
    state = _same_border(one, state)
    return ChainSolution(
        **vars(state),
        energy=one.steps.energy(state),
        converged=status.converged & one.active,
        iterations=torch.where(one.active, result.n_steps, 0).int(),
        start_energy=one.start_energy,
    )


def _same_border(one: ChainLeastSquares, state: ChainState) -> ChainState:
    problem = one.problem
    rows = torch.cat((state.coefficients, state.log_scale[:, None]), 1).double()
    sums = torch.cat((rows[one.active].sum(0), one.active.sum().double()[None]))
    # Every process asks for the sums, also one that needs none.
    total = one.processes.sum(sums)
    count = total[-1]
    if not count or bool(one.active.all()):
        return state
    mean = (total[:-1] / count).to(state.transl)
    # Frames that took part have the same bits; those of another process may stand in for them.
    first = rows[one.active][0].to(state.transl) if bool(one.active.any()) else mean
    idle = ~one.active[:, None]
    coefficients = torch.where(idle & problem.fit_coefficients, first[:-1], state.coefficients)
    log_scale = torch.where(~one.active & problem.fit_scale, first[-1], state.log_scale)
    return ChainState(state.rotations, state.transl, log_scale, coefficients)


def _observed(problem: ChainProblem) -> Bool[Tensor, ' B']:
    """Report in which frames something has a weight."""
    weights = [w.flatten(1) for w in (problem.weights3d, problem.weights2d) if w is not None]
    return (torch.cat(weights, 1) > 0).any(1)


def _check_shared(problem: ChainProblem) -> None:
    if not problem.n_border:
        raise ValueError(
            'solve_shared_chains: coefficients or scale must be fitted; got neither. Use solve_chains.'
        )
    fitted = {'coefficients': bool(problem.fit_coefficients.any()), 'log_scale': problem.fit_scale}
    for name in (name for name, fits in fitted.items() if fits):
        value = getattr(problem.start, name)
        if len(value) > 0 and not torch.equal(value, value[:1].expand_as(value)):
            raise ValueError(
                f'solve_shared_chains: start.{name} must be the same in all frames; got different ones. '
                'Start from their mean.'
            )
