"""The one policy of Levenberg-Marquardt: what is accepted, how much is damped, when a frame has ended.

Every engine keeps to it: the loop over torch problems by these functions, the fused kernel by the same few lines in
`warp_fit` and these numbers.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor


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
LONGEST_TURN = 1.5


def accepted(
    actual_reduction: Float[Tensor, ' B'], energy: Float[Tensor, ' B'], active: Bool[Tensor, ' B']
) -> Bool[Tensor, ' B']:
    """Return which frames take their step: those whose energy is finite and did not rise."""
    return (actual_reduction >= 0) & energy.isfinite() & active


def next_damping(
    policy: DampingPolicy,
    damping: Float[Tensor, ' B'],
    growth: Float[Tensor, ' B'],
    accept: Bool[Tensor, ' B'],
    quality: Float[Tensor, ' B'],
) -> tuple[Float[Tensor, ' B'], Float[Tensor, ' B']]:
    """Return the damping of the next step, and the factor after its rejection.

    `quality` is the actual over the predicted reduction.
    """
    easier = damping * (1 - (2 * quality.clamp(0, 1) - 1) ** 3).clamp_min(policy.best)
    harder = damping.clamp_min(policy.least_rejected) * growth
    result = torch.where(accept, easier, harder).clamp(policy.least, policy.most)
    return result, torch.where(accept, torch.full_like(growth, policy.rejected), 2 * growth)


def remaining_reduction(
    policy: DampingPolicy, actual: Float[Tensor, ' B'], predicted: Float[Tensor, ' B']
) -> Float[Tensor, ' B']:
    """Estimate what is left to gain after a step whose hessian was a bound.

    A hessian k times too large gives a step k times too short: actual over predicted reduction is `2 - 1 / k`, and
    the error shrinks by `1 - 1 / k` a step, its energy by the square of that. Near 1 nothing is left.
    """
    quality = (actual / predicted.clamp_min(torch.finfo(predicted.dtype).tiny)).clamp(1, policy.loosest)
    kept = (quality - 1).square()
    return actual * kept / (1 - kept)


def ended(
    policy: DampingPolicy,
    energy: Float[Tensor, ' B'],
    damping: Float[Tensor, ' B'],
    following: Float[Tensor, ' B'],
    accept: Bool[Tensor, ' B'],
    actual_reduction: Float[Tensor, ' B'],
    predicted_reduction: Float[Tensor, ' B'],
    ftol: float,
) -> tuple[Bool[Tensor, ' B'], Bool[Tensor, ' B']]:
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
