"""Fit posed trees to seen points by one fused kernel: Levenberg-Marquardt, one thread a frame, on CPU or CUDA.

The kernels are NVIDIA Warp's, an optional dependency that is imported where it is used. They are compiled at first
use (some seconds, kept on disk).
"""

from importlib.util import find_spec
from typing import TYPE_CHECKING

from smilfit.solvers.chain_problem import ChainProblem, ChainSolution

if TYPE_CHECKING:
    from smilfit.solvers.warp_launch import Launch


def warp_available() -> bool:
    """Tell whether warp is installed."""
    return find_spec('warp') is not None


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
    launch = _launch()(problem, n_iter, ftol, graduation)
    launch.fit_frames()
    return launch.solution()


def _launch() -> 'type[Launch]':
    if not warp_available():
        raise ImportError('solve_chains: warp must be installed; it is not. Run: pip install warp-lang')
    from smilfit.solvers.warp_launch import Launch

    return Launch
