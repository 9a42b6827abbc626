"""Some frames of a stage: their terms evaluated, and their equations with the frames' own unknowns eliminated."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.body_models import RestShape
from smilfit.handlers import ActiveTerm, BodyState
from smilfit.registrants.second_order.banded import MotionModel, coupled_step
from smilfit.registrants.second_order.dense import ReducedSystem, damping_of, eliminate, solve_positive
from smilfit.registrants.second_order.equations import FrameEquations
from smilfit.registrants.second_order.kinematics import Kinematics
from smilfit.registrants.second_order.quadratic_models import Model, models_of, take_models
from smilfit.registrants.second_order.unknowns import VariableLayout, VariableState
from smilfit.registrants.stage_task import StageTask
from smilfit.solvers import Processes

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


# Frames evaluated at once, and how many blocks' evaluations are kept until the step needs them; those of a longer
# clip are made again, so that memory does not grow with them.
BLOCK, BLOCKS_KEPT = 1024, 16


@dataclass(frozen=True)
class Evaluation:
    """Bodies and their energies by frame. `parts` holds the blocks, or None."""

    point: VariableState
    energy: Float[Tensor, ' B']
    widening: float
    parts: tuple[FrameEvaluation, ...] | None


@dataclass(frozen=True)
class Step:
    """A proposed change, and the predicted reduction of the energy by frame."""

    own: Float[Tensor, 'B n']
    shared: Float[Tensor, ' q']
    predicted_reduction: Float[Tensor, ' B']


class BodyProblem:
    """Least squares of one stage.

    Frames are worked on in blocks; what they share is solved for over all blocks, and over all processes.

    Args:
        frames: all frames of this process.
        n_frames: how many.
        processes: those that hold the other frames.
    """

    def __init__(self, frames: FrameBatch, n_frames: int, processes: Processes | None = None) -> None:
        self.frames, self.n_frames = frames, n_frames
        self.layout: VariableLayout = frames.layout
        self.processes = processes or Processes()
        self.moving = any(t.handler.frame_order for t in frames.task.terms)
        self.coupled = self.layout.n_shared > 0 or self.moving
        size = n_frames if self.moving else BLOCK
        device = frames.task.body.v_template.device
        self._rows = even_parts(n_frames, max(size, 1), device)
        single = len(self._rows) == 1
        self._blocks = [frames] if single else [frames.take(rows) for rows in self._rows]

    def take(self, index: Tensor) -> 'BodyProblem':
        """Return the problem of some frames alone."""
        return BodyProblem(self.frames.take(index), len(index), self.processes)

    def total(self, values: Tensor) -> Tensor:
        """Sum over this process's frames, and over all processes where frames hang together."""
        whole = values.sum(dtype=torch.float64)
        return (self.processes.sum(whole) if self.coupled else whole).to(values.dtype)

    def evaluate(self, point: VariableState, widening: float = 1.0) -> Evaluation:
        """Pose the body and evaluate every term."""
        keep = len(self._rows) <= BLOCKS_KEPT
        parts, energies = [], []
        for part in self.posed(point, widening):
            energies.append(part.energy)
            if keep:
                parts.append(part)
        return Evaluation(point, torch.cat(energies), widening, tuple(parts) if keep else None)

    def posed(self, point: VariableState, widening: float = 1.0) -> Iterator[FrameEvaluation]:
        """Evaluate block after block."""
        return (self._posed(i, point, widening) for i in range(len(self._rows)))

    @torch.no_grad()
    def _posed(self, i: int, point: VariableState, widening: float) -> FrameEvaluation:
        here = point if len(self._rows) == 1 else point.take(self._rows[i])
        return self._blocks[i].evaluate(here, widening)

    def parts(self, at: Evaluation) -> Iterator[tuple[Tensor, FrameBatch, FrameEvaluation]]:
        """Go through the blocks: rows, block, and its bodies."""
        for i, (rows, block) in enumerate(zip(self._rows, self._blocks)):
            part = self._posed(i, at.point, at.widening) if at.parts is None else at.parts[i]
            yield rows, block, part

    @torch.no_grad()
    def step(self, at: Evaluation, damping: Float[Tensor, ' B'], n_together: int | None = None) -> Step:
        """Solve the damped normal equations.

        Args:
            at: where the frames are.
            damping: of each.
            n_together: how many frames all processes work on.
        """
        if self.moving:
            return self._step_in_time(at, damping)
        parts = [block.eliminate(part, damping[rows]) for rows, block, part in self.parts(at)]
        result = ReducedSystem.cat(parts)
        shared = self._shared_step(result, damping)
        own = result.start
        if len(shared):
            # Frame by frame: one product for all would round by how many there are.
            own = own - torch.bmm(result.influence, shared.expand(len(own), 1, -1).mT).squeeze(-1)
        n = self.layout.n_own
        predicted = (damping.unsqueeze(1) * result.scale * own.square() - result.slope[:, :n] * own).sum(1)
        return Step(own, shared, 0.5 * (predicted - (result.slope[:, n:] * shared).sum(1)))

    def _step_in_time(self, at: Evaluation, damping: Tensor) -> Step:
        ((_, block, part),) = self.parts(at)
        models, motions = block.models(part)
        matrix, vector = block.whole_equations(part, models)
        return Step(*coupled_step(matrix, vector, motions, self.layout.n_own, damping))

    def _shared_step(self, reduced: ReducedSystem, damping: Tensor) -> Tensor:
        if not self.layout.n_shared:
            return damping.new_zeros(0)
        schur, gradient = self.processes.sum(reduced.schur), self.processes.sum(reduced.gradient)
        mean = self.total(damping.double()) / self.total(torch.ones_like(damping))
        step = solve_positive(schur + torch.diag(mean * damping_of(schur)), gradient.unsqueeze(-1)).squeeze(
            -1
        )
        return -step.to(damping.dtype)

    @torch.no_grad()
    def moved(self, at: Evaluation, step: Step) -> VariableState:
        """Take a step."""
        parts = [b.moved(p, step.own[rows], step.shared) for rows, b, p in self.parts(at)]
        return VariableState.cat(parts)
