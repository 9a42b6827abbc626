"""Cholesky of a symmetric block-banded matrix: frames that depend on their neighbours in time."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

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
        count, found = len(self.lower), list((self.scale * sides).unbind(0))
        for t in range(count):
            for lag, blocks in enumerate(self.below, 1):
                if t >= lag:
                    found[t] = torch.addmm(found[t], blocks[t], found[t - lag], alpha=-1)
            found[t] = torch.linalg.solve_triangular(self.lower[t], found[t], upper=False)
        for t in reversed(range(count)):
            for lag, blocks in enumerate(self.below, 1):
                if t + lag < count:
                    found[t] = torch.addmm(found[t], blocks[t + lag].t(), found[t + lag], alpha=-1)
            found[t] = torch.linalg.solve_triangular(self.lower[t].t(), found[t], upper=True)
        return self.scale * torch.stack(found)


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
