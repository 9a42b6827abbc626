"""Levenberg-Marquardt on many frames at once, each with its own damping, acceptance and end."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from smilfit.registry import SOLVERS
from smilfit.solvers.base import SolverResult, StepCallback, StopReason
from smilfit.solvers.least_squares import FrameStatus, LeastSquares
from smilfit.solvers.second_order import SecondOrderSolver

BACKENDS = ('auto', 'torch', 'dense', 'warp')
# Limits of the damping, relative to the curvature.
LEAST_DAMPING, MOST_DAMPING = 1e-9, 1e9
# A step whose damping is above this is too timid for its small gain to mean convergence.
TIMID = 1e-1
# A promised decrease of fewer last digits of the energy than these is rounding.
DIGITS = 8.0
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
    StopReason.NON_FINITE,
    StopReason.NOTHING_TO_FIT,
)


@SOLVERS.register_module()
class LevenbergMarquardt(SecondOrderSolver):
    """Damped Gauss-Newton for sums of squares (Marquardt 1963; damping by Nielsen 1999).

    Frames that do not depend on each other are accepted, damped and ended one by one: a finished frame costs
    nothing, and a bad one harms no other. Robust losses are reweighted (iteratively reweighted least squares) and
    their scales begin wide and shrink, so that outliers are survived (graduated non-convexity).

    Args:
        backend: `'auto'`: the fused kernel where it takes all terms, else `'torch'` (dense equations, or `'dense'`);
            `'warp'`: the kernel, or an error that names the term it cannot take.
        damping: to start with, relative to the curvature.
        graduation: factors on the scales of robust losses for the first steps; empty for none. Without a
            robust loss they are left out.
        covariance: whether the result carries the Gauss-Newton covariance of parameters and keypoints.
    """

    def __init__(
        self,
        backend: str = 'auto',
        damping: float = 1e-2,
        graduation: tuple[float, ...] = (16.0, 8.0, 4.0, 2.0),
        covariance: bool = False,
    ) -> None:
        if backend not in BACKENDS:
            raise ValueError(f'LevenbergMarquardt: backend must be one of {BACKENDS}; got {backend!r}.')
        if damping <= 0:
            raise ValueError(f'LevenbergMarquardt: damping must be positive; got {damping}.')
        if any(factor < 1 for factor in graduation):
            raise ValueError(
                f'LevenbergMarquardt: graduation must hold factors of 1 or more; got {graduation}.'
            )
        self.backend, self.damping = backend, damping
        self.graduation, self.covariance = tuple(graduation), covariance

    @property
    def may_use_kernel(self) -> bool:
        """Whether the fused kernel may run in the place of `minimise`."""
        return self.backend in ('auto', 'warp')

    def minimise(
        self,
        problem: LeastSquares,
        point: Any,
        n_iter: int,
        ftol: float,
        on_step: StepCallback | None = None,
        robust: bool = False,
    ) -> tuple[Any, FrameStatus, SolverResult]:
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


class _Run:
    """One minimisation: the working set of frames and what is known of all of them."""

    def __init__(self, solver: LevenbergMarquardt, problem: LeastSquares, point: Any, robust: bool) -> None:
        self.solver, self.problem, self.whole = solver, problem, problem
        self.point, self.working = point, point
        self.scales = list(solver.graduation) if robust else []
        at = problem.evaluate(point, self._scale(0))
        self.evaluations = 1
        energy = problem.evaluate(point).energy if self.scales else at.energy
        count = len(energy)
        device = energy.device
        self.n_frames = int(self._everywhere(torch.ones_like(energy)))
        if self.n_frames and not self._everywhere(energy.isfinite()):
            raise FloatingPointError(
                'LevenbergMarquardt: the energy must be finite where the fit starts; it is so in no frame. '
                'Check the initial parameters and the units of the inputs.'
            )
        self.start = self._everywhere(energy)
        self.at = at
        self.rows = torch.arange(count, device=device)
        self.active = at.energy.isfinite()
        self.damping = torch.full_like(at.energy, solver.damping)
        self.growth = torch.full_like(at.energy, 2.0)
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
            said = (self.active.new_tensor([stop]), self.active, self.converged)
            n_stops, n_left, n_converged = self._counted(said)
            if n_stops:
                self._keep()
                return StopReason.CALLBACK
            if not n_left:
                self._keep()
                return StopReason.CONVERGED if n_converged else StopReason.NON_FINITE
            self._compact()
        self._keep()
        return StopReason.MAX_STEPS

    def _step(self, ftol: float, n_left: int) -> None:
        scale, following = self._scale(self.steps), self._scale(self.steps + 1)
        step = self.problem.step(self.at, self.damping, n_left)
        trial = self.problem.evaluate(self.problem.moved(self.at, step), scale)
        self.evaluations += 1
        gain = self.at.energy - trial.energy
        accept = self._accepted(gain, trial.energy)
        self._adapt(accept, gain, step.predicted_reduction)
        settled = self._settled(accept, gain, step.predicted_reduction, ftol) & (scale == 1.0)
        self.n_iter[self.rows[self.active]] += 1
        self.rejected[self.rows[self.active & ~accept]] += 1
        self._advance(accept, trial, following if following != scale else None)
        self.converged[self.rows[self.active & settled]] = True
        self.active &= ~settled
        self.energies[self.rows] = torch.where(
            self.at.energy.isfinite(), self.at.energy, self.energies[self.rows]
        )

    def _accepted(self, gain: Tensor, energy: Tensor) -> Tensor:
        if self.problem.coupled:
            finite = bool(self.problem.total((~energy.isfinite()).double()) == 0)
            good = finite and float(self.problem.total(gain)) >= 0
            return torch.full_like(self.active, good)
        return (gain >= 0) & energy.isfinite() & self.active

    def _adapt(self, accept: Tensor, gain: Tensor, promised: Tensor) -> None:
        """Trust the model more where it kept its promise, less where it did not (Nielsen)."""
        rose = gain < 0
        if self.problem.coupled:
            gain, promised = (self.problem.total(x).expand_as(x) for x in (gain, promised))
        quality = gain / promised.clamp_min(1e-30)

        easier = self.damping * (1 - (2 * quality.clamp(0, 1) - 1) ** 3).clamp_min(0.1)
        harder = self.damping * self.growth
        # Among frames that hang together, those that got worse are to blame.
        held = accept == rose if self.problem.coupled else torch.zeros_like(rose)
        changed = torch.where(accept, easier, harder).clamp(LEAST_DAMPING, MOST_DAMPING)
        self.damping = torch.where(held, self.damping, changed)
        self.growth = torch.where(accept, torch.full_like(self.growth, 2.0), 2 * self.growth)

    def _settled(self, accept: Tensor, gain: Tensor, promised: Tensor, ftol: float) -> Tensor:
        """Say which frames are done: little was gained by a bold step, or nothing is left to gain."""
        energy, damping = self.at.energy, self.damping
        if self.problem.coupled:
            # Frames that hang together end together.
            energy, gain, promised = (self.problem.total(x).expand_as(x) for x in (energy, gain, promised))
            count = self.problem.total(torch.ones_like(damping))
            damping = (self.problem.total(damping) / count).expand_as(damping)
        little = accept & (gain.abs() <= ftol * energy.abs()) & (damping < TIMID)
        nothing = ~accept & (
            (promised <= DIGITS * torch.finfo(energy.dtype).eps * energy.abs()) | (damping >= MOST_DAMPING)
        )
        return little | nothing

    def _advance(self, accept: Tensor, trial: Any, new_scale: float | None) -> None:
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

    def _counted(self, said: Sequence[Bool[Tensor, ' _']]) -> list[int]:
        """Count what is true in all processes."""
        counts = torch.stack([x.sum() for x in said]).double()
        return [int(x) for x in self.whole.processes.sum(counts).tolist()]

    def _everywhere(self, values: Tensor) -> float:
        return float(self.whole.processes.sum(_finite(values.double()).sum()))

    def result(self, reason: StopReason) -> SolverResult:
        """Join what all processes say."""
        counts = torch.tensor([[self.steps, self.evaluations, PRECEDENCE.index(reason)]])
        counts = self.whole.processes.gather(counts)
        steps, evaluations, _ = counts.amax(0).tolist()
        told = PRECEDENCE[int(counts[:, 2].min())]
        rejected = int(self._everywhere(self.rejected))
        return SolverResult(self.start, self._everywhere(self.energies), steps, evaluations, rejected, told)


def _finite(energies: Tensor) -> Tensor:
    return energies.nan_to_num(0.0, 0.0, 0.0)
