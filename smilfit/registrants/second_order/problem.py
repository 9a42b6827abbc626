"""A stage of a fit, as second-order solvers see it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.body_models import RestShape
from smilfit.handlers import BodyState
from smilfit.registrants.second_order.coupled import MotionModel, coupled_step
from smilfit.registrants.second_order.dense import damping_of, eliminate, solve_positive
from smilfit.registrants.second_order.kinematics import Kinematics, point_set
from smilfit.registrants.second_order.layout import Layout
from smilfit.registrants.second_order.point import BodyPoint
from smilfit.registrants.second_order.terms import FrameEquations, residual_jacobian
from smilfit.registrants.stage_task import StageTask
from smilfit.structures import MotionTerm, ParameterTerm, PointTerm, QuadraticTerm, ResidualTerm
from smilfit.structures.quadratic import take_rows

# Frames whose dense equations are assembled at once: more do not fit the caches.
CHUNK = 32

Reduce = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Evaluation:
    """A body, its energy by frame, and what its terms said."""

    point: BodyPoint
    energy: Float[Tensor, ' B']
    kinematics: Kinematics
    state: BodyState
    terms: tuple[QuadraticTerm, ...]


@dataclass(frozen=True)
class Step:
    """A proposed change, and the decrease of the energy that the quadratic model promises, by frame."""

    own: Float[Tensor, 'B n']
    shared: Float[Tensor, ' q']
    promised: Float[Tensor, ' B']


class BodyProblem:
    """Least squares of one stage: knows the body, the unknowns and the terms.

    Args:
        task: the stage with all it works on.
        layout: the unknowns.
        rest: the shape where it does not change.
        total: sums over all frames, also those of other processes.
    """

    def __init__(
        self, task: StageTask, layout: Layout, rest: RestShape | None = None, total: Reduce = torch.sum
    ) -> None:
        self.task, self.layout, self.rest, self.total = task, layout, rest, total
        self.body = task.body

    @property
    def coupled(self) -> bool:
        """Whether frames depend on each other."""
        return self.layout.n_shared > 0 or any(t.handler.couples_frames for t in self.task.terms)

    def take(self, index: Tensor) -> 'BodyProblem':
        """Give the problem of some frames alone."""
        rest = None if self.rest is None else self.rest.take(index)
        frames = None if self.task.frames is None else self.task.frames[index]
        terms = tuple(t.take(index) for t in self.task.terms)
        return BodyProblem(replace(self.task, terms=terms, frames=frames), self.layout, rest, self.total)

    def evaluate(self, point: BodyPoint, robust_scale: float = 1.0) -> Evaluation:
        """Pose the body and ask every term."""
        with torch.no_grad():
            kin = Kinematics.of(self.body, point, self.rest)
            output = self.body(kin.params, self.task.need, kin.rest, (kin.linear, kin.positions))
            state = BodyState(
                self.body,
                kin.params,
                output,
                dict(self.task.keypoint_weights),
                robust_scale,
                self.task.frames,
                point.camera_shift,
            )
            said = tuple(term.second_order(state) for term in self.task.terms)
            energy = sum((s.energy for s in said), torch.zeros_like(point.transl[:, 0]))
        return Evaluation(point, energy, kin, state, said)

    def step(self, at: Evaluation, damping: Float[Tensor, ' B']) -> Step:
        """Solve the damped normal equations of every frame."""
        with torch.no_grad():
            motions = [t for t in at.terms if isinstance(t, MotionTerm)]
            return self._coupled_step(at, damping, motions) if motions else self._dense_step(at, damping)

    def _coupled_step(self, at: Evaluation, damping: Tensor, motions: Sequence[MotionTerm]) -> Step:
        parts = torch.arange(len(damping), device=damping.device).split(CHUNK)
        equations = [self.equations(at, rows) for rows in parts]
        matrix = torch.cat([e.matrix for e in equations])
        vector = torch.cat([e.vector for e in equations])
        models = []
        for term in motions:
            points = point_set(self.body, term.names)
            jacobian = at.kinematics.jacobian(points, self.layout).flatten(1, 2)
            models.append(MotionModel(term, at.state.output.select(term.names).flatten(1), jacobian))
        return Step(*coupled_step(matrix, vector, models, self.layout.n_own, damping))

    def _dense_step(self, at: Evaluation, damping: Tensor) -> Step:
        n, q = self.layout.n_own, self.layout.n_shared
        parts, scales, vectors = [], [], []
        schur, pull = damping.new_zeros(q, q), damping.new_zeros(q)
        for rows in torch.arange(len(damping), device=damping.device).split(CHUNK):
            equations = self.equations(at, rows)
            scale = damping_of(equations.matrix[:, :n, :n])
            part = eliminate(equations.matrix, equations.vector, damping[rows].unsqueeze(1) * scale)
            schur, pull = schur + part.schur, pull + part.pull
            parts.append(part)
            scales.append(scale)
            vectors.append(equations.vector)
        start = torch.cat([p.start for p in parts])
        shared = self._shared_step(schur, pull, damping.mean())
        own = start - (torch.cat([p.influence for p in parts]) @ shared) if q else start
        scale, vector = torch.cat(scales), torch.cat(vectors)
        promised = 0.5 * (damping.unsqueeze(1) * scale * own.square() - vector[:, :n] * own).sum(1)
        promised = promised - 0.5 * (vector[:, n:] * shared).sum(1)
        return Step(own, shared, promised)

    def _shared_step(self, schur: Tensor, pull: Tensor, damping: Tensor) -> Tensor:
        if not len(pull):
            return pull
        damped = schur + torch.diag(damping * damping_of(schur))
        return -solve_positive(damped, pull.unsqueeze(-1)).squeeze(-1)

    def equations(
        self,
        at: Evaluation,
        rows: Tensor,
        of: type | tuple[type, ...] = (PointTerm, ParameterTerm, ResidualTerm),
    ) -> FrameEquations:
        """Sum the quadratic models of some frames, of all kinds of terms or of one."""
        equations = FrameEquations(at.kinematics.take(rows), self.layout)
        for term, said in zip(self.task.terms, at.terms):
            if not isinstance(said, of):
                continue
            if isinstance(said, PointTerm):
                equations.add_points(take_rows(said, rows))
            elif isinstance(said, ParameterTerm):
                equations.add_parameters(take_rows(said, rows))
            elif isinstance(said, ResidualTerm):
                state = at.state.take(rows)
                part = term.take(rows)
                found = residual_jacobian(part.second_order, state, equations.kin, self.layout)
                equations.add_residuals(*found)
        return equations

    def moved(self, at: Evaluation, step: Step) -> BodyPoint:
        """Take a step."""
        layout, point = self.layout, at.point
        turns = torch.zeros_like(at.kinematics.joints)
        count = 3 * len(layout.free)
        turns[:, layout.free] = step.own[:, :count].unflatten(1, (-1, 3))
        shift = step.own[:, count : count + 3] if layout.transl else torch.zeros_like(point.transl)
        extras, place = {}, layout.n_pose
        for name, size in layout.own:
            extras[name] = step.own[:, place : place + size]
            place += size
        place = 0
        for name, size in layout.shared:
            extras[name] = step.shared[place : place + size].unsqueeze(0)
            place += size
        return point.moved(turns, at.kinematics.parent_rotations, shift, extras)
