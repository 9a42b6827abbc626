"""Steps where frames depend on each other through motion: conjugate gradients around the frames' own solutions.

The frames' own equations (an arrow, with shared unknowns as its border) are solved exactly and precondition the
whole: few rounds are needed unless motion terms are far stiffer than the data.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.registrants.second_order.dense import damping_of, factorise, solve_factored
from smilfit.structures import MotionTerm

# The coefficients of backward differences, the present frame first.
DIFFERENCES = {1: (1.0, -1.0), 2: (1.0, -2.0, 1.0)}
MAX_ROUNDS = 100
# The linear system is solved to this relative residual: the model behind it is not better than that.
TOLERANCE = 1e-3


@dataclass(frozen=True)
class MotionModel:
    """A motion term with the points it moves and their Jacobian: `E = sum_t w_t |(D p)_t|^2`."""

    term: MotionTerm
    points: Float[Tensor, 'B n']
    jacobian: Float[Tensor, 'B n m']

    def push(self, motion: Float[Tensor, 'B n']) -> Float[Tensor, 'B n']:
        """Apply the second derivative `2 D' W D` to a motion of the points."""
        order = self.term.order
        change = torch.zeros_like(motion)
        if len(motion) <= order:
            return change
        coefficients = DIFFERENCES[order]
        count = len(motion) - order
        parts = [slice(order - lag, order - lag + count) for lag in range(order + 1)]
        difference = sum(c * motion[p] for c, p in zip(coefficients, parts))
        difference = 2 * self.term.weight[order:].unsqueeze(1) * difference
        for c, p in zip(coefficients, parts):
            change[p] += c * difference
        return change

    def own(self) -> Float[Tensor, ' B']:
        """Give the second derivative's diagonal: what a frame feels of itself."""
        order, weight = self.term.order, self.term.weight
        total = torch.zeros_like(weight)
        count = len(weight) - order
        for lag, c in enumerate(DIFFERENCES[order]):
            total[order - lag : order - lag + max(count, 0)] += c * c * weight[order:]
        return 2 * total

    def gradient(self) -> Float[Tensor, 'B m']:
        """Differentiate the term by the unknowns of each frame."""
        return (self.jacobian.transpose(1, 2) @ self.push(self.points).unsqueeze(-1)).squeeze(-1)

    def across(self, step: Float[Tensor, 'B m']) -> Float[Tensor, 'B m']:
        """Apply what couples frames to a step: the second derivative less its diagonal."""
        motion = (self.jacobian @ step.unsqueeze(-1)).squeeze(-1)
        force = self.push(motion) - self.own().unsqueeze(1) * motion
        return (self.jacobian.transpose(1, 2) @ force.unsqueeze(-1)).squeeze(-1)


def coupled_step(
    matrix: Float[Tensor, 'B m m'],
    vector: Float[Tensor, 'B m'],
    motions: list[MotionModel],
    n_own: int,
    damping: Float[Tensor, ' B'],
) -> tuple[Float[Tensor, 'B n'], Float[Tensor, ' q'], Float[Tensor, ' B']]:
    """Solve for own and shared unknowns.

    Args:
        matrix: frames' own equations, the motion terms left out.
        vector: likewise.
        motions: the motion terms.
        n_own: how many of the m unknowns a frame has for itself; the rest is shared.
        damping: by frame.

    Returns:
        Own step, shared step, and the decrease that the model promises, shared out to frames.
    """
    for motion in motions:
        flat = motion.jacobian
        matrix = matrix + motion.own()[:, None, None] * (flat.transpose(1, 2) @ flat)
        vector = vector + motion.gradient()
    arrow = _Arrow(matrix, n_own, damping)

    def apply(own: Tensor, shared: Tensor) -> tuple[Tensor, Tensor]:
        step = torch.cat((own, shared.expand(len(own), -1)), 1)
        pushed = (matrix @ step.unsqueeze(-1)).squeeze(-1)
        for motion in motions:
            pushed = pushed + motion.across(step)
        return (
            pushed[:, :n_own] + arrow.own_damping * own,
            pushed[:, n_own:].sum(0) + arrow.shared_damping * shared,
        )

    own, shared = _conjugate_gradients(apply, arrow.solve, -vector[:, :n_own], -vector[:, n_own:].sum(0))
    promised = 0.5 * (arrow.own_damping * own.square() - vector[:, :n_own] * own).sum(1)
    return own, shared, promised - 0.5 * (vector[:, n_own:] * shared).sum(1)


class _Arrow:
    """The frames' damped equations with their shared border, factorised."""

    def __init__(self, matrix: Tensor, n_own: int, damping: Tensor) -> None:
        own, self.border = matrix[:, :n_own, :n_own], matrix[:, :n_own, n_own:]
        self.own_damping = damping.unsqueeze(1) * damping_of(own)
        self.factor = factorise(own + torch.diag_embed(self.own_damping))
        self.influence = solve_factored(self.factor, self.border)
        schur = (matrix[:, n_own:, n_own:] - self.border.transpose(1, 2) @ self.influence).sum(0)
        shared = matrix[:, n_own:, n_own:].sum(0)
        self.shared_damping = damping.mean() * damping_of(shared) if len(shared) else schur.new_zeros(0)
        self.schur = factorise(0.5 * (schur + schur.t()) + torch.diag(self.shared_damping))

    def solve(self, own: Tensor, shared: Tensor) -> tuple[Tensor, Tensor]:
        alone = solve_factored(self.factor, own.unsqueeze(-1)).squeeze(-1)
        if not len(shared):
            return alone, shared
        left = shared - (self.border.transpose(1, 2) @ alone.unsqueeze(-1)).squeeze(-1).sum(0)
        common = solve_factored(self.schur, left.unsqueeze(-1)).squeeze(-1)
        return alone - self.influence @ common, common


def _conjugate_gradients(apply, precondition, own: Tensor, shared: Tensor) -> tuple[Tensor, Tensor]:
    """Solve `apply(x) = b` for a positive definite operator (Hestenes and Stiefel 1952)."""

    def dot(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> Tensor:
        return (a[0] * b[0]).sum() + (a[1] * b[1]).sum()

    residual = (own, shared)
    found = (torch.zeros_like(own), torch.zeros_like(shared))
    direction = ready = precondition(*residual)
    size = first = dot(residual, ready)
    for _ in range(MAX_ROUNDS):
        if not bool(size > TOLERANCE**2 * first):
            break
        pushed = apply(*direction)
        length = size / dot(direction, pushed)
        found = tuple(f + length * d for f, d in zip(found, direction))
        residual = tuple(r - length * p for r, p in zip(residual, pushed))
        ready = precondition(*residual)
        size, before = dot(residual, ready), size
        direction = tuple(z + size / before * d for z, d in zip(ready, direction))
    return found
