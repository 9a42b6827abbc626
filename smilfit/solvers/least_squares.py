"""What a second-order solver needs of a problem, and how its frames ended."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Bool, Float, Int
from torch import Tensor

from smilfit.solvers.processes import Processes


@runtime_checkable
class LeastSquares(Protocol):
    """What the solver needs of a problem. Points and evaluations are the problem's own.

    Processes that share a problem go through all steps together: each waits for those that still have frames.
    """

    coupled: bool
    processes: Processes

    def evaluate(self, point: Any, robust_scale: float = 1.0) -> Any:
        """Give an evaluation with `point` and `energy` (B,)."""

    def step(self, at: Any, damping: Float[Tensor, ' B'], n_together: int | None = None) -> Any:
        """Give a step with `predicted_reduction` (B,) of the energy by the quadratic model.

        `n_together` says how many frames all processes still work on.
        """

    def moved(self, at: Any, step: Any) -> Any:
        """Give the point after a step."""

    def take(self, index: Int[Tensor, ' n']) -> 'LeastSquares':
        """Give the problem of some frames alone; only asked of one that is not coupled."""

    def total(self, values: Tensor) -> Tensor:
        """Sum over the frames that hang together: those of all processes, or of this one."""


@dataclass(frozen=True)
class FrameStatus:
    """How each frame ended."""

    converged: Bool[Tensor, ' B']
    n_iter: Int[Tensor, ' B']
