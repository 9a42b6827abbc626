"""Steps where frames depend on each other through motion: a band in time with shared unknowns as its border."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.handlers import ActiveTerm, BodyState
from smilfit.losses import ParameterSource, PointSource, Residuals
from smilfit.registrants.second_order.automatic import argument_slope, residual_slopes
from smilfit.registrants.second_order.dense import damping_of, solve_positive
from smilfit.registrants.second_order.equations import unknown_rows
from smilfit.registrants.second_order.kinematics import Kinematics
from smilfit.registrants.second_order.point_sets import point_set
from smilfit.registrants.second_order.unknowns import VariableLayout

# What is added to a unit diagonal where rounding has made the matrix indefinite, and the most of it.
FIRST_LIFT, LAST_LIFT = 1e-6, 1.0


@dataclass(frozen=True)
class BandedFactor:
    """The factor L of `A = L L'`, scaled so that A has a unit diagonal.

    `lower[t]` is the block (t, t), `below[lag - 1][t]` the block (t, t - lag).
    """

    lower: list[Tensor]
    below: list[list[Tensor]]
    scale: Float[Tensor, 'T n 1']

    def solve(self, sides: Float[Tensor, 'T n r']) -> Float[Tensor, 'T n r']:
        """Solve for right-hand sides."""
        if not sides.numel():
            return sides
        count, result = len(self.lower), list((self.scale * sides).unbind(0))
        for t in range(count):
            for lag, blocks in enumerate(self.below, 1):
                if t >= lag:
                    result[t] = torch.addmm(result[t], blocks[t], result[t - lag], alpha=-1)
            result[t] = torch.linalg.solve_triangular(self.lower[t], result[t], upper=False)
        for t in reversed(range(count)):
            for lag, blocks in enumerate(self.below, 1):
                if t + lag < count:
                    result[t] = torch.addmm(result[t], blocks[t + lag].t(), result[t + lag], alpha=-1)
            result[t] = torch.linalg.solve_triangular(self.lower[t].t(), result[t], upper=True)
        return self.scale * torch.stack(result)


def factorise_banded(
    diagonal: Float[Tensor, 'T n n'], below: Sequence[Float[Tensor, 'T n n']]
) -> BandedFactor:
    """Factorise.

    Args:
        diagonal: the blocks (t, t).
        below: for lags 1, 2, ... the blocks (t, t - lag); the first `lag` of them are not looked at.

    Raises:
        FloatingPointError: the matrix is not positive definite, however its diagonal is lifted.
    """
    scale = diagonal.diagonal(dim1=1, dim2=2).clamp_min(1e-30).rsqrt().unsqueeze(-1)
    scaled = scale * diagonal * scale.transpose(1, 2)
    across = []
    for lag, blocks in enumerate(below, 1):
        moved = torch.zeros_like(blocks)
        moved[lag:] = scale[lag:] * blocks[lag:] * scale[:-lag].transpose(1, 2)
        across.append(moved)
    lift = 0.0
    while lift <= LAST_LIFT:
        eye = torch.eye(diagonal.shape[1], dtype=diagonal.dtype, device=diagonal.device)
        factor = _sweep(scaled + lift * eye, across)
        if factor is not None:
            return BandedFactor(*factor, scale)
        lift = max(FIRST_LIFT, 10 * lift)
    raise FloatingPointError('factorise_banded: the matrix must be positive definite; it is not finite.')


def _sweep(diagonal: Tensor, below: Sequence[Tensor]) -> tuple[list[Tensor], list[list[Tensor]]] | None:
    count = len(diagonal)
    lower: list[Tensor] = []
    factors: list[list[Tensor]] = [[] for _ in below]
    failures = []
    for t in range(count):
        # Blocks of this row, furthest first: each needs those further left.
        row: dict[int, Tensor] = {}
        for lag in range(min(len(below), t), 0, -1):
            block = below[lag - 1][t]
            for further in range(lag + 1, min(len(below), t) + 1):
                # (t, t-lag) meets (t-lag, t-further) through the frame they share.
                block = torch.addmm(block, row[further], factors[further - lag - 1][t - lag].t(), alpha=-1)
            row[lag] = torch.linalg.solve_triangular(lower[t - lag], block.t(), upper=False).t()
        own = diagonal[t]
        for block in row.values():
            own = torch.addmm(own, block, block.t(), alpha=-1)
        root, failed = torch.linalg.cholesky_ex(own)
        failures.append(failed)
        lower.append(root)
        for lag, blocks in enumerate(factors, 1):
            blocks.append(row.get(lag, diagonal[t]))
    return None if bool(torch.stack(failures).any()) else (lower, factors)


# The coefficients of backward differences, the present frame first.
DIFFERENCES = {1: (1.0, -1.0), 2: (1.0, -2.0, 1.0)}


@dataclass(frozen=True)
class MotionModel:
    """A term that couples neighbouring frames: `E = sum_t w_t |(D^order p)_t|^2 / 2` of a value p of every frame.

    Args:
        order: of the backward difference D.
        weight: of every number of the difference that ends in a frame; 0 over gaps and the clip's start.
        value: p.
        jacobian: of p by the unknowns.
    """

    order: int
    weight: Float[Tensor, 'B n']
    value: Float[Tensor, 'B n']
    jacobian: Float[Tensor, 'B n m']

    @classmethod
    def of(
        cls,
        term: ActiveTerm,
        index: int,
        state: BodyState,
        kin: Kinematics,
        layout: VariableLayout,
        widening: float,
    ) -> 'MotionModel':
        """Differentiate what a statement of a term compares from frame to frame."""
        with torch.no_grad():
            stated = term.stated(state)
            item = stated[index]
            assert isinstance(item, Residuals)
            share = term.shares(stated, state.params.transl)[index]
            terms = item.terms(term.continuous(state), widening)
            weight = 2 * share * item.factor * terms.weight
            weight = weight if terms.slope is None else weight * terms.slope
            weight = weight.unsqueeze(-1).expand_as(item.value) if item.by_vector else weight
        rows = _value_rows(term, index, state, kin, layout, item)
        return cls(item.order, weight.flatten(1), item.value.flatten(1), rows)

    def product(self, motion: Float[Tensor, 'B n r']) -> Float[Tensor, 'B n r']:
        """Apply the hessian `D' W D` to changes of the value."""
        order = self.order
        change = torch.zeros_like(motion)
        if len(motion) <= order:
            return change
        coefficients = DIFFERENCES[order]
        count = len(motion) - order
        parts = [slice(order - lag, order - lag + count) for lag in range(order + 1)]
        difference = sum(c * motion[p] for c, p in zip(coefficients, parts))
        difference = self.weight[order:].unsqueeze(-1) * difference
        for c, p in zip(coefficients, parts):
            change[p] += c * difference
        return change

    def lagged(self, lag: int) -> Float[Tensor, 'B n']:
        """Return the hessian between a frame and the one `lag` before it; zero for the first `lag`."""
        order, weight = self.order, self.weight
        coefficients = DIFFERENCES[order]
        total = torch.zeros_like(weight)
        for i in range(order + 1 - lag):
            ends = torch.zeros_like(weight)
            ends[: len(weight) - i] = weight[i:]
            total = total + coefficients[i] * coefficients[i + lag] * ends
        total[:lag] = 0
        return total


def _value_rows(
    term: ActiveTerm, index: int, state: BodyState, kin: Kinematics, layout: VariableLayout, item: Residuals
) -> Float[Tensor, 'B n m']:
    source = item.source
    if isinstance(source, PointSource) and source.slope is None and item.value is source.argument:
        return kin.jacobian(point_set(kin.body, source.names), layout).flatten(1, 2)
    if isinstance(source, ParameterSource) and item.pointwise:
        slope = argument_slope(term, index, state, item).slope
        assert slope is not None
        count = slope.shape[1]
        rows = slope.new_zeros(len(slope), count, slope.shape[2], count, slope.shape[3])
        rows.diagonal(dim1=1, dim2=3).copy_(source.factor * slope.permute(0, 2, 3, 1))
        return unknown_rows({source.name: rows.flatten(1, 2)}, state.output, kin, layout)
    _, slopes = residual_slopes(term, index, state)
    return unknown_rows(slopes, state.output, kin, layout)


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
        motions: the motion terms; none where frames only end together.
        n_own: how many of the m unknowns a frame has for itself; the rest is shared.
        damping: by frame.

    Returns:
        Own step, shared step, and the predicted reduction, shared out to frames.
    """
    own, border = matrix[:, :n_own, :n_own].clone(), matrix[:, :n_own, n_own:]
    corner = matrix[:, n_own:, n_own:].sum(0)
    below = [torch.zeros_like(own) for _ in range(max((m.order for m in motions), default=0))]
    for motion in motions:
        mine, common = motion.jacobian[..., :n_own], motion.jacobian[..., n_own:]
        back = mine.transpose(1, 2)
        own += back @ (motion.lagged(0).unsqueeze(-1) * mine)
        for lag, blocks in enumerate(below, 1):
            if lag <= motion.order:
                blocks[lag:] += back[lag:] @ (motion.lagged(lag)[lag:].unsqueeze(-1) * mine[:-lag])
        products = motion.product(torch.cat((motion.value.unsqueeze(-1), common), -1))
        products = motion.jacobian.transpose(1, 2) @ products
        vector = vector + products[..., 0]
        border = border + products[:, :n_own, 1:]
        corner = corner + products[:, n_own:, 1:].sum(0)
    own_damping = damping.unsqueeze(1) * damping_of(own)
    factor = factorise_banded(own + torch.diag_embed(own_damping), below)
    solved = factor.solve(torch.cat((-vector[:, :n_own].unsqueeze(-1), border), -1))
    start, influence = solved[..., 0], solved[..., 1:]
    shared = corner.new_zeros(len(corner))
    if len(corner):
        across = border.transpose(1, 2)
        schur = corner - (across @ influence).sum(0)
        gradient = vector[:, n_own:].sum(0) + (across @ start.unsqueeze(-1)).squeeze(-1).sum(0)
        # What is left of a shared unknown may be rounding: it is damped by what it was.
        schur = 0.5 * (schur + schur.t()) + torch.diag(damping.mean() * damping_of(corner))
        shared = -solve_positive(schur, gradient.unsqueeze(-1)).squeeze(-1)
    step = start - influence @ shared
    predicted = 0.5 * (own_damping * step.square() - vector[:, :n_own] * step).sum(1)
    return step, shared, predicted - 0.5 * (vector[:, n_own:] * shared).sum(1)
