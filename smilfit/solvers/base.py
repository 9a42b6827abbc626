"""What a solver takes and what it gives back. A solver knows no body."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

Objective = Callable[[], Tensor]
# Called after every step with the number of the step and the loss; True stops.
StepCallback = Callable[[int, float], bool | None]


class StopReason(str, Enum):
    """Why a solver stopped."""

    CONVERGED = 'converged'
    MAX_STEPS = 'all steps done'
    NON_FINITE = 'loss not finite; went back to the best point'
    STALLED = 'no step gains anything'
    CALLBACK = 'stopped by a hook'
    NOTHING_TO_FIT = 'nothing to fit'


@dataclass(frozen=True)
class SolverResult:
    """How a minimisation went; the variables themselves are changed in place.

    `n_not_finite` counts frames whose energy was not finite where it began: they stayed as they were.
    """

    loss_start: float
    loss_end: float
    n_steps: int
    n_evaluations: int
    n_recoveries: int
    reason: StopReason
    n_not_finite: int = 0


class BestPoint:
    """Remembers the best variables seen, and brings them back after a step into nonsense."""

    def __init__(self, variables: list[Tensor], loss: float) -> None:
        self._variables = variables
        self.loss = loss
        self._values = [v.detach().clone() for v in variables]

    def offer(self, loss: float) -> None:
        """Keep the present point if it is better."""
        if loss <= self.loss:
            self.loss = loss
            self._values = [v.detach().clone() for v in self._variables]

    def restore(self) -> None:
        """Put the best point back into the variables."""
        with torch.no_grad():
            for variable, value in zip(self._variables, self._values):
                variable.copy_(value)


def has_converged(before: float, after: float, ftol: float) -> bool:
    """Judge by the relative decrease of the loss at the end of a step, whatever the loss's scale."""
    return abs(before - after) <= ftol * max(abs(before), abs(after))
