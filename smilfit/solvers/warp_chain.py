"""Fit posed trees to seen points by one fused kernel: Levenberg-Marquardt, one thread a frame, on CPU or CUDA.

The kernels are NVIDIA Warp's, an optional dependency that is imported where it is used. They are compiled at first
use (some seconds, kept on disk).
"""

from collections.abc import Callable
from importlib.util import find_spec

from torch import Tensor

from smilfit.solvers.chain_problem import ChainProblem, ChainSolution


def warp_available() -> bool:
    """Tell whether warp is installed."""
    return find_spec('warp') is not None


def _alone(sums: Tensor) -> Tensor:
    return sums


def solve_chains(
    problem: ChainProblem, n_iter: int = 50, ftol: float = 1e-6, graduation: tuple[float, ...] = ()
) -> ChainSolution:
    """Minimise the energy of every frame by itself.

    Each frame has its own damping, acceptance and end. A frame ends when a step's decrease, promised or real, falls
    below `ftol` of its energy.

    Args:
        problem: the tree, what was seen and where to start. The floats' type is the type of the work.
        n_iter: most steps of a frame, rejected ones included.
        ftol: relative decrease of the energy below which a frame has converged.
        graduation: factors on the robust sigmas of the first iterations, one each, such as (16, 8, 4, 2); then 1.

    Raises:
        ImportError: warp is not installed.
        ValueError: an argument that is out of range.
    """
    _require_warp('solve_chains')
    from smilfit.solvers.warp_launch import Launch

    launch = Launch(problem, n_iter, ftol, graduation)
    launch.fit_frames()
    return launch.solution()


def solve_shared_chains(
    problem: ChainProblem,
    n_iter: int = 50,
    ftol: float = 1e-6,
    graduation: tuple[float, ...] = (),
    reduce: Callable[[Tensor], Tensor] = _alone,
) -> ChainSolution:
    """Minimise the sum of all frames' energies under one shape and one scale.

    The problem's energy is the same as in `solve_chains`, so the terms of shape and scale count once a frame. A start
    whose poses are near, such as `solve_chains` with the shape fixed gives, saves steps. Frames in which nothing is
    seen keep their pose and take the others' shape.

    Args:
        problem: with `fit_betas` or `fit_scale`, and a start that has them the same in all frames.
        n_iter: most steps, rejected ones included.
        ftol: relative decrease of the sum in one step below which it has converged.
        graduation: factors on the robust sigmas of the first steps, one each; then 1.
        reduce: adds a vector of float64 sums over processes that hold other frames; every process must call it alike.

    Raises:
        ImportError: warp is not installed.
        ValueError: an argument that is out of range, or a start whose shapes differ.
    """
    _require_warp('solve_shared_chains')
    from smilfit.solvers.warp_shared import SharedFit

    return SharedFit(problem, n_iter, ftol, graduation, reduce).run()


def _require_warp(where: str) -> None:
    if not warp_available():
        raise ImportError(f'{where}: warp must be installed; it is not. Run: pip install warp-lang')
