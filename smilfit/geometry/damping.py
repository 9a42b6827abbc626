"""The one policy of Levenberg-Marquardt: what is accepted, how much is damped, when a frame has ended.

Every engine keeps to it: the loop over torch problems and the small loop here by these functions, the fused kernel by
the same few lines in `solvers.kernel.warp_fit` and these numbers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Point = TypeVar('Point')
State = TypeVar('State')


@dataclass(frozen=True)
class DampingPolicy:
    """Constants of the policy; damping is relative to the curvature.

    An accepted step multiplies it by `1 - (2 q - 1)^3`, q the actual over the predicted reduction (Nielsen 1999).
    Against a rule of three factors (0.1, 1, 3) and starts of 1e-2: the same energies on `benchmarks/fitting` (3D, 4
    views, robust terms, gaps) with at most 4 % more steps, and half the steps in the narrow valleys of a weak prior.

    Args:
        start: damping of the first step.
        least: it falls no further.
        most: a rejected step at this damping ends a frame without convergence.
        best: the least factor after an accepted step.
        rejected: factor after a rejected step; doubled with every one that follows.
        least_rejected: damping after a rejected step grows from here at least.
        max_converged: the damping above which a small reduction says nothing about convergence.
        digits: a predicted reduction of fewer last digits of the energy is rounding.
        loosest: most of the actual over the predicted reduction that is believed: a hessian ten times too large.
    """

    start: float = 3e-2
    least: float = 1e-9
    most: float = 1e9
    best: float = 0.1
    rejected: float = 4.0
    least_rejected: float = 1e-6
    max_converged: float = 0.1
    digits: float = 8.0
    loosest: float = 1.9

    def rounding(self, dtype: torch.dtype) -> float:
        """Return the share of an energy below which a predicted reduction is rounding."""
        return self.digits * torch.finfo(dtype).eps


DAMPING = DampingPolicy()
# A joint turns at most this far in one step, rad; the others are not held back by it.
LONGEST_ROTATION = 1.5


def accepted(
    actual_reduction: Float[Tensor, '*b'], energy: Float[Tensor, '*b'], active: Bool[Tensor, '*b']
) -> Bool[Tensor, '*b']:
    """Return which frames take their step: those whose energy is finite and did not rise."""
    return (actual_reduction >= 0) & energy.isfinite() & active


def next_damping(
    policy: DampingPolicy,
    damping: Float[Tensor, '*b'],
    growth: Float[Tensor, '*b'],
    accept: Bool[Tensor, '*b'],
    quality: Float[Tensor, '*b'],
) -> tuple[Float[Tensor, '*b'], Float[Tensor, '*b']]:
    """Return the damping of the next step, and the factor after its rejection.

    `quality` is the actual over the predicted reduction.
    """
    easier = damping * (1 - (2 * quality.clamp(0, 1) - 1) ** 3).clamp_min(policy.best)
    harder = damping.clamp_min(policy.least_rejected) * growth
    result = torch.where(accept, easier, harder).clamp(policy.least, policy.most)
    return result, torch.where(accept, torch.full_like(growth, policy.rejected), 2 * growth)


def remaining_reduction(
    policy: DampingPolicy, actual: Float[Tensor, '*b'], predicted: Float[Tensor, '*b']
) -> Float[Tensor, '*b']:
    """Estimate what is left to gain after a step whose hessian was a bound.

    A hessian k times too large gives a step k times too short: actual over predicted reduction is `2 - 1 / k`, and
    the error shrinks by `1 - 1 / k` a step, its energy by the square of that. Near 1 nothing is left.
    """
    quality = (actual / predicted.clamp_min(torch.finfo(predicted.dtype).tiny)).clamp(1, policy.loosest)
    kept = (quality - 1).square()
    return actual * kept / (1 - kept)


def ended(
    policy: DampingPolicy,
    energy: Float[Tensor, '*b'],
    damping: Float[Tensor, '*b'],
    following: Float[Tensor, '*b'],
    accept: Bool[Tensor, '*b'],
    actual_reduction: Float[Tensor, '*b'],
    predicted_reduction: Float[Tensor, '*b'],
    ftol: float,
) -> tuple[Bool[Tensor, '*b'], Bool[Tensor, '*b']]:
    """Return which frames have converged, and which have stalled.

    Converged: a step that was hardly damped gained little and left little, or a rejected one could gain no more than
    rounding.
    Stalled: steps are rejected under the most damping.

    Args:
        policy: the constants.
        energy: before the step.
        damping: of the step.
        following: damping of the next one.
        accept: whether the step was taken.
        actual_reduction: of the energy.
        predicted_reduction: by the quadratic model.
        ftol: the relative reduction that counts as little.
    """
    # What a poor step was to gain and did not is left, too.
    left = torch.maximum(actual_reduction, predicted_reduction - actual_reduction)
    left = torch.maximum(left, remaining_reduction(policy, actual_reduction, predicted_reduction))
    little = accept & (left <= ftol * energy) & (damping < policy.max_converged)
    rounding = ~accept & (predicted_reduction <= policy.rounding(energy.dtype) * energy)
    return little | rounding, ~accept & (following >= policy.most) & ~rounding


@dataclass(frozen=True)
class Descent(Generic[State]):
    """Where small problems ended, with energies there, steps taken, and which ended before the last."""

    state: State
    energy: Float[Tensor, '*b']
    n_steps: int
    ended: Bool[Tensor, '*b']


def descend(
    look: Callable[[Point], tuple[Float[Tensor, '*b'], State]],
    step: Callable[[State, Float[Tensor, '*b']], tuple[Point, Float[Tensor, '*b']]],
    start: Point,
    policy: DampingPolicy,
    n_steps: int,
    ftol: float | None,
    choose: Callable[[Bool[Tensor, '*b'], State, State], State],
) -> Descent[State]:
    """Minimise many small least-squares problems at once, each by its own damping and to its own end.

    Args:
        look: returns the energies at a point, and all that `step` needs to know there, the point with it.
        step: returns the point after a damped step, and the reduction that the quadratic model predicts.
        start: where they begin.
        policy: the constants.
        n_steps: the most that are tried.
        ftol: as of `ended`; None takes all steps, which saves asking for an end after each.
        choose: returns the first state where a step is accepted, else the second; `choose_rows` of tensors.
    """
    energy, state = look(start)
    active = torch.ones_like(energy, dtype=torch.bool)
    damping, growth = (torch.full_like(energy, x) for x in (policy.start, policy.rejected))
    count = 0
    while count < n_steps and (ftol is None or bool(active.any())):
        count += 1
        point, predicted = step(state, damping)
        trial_energy, trial = look(point)
        actual = energy - trial_energy
        accept = accepted(actual, trial_energy, active)
        quality = actual / predicted.clamp_min(torch.finfo(predicted.dtype).tiny)
        following, growth = next_damping(policy, damping, growth, accept, quality)
        if ftol is not None:
            converged, stalled = ended(policy, energy, damping, following, accept, actual, predicted, ftol)
            active = active & ~(converged | stalled)
        state = choose(accept, trial, state)
        energy, damping = torch.where(accept, trial_energy, energy), following
    return Descent(state, energy, count, ~active)


def choose_rows(
    accept: Bool[Tensor, '*b'], new: tuple[Tensor, ...], old: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    """Return rows of tensors: the new where accepted, else the old."""
    return tuple(
        torch.where(accept.reshape(*accept.shape, *(1,) * (a.ndim - accept.ndim)), a, b)
        for a, b in zip(new, old)
    )
