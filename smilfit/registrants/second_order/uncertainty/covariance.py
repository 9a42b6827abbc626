"""How well a fit's parameters and keypoints are known, by derivatives at the solution, in float64.

With the energy's hessian H (Gauss and Newton's) and the covariance G of its gradient under the noise, the
covariance of the solution is `H^-1 G H^-1` (the sandwich of Huber 1967). With G_g, the hessian of group g of
observations, and its variance s_g^2, `G = sum_g 2 s_g^2 G_g`. Priors count as if they had been observed with the
median s^2 of the groups. Where all noise is alike that is `2 s^2 H^-1`, the posterior's covariance.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.handlers import ActiveTerm
from smilfit.registrants.second_order.body_problem import BodyProblem, FrameBatch, FrameEvaluation
from smilfit.registrants.second_order.dense import summed
from smilfit.registrants.second_order.point_sets import point_set
from smilfit.registrants.second_order.quadratic_models import Model, PointModel
from smilfit.registrants.second_order.uncertainty.covariance_dense import (
    DenseBetween,
    DenseElimination,
    positive_inverse,
)
from smilfit.registrants.second_order.uncertainty.covariance_tree import (
    TreeBetween,
    TreeElimination,
    hangs_on_bones,
)
from smilfit.registrants.second_order.uncertainty.noise import (
    LEAST_SLOPE,
    Noise,
    Statement,
    on_points,
    scaled,
    spent_by,
    statements_of,
)
from smilfit.registrants.second_order.unknowns import VariableLayout, VariableState
from smilfit.registrants.stage_task import StageTask
from smilfit.solvers import Processes
from smilfit.structures import FitCovariance, SharedUncertainty

# The chance that a fit takes the wrong sign of a bone: so 90 % intervals of a posed insect under one camera
# hold 90 % of joints (of a posed mouse 94 %). Priors that know the pose better make it smaller, weaker ones larger.
WRONG_SIGN = 0.1


def only_camera(part: FrameEvaluation, statements: list[Statement]) -> tuple[Tensor, Tensor] | None:
    """Return which frames one camera alone saw (B,), and from where (B, 3); None where none can be."""
    views = [
        s.model.views for s in statements if isinstance(s.model, PointModel) and s.model.views is not None
    ]
    if not views or len(views) < len(statements):
        return None
    if any(view.hessian.shape[1] != views[0].hessian.shape[1] for view in views):
        return None
    saw = torch.stack([(view.hessian != 0).flatten(2).any(-1) for view in views]).any(0)
    cameras = views[0].cameras
    centres = -(cameras.R.mT @ cameras.t.unsqueeze(-1)).squeeze(-1).to(part.energy)
    centres = centres.expand(*saw.shape, 3)
    which = saw.to(torch.uint8).argmax(1)
    return saw.sum(1) == 1, centres[torch.arange(len(which), device=which.device), which]


def depth_ambiguity(
    part: FrameEvaluation, centre: Float[Tensor, 'B 3'], names: tuple[str, ...]
) -> Float[Tensor, 'B K 3 3']:
    """Return what wrong signs of bones add to the covariances of points seen from one place."""
    kin = part.kinematics
    tree, points = kin.body.tree, point_set(kin.body, names)
    view = torch.nn.functional.normalize(kin.joints.mean(1) - centre, dim=-1)
    depth = (kin.joints @ view.unsqueeze(-1)).squeeze(-1)
    # The root's own depth is no bone's.
    bones = depth - depth.index_select(1, tree.parents)
    shares = [tree.paths[points.joints]]
    if points.landmarks is not None:
        shares.append(points.landmarks.shares @ tree.paths)
    order = torch.cat(shares) if points.landmarks is None else torch.cat(shares)[points.order]
    about = order - tree.paths.mean(0)
    variance = 4 * WRONG_SIGN * bones.square() @ about.square().mT
    rays = torch.nn.functional.normalize(kin.places(points) - centre.unsqueeze(1), dim=-1)
    return variance[..., None, None] * rays.unsqueeze(-1) * rays.unsqueeze(-2)


# Frames worked on at once, and of how many what was found is kept; it is found again for those of a longer clip.
FRAMES, FRAMES_KEPT = 128, 512
# Rounds in which the noise of groups is parted, unless none changes by more than a share.
ROUNDS, ENOUGH = 6, 0.05
# What is not known: of its precision this share is what was added to keep matrices invertible.
NOT_KNOWN = 1e-2


def fit_covariance(
    problem: BodyProblem, point: VariableState, known: SharedUncertainty | None = None, kernel: bool = False
) -> FitCovariance:
    """Compute the covariances of all unknowns and of all joints and observed keypoints.

    Where other frames have found what is shared, s, own unknowns p follow it by `dp = -H_pp^-1 H_ps ds`, and its
    covariance C_s adds `H_pp^-1 H_ps C_s H_sp H_pp^-1` to theirs.

    What nothing tells of has an infinite variance. Smoothness over time is left out, so where there is any the
    covariances are on the safe side. Processes give their own frames' covariances, with the noise and the shared
    unknowns of all frames.

    Args:
        problem: the frames.
        point: the solution.
        known: of what is shared and held, by other frames.
        kernel: whether the fused kernel may factorise the trees.

    Raises:
        ValueError: nothing is observed that the noise could be estimated from.
    """
    with torch.no_grad():
        return _Covariance(problem, point, known, kernel).fit_covariance()


def in_double(task: StageTask) -> StageTask:
    """Copy a stage into float64: the body, what was observed, and constants of losses."""

    def cast(term: ActiveTerm) -> ActiveTerm:
        observed = None if term.related_input is None else term.related_input.to(torch.float64)
        return replace(term, handler=deepcopy(term.handler).double(), related_input=observed)

    focal = None if task.log_focal is None else task.log_focal.double()
    terms = tuple(cast(t) for t in task.terms)
    return replace(task, body=deepcopy(task.body).double(), terms=terms, log_focal=focal, on_step=None)


@dataclass(frozen=True)
class _Work:
    """Some frames evaluated: their models, and what observations come to."""

    block: FrameBatch
    part: FrameEvaluation
    statements: list[Statement]
    held: list[Model]


# What is kept of a block of frames.
Result = TypeVar('Result')


class _Covariance:
    """The covariance of one solution, found in passes over blocks of frames; each needs sums of the one before."""

    def __init__(
        self, problem: BodyProblem, point: VariableState, known: SharedUncertainty | None, kernel: bool
    ) -> None:
        self.layout, self.processes, self.dtype = problem.layout, problem.processes, point.transl.dtype
        self.known, self.kernel, self.engine = known, kernel, 'dense'
        task = problem.frames.task
        self.observing = _observing(task, self.processes)
        self.frames = FrameBatch(task if self.dtype == torch.float64 else in_double(task), problem.layout)
        extras = {n: v.double() for n, v in point.extras.items()}
        self.point = VariableState(point.quats.double(), point.transl.double(), extras)
        body = task.body
        keypoints = (n for n in task.need if n in body.keypoint_names)
        self.names = tuple(dict.fromkeys((*body.joint_names, *keypoints)))
        # Each block has frames of the whole clip.
        parts = -(-point.batch_size // FRAMES)
        every = torch.arange(point.batch_size, device=point.transl.device)
        self.rows = [every[i::parts] for i in range(parts)]
        self._kept: dict[tuple[str, int], Any] = {}

    def fit_covariance(self) -> FitCovariance:
        variances, points = (self._joined(x) for x in zip(*map(self._result, range(len(self.rows)))))
        self._kept.clear()
        noise = self.noise
        return FitCovariance(
            self.parameters,
            _columns(self.frames.task.body, self._whole_layout),
            points.to(self.dtype),
            self.names,
            noise.common**0.5,
            variances.sqrt().to(self.dtype),
            {key: group.sqrt().to(self.dtype) for key, group in zip(self.keys, noise.groups)},
            self._uncertainty(),
            self.engine,
        )

    def _uncertainty(self) -> SharedUncertainty | None:
        """Return how well what is shared is known; of cameras, which no later frame moves, nothing."""
        names = tuple((name, size) for name, size in self.layout.shared if name != 'cameras')
        if not names:
            return None
        n, place = self.layout.n_own, self.layout.extra_columns()
        at = torch.cat([torch.arange(place[name].start - n, place[name].stop - n) for name, _ in names])
        at = at.to(self.common.device)
        own, inverse, added = (x[at][:, at] for x in (self.shared, self.common, self.shared_ridge))
        return SharedUncertainty(names, own, inverse, added, self._unknown_shared[at])

    def parameters(self) -> Tensor:
        """Return the matrices of all frames' unknowns' covariances."""
        with torch.no_grad():
            return self._joined([self._whole(i) for i in range(len(self.rows))]).to(self.dtype)

    def _joined(self, parts: Sequence[Tensor]) -> Tensor:
        """Put frames back into their order."""
        return torch.cat(list(parts)).index_select(0, torch.cat(self.rows).argsort())

    def _once(self, what: str, i: int, make: Callable[[int], Result]) -> Result:
        """Keep what was found of the blocks of a short clip."""
        if len(self.rows) * FRAMES > FRAMES_KEPT:
            return make(i)
        if (what, i) not in self._kept:
            self._kept[what, i] = make(i)
        return self._kept[what, i]

    def _work(self, i: int) -> _Work:
        return self._once('work', i, self._evaluated)

    def _evaluated(self, i: int) -> _Work:
        rows = self.rows[i]
        block = self.frames if len(self.rows) == 1 else self.frames.take(rows)
        part = block.evaluate(self.point if len(self.rows) == 1 else self.point.take(rows))
        return _Work(block, part, *statements_of(part, self.observing))

    @cached_property
    def _sums(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Return what each statement's groups come to in all frames."""
        totals: list[Tensor] = []
        for i in range(len(self.rows)):
            statements = self._work(i).statements
            self.keys = tuple(s.key for s in statements)
            result = [x for s in statements for x in (s.squares, s.counted, s.slopes)]
            totals = [a + b for a, b in zip(totals, result)] if totals else result
        totals = [self.processes.sum(x) for x in totals]
        return list(zip(totals[::3], totals[1::3], totals[2::3]))

    @cached_property
    def slopes(self) -> list[Tensor]:
        """Return each group's slope of the score, per unit of the reweighted squares' hessian."""
        return [
            torch.where(n > 0, s / n.clamp_min(1e-30), 1.0).clamp_min(LEAST_SLOPE) for _, n, s in self._sums
        ]

    def _models(self, work: _Work, factors: Sequence[Tensor], held: float = 1.0) -> list[Model]:
        """Return all models, observations' by their groups' factors."""
        priors = (
            [scaled(m, self.point.transl.new_tensor(held)) for m in work.held] if held != 1 else work.held
        )
        return [*priors, *(scaled(s.model, f) for s, f in zip(work.statements, factors))]

    def _elimination(self, i: int) -> DenseElimination | TreeElimination:
        return self._once('elimination', i, self._eliminated)

    def _eliminated(self, i: int) -> DenseElimination | TreeElimination:
        work = self._work(i)
        models = self._models(work, self.slopes)
        if hangs_on_bones(work.block, models, self.names):
            kernel = self.kernel and not self.layout.extras
            self.engine = 'kernel' if kernel else 'tree'
            return TreeElimination.of(work.part, self.layout, models, kernel)
        return DenseElimination.of(work.block, work.part, models)

    @cached_property
    def common(self) -> Tensor:
        """Return the shared unknowns' part of the inverse."""
        none = self.point.transl.new_zeros(0, 0)
        if not self.layout.n_shared:
            return none
        return positive_inverse(
            self.processes.sum(summed(self._elimination(i).schur for i in range(len(self.rows))))
        )

    @cached_property
    def noise(self) -> Noise:
        """Estimate the noise."""
        squares, counted, _ = zip(*self._sums) if self._sums else ((), (), ())
        spent = [torch.zeros_like(x) for x in squares]
        for i in range(len(self.rows)):
            elimination = self._elimination(i)
            result = (spent_by(s, elimination, self.common) for s in self._work(i).statements)
            spent = [a + b for a, b in zip(spent, result)]
        numbers = [n - self.processes.sum(x) for n, x in zip(counted, spent)]
        return self._refined(Noise.of(squares, numbers))

    def _refined(self, first: Noise) -> Noise:
        """Part the groups' noises by one block, which stands for all: blocks are drawn from the whole clip."""
        work, elimination, noise = self._work(0), self._elimination(0), first
        add = self.processes.sum
        numbers = [add(s.counted) for s in work.statements]
        spent = [add(spent_by(s, elimination, self.common)) for s in work.statements]
        for _ in range(ROUNDS if any(g.numel() > 1 for g in first.groups) else 0):
            between = elimination.between(self._weighted_by_noise(work, noise))
            shared = self.common @ add(len(self.rows) * between.schur) @ self.common
            carried = [
                None if s.names is None else add(on_points(s, between.points(s.names, self.common, shared)))
                for s in work.statements
            ]
            noise, change = noise.refined(numbers, spent, carried, first)
            if change < ENOUGH:
                break
        return noise

    def _weighted_by_noise(self, work: _Work, noise: Noise) -> list[Model]:
        return self._models(work, [2 * v for v in noise.groups], 2 * noise.typical)

    def _between(self, i: int) -> DenseBetween | TreeBetween:
        return self._once(
            'between',
            i,
            lambda i: self._elimination(i).between(self._weighted_by_noise(self._work(i), self.noise)),
        )

    @cached_property
    def shared(self) -> Tensor:
        """Return the shared unknowns' covariance."""
        return self._shared(self._between)

    @cached_property
    def shared_ridge(self) -> Tensor:
        """Return what was added to the diagonal, between two inverses: the shared unknowns' part."""
        return self._shared(lambda i: self._elimination(i).between_ridge())

    def _shared(self, of_block: Callable[[int], DenseBetween | TreeBetween]) -> Tensor:
        if not self.layout.n_shared:
            return self.common
        schur = self.processes.sum(summed(of_block(i).schur for i in range(len(self.rows))))
        return self.common @ schur @ self.common

    @cached_property
    def _any_unknown(self) -> bool:
        """Whether any process has an unknown that nothing tells of."""
        result = any(bool(self._unknown(i).any()) for i in range(len(self.rows)))
        return float(self.processes.sum(torch.tensor(float(result)))) > 0

    @cached_property
    def _unknown_shared(self) -> Tensor:
        """Report on which shared unknowns nothing tells in any frame."""
        n, blocks = self.layout.n_own, range(len(self.rows))
        ridge = self.processes.sum(summed(self._elimination(i).ridge[:, n:].sum(0) for i in blocks))
        return ridge * self.common.diagonal() > NOT_KNOWN

    def _unknown(self, i: int) -> Tensor:
        return self._lost(self._elimination(i))

    def _lost(self, elimination: DenseElimination | TreeElimination) -> Tensor:
        own = elimination.ridge * elimination.diagonal(self.common) > NOT_KNOWN
        shared = self._unknown_shared.expand(len(own), -1)
        return torch.cat((own[:, : self.layout.n_own], shared), 1)

    def _result(self, i: int) -> tuple[Tensor, Tensor]:
        """Return the variances of a block's unknowns, and its points' covariances."""
        common, shared = self.common, self.shared
        between = self._between(i)
        variances = between.diagonal(common, shared).clamp_min(0)
        points = between.points(self.names, common, shared)
        work = self._work(i)
        alone = only_camera(work.part, work.statements)
        if alone is not None and bool(alone[0].any()):
            points[alone[0]] += depth_ambiguity(work.part, alone[1], self.names)[alone[0]]
        if self._any_unknown:
            elimination = self._elimination(i)
            variances = torch.where(self._unknown(i), torch.inf, variances)
            added = elimination.between_ridge().points(self.names, common, self.shared_ridge)
            whole = elimination.points(self.names, common)
            points = without(points, _diagonal(added) > NOT_KNOWN * _diagonal(whole))
        return (
            (variances, points) if self.known is None else self._with_shared(i, self.known, variances, points)
        )

    def _with_shared(
        self, i: int, known: SharedUncertainty, variances: Tensor, points: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Add what the uncertainty of what is shared and held makes of unknowns and points that follow it."""
        elimination = self._elimination(i)
        follow = elimination.follow(self._whole_layout, self._models(self._work(i), self.slopes))
        moved = follow.points(self.names)
        widened, points = (
            variances + _carried(follow.unknowns, known.covariance),
            points + moved @ (known.covariance @ moved.mT),
        )
        if bool(known.unknown.any()):
            whole, added = (_carried(follow.unknowns, x) for x in (known.inverse, known.added))
            widened = torch.where(added > NOT_KNOWN * whole.clamp_min(1e-300), torch.inf, widened)
            whole, added = (_carried(moved, x) for x in (known.inverse, known.added))
            points = without(points, added > NOT_KNOWN * whole.clamp_min(1e-300))
        own = torch.where(known.unknown, torch.inf, _diagonal(known.covariance))
        return torch.cat((widened, own.expand(len(widened), -1)), 1), points

    @property
    def _whole_layout(self) -> VariableLayout:
        """Return the layout with what is shared and held."""
        return self.layout if self.known is None else replace(self.layout, shared=self.known.names)

    def _whole(self, i: int) -> Tensor:
        work = self._evaluated(i)
        models = self._models(work, self.slopes)
        elimination = DenseElimination.of(work.block, work.part, models)
        result = elimination.between(self._weighted_by_noise(work, self.noise)).whole(
            self.common, self.shared
        )
        lost = self._lost(elimination)
        if self.known is None:
            return without(result, lost)
        across = elimination.follow(self._whole_layout, models).across
        result = torch.nn.functional.pad(result, (0, across.shape[2]) * 2)
        lost = torch.cat((lost, self.known.unknown.expand(len(lost), -1)), 1)
        return without(result + across @ self.known.covariance @ across.mT, lost)


def _observing(task: StageTask, processes: Processes) -> frozenset[str]:
    """Name the handlers that observe something in some frame of some process."""
    given = {t.handler.handler_key: t.related_input for t in task.terms if t.related_input is not None}
    if not given:
        return frozenset()
    flags = torch.tensor([float(item.observed().any()) for item in given.values()])
    return frozenset(key for key, flag in zip(given, processes.sum(flags).tolist()) if flag)


def _carried(rows: Float[Tensor, '*b q'], covariance: Float[Tensor, 'q q']) -> Float[Tensor, '*b']:
    """Return the diagonal of a covariance carried over."""
    return ((rows @ covariance) * rows).sum(-1)


def _diagonal(matrix: Tensor) -> Tensor:
    return matrix.diagonal(dim1=-2, dim2=-1)


def without(matrix: Float[Tensor, '*b n n'], unknown: Bool[Tensor, '*b n']) -> Float[Tensor, '*b n n']:
    """Make variances of what is not known infinite, with no covariance with the rest."""
    either = unknown.unsqueeze(-1) | unknown.unsqueeze(-2)
    matrix = matrix.masked_fill(either, 0.0)
    _diagonal(matrix).masked_fill_(unknown, torch.inf)
    return matrix


def _columns(body: SMIL, layout: VariableLayout) -> tuple[str, ...]:
    names = body.joint_names
    result = [f'{names[j]}.turn_{axis}' for j in layout.free.tolist() for axis in 'xyz']
    result += [f'transl_{axis}' for axis in 'xyz'] if layout.transl else []
    for name, size in layout.extras:
        # Columns of cameras that stay are not there: the numbers are those of all cameras.
        numbers = [6 * c + i for c in layout.cameras for i in range(6)] if name == 'cameras' else range(size)
        result += [f'{name}[{i}]' for i in numbers]
    return tuple(result)
