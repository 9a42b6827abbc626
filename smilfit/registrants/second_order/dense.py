"""Damped steps from dense normal equations: any term goes, at a cost that grows with the cube of the unknowns."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

import torch
from jaxtyping import Float
from torch import Tensor

# Damping of an unknown that nothing constrains, as a share of the largest number on the hessian's diagonal.
FLOOR = 1e-7


@dataclass(frozen=True)
class ReducedSystem:
    """Frames whose own unknowns are expressed by the shared ones: `x = start - influence q`.

    `schur` and `gradient` are the frames' sums of what is left of the shared unknowns' equations:
    `schur q = -gradient`. These sums are float64, so that they hardly depend on how frames are divided among blocks
    and processes. `scale` is what damping is relative to, `slope` the gradient by all m = n + q unknowns.
    """

    start: Float[Tensor, 'B n']
    influence: Float[Tensor, 'B n q']
    schur: Float[Tensor, 'q q']
    gradient: Float[Tensor, ' q']
    scale: Float[Tensor, 'B n']
    slope: Float[Tensor, 'B m']

    @staticmethod
    def cat(parts: list['ReducedSystem']) -> 'ReducedSystem':
        """Join blocks of frames."""
        if len(parts) == 1:
            return parts[0]
        rows = (torch.cat([getattr(p, n) for p in parts]) for n in ('start', 'influence', 'scale', 'slope'))
        start, influence, scale, slope = rows
        schur, gradient = summed(p.schur for p in parts), summed(p.gradient for p in parts)
        return ReducedSystem(start, influence, schur, gradient, scale, slope)


def summed(parts: Iterable[Tensor]) -> Tensor:
    """Add up tensors, of which there is at least one, in their order."""
    return reduce(torch.add, parts)


def damping_of(matrix: Float[Tensor, '*b n n']) -> Float[Tensor, '*b n']:
    """Return Marquardt's scaling, the diagonal, kept off zero."""
    diagonal = matrix.diagonal(dim1=-2, dim2=-1)
    if not diagonal.shape[-1]:
        return diagonal
    return diagonal.clamp_min(0) + FLOOR * diagonal.amax(-1, keepdim=True).clamp_min(1e-30)


def eliminate(
    matrix: Float[Tensor, 'B m m'],
    vector: Float[Tensor, 'B m'],
    damping: Float[Tensor, ' B'],
    scale: Float[Tensor, 'B n'],
) -> ReducedSystem:
    """Eliminate each frame's own unknowns, the first n of m, damped by `damping` times `scale`."""
    n = scale.shape[1]
    own = matrix[:, :n, :n] + torch.diag_embed(damping.unsqueeze(1) * scale)
    sides = torch.cat((vector[:, :n].unsqueeze(-1), matrix[:, :n, n:]), -1)
    solved = solve_positive(own, sides)
    start, influence = -solved[..., 0], solved[..., 1:]
    across = matrix[:, :n, n:].transpose(1, 2)
    schur = (matrix[:, n:, n:] - across @ influence).sum(0, dtype=torch.float64)
    gradient = (vector[:, n:] + (across @ start.unsqueeze(-1)).squeeze(-1)).sum(0, dtype=torch.float64)
    return ReducedSystem(start, influence, 0.5 * (schur + schur.t()), gradient, scale, vector)


def solve_positive(
    matrix: Float[Tensor, '*b n n'], sides: Float[Tensor, '*b n r']
) -> Float[Tensor, '*b n r']:
    """Solve with positive definite matrices, by Cholesky, scaled to a unit diagonal so that units do not matter.

    One that is not positive definite in floating point gets a larger diagonal.
    """
    if not sides.numel():
        return sides
    scale = matrix.diagonal(dim1=-2, dim2=-1).clamp_min(1e-30).rsqrt().unsqueeze(-1)
    scaled = scale * matrix * scale.transpose(-1, -2)
    lower, failed = torch.linalg.cholesky_ex(scaled)
    lift = 1e-6
    while bool(failed.any()) and lift < 1.0:
        eye = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
        retried, again = torch.linalg.cholesky_ex(scaled + lift * eye)
        bad = (failed > 0).reshape(*failed.shape, 1, 1)
        lower = torch.where(bad, retried, lower)
        failed, lift = torch.where(failed > 0, again, failed), 10 * lift
    return scale * torch.cholesky_solve(scale * sides, lower)
