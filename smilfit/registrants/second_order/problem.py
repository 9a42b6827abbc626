"""A stage of a fit, as second-order solvers see it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.body_models import SMIL, RestShape
from smilfit.handlers import BodyState
from smilfit.registrants.second_order.coupled import MotionModel, coupled_step
from smilfit.registrants.second_order.dense import damping_of, eliminate, solve_positive
from smilfit.registrants.second_order.kinematics import Kinematics, point_set
from smilfit.registrants.second_order.layout import Layout
from smilfit.registrants.second_order.point import BodyPoint
from smilfit.registrants.second_order.terms import FrameEquations, residual_jacobian
from smilfit.registrants.terms import ActiveTerm
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
        body: the body.
        layout: the unknowns.
        terms: the active handlers.
        need: what the body must compute for them.
        keypoint_weights: factors on named keypoints.
        rest: the shape where it does not change.
        frames: numbers of the frames in the recording.
        total: sums over all frames, also those of other processes.
    """

    def __init__(
        self,
        body: SMIL,
        layout: Layout,
        terms: Sequence[ActiveTerm],
        need: tuple[str, ...],
        keypoint_weights: Mapping[str, float],
        rest: RestShape | None = None,
        frames: Tensor | None = None,
        total: Reduce = torch.sum,
    ) -> None:
        self.total = total
        self.body, self.layout, self.terms = body, layout, tuple(terms)
        self.need, self.keypoint_weights = need, dict(keypoint_weights)
        self.rest, self.frames = rest, frames

    @property
    def coupled(self) -> bool:
        """Whether frames depend on each other."""
        return self.layout.n_shared > 0 or any(t.handler.couples_frames for t in self.terms)

    def take(self, index: Tensor) -> 'BodyProblem':
        """Give the problem of some frames alone."""
        rest = None if self.rest is None else self.rest.take(index)
        frames = None if self.frames is None else self.frames[index]
        terms = [t.take(index) for t in self.terms]
        return BodyProblem(
            self.body, self.layout, terms, self.need, self.keypoint_weights, rest, frames, self.total
        )

    def evaluate(self, point: BodyPoint, robust_scale: float = 1.0) -> Evaluation:
        """Pose the body and ask every term."""
        with torch.no_grad():
            kin = Kinematics.of(self.body, point, self.rest)
            output = self.body(kin.params, self.need, kin.rest, (kin.linear, kin.positions))
            state = BodyState(self.body, kin.params, output, self.keypoint_weights, robust_scale, self.frames)
            said = tuple(term.second_order(state) for term in self.terms)
            energy = torch.stack([s.energy.expand(point.batch_size) for s in said]).sum(0)
        return Evaluation(point, energy, kin, state, said)

    def step(self, at: Evaluation, damping: Float[Tensor, ' B']) -> Step:
        """Solve the damped normal equations of every frame."""
        with torch.no_grad():
            motions = [t for t in at.terms if isinstance(t, MotionTerm)]
            return self._coupled_step(at, damping, motions) if motions else self._dense_step(at, damping)

    def _coupled_step(self, at: Evaluation, damping: Tensor, motions: Sequence[MotionTerm]) -> Step:
        parts = torch.arange(len(damping), device=damping.device).split(CHUNK)
        equations = [self._equations(at, rows) for rows in parts]
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
            equations = self._equations(at, rows)
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

    def _equations(self, at: Evaluation, rows: Tensor) -> FrameEquations:
        equations = FrameEquations(at.kinematics.take(rows), self.layout)
        for term, said in zip(self.terms, at.terms):
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
