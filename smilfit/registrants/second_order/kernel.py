"""Run a stage by the fused kernel."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from smilfit.handlers import BodyState
from smilfit.registrants.second_order.chain import (
    ChainTerms,
    UnsupportedError,
    chain_problem,
    chain_terms,
    coefficients_of,
    solved_params,
)
from smilfit.registrants.second_order.frame_batch import FrameBatch
from smilfit.registrants.second_order.rigid_points import Coefficients
from smilfit.registrants.second_order.tree_problem import TreeProblem, TreeStage
from smilfit.registrants.second_order.variable_layout import VariableLayout
from smilfit.registrants.stage_task import FitState, StageOutcome, StageTask
from smilfit.solvers import (
    ChainProblem,
    ChainSolution,
    LevenbergMarquardt,
    Processes,
    SecondOrderSolver,
    SolverResult,
    StopReason,
    solve_chains,
    warp_available,
)


@dataclass(frozen=True)
class KernelPlan:
    """A stage in the kernel's terms, or the reason why it is not there."""

    terms: ChainTerms | None
    fitted: Coefficients | None
    reason: str | None = None


def not_planned(solver: SecondOrderSolver) -> KernelPlan:
    """Say that a solver does without the kernel."""
    own = not isinstance(solver, LevenbergMarquardt)
    return KernelPlan(None, None, type(solver).__name__ if own else f'backend={solver.backend!r}')


def plan_kernel(
    task: StageTask, layout: VariableLayout, solver: LevenbergMarquardt, start: FitState, state: BodyState
) -> KernelPlan:
    """Look whether the kernel takes a stage; `state` is the body where it starts.

    Raises:
        ImportError: the kernel is asked for and not installed.
        TypeError: it is asked for and cannot take a term, by name.
    """
    if not warp_available():
        if solver.backend == 'warp':
            raise ImportError(
                'LevenbergMarquardt: backend "warp" must be installed; it is not. Run: pip install warp-lang'
            )
        return KernelPlan(None, None, 'a machine without warp-lang')
    try:
        fitted = coefficients_of(task, layout, start.params)
        with torch.no_grad():
            terms = chain_terms(task, layout, state, fitted, with_torch=True)
    except UnsupportedError as reason:
        if solver.backend == 'warp':
            raise TypeError(
                f'LevenbergMarquardt: the back end "warp" cannot take {reason} in {task.stage.name or "this stage"}. '
                'Use backend="auto" or "torch".'
            ) from reason
        return KernelPlan(None, None, str(reason))
    return KernelPlan(terms, fitted)


def run_kernel(
    task: StageTask,
    layout: VariableLayout,
    solver: LevenbergMarquardt,
    start: FitState,
    plan: KernelPlan,
    moving: Mapping[str, bool],
    processes: Processes,
) -> StageOutcome:
    """Fit the parameters of a stage that the kernel takes.

    Frames by themselves whose every term it evaluates are fitted by one launch, and hooks are called once, when it is
    done; of others it solves the steps of the solver's own loop.
    """
    problem = chain_problem(task, layout, start, plan.fitted, plan.terms)
    if plan.terms.apart or layout.n_shared:
        return _run_steps(task, layout, solver, start, plan, moving, processes, problem)
    stage = task.stage
    graduation = solver.gnc_schedule if any(term.robust for term in task.terms) else ()
    n_iter = stage.n_iter + len(graduation)
    with torch.no_grad():
        found = solve_chains(problem, n_iter, stage.ftol, graduation, solver.policy)
    params = solved_params(start.params, found, plan.fitted)
    constant = plan.terms.constant
    result = _result(found, constant, n_iter, processes)
    if task.on_step is not None:
        task.on_step(result.n_steps, result.loss_end)
    energy = found.energy + constant
    return StageOutcome(
        replace(start, params=params), found.converged, result, energy=energy, engine='kernel'
    )


def _run_steps(
    task: StageTask,
    layout: VariableLayout,
    solver: LevenbergMarquardt,
    start: FitState,
    plan: KernelPlan,
    moving: Mapping[str, bool],
    processes: Processes,
    problem: ChainProblem,
) -> StageOutcome:
    stage, terms = task.stage, plan.terms
    apart = replace(task, terms=tuple(terms.apart))
    frames = FrameBatch(apart, layout)
    known = TreeStage(frames, start.params, plan.fitted, moving, terms.constant)
    tree = TreeProblem(problem, known, layout.n_shared > 0, processes)
    robust = any(term.robust for term in task.terms)
    found, status, result = solver.minimise(
        tree, problem.start, stage.n_iter, stage.ftol, task.on_step, robust
    )
    params = solved_params(start.params, found, plan.fitted)
    engine = 'kernel and torch' if terms.apart else 'kernel'
    return StageOutcome(replace(start, params=params), status.converged, result, engine=engine)


def _result(
    found: ChainSolution, constant: Tensor | float, n_iter: int, processes: Processes
) -> SolverResult:
    """Say how it went in all processes: what is done next hangs on it, and must be the same in all of them.

    Frames that took no part, of which nothing is seen in this stage or whose energy is not finite, do not count.
    """
    energies = torch.stack([_finite(e + constant).sum() for e in (found.start_energy, found.energy)])
    unfinished = ((found.iterations > 0) & ~found.converged).sum()
    broken = (~found.start_energy.isfinite()).sum()
    counts = torch.stack((found.converged.sum(), unfinished, broken)).to(energies)
    before, end, n_converged, n_unfinished, n_broken = processes.sum(torch.cat((energies, counts))).tolist()
    steps = int(processes.gather(found.iterations.amax(0, keepdim=True)).max())
    reason = StopReason.CONVERGED if n_converged and not n_unfinished else StopReason.MAX_STEPS
    if reason is StopReason.MAX_STEPS and steps < n_iter and not n_unfinished:
        reason = StopReason.STALLED
    return SolverResult(before, end, steps, steps + 1, 0, reason, int(n_broken))


def _finite(energies: Tensor) -> Tensor:
    return energies.double().nan_to_num(0.0, 0.0, 0.0)
