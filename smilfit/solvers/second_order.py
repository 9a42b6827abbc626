"""The contract of solvers of second order: one of your own subclasses this, and is run as such."""

from abc import ABC, abstractmethod
from typing import Any

from smilfit.solvers.base import SolverResult, StepCallback
from smilfit.solvers.least_squares import FrameStatus, LeastSquares


class SecondOrderSolver(ABC):
    """Minimises sums of squares frame by frame, by the steps that a `LeastSquares` problem solves for."""

    # Whether the fused kernel may run in the place of `minimise`, with the same policy of damping and ending.
    may_use_kernel: bool = False
    # Whether the result carries the covariance of parameters and keypoints.
    covariance: bool = False

    @abstractmethod
    def minimise(
        self,
        problem: LeastSquares,
        point: Any,
        n_iter: int,
        ftol: float,
        on_step: StepCallback | None = None,
        robust: bool = False,
    ) -> tuple[Any, FrameStatus, SolverResult]:
        """Minimise.

        Args:
            problem: gives energies by frame (`evaluate`), damped steps (`step`) and the points they lead to
                (`moved`).
            point: where to start.
            n_iter: most steps.
            ftol: relative decrease of a frame's energy in one accepted step below which it has converged.
            on_step: called after every step with its number and the energy; True stops.
            robust: whether the problem has losses whose width can be widened (`evaluate(point, widening)`).

        Returns:
            The best point, how every frame ended, and how it went.
        """
