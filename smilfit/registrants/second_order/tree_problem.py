"""A stage as trees of joints whose steps the fused kernel solves for, with what torch adds to them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.geometry.damping import LONGEST_ROTATION
from smilfit.geometry.rotation import skew
from smilfit.handlers import ActiveTerm
from smilfit.losses import Energies, PointSource
from smilfit.registrants.second_order.body_problem import FrameBatch, FrameEvaluation
from smilfit.registrants.second_order.kernel_terms import solved_params
from smilfit.registrants.second_order.kinematics import Kinematics
from smilfit.registrants.second_order.point_sets import point_set
from smilfit.registrants.second_order.quadratic_models import PointModel, models_of
from smilfit.registrants.second_order.rigid_points import Coefficients, RigidPoints
from smilfit.registrants.second_order.unknowns import VariableState
from smilfit.solvers import (
    CarriedPoints,
    ChainProblem,
    ChainQuadratic,
    ChainState,
    ChainStep,
    ChainSteps,
    MotionCoupling,
    Processes,
    motion_quadratic,
    solve_motion,
)
from smilfit.structures import BodyParams

# Frames whose rigid points are held at once: more do not fit the caches.
FRAMES = 16


@dataclass(frozen=True)
class SkinPairs:
    """Vertices and the bones that carry them, one row a pair: `share` of `vertex` hangs on `joint`."""

    vertex: Int[Tensor, ' M']
    joint: Int[Tensor, ' M']
    share: Float[Tensor, ' M']

    @classmethod
    def of(cls, body: SMIL) -> 'SkinPairs':
        """List all pairs of a body."""
        vertex, joint = body.weights.nonzero(as_tuple=True)
        return cls(vertex, joint, body.weights[vertex, joint])

    def where(self, counts: Tensor) -> 'SkinPairs':
        """Keep the pairs of some vertices."""
        kept = counts[self.vertex]
        return SkinPairs(self.vertex[kept], self.joint[kept], self.share[kept])


@dataclass(frozen=True)
class JointQuadratic:
    """A quadratic in the joints' twists (angular velocity, then linear, world axes) and the border's columns.

    Args:
        gradient: by joint.
        hessian: by joint.
        cross: between joints and border.
        border_gradient: of the border's columns: fitted coefficients, then the logarithm of the scale.
        border_hessian: likewise.
    """

    gradient: Float[Tensor, 'B J 6']
    hessian: Float[Tensor, 'B J 6 6']
    cross: Float[Tensor, 'B J 6 q']
    border_gradient: Float[Tensor, 'B q']
    border_hessian: Float[Tensor, 'B q q']

    @classmethod
    def zeros(cls, joints: Float[Tensor, 'B J 3'], n_border: int) -> 'JointQuadratic':
        """Start with nothing."""
        b, j, _ = joints.shape
        shapes = ((b, j, 6), (b, j, 6, 6), (b, j, 6, n_border), (b, n_border), (b, n_border, n_border))
        return cls(*(joints.new_zeros(shape) for shape in shapes))

    def add(
        self,
        rows: slice,
        joint: Int[Tensor, ' M'],
        arm: Float[Tensor, 'b M 3'],
        motion: Float[Tensor, 'b M 3 q'],
        gradient: Float[Tensor, 'b M 3'],
        hessian: Float[Tensor, 'b M 3 3'],
    ) -> None:
        """Add rigid points of some frames, in place.

        Args:
            rows: the frames.
            joint: that carries each.
            arm: from the joint to the point, world.
            motion: of the point against its joint, by the border's columns.
            gradient: by the point.
            hessian: likewise.
        """
        # v = v_j + o x arm = [-[arm]x, 1] (o, v_j)
        rotation = -skew(arm)
        pushed = hessian @ rotation
        top = torch.cat((rotation.transpose(-1, -2) @ pushed, pushed.transpose(-1, -2)), -1)
        whole = torch.cat((top, torch.cat((pushed, hessian), -1)), -2)
        force = torch.cat((torch.linalg.cross(arm, gradient), gradient), -1)
        self.gradient[rows].index_add_(1, joint, force)
        self.hessian[rows].index_add_(1, joint, whole)
        if motion.shape[-1]:
            drawn = hessian @ motion
            cross = torch.cat((rotation.transpose(-1, -2) @ drawn, drawn), -2)
            self.cross[rows].index_add_(1, joint, cross)
            back = motion.flatten(1, 2).transpose(1, 2)
            self.border_gradient[rows] += (back @ gradient.flatten(1).unsqueeze(-1)).squeeze(-1)
            self.border_hessian[rows] += back @ drawn.flatten(1, 2)


def add_model(
    total: JointQuadratic,
    model: PointModel,
    kin: Kinematics,
    pairs: SkinPairs,
    fitted: Coefficients,
    scale: bool,
) -> None:
    """Add a model of joints or of all vertices, in place.

    Args:
        total: what it is added to.
        model: of joints by name, or of all vertices.
        kin: the posed bodies.
        pairs: of all vertices and bones.
        fitted: the coefficients among the border's columns.
        scale: whether the scale is the last of them.
    """
    if model.names is not None:
        _add_joints(total, model, kin)
        return
    counts = (model.hessian != 0).flatten(2).any(2) | (model.gradient != 0).any(2)
    pairs = pairs.where(counts.any(0))
    n_border = total.cross.shape[-1]
    for first in range(0, len(kin.joints), FRAMES):
        rows = slice(first, first + FRAMES)
        part = kin.take(torch.arange(len(kin.joints), device=kin.joints.device)[rows])
        arm, motion = rigid_motion(part, pairs, fitted, scale, n_border)
        share = pairs.share[None, :, None]
        gradient = share * model.gradient[rows, pairs.vertex]
        hessian = share.unsqueeze(-1) * model.hessian[rows, pairs.vertex]
        total.add(rows, pairs.joint, arm, motion, gradient, hessian)


def _add_joints(total: JointQuadratic, model: PointModel, kin: Kinematics) -> None:
    points = point_set(kin.body, model.names)
    if not points.only_joints:
        raise ValueError('add_model: named points must be joints; some lie elsewhere. Give them as vertices.')
    total.gradient[..., 3:].index_add_(1, points.joints, model.gradient)
    total.hessian[..., 3:, 3:].index_add_(1, points.joints, model.hessian)


def rigid_motion(
    kin: Kinematics, pairs: SkinPairs, fitted: Coefficients, scale: bool, n_border: int
) -> tuple[Float[Tensor, 'B M 3'], Float[Tensor, 'B M 3 q']]:
    """Return each rigid point's arm from its joint, and its motion against the joint by the border's columns."""
    body, size = kin.body, kin.params.scale[:, None, None]
    rest = kin.rest.vertices[:, pairs.vertex] + body.frame_offsets(kin.params, pairs.vertex)
    rest = rest - kin.rest_joints[:, pairs.joint]
    linear = kin.linear.index_select(1, pairs.joint)
    arm = size * (linear @ rest.unsqueeze(-1)).squeeze(-1)
    motion = arm.new_zeros(*arm.shape, n_border)
    for name, place in fitted.slices().items():
        change, of_joints = body.vertex_directions(name), body.joint_directions(name)
        if change is not None:
            moved = change[:, pairs.vertex]
            moved = moved if of_joints is None else moved - of_joints[:, pairs.joint]
            motion[..., place] = size.unsqueeze(-1) * (linear @ moved.permute(1, 2, 0))
    if scale:
        motion[..., -1] = arm
    return arm, motion


@dataclass(frozen=True)
class TreeStage:
    """What torch knows of a stage whose tree the kernel solves.

    Args:
        frames: the terms that torch evaluates, as a block of frames.
        start: parameters that are not fitted.
        fitted: coefficients among the border's columns.
        moving: the extras that move, and whether frames share them.
        constant: energy by frame of what does not move.
    """

    frames: FrameBatch
    start: BodyParams
    fitted: Coefficients
    moving: Mapping[str, bool]
    constant: Tensor | float

    def take(self, index: Tensor) -> 'TreeStage':
        """Pick frames."""
        constant = self.constant
        if isinstance(constant, Tensor) and constant.ndim:
            constant = constant[index]
        return TreeStage(self.frames.take(index), self.start[index], self.fitted, self.moving, constant)

    def posed(self, state: ChainState, widening: float) -> FrameEvaluation:
        """Pose the bodies of a state, and evaluate the terms that torch has."""
        params = solved_params(self.start, state, self.fitted)
        return self.frames.evaluate(VariableState.from_params(params, self.moving), widening)


@dataclass(frozen=True)
class TreeEvaluation:
    """A state, its energy by frame, and what torch knows of it."""

    point: ChainState
    energy: Float[Tensor, ' B']
    widening: float
    posed: FrameEvaluation | None


class TreeProblem:
    """Least squares of a stage, as a solver of second order asks for it; steps are solved for by the fused kernel.

    Args:
        problem: the tree and what the kernel evaluates by itself.
        stage: what torch adds.
        shared: whether coefficients and scale are those of all frames.
        processes: those that hold other frames.
    """

    def __init__(
        self, problem: ChainProblem, stage: TreeStage, shared: bool, processes: Processes | None = None
    ) -> None:
        self.problem, self.stage, self.shared = problem, stage, shared
        self.processes = processes or Processes()
        self.terms = stage.frames.task.terms
        moving = any(term.handler.frame_order for term in self.terms)
        self.coupled = shared or moving
        self.steps = ChainSteps(problem, shared=shared, reduce=self.processes.sum)
        self._rigid_points: dict[tuple[str, ...], RigidPoints] = {}

    def evaluate(self, point: ChainState, widening: float = 1.0) -> TreeEvaluation:
        """Compute the energies."""
        energy = self.steps.energy(point, widening) + self.stage.constant
        if not self.terms:
            return TreeEvaluation(point, energy, widening, None)
        with torch.no_grad():
            posed = self.stage.posed(point, widening)
        return TreeEvaluation(point, energy + posed.energy, widening, posed)

    @torch.no_grad()
    def step(self, at: TreeEvaluation, damping: Tensor, n_together: int | None = None) -> ChainStep:
        """Solve the damped system, of all frames at once where motion couples them."""
        couplings = [] if at.posed is None else self._couplings(at.posed)
        extra = None if at.posed is None else self._extra(at.posed, couplings)
        factor = self.steps.factorise(at.point, damping, at.widening, extra)
        if not couplings:
            return factor.step()
        loads = factor.gradient()
        loads = loads.plus(loads, -2.0)
        motion, _ = solve_motion(factor, couplings, loads)
        predicted = factor.predicted_reduction(loads, motion)
        return ChainStep(motion.no_rotation_beyond(LONGEST_ROTATION), predicted)

    def _extra(self, at: FrameEvaluation, couplings: list[MotionCoupling]) -> ChainQuadratic:
        """Bring the quadratic models of the terms that torch has to the joints."""
        kin, fitted = at.kinematics, self.stage.fitted
        models: list[PointModel] = []
        for term in self.terms:
            for model in models_of(term, at.state, at.widening, False)[0]:
                assert isinstance(model, PointModel)
                models.append(model)
        # Joints know nothing of the border's columns: only points on the skin move by them against their joints.
        columns = self.problem.n_border if any(m.names is None for m in models) else 0
        result = JointQuadratic.zeros(kin.joints, columns)
        for model in models:
            add_model(result, model, kin, self.pairs, fitted, self.problem.fit_scale)
        gradient, hessian = result.gradient, result.hessian
        if couplings:
            motion = motion_quadratic(couplings, kin.joints)
            assert motion.joint_gradient is not None
            assert motion.joint_hessian is not None
            gradient, hessian = gradient + motion.joint_gradient, hessian + motion.joint_hessian
        if not columns:
            return ChainQuadratic(gradient, hessian)
        return ChainQuadratic(
            gradient,
            hessian,
            border_cross=result.cross,
            border_gradient=result.border_gradient,
            border_hessian=result.border_hessian,
        )

    @cached_property
    def pairs(self) -> SkinPairs:
        """All vertices with the bones that carry them."""
        return SkinPairs.of(self.stage.frames.task.body)

    def _couplings(self, at: FrameEvaluation) -> list[MotionCoupling]:
        moving = [term for term in self.terms if term.handler.frame_order]
        return [c for term in moving for c in couplings_of(term, at, self._rigid)]

    def _rigid(self, names: tuple[str, ...]) -> RigidPoints:
        """Take named points apart, once: what they hang on does not change where no coefficient does."""
        if names not in self._rigid_points:
            stage = self.stage
            self._rigid_points[names] = RigidPoints.of(
                stage.frames.task.body, names, stage.start, stage.fitted
            )
        return self._rigid_points[names]

    def moved(self, at: TreeEvaluation, step: ChainStep) -> ChainState:
        """Take a step."""
        return self.steps.follow(at.point, step.motion)

    def take(self, index: Tensor) -> 'TreeProblem':
        """Return the problem of some frames alone."""
        return TreeProblem(self.problem.take(index), self.stage.take(index), self.shared, self.processes)

    def total(self, values: Tensor) -> Tensor:
        """Sum over this process's frames, and over all processes where frames hang together."""
        whole = values.sum(dtype=torch.float64)
        return (self.processes.sum(whole) if self.coupled else whole).to(values.dtype)


def couplings_of(
    term: ActiveTerm, at: FrameEvaluation, rigid: Callable[[tuple[str, ...]], RigidPoints]
) -> list[MotionCoupling]:
    """Return what a term couples in time, as differences of joints or of points that they carry.

    Args:
        term: the term.
        at: the bodies.
        rigid: takes named points apart into what hangs on each bone.
    """
    stated, result = term.stated(at.state), []
    shares = term.shares(stated, at.energy)
    for item, share in zip(stated, shares):
        if isinstance(item, Energies) or not item.order:
            continue
        assert isinstance(item.source, PointSource)
        names = item.source.names
        assert names is not None
        terms = item.terms(term.continuous(at.state), at.widening)
        weight = share * item.factor * (terms.weight if terms.slope is None else terms.weight * terms.slope)
        points = point_set(at.kinematics.body, names)
        if points.only_joints:
            every = weight.new_zeros(len(weight), at.kinematics.joints.shape[1])
            result.append(MotionCoupling(item.order, every.index_add(1, points.joints, weight)))
        else:
            carried = carried_points(rigid(names), at.kinematics, item.value)
            result.append(MotionCoupling(item.order, weight, carried))
    return result


def carried_points(rigid: RigidPoints, kin: Kinematics, places: Float[Tensor, 'B N 3']) -> CarriedPoints:
    """Pose points that hang on bones."""
    point, part = (rigid.share > 0).nonzero(as_tuple=True)
    joint = rigid.joint[point, part]
    rotated = kin.bone_rotations.index_select(1, joint) @ rigid.offset[:, point, part].unsqueeze(-1)
    arm = kin.params.scale[:, None, None] * rotated.squeeze(-1)
    return CarriedPoints(places, point, joint, rigid.share[point, part], arm)
