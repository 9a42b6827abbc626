"""A stage of a fit, as second-order solvers see it: blocks of frames, joined by what they share."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.registrants.second_order.coupled import coupled_step
from smilfit.registrants.second_order.dense import ReducedSystem, damping_of, solve_positive
from smilfit.registrants.second_order.frame_batch import FrameBatch, FrameEvaluation, even_parts
from smilfit.registrants.second_order.variable_layout import VariableLayout
from smilfit.registrants.second_order.variable_state import VariableState
from smilfit.solvers import Processes

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

    def _shared_step(self, found: ReducedSystem, damping: Tensor) -> Tensor:
        if not self.layout.n_shared:
            return damping.new_zeros(0)
        schur, gradient = self.processes.sum(found.schur), self.processes.sum(found.gradient)
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
