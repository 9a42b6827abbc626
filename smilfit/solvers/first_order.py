"""Solvers that need only the gradient of the whole objective: L-BFGS and Adam, by torch."""

import math
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from smilfit.registry import SOLVERS
from smilfit.solvers.base import (
    BestPoint,
    Objective,
    SolverResult,
    StepCallback,
    StopReason,
    has_converged,
)

# After a non-finite loss: go back, halve the step, forget the curvature; this often, then give up.
MAX_RECOVERIES = 3


class _Losses:
    """Evaluates each point once: the loss after a step, whose gradient is there too, is the next step's first.

    Args:
        objective: computes the loss.
        variables: that it is differentiated with respect to.
        start: the loss where the fit starts, evaluated already.
    """

    def __init__(self, objective: Objective, variables: list[Tensor], start: float) -> None:
        self.objective, self.variables, self.count = objective, variables, 1
        # Torch's tolerances are absolute: told in units of where the fit starts, no weight or unit decides the end.
        self.unit = 1 / abs(start) if start else 1.0
        self._known: Tensor | None = None

    def closure(self) -> Tensor:
        """Return torch's optimiser the loss, in units of the start, with gradients."""
        loss = self._evaluate(True) if self._known is None else self._known
        self._known = None
        return self.unit * loss

    def after_step(self, more: bool) -> float:
        """Evaluate where a step has led; with gradients if there are more steps."""
        self._known = self._evaluate(more)
        return float(self._known)

    def forget(self) -> None:
        """Evaluate anew next time: the variables are elsewhere."""
        self._known = None

    def _evaluate(self, with_gradient: bool) -> Tensor:
        self.count += 1
        for variable in self.variables:
            variable.grad = None
        with torch.set_grad_enabled(with_gradient):
            loss = self.objective()
            if loss.requires_grad:
                (self.unit * loss).backward()
        return loss.detach()


class FirstOrderSolver(ABC):
    """The loop that all of torch's optimisers share.

    Variables that are not handed in are never touched. Gradients are not clipped: a clipped gradient does not
    belong to the loss, and a line search that believes it goes astray.
    """

    # How many steps in a row must gain little: without a line search one may do so by chance.
    settled_steps: int = 1

    def __init__(self, lr: float) -> None:
        if lr <= 0:
            raise ValueError(f'{type(self).__name__}: lr must be positive; got {lr}.')
        self.lr = lr

    @abstractmethod
    def make_optimizer(self, variables: list[Tensor], lr: float) -> torch.optim.Optimizer:
        """Make a fresh torch optimiser."""

    def minimise(
        self,
        objective: Objective,
        variables: list[Tensor],
        n_iter: int,
        ftol: float,
        on_step: StepCallback | None = None,
    ) -> SolverResult:
        """Minimise an objective by changing its variables in place.

        Args:
            objective: computes the loss from the variables; called with gradients on.
            variables: leaf tensors that require gradients.
            n_iter: most steps.
            ftol: relative decrease of the loss in one step below which it has converged.
            on_step: called after every step.

        Returns:
            How it went. On a non-finite loss the best point is restored, the step halved and the curvature
            forgotten, three times at most.
        """
        with torch.no_grad():
            start = float(objective())
        if not math.isfinite(start):
            raise FloatingPointError(
                f'{type(self).__name__}: the loss must be finite where the fit starts; got {start}. '
                'A parameter has run away: look for a scale next to 0 or a place far from the cameras.'
            )
        best = BestPoint(variables, start)
        if not variables:
            return SolverResult(start, start, 0, 1, 0, StopReason.NOTHING_TO_FIT)
        recoveries, lr = 0, self.lr
        optimizer = self.make_optimizer(variables, lr)
        losses = _Losses(objective, variables, start)
        before, step, settled, reason = start, 0, 0, StopReason.MAX_STEPS
        while step < n_iter:
            optimizer.step(losses.closure)  # type: ignore[arg-type]  # torch takes losses that are tensors
            step += 1
            after = losses.after_step(more=step < n_iter)
            if not math.isfinite(after):
                losses.forget()
                recoveries += 1
                best.restore()
                if recoveries > MAX_RECOVERIES:
                    reason = StopReason.NON_FINITE
                    break
                lr *= 0.5
                optimizer = self.make_optimizer(variables, lr)
                before = best.loss
                continue
            best.offer(after)
            if on_step is not None and on_step(step, after):
                reason = StopReason.CALLBACK
                break
            settled = settled + 1 if has_converged(before, after, ftol) else 0
            if settled >= self.settled_steps:
                reason = StopReason.CONVERGED
                break
            before = after
        best.restore()
        for variable in variables:
            variable.grad = None
        return SolverResult(start, best.loss, step, losses.count, recoveries, reason)


@SOLVERS.register_module()
class LBFGS(FirstOrderSolver):
    """Limited-memory BFGS.

    Args:
        lr: length of the first try along a direction.
        max_iter: inner iterations of one step.
        history_size: remembered curvature pairs.
        line_search_fn: `'strong_wolfe'` or None.
        tolerance_grad: a gradient below this times the loss at the start ends a step.
        tolerance_change: a change below this, of the variables or of the loss in units of its start, ends a step.
    """

    def __init__(
        self,
        lr: float = 1.0,
        max_iter: int = 20,
        history_size: int = 20,
        line_search_fn: str | None = 'strong_wolfe',
        tolerance_grad: float = 1e-9,
        tolerance_change: float = 1e-12,
    ) -> None:
        super().__init__(lr)
        self.options: dict[str, Any] = {
            'max_iter': max_iter,
            'history_size': history_size,
            'line_search_fn': line_search_fn,
            'tolerance_grad': tolerance_grad,
            'tolerance_change': tolerance_change,
        }

    def make_optimizer(self, variables: list[Tensor], lr: float) -> torch.optim.Optimizer:
        """Make a fresh torch optimiser."""
        return torch.optim.LBFGS(variables, lr=lr, **self.options)


@SOLVERS.register_module()
class Adam(FirstOrderSolver):
    """Adam, one gradient a step.

    Args:
        lr: step size.
        betas: decay of the two running means.
    """

    settled_steps = 5

    def __init__(self, lr: float = 1e-2, betas: tuple[float, float] = (0.9, 0.999)) -> None:
        super().__init__(lr)
        self.betas = betas[0], betas[1]

    def make_optimizer(self, variables: list[Tensor], lr: float) -> torch.optim.Optimizer:
        """Make a fresh torch optimiser."""
        return torch.optim.Adam(variables, lr=lr, betas=self.betas)
