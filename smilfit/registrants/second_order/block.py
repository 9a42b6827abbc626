"""Some frames of a stage: their terms evaluated, and their equations with the frames' own unknowns eliminated."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.body_models import RestShape
from smilfit.handlers import BodyState
from smilfit.registrants.second_order.coupled import MotionModel
from smilfit.registrants.second_order.dense import Eliminated, damping_of, eliminate
from smilfit.registrants.second_order.kinematics import Kinematics
from smilfit.registrants.second_order.layout import Layout
from smilfit.registrants.second_order.point import BodyPoint
from smilfit.registrants.second_order.terms import FrameEquations, residual_jacobian
from smilfit.registrants.second_order.tree import TreeEquations, misfit
from smilfit.registrants.stage_task import StageTask
from smilfit.structures import (
    MotionTerm,
    ParameterTerm,
    PointTerm,
    QuadraticTerm,
    ResidualTerm,
    RotationMotionTerm,
)
from smilfit.structures.quadratic import take_rows

# From this many entries of all frames' matrices on the tree is faster than dense equations.
TREE_ENTRIES = 500_000
# Frames whose dense equations are assembled at once: more do not fit the caches.
CHUNK = 32


@dataclass(frozen=True)
class Posed:
    """Bodies of a block, their energies, and what the terms said."""

    point: BodyPoint
    energy: Float[Tensor, ' B']
    kinematics: Kinematics
    state: BodyState
    terms: tuple[QuadraticTerm, ...]


@dataclass(frozen=True)
class FrameBlock:
    """Frames that are worked on at once.

    Args:
        task: the stage with these frames' inputs.
        layout: the unknowns.
        rest: the shape where it does not change.
        backend: `'dense'`, `'tree'`, or `'auto'` for the faster one that takes all terms.
    """

    task: StageTask
    layout: Layout
    rest: RestShape | None = None
    backend: str = 'auto'

    def take(self, index: Tensor) -> 'FrameBlock':
        """Pick frames."""
        rest = None if self.rest is None else self.rest.take(index)
        return replace(self, task=self.task.take(index), rest=rest)

    def evaluate(self, point: BodyPoint, robust_scale: float = 1.0) -> Posed:
        """Pose the body and ask every term."""
        task = self.task
        kin = Kinematics.of(task.body, point, self.rest)
        output = task.body(kin.params, task.need, kin.rest, (kin.linear, kin.positions))
        weights = dict(task.keypoint_weights)
        shift = point.camera_shift
        found = (robust_scale, task.frames, shift, task.log_focal)
        state = BodyState(task.body, kin.params, output, weights, *found)
        said = tuple(term.second_order(state) for term in task.terms)
        energy = sum((s.energy for s in said), torch.zeros_like(point.transl[:, 0]))
        return Posed(point, energy, kin, state, said)

    def eliminate(self, at: Posed, damping: Float[Tensor, ' B'], n_together: int | None = None) -> Eliminated:
        """Express the frames' own unknowns by the shared ones.

        Args:
            at: where the frames are.
            damping: of their own unknowns.
            n_together: how many frames all processes work on, which `'auto'` goes by: a frame's result must not
                depend on which process it is in. None for these frames.
        """
        if self._along_tree(at, len(damping) if n_together is None else n_together):
            return TreeEquations(at.kinematics, self.layout, at.terms).eliminate(damping)
        parts = []
        for rows in even_parts(len(damping), CHUNK, damping.device):
            equations = self.equations(at, rows)
            own = equations.matrix[:, : self.layout.n_own, : self.layout.n_own]
            parts.append(eliminate(equations.matrix, equations.vector, damping[rows], damping_of(own)))
        return Eliminated.cat(parts)

    def _along_tree(self, at: Posed, frames: int) -> bool:
        """Choose the back end.

        Raises:
            TypeError: the tree is asked for and cannot take a term.
        """
        if self.backend == 'dense' or (self.backend == 'auto' and not self._worth_a_tree(frames)):
            return False
        wrong = misfit(at.terms, at.kinematics)
        if wrong is not None and self.backend == 'tree':
            at_fault = self.task.terms[[t is wrong for t in at.terms].index(True)].handler
            raise TypeError(
                f'LevenbergMarquardt: the back end "tree" cannot take {type(at_fault).__name__} '
                f'{at_fault.handler_key!r}, which couples joints otherwise than along the tree. Use backend="auto".'
            )
        return wrong is None

    def _worth_a_tree(self, frames: int) -> bool:
        """Tell whether the tree is faster: it saves work on poses, and carries every extra along."""
        n_pose = self.layout.n_pose
        n_extra = self.layout.n_own + self.layout.n_shared - n_pose
        return 2 * n_extra < n_pose and frames * (n_pose + n_extra) ** 2 >= TREE_ENTRIES

    def equations(
        self,
        at: Posed,
        rows: Tensor,
        of: type | tuple[type, ...] = (PointTerm, ParameterTerm, ResidualTerm),
    ) -> FrameEquations:
        """Sum the quadratic models of some frames, in ascending order, of all kinds of terms or of one."""
        # All frames, in order, need no picking.
        every = len(rows) == len(at.energy)
        equations = FrameEquations(at.kinematics if every else at.kinematics.take(rows), self.layout)
        for term, said in zip(self.task.terms, at.terms):
            if not isinstance(said, of):
                continue
            if isinstance(said, PointTerm):
                equations.add_points(said if every else take_rows(said, rows))
            elif isinstance(said, ParameterTerm):
                equations.add_parameters(said if every else take_rows(said, rows))
            elif isinstance(said, ResidualTerm):
                state, part = at.state.take(rows), term.take(rows)
                found = residual_jacobian(part.second_order, state, equations.kin, self.layout)
                equations.add_residuals(*found)
        return equations

    def whole_equations(self, at: Posed) -> tuple[Tensor, Tensor]:
        """Give the dense equations of all frames, motion terms left out."""
        rows = even_parts(len(at.energy), CHUNK, at.energy.device)
        parts = [self.equations(at, r) for r in rows]
        return torch.cat([p.matrix for p in parts]), torch.cat([p.vector for p in parts])

    def motions(self, at: Posed) -> list[MotionModel]:
        """Give the terms that couple frames, with what they move."""
        moving = [t for t in at.terms if isinstance(t, (MotionTerm, RotationMotionTerm))]
        return [MotionModel.of(term, at.kinematics, self.layout) for term in moving]

    def moved(self, at: Posed, own: Tensor, shared: Tensor) -> BodyPoint:
        """Take a step."""
        layout, point = self.layout, at.point
        turns = torch.zeros_like(at.kinematics.joints)
        count = 3 * len(layout.free)
        turns[:, layout.free] = own[:, :count].unflatten(1, (-1, 3))
        shift = own[:, count : count + 3] if layout.transl else torch.zeros_like(point.transl)
        extras, place = {}, layout.n_pose
        for name, size in layout.own:
            extras[name] = own[:, place : place + size]
            place += size
        place = 0
        for name, size in layout.shared:
            extras[name] = shared[place : place + size].unsqueeze(0)
            place += size
        return point.moved(turns, at.kinematics.parent_rotations, shift, extras)


def even_parts(count: int, most: int, device: torch.device) -> tuple[Tensor, ...]:
    """Divide rows into as few parts of at most `most` as can be, all of about one size.

    None is left with a single row, of which libraries round otherwise.
    """
    return torch.arange(count, device=device).tensor_split(max(1, -(-count // most)))
