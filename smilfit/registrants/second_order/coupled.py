"""Steps where frames depend on each other through motion: a band in time with shared unknowns as its border."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.geometry.quaternion import skew
from smilfit.registrants.second_order.banded import factorise_banded
from smilfit.registrants.second_order.dense import damping_of, solve_positive
from smilfit.registrants.second_order.kinematics import Kinematics
from smilfit.registrants.second_order.landmarks import point_set
from smilfit.registrants.second_order.layout import Layout
from smilfit.structures import MotionTerm, RotationMotionTerm

# The coefficients of backward differences, the present frame first.
DIFFERENCES = {1: (1.0, -1.0), 2: (1.0, -2.0, 1.0)}


@dataclass(frozen=True)
class MotionModel:
    """A motion term with what it moves, as points, and their Jacobian: `E = sum_t w_t |(D p)_t|^2`."""

    term: MotionTerm | RotationMotionTerm
    points: Float[Tensor, 'B n']
    jacobian: Float[Tensor, 'B n m']

    @classmethod
    def of(cls, term: MotionTerm | RotationMotionTerm, kin: Kinematics, layout: Layout) -> 'MotionModel':
        """Differentiate what a term moves."""
        if isinstance(term, RotationMotionTerm):
            return cls(term, *_rotation_columns(kin, layout))
        points = point_set(kin.body, term.names)
        return cls(term, kin.places(points).flatten(1), kin.jacobian(points, layout).flatten(1, 2))

    def push(self, motion: Float[Tensor, 'B n r']) -> Float[Tensor, 'B n r']:
        """Apply the second derivative `2 D' W D` to motions of the points."""
        order = self.term.order
        change = torch.zeros_like(motion)
        if len(motion) <= order:
            return change
        coefficients = DIFFERENCES[order]
        count = len(motion) - order
        parts = [slice(order - lag, order - lag + count) for lag in range(order + 1)]
        difference = sum(c * motion[p] for c, p in zip(coefficients, parts))
        difference = 2 * self.term.weight[order:, None, None] * difference
        for c, p in zip(coefficients, parts):
            change[p] += c * difference
        return change

    def lagged(self, lag: int) -> Float[Tensor, ' B']:
        """Give the second derivative between a frame and the one `lag` before it; zero for the first `lag`."""
        order, weight = self.term.order, self.term.weight
        coefficients = DIFFERENCES[order]
        total = torch.zeros_like(weight)
        for i in range(order + 1 - lag):
            ends = torch.zeros_like(weight)
            ends[: len(weight) - i] = weight[i:]
            total = total + 2 * coefficients[i] * coefficients[i + lag] * ends
        total[:lag] = 0
        return total


def _rotation_columns(kin: Kinematics, layout: Layout) -> tuple[Tensor, Tensor]:
    """Give the first two columns of every joint's rotation but the root's, and their Jacobian.

    A turn w in the world is one by `G_parent' w` in the parent's frame, so `d R = [G_parent' w]x R`.
    """
    columns = kin.point.rotations()[:, 1:, :, :2].transpose(-1, -2)
    slopes = (-skew(columns) @ kin.parent_rotations[:, 1:, None].transpose(-1, -2)).flatten(2, 3)
    jacobian = slopes.new_zeros(*slopes.shape[:3], layout.n_own + layout.n_shared)
    for at, joint in enumerate(layout.free.tolist()):
        if joint > 0:
            jacobian[:, joint - 1, :, 3 * at : 3 * at + 3] = slopes[:, joint - 1]
    return columns.flatten(1), jacobian.flatten(1, 2)


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
        Own step, shared step, and the decrease that the model promises, shared out to frames.
    """
    own, border = matrix[:, :n_own, :n_own].clone(), matrix[:, :n_own, n_own:]
    corner = matrix[:, n_own:, n_own:].sum(0)
    below = [torch.zeros_like(own) for _ in range(max((m.term.order for m in motions), default=0))]
    for motion in motions:
        mine, common = motion.jacobian[..., :n_own], motion.jacobian[..., n_own:]
        back = mine.transpose(1, 2)
        own += motion.lagged(0)[:, None, None] * (back @ mine)
        for lag, blocks in enumerate(below, 1):
            if lag <= motion.term.order:
                blocks[lag:] += motion.lagged(lag)[lag:, None, None] * (back[lag:] @ mine[:-lag])
        pushed = motion.push(torch.cat((motion.points.unsqueeze(-1), common), -1))
        drawn = motion.jacobian.transpose(1, 2) @ pushed
        vector = vector + drawn[..., 0]
        border = border + drawn[:, :n_own, 1:]
        corner = corner + drawn[:, n_own:, 1:].sum(0)
    own_damping = damping.unsqueeze(1) * damping_of(own)
    factor = factorise_banded(own + torch.diag_embed(own_damping), below)
    solved = factor.solve(torch.cat((-vector[:, :n_own].unsqueeze(-1), border), -1))
    start, influence = solved[..., 0], solved[..., 1:]
    shared = corner.new_zeros(len(corner))
    if len(corner):
        across = border.transpose(1, 2)
        schur = corner - (across @ influence).sum(0)
        pull = vector[:, n_own:].sum(0) + (across @ start.unsqueeze(-1)).squeeze(-1).sum(0)
        # What is left of a shared unknown may be rounding: it is damped by what it was.
        schur = 0.5 * (schur + schur.t()) + torch.diag(damping.mean() * damping_of(corner))
        shared = -solve_positive(schur, pull.unsqueeze(-1)).squeeze(-1)
    step = start - influence @ shared
    promised = 0.5 * (own_damping * step.square() - vector[:, :n_own] * step).sum(1)
    return step, shared, promised - 0.5 * (vector[:, n_own:] * shared).sum(1)
