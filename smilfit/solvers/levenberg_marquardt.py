"""Levenberg-Marquardt on many frames at once, each with its own damping, acceptance and end."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from smilfit.geometry.damping import DAMPING, DampingPolicy, accepted, ended, next_damping
from smilfit.registry import SOLVERS
from smilfit.solvers.base import SolverResult, StepCallback, StopReason
from smilfit.solvers.processes import Processes

Own = TypeVar('Own', bound='Point')


@runtime_checkable
class Point(Protocol):
    """The variables of all frames, by frame."""

    def take(self: Own, index: Int[Tensor, ' n'], /) -> Own:
        """Return some frames."""

    def put(self: Own, index: Int[Tensor, ' n'], part: Own, /) -> Own:
        """Replace some frames."""

    def where(self: Own, mask: Bool[Tensor, ' B'], other: Own, /) -> Own:
        """Take the other's frames where the mask holds."""


@runtime_checkable
class Evaluation(Protocol):
    """What a problem knows at a point."""

    @property
    def point(self) -> Any:
        """Where it is: a `Point`."""

    @property
    def energy(self) -> Float[Tensor, ' B']:
        """By frame."""


@runtime_checkable
class Step(Protocol):
    """A damped step."""

    @property
    def predicted_reduction(self) -> Float[Tensor, ' B']:
        """Of the energy, by the quadratic model."""


@runtime_checkable
class LeastSquares(Protocol):
    """What the solver needs of a problem. Points, evaluations and steps are the problem's own.

    Processes that share a problem go through all steps together: each waits for those that still have frames.
    """

    coupled: bool
    processes: Processes

    def evaluate(self, point: Any, robust_scale: float = 1.0) -> Evaluation:
        """Compute the energies; robust scales are widened by a factor."""

    def step(self, at: Any, damping: Float[Tensor, ' B'], n_together: int | None = None) -> Step:
        """Solve the damped system; `n_together` frames are still worked on in all processes."""

    def moved(self, at: Any, step: Any) -> Point:
        """Return the point after a step."""

    def take(self, index: Int[Tensor, ' n']) -> 'LeastSquares':
        """Return the problem of some frames alone; only asked of one that is not coupled."""

    def total(self, values: Tensor) -> Tensor:
        """Sum over the frames that hang together: those of all processes, or of this one."""


@dataclass(frozen=True)
class FrameStatus:
    """How each frame ended."""

    converged: Bool[Tensor, ' B']
    n_iter: Int[Tensor, ' B']


class SecondOrderSolver(ABC):
    """Minimises sums of squares frame by frame, by the steps that a `LeastSquares` problem solves for."""

    # Whether the fused kernel may run in the place of `minimise`, with the same policy of damping and ending.
    may_use_kernel: bool = False
    # Whether the result carries the covariance of parameters and keypoints.
    covariance: bool = False

    @abstractmethod
    def minimise(
        self,
        problem: LeastSquares,
        point: Own,
        n_iter: int,
        ftol: float,
        on_step: StepCallback | None = None,
        robust: bool = False,
    ) -> tuple[Own, FrameStatus, SolverResult]:
        """Minimise.

        Args:
            problem: gives energies by frame (`evaluate`), damped steps (`step`) and the points they lead to
                (`moved`).
            point: where to start.
            n_iter: most steps.
            ftol: relative decrease of a frame's energy in one accepted step below which it has converged.
            on_step: called after every step with its number and the energy; True stops.
            robust: whether the problem has losses whose width can be widened (`evaluate(point, widening)`).

        Returns:
            The best point, how every frame ended, and how it went.
        """


BACKENDS = ('auto', 'torch', 'warp')
# Factors on robust scales in the first steps (graduated non-convexity).
GNC_SCHEDULE = (4.0, 2.0)
# Frames are dropped from the working set when this share of them has finished.
COMPACT_AT = 0.3
# The working set has at least so many: of a single row libraries round otherwise, and what a frame comes to must not
# depend on which others are left, or are in this process.
LEAST_ROWS = 2
# Where processes stop for different reasons, the first of these stands for all.
PRECEDENCE = (
    StopReason.CALLBACK,
    StopReason.MAX_STEPS,
    StopReason.CONVERGED,
    StopReason.STALLED,
    StopReason.NON_FINITE,
    StopReason.NOTHING_TO_FIT,
)


@SOLVERS.register_module()
class LevenbergMarquardt(SecondOrderSolver):
    """Damped Gauss-Newton for sums of squares (Marquardt 1963), damped by the policy of `damping.py`.

    Frames that do not depend on each other are accepted, damped and ended one by one: a finished frame costs
    nothing, and a bad one harms no other. Robust losses are reweighted (iteratively reweighted least squares) and
    their scales begin wide and shrink, so that outliers are survived (graduated non-convexity).

    Args:
        backend: `'auto'`: the fused kernel where it takes all terms, else `'torch'`, dense equations; `'warp'`: the
            kernel, or an error that names the term it cannot take.
        damping: of the first step, relative to the curvature.
        gnc_schedule: factors on the scales of robust losses, one for each of the first steps; empty for none.
            Without a robust loss they are left out. (4, 2) is best on the whole from the rigid start: over three
            animals in 3D and four views, 0-40 % random outliers leave 95.0 % of frames within 1.5 times the error
            of a fit without them (none 86.6, (4,) 93.7, (16, 8, 4, 2) 92.8), 5-30 % exchanged left and right points
            81.8 % (76.7, 82.4, 77.0). Wider ones follow what is wrong; they are better from a far start.
        covariance: whether the result carries the Gauss-Newton covariance of parameters and keypoints.
    """

    def __init__(
        self,
        backend: str = 'auto',
        damping: float = DAMPING.start,
        gnc_schedule: tuple[float, ...] = GNC_SCHEDULE,
        covariance: bool = False,
    ) -> None:
        if backend not in BACKENDS:
            raise ValueError(f'LevenbergMarquardt: backend must be one of {BACKENDS}; got {backend!r}.')
        if damping <= 0:
            raise ValueError(f'LevenbergMarquardt: damping must be positive; got {damping}.')
        if any(factor < 1 for factor in gnc_schedule):
            raise ValueError(
                f'LevenbergMarquardt: gnc_schedule must hold factors of 1 or more; got {gnc_schedule}.'
            )
        self.backend, self.policy = backend, replace(DAMPING, start=damping)
        self.gnc_schedule, self.covariance = tuple(gnc_schedule), covariance
        self.may_use_kernel = backend in ('auto', 'warp')

    def minimise(
        self,
        problem: LeastSquares,
        point: Own,
        n_iter: int,
        ftol: float,
        on_step: StepCallback | None = None,
        robust: bool = False,
    ) -> tuple[Own, FrameStatus, SolverResult]:
        """Minimise the sum of squares of a problem.

        Args:
            problem: the problem.
            point: where to start.
            n_iter: most steps.
            ftol: relative decrease of a frame's energy in one accepted step below which it has converged.
            on_step: called after every step with its number and the sum of the energies, over this process's
                frames where they do not depend on each other.
            robust: whether the problem has losses whose scale can be widened.

        Returns:
            The best point and how every frame ended, of this process; and how it went in all processes.

        Raises:
            FloatingPointError: no frame's energy is finite at the start.
        """
        run = _Run(self, problem, point, robust)
        reason = run.go(n_iter, ftol, on_step)
        return run.point, FrameStatus(run.converged, run.n_iter), run.result(reason)


class _Run(Generic[Own]):
    """One minimisation: the working set of frames and what is known of all of them."""

    def __init__(self, solver: LevenbergMarquardt, problem: LeastSquares, point: Own, robust: bool) -> None:
        self.policy: DampingPolicy = solver.policy
        self.problem = self.whole = problem
        self.point = point
        self.scales = list(solver.gnc_schedule) if robust else []
        at = problem.evaluate(point, self._scale(0))
        self.evaluations = 1
        energy = problem.evaluate(point).energy if self.scales else at.energy
        count = len(energy)
        device = energy.device
        self.n_frames = int(self._everywhere(torch.ones_like(energy)))
        if self.n_frames and not self._everywhere(energy.isfinite()):
            raise FloatingPointError(
                'LevenbergMarquardt: the energy must be finite where the fit starts; it is so in no frame. '
                'A parameter has run away: look for a scale next to 0 or a place far from the cameras.'
            )
        self.start = self._everywhere(energy)
        self.at = at
        self.rows = torch.arange(count, device=device)
        self.active = at.energy.isfinite()
        self.n_not_finite = int(self._everywhere(~(self.active & energy.isfinite())))
        self.damping = torch.full_like(at.energy, solver.policy.start)
        self.growth = torch.full_like(at.energy, solver.policy.rejected)
        self.converged = torch.zeros(count, dtype=torch.bool, device=device)
        self.n_iter = torch.zeros(count, dtype=torch.long, device=device)
        self.rejected = torch.zeros(count, dtype=torch.long, device=device)
        self.energies = energy.clone()
        self.steps = 0

    def _scale(self, step: int) -> float:
        return self.scales[step] if step < len(self.scales) else 1.0

    def go(self, n_iter: int, ftol: float, on_step: StepCallback | None) -> StopReason:
        """Step until all frames have converged."""
        if not self.n_frames:
            return StopReason.NOTHING_TO_FIT
        n_left = int(self._everywhere(self.active))
        while self.steps < n_iter + len(self.scales):
            if self.problem.coupled or bool(self.active.any()):
                self._step(ftol, n_left)
            self.steps += 1
            stop = on_step is not None and bool(on_step(self.steps, self._known()))
            # What is done next must be the same in all processes; one that went on alone would wait for ever.
            finite = self.energies.isfinite()
            flags = (self.active.new_tensor([stop]), self.active, self.converged, finite)
            n_stops, n_left, n_converged, n_finite = self._counted(flags)
            if n_stops:
                self._keep()
                return StopReason.CALLBACK
            if not n_left:
                self._keep()
                if n_converged:
                    return StopReason.CONVERGED
                return StopReason.STALLED if n_finite else StopReason.NON_FINITE
            self._compact()
        self._keep()
        return StopReason.MAX_STEPS

    def _step(self, ftol: float, n_left: int) -> None:
        scale, following = self._scale(self.steps), self._scale(self.steps + 1)
        step = self.problem.step(self.at, self.damping, n_left)
        trial = self.problem.evaluate(self.problem.moved(self.at, step), scale)
        self.evaluations += 1
        actual = self.at.energy - trial.energy
        accept = self._accepted(actual, trial.energy)
        ends = self._judge(accept, actual, step.predicted_reduction, ftol)
        converged, stalled = (x & (scale == 1.0) & self.active for x in ends)
        self.n_iter[self.rows[self.active]] += 1
        self.rejected[self.rows[self.active & ~accept]] += 1
        self._advance(accept, trial, following if following != scale else None)
        self.converged[self.rows[converged]] = True
        self.active &= ~(converged | stalled)
        self.energies[self.rows] = torch.where(
            self.at.energy.isfinite(), self.at.energy, self.energies[self.rows]
        )

    def _accepted(self, actual: Tensor, energy: Tensor) -> Tensor:
        if not self.problem.coupled:
            return accepted(actual, energy, self.active)
        finite = bool(self.problem.total((~energy.isfinite()).double()) == 0)
        return torch.full_like(self.active, finite and float(self.problem.total(actual)) >= 0)

    def _judge(self, accept: Tensor, actual: Tensor, predicted: Tensor, ftol: float) -> tuple[Tensor, Tensor]:
        """Set the damping of the next step; say which frames have converged and which have stalled."""
        energy, damping = self.at.energy, self.damping
        quality = actual / predicted.clamp_min(1e-30)
        if not self.problem.coupled:
            self.damping, self.growth = next_damping(self.policy, damping, self.growth, accept, quality)
            return ended(self.policy, energy, damping, self.damping, accept, actual, predicted, ftol)
        rose = actual < 0
        count = self.problem.total(torch.ones_like(damping))
        energy, actual, predicted = (self.problem.total(x).expand_as(x) for x in (energy, actual, predicted))
        quality = actual / predicted.clamp_min(1e-30)
        following, growth = next_damping(self.policy, damping, self.growth, accept, quality)
        # A frame that gave way to others, or would have gained, is not to blame.
        held = accept == rose
        self.damping = torch.where(held, damping, following)
        self.growth = torch.where(held, self.growth, growth)
        mean, following = (
            (self.problem.total(x.log()) / count).exp().expand_as(x) for x in (damping, self.damping)
        )
        return ended(self.policy, energy, mean, following, accept, actual, predicted, ftol)

    def _advance(self, accept: Tensor, trial: Evaluation, new_scale: float | None) -> None:
        if bool(accept.all()) and new_scale is None:
            self.at = trial
            return
        point = trial.point if bool(accept.all()) else self.at.point
        if bool(accept.any()) and not bool(accept.all()):
            point = self.at.point.where(accept, trial.point)
        if new_scale is None and not bool(accept.any()):
            return
        self.at = self.problem.evaluate(point, new_scale or self._scale(self.steps))
        self.evaluations += 1
        self.active &= self.at.energy.isfinite()

    def _compact(self) -> None:
        """Go on with the frames that are not done."""
        if self.problem.coupled or float((~self.active).float().mean()) < COMPACT_AT:
            return
        if len(self.rows) <= LEAST_ROWS:
            return
        self._keep()
        # Finished frames fill up what would be too few.
        first = torch.argsort(self.active, descending=True, stable=True)
        keep = first[: max(LEAST_ROWS, int(self.active.sum()))].sort().values
        self.rows, self.active = self.rows[keep], self.active[keep]
        self.damping, self.growth = self.damping[keep], self.growth[keep]
        self.problem = self.problem.take(keep)
        self.at = self.problem.evaluate(self.at.point.take(keep), self._scale(self.steps))

    def _keep(self) -> None:
        """Write the working set's frames back."""
        self.point = self.point.put(self.rows, self.at.point)

    def _known(self) -> float:
        return float(self.whole.total(_finite(self.energies)))

    def _counted(self, flags: Sequence[Bool[Tensor, ' _']]) -> list[int]:
        """Count what is true in all processes."""
        counts = torch.stack([x.sum() for x in flags]).double()
        return [int(x) for x in self.whole.processes.sum(counts).tolist()]

    def _everywhere(self, values: Tensor) -> float:
        return float(self.whole.processes.sum(_finite(values.double()).sum()))

    def result(self, reason: StopReason) -> SolverResult:
        """Join the results of all processes."""
        counts = torch.tensor([[self.steps, self.evaluations, PRECEDENCE.index(reason)]])
        counts = self.whole.processes.gather(counts)
        steps, evaluations, _ = counts.amax(0).tolist()
        first = PRECEDENCE[int(counts[:, 2].min())]
        rejected = int(self._everywhere(self.rejected))
        end = self._everywhere(self.energies)
        return SolverResult(self.start, end, steps, evaluations, rejected, first, self.n_not_finite)


def _finite(energies: Tensor) -> Tensor:
    return energies.nan_to_num(0.0, 0.0, 0.0)
