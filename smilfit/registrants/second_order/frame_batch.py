"""Some frames of a stage: their terms evaluated, and their equations with the frames' own unknowns eliminated."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.body_models import RestShape
from smilfit.handlers import ActiveTerm, BodyState
from smilfit.registrants.second_order.coupled import MotionModel
from smilfit.registrants.second_order.dense import ReducedSystem, damping_of, eliminate
from smilfit.registrants.second_order.equations import FrameEquations
from smilfit.registrants.second_order.kinematics import Kinematics
from smilfit.registrants.second_order.models import Model, models_of, take_models
from smilfit.registrants.second_order.variable_layout import VariableLayout
from smilfit.registrants.second_order.variable_state import VariableState
from smilfit.registrants.stage_task import StageTask

# Frames whose dense equations are assembled at once: more do not fit the caches.
CHUNK = 32


@dataclass(frozen=True)
class FrameEvaluation:
    """Bodies of a block and their energies, the terms' robust functions widened by a factor."""

    point: VariableState
    energy: Float[Tensor, ' B']
    kinematics: Kinematics
    state: BodyState
    widening: float
    terms: tuple[ActiveTerm, ...]


@dataclass(frozen=True)
class FrameBatch:
    """Frames that are worked on at once.

    Args:
        task: the stage with these frames' inputs.
        layout: the unknowns.
        rest: the shape where it does not change.
    """

    task: StageTask
    layout: VariableLayout
    rest: RestShape | None = None

    def take(self, index: Tensor) -> 'FrameBatch':
        """Pick frames."""
        rest = None if self.rest is None else self.rest.take(index)
        return replace(self, task=self.task.take(index), rest=rest)

    def evaluate(self, point: VariableState, widening: float = 1.0) -> FrameEvaluation:
        """Pose the body and evaluate every term."""
        task = self.task
        kin = Kinematics.of(task.body, point, self.rest)
        output = task.body(kin.params, task.need, kin.rest, (kin.linear, kin.positions))
        weights = dict(task.keypoint_weights)
        state = BodyState(
            task.body, kin.params, output, weights, task.frames, point.camera_shift, task.log_focal
        )
        energy = torch.zeros_like(point.transl[:, 0])
        for term in task.terms:
            energy = energy + term.per_frame(state, widening)
        return FrameEvaluation(point, energy, kin, state, widening, task.terms)

    def models(self, at: FrameEvaluation, observed: bool = False) -> tuple[list[Model], list[MotionModel]]:
        """Return the quadratic models of all terms, or of observations alone.

        Returns:
            Those of single frames, and those that couple frames.
        """
        by_view = 'cameras' in self.layout.extra_columns()
        models: list[Model] = []
        motions = []
        for term in self.task.terms:
            if observed and term.related_input is None:
                continue
            own, coupled = models_of(term, at.state, at.widening, by_view)
            models += own
            motions += [
                MotionModel.of(term, i, at.state, at.kinematics, self.layout, at.widening) for i in coupled
            ]
        return models, motions

    def eliminate(self, at: FrameEvaluation, damping: Float[Tensor, ' B']) -> ReducedSystem:
        """Express the frames' own unknowns by the shared ones.

        Args:
            at: where the frames are.
            damping: of their own unknowns.
        """
        models, _ = self.models(at)
        parts = []
        for rows in even_parts(len(damping), CHUNK, damping.device):
            equations = self.equations(at, rows, models)
            own = equations.matrix[:, : self.layout.n_own, : self.layout.n_own]
            parts.append(eliminate(equations.matrix, equations.vector, damping[rows], damping_of(own)))
        return ReducedSystem.cat(parts)

    def equations(self, at: FrameEvaluation, rows: Tensor, models: Sequence[Model]) -> FrameEquations:
        """Sum the quadratic models of some frames, in ascending order."""
        if len(rows) == len(at.energy):
            return FrameEquations(at.kinematics, self.layout).add(models, at.state, at.widening)
        kin, state = at.kinematics.take(rows), at.state.take(rows)
        return FrameEquations(kin, self.layout).add(take_models(models, rows), state, at.widening)

    def whole_equations(self, at: FrameEvaluation, models: Sequence[Model]) -> tuple[Tensor, Tensor]:
        """Return the dense equations of all frames, motion left out."""
        rows = even_parts(len(at.energy), CHUNK, at.energy.device)
        parts = [self.equations(at, r, models) for r in rows]
        return torch.cat([p.matrix for p in parts]), torch.cat([p.vector for p in parts])

    def moved(self, at: FrameEvaluation, own: Tensor, shared: Tensor) -> VariableState:
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
        if 'cameras' in extras:
            still = torch.zeros_like(point.extras['cameras'])
            still[0, list(layout.cameras)] = extras['cameras'].reshape(-1, 6)
            extras['cameras'] = still
        return point.moved(turns, at.kinematics.parent_rotations, shift, extras)


def even_parts(count: int, most: int, device: torch.device) -> tuple[Tensor, ...]:
    """Divide rows into as few parts of at most `most` as can be, all of about one size.

    None is left with a single row, of which libraries round otherwise.
    """
    return torch.arange(count, device=device).tensor_split(max(1, -(-count // most)))
