"""Covariances from dense normal equations: any term goes, at a cost that grows with the cube of the unknowns."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.registrants.second_order.body_problem import FrameBatch, FrameEvaluation
from smilfit.registrants.second_order.point_sets import point_set
from smilfit.registrants.second_order.quadratic_models import Model
from smilfit.registrants.second_order.unknowns import VariableLayout

# What keeps a matrix positive definite where nothing is known of an unknown, relative to what is known of it, and at
# least by so much of what is known of the best known one of its kind.
RIDGE, KIND = 1e-10, 1e-2


@dataclass(frozen=True)
class Reduced:
    """Matrices of m unknowns a frame, of which a frame's own n are eliminated; q others are shared.

    For forces f on a frame's unknowns and the shared ones' change y, the unknowns are `F f + Z y`.

    Args:
        inverse: the part of F that is not 0, the inverse of the own unknowns' matrix.
        across: Z.
        schur: sum over frames of what is left of the shared unknowns' matrix.
    """

    inverse: Float[Tensor, 'B n n']
    across: Float[Tensor, 'B m q']
    schur: Float[Tensor, 'q q']

    @classmethod
    def of(cls, matrix: Float[Tensor, 'B m m'], n: int) -> 'Reduced':
        """Eliminate the first n."""
        inverse = positive_inverse(matrix[:, :n, :n])
        influence = inverse @ matrix[:, :n, n:]
        eye = torch.eye(matrix.shape[-1] - n, dtype=matrix.dtype, device=matrix.device)
        across = torch.cat((-influence, eye.expand(len(matrix), -1, -1)), 1)
        schur = (matrix[:, n:, n:] - matrix[:, n:, :n] @ influence).sum(0)
        return cls(inverse, across, 0.5 * (schur + schur.mT))

    def whole_inverse(self, common: Float[Tensor, 'q q']) -> Float[Tensor, 'B m m']:
        """Return each frame's part of the inverse of all frames' matrix, by the shared unknowns' part."""
        n = self.inverse.shape[-1]
        result = self.across @ common @ self.across.mT
        result[:, :n, :n] += self.inverse
        return result

    def between(self, matrix: Float[Tensor, 'B m m']) -> 'Between':
        """Put other matrices between two inverses."""
        n = self.inverse.shape[-1]
        right = matrix @ self.across
        own = self.inverse @ matrix[:, :n, :n] @ self.inverse
        return Between(self, own, self.inverse @ right[:, :n], (self.across.mT @ right).sum(0))


@dataclass(frozen=True)
class Between:
    """`H^-1 G H^-1`, by frame `F G F' + Z S Z' + F G Z C Z' + (F G Z C Z')'`.

    C is the shared unknowns' inverse, S their part of the result.

    Args:
        of: the inverses.
        own: F G F'.
        mixed: F G Z.
        schur: sum over frames of Z' G Z.
    """

    of: Reduced
    own: Float[Tensor, 'B n n']
    mixed: Float[Tensor, 'B n q']
    schur: Float[Tensor, 'q q']

    def whole(self, common: Float[Tensor, 'q q'], shared: Float[Tensor, 'q q']) -> Float[Tensor, 'B m m']:
        """Return each frame's part of it, by C and S."""
        n = self.own.shape[-1]
        result = self.of.across @ shared @ self.of.across.mT
        result[:, :n, :n] += self.own
        mixed = self.mixed @ common @ self.of.across.mT
        result[:, :n] += mixed
        result[:, :, :n] += mixed.mT
        return result


@dataclass(frozen=True)
class DenseElimination:
    """Frames with their own unknowns eliminated, and what was added to the diagonal."""

    block: FrameBatch
    part: FrameEvaluation
    reduced: Reduced
    ridge: Float[Tensor, 'B m']

    @classmethod
    def of(cls, block: FrameBatch, part: FrameEvaluation, models: Sequence[Model]) -> 'DenseElimination':
        """Eliminate."""
        matrix, _ = block.whole_equations(part, models)
        ridge = ridge_of(matrix.diagonal(dim1=1, dim2=2), block.layout)
        return cls(block, part, Reduced.of(matrix + torch.diag_embed(ridge), block.layout.n_own), ridge)

    @property
    def schur(self) -> Tensor:
        """Return the sum over frames of what is left of the shared unknowns' matrix."""
        return self.reduced.schur

    def diagonal(self, common: Tensor) -> Float[Tensor, 'B m']:
        """Return the inverse's diagonal."""
        return self.reduced.whole_inverse(common).diagonal(dim1=1, dim2=2)

    def points(self, names: tuple[str, ...], common: Tensor) -> Float[Tensor, 'B K 3 3']:
        """Carry the inverse over to points."""
        return self.at_points(names, self.reduced.whole_inverse(common))

    def trace(self, model: Model, common: Tensor) -> Tensor:
        """Return the sum over frames of `tr(H^-1 G)`, G a model's hessian."""
        matrix, _ = self.block.whole_equations(self.part, [model])
        return (self.reduced.whole_inverse(common) * matrix).sum()

    def between(self, models: Sequence[Model]) -> 'DenseBetween':
        """Put the hessian of models between two inverses."""
        matrix, _ = self.block.whole_equations(self.part, models)
        return DenseBetween(self, self.reduced.between(matrix))

    def between_ridge(self) -> 'DenseBetween':
        """Put what was added to the diagonal between two inverses."""
        return DenseBetween(self, self.reduced.between(torch.diag_embed(self.ridge)))

    def follow(self, layout: VariableLayout, models: Sequence[Model]) -> 'DenseFollow':
        """Let unknowns follow what is shared and held, under the same models."""
        block = replace(self.block, layout=layout)
        matrix, _ = block.whole_equations(self.part, models)
        n = layout.n_own
        matrix[:, :n, :n] += torch.diag_embed(self.ridge[:, :n])
        return DenseFollow(block, self.part, Reduced.of(matrix, n).across)

    def at_points(self, names: tuple[str, ...], matrix: Tensor) -> Float[Tensor, 'B K 3 3']:
        """Carry a matrix of the unknowns over to points."""
        jacobian = self.part.kinematics.jacobian(point_set(self.block.task.body, names), self.block.layout)
        carried = (jacobian.flatten(1, 2) @ matrix).view_as(jacobian)
        return carried @ jacobian.mT


@dataclass(frozen=True)
class DenseFollow:
    """How frames' own unknowns follow what is shared and held.

    Args:
        block: the frames, with all of it in the layout.
        part: the frames, posed.
        across: the change of all unknowns, the shared ones last.
    """

    block: FrameBatch
    part: FrameEvaluation
    across: Float[Tensor, 'B m s']

    @property
    def unknowns(self) -> Float[Tensor, 'B n s']:
        """Return the change of a frame's own unknowns."""
        return self.across[:, : self.block.layout.n_own]

    def points(self, names: tuple[str, ...]) -> Float[Tensor, 'B K 3 s']:
        """Return the motion of points, of which they have a part without any pose's change."""
        jacobian = self.part.kinematics.jacobian(point_set(self.block.task.body, names), self.block.layout)
        return (jacobian.flatten(1, 2) @ self.across).view(*jacobian.shape[:3], -1)


@dataclass(frozen=True)
class DenseBetween:
    """`H^-1 G H^-1`."""

    frames: DenseElimination
    between: Between

    @property
    def schur(self) -> Tensor:
        """Return the sum over frames of what there is between the shared unknowns' inverses."""
        return self.between.schur

    def diagonal(self, common: Tensor, shared: Tensor) -> Float[Tensor, 'B m']:
        """Return what it has on the diagonal: by frame, a variance of each unknown."""
        return self.between.whole(common, shared).diagonal(dim1=1, dim2=2)

    def points(self, names: tuple[str, ...], common: Tensor, shared: Tensor) -> Float[Tensor, 'B K 3 3']:
        """Carry it over to points."""
        return self.frames.at_points(names, self.between.whole(common, shared))

    def whole(self, common: Tensor, shared: Tensor) -> Float[Tensor, 'B m m']:
        """Return all of it."""
        return self.between.whole(common, shared)


def ridge_of(diagonal: Float[Tensor, 'B m'], layout: VariableLayout) -> Float[Tensor, 'B m']:
    """Return what is added to the diagonal; kinds of unknowns have units of their own."""
    sizes = [3 * len(layout.free), *([3] if layout.transl else []), *(size for _, size in layout.extras)]
    parts = []
    for part in diagonal.clamp_min(0).split(sizes, 1):
        if part.shape[1]:
            top = part.amax(1, keepdim=True)
            parts.append(RIDGE * torch.maximum(part, KIND * torch.where(top > 0, top, 1.0)))
    return torch.cat(parts, 1) if parts else diagonal


def positive_inverse(matrix: Float[Tensor, '*b n n']) -> Float[Tensor, '*b n n']:
    """Invert positive definite matrices, scaled to a unit diagonal; one that rounding spoils gets a larger diagonal.

    What is not finite stays so: its inverse is no number.
    """
    if not matrix.numel():
        return matrix
    scale = matrix.diagonal(dim1=-2, dim2=-1).clamp_min(1e-300).rsqrt()
    unit = scale.unsqueeze(-1) * matrix * scale.unsqueeze(-2)
    lower, failed = torch.linalg.cholesky_ex(unit)
    eye, lift = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device), RIDGE
    while bool((failed > 0).any()) and lift < 1.0:
        again, still = torch.linalg.cholesky_ex(unit + lift * eye)
        bad = failed > 0
        lower, failed = torch.where(bad[..., None, None], again, lower), torch.where(bad, still, failed)
        lift *= 10
    result = scale.unsqueeze(-1) * torch.cholesky_inverse(lower) * scale.unsqueeze(-2)
    return torch.where((failed > 0)[..., None, None], torch.nan, result)
