"""Fit posed trees to seen points by one fused kernel: Levenberg-Marquardt, one thread a frame, on CPU or CUDA.

The kernels are NVIDIA Warp's, an optional dependency that is imported where it is used. They are compiled at first
use (some seconds, kept on disk).
"""

import math
from importlib.util import find_spec

import torch

from smilfit.geometry.damping import DAMPING, DampingPolicy
from smilfit.solvers.chain_problem import ChainProblem, ChainSolution


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
    from smilfit.solvers.kernel.warp_launch import Launch, joint_roles, own_state

    launch = Launch(problem, None, joint_roles(problem), threads)
    launch.control(n_iter, ftol, graduation, policy)
    state = own_state(problem.start)
    answers = {name: torch.zeros_like(state.log_scale) for name in ('energy', 'start_energy')}
    whole = torch.zeros(problem.n_frames, dtype=torch.int32, device=state.transl.device)
    answers |= {'converged': whole, 'iterations': whole.clone()}
    if problem.n_frames:
        launch.launch(fit_kernel(launch.types.scalar), [launch.seen, launch.view_state(state, answers)])
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
