"""Run a stage by the fused kernel."""

from dataclasses import replace

import torch
from torch import Tensor

from smilfit.registrants.second_order.chain import chain_problem, solved_params, unsupported_reason
from smilfit.registrants.second_order.layout import Layout
from smilfit.registrants.stage_task import FitState, StageOutcome, StageTask
from smilfit.solvers import (
    ChainSolution,
    LevenbergMarquardt,
    Processes,
    SolverResult,
    StopReason,
    solve_chains,
    solve_shared_chains,
    warp_available,
)


def kernel_takes(task: StageTask, layout: Layout, start: FitState, backend: str) -> bool:
    """Decide whether the kernel runs a stage.

    Raises:
        ImportError: the kernel is asked for and not installed.
        TypeError: it is asked for and cannot take a term, by name.
    """
    if backend not in ('auto', 'warp') or (backend == 'auto' and not warp_available()):
        return False
    if not warp_available():
        raise ImportError(
            'LevenbergMarquardt: backend "warp" must be installed; it is not. Run: pip install warp-lang'
        )
    obstacle = unsupported_reason(task, layout, start.params)
    if obstacle is not None and backend == 'warp':
        raise TypeError(
            f'LevenbergMarquardt: the back end "warp" cannot take {obstacle} in {task.stage.name or "this stage"}. '
            'Use backend="auto" or "torch".'
        )
    return obstacle is None


def run_kernel(
    task: StageTask, layout: Layout, solver: LevenbergMarquardt, start: FitState, processes: Processes
) -> StageOutcome:
    """Fit the parameters of a stage that the kernel takes; hooks are called once, when it is done."""
    stage, robust = task.stage, any(getattr(t.handler.loss, 'sigma', None) is not None for t in task.terms)
    graduation = solver.graduation if robust else ()
    problem = chain_problem(task, layout, replace(start, params=start.params.as_axis_angle()))
    options = {'n_iter': stage.n_iter + len(graduation), 'ftol': stage.ftol, 'graduation': graduation}
    with torch.no_grad():
        if layout.n_shared:
            found = solve_shared_chains(problem, **options, processes=processes, damping=solver.policy.start)
        else:
            found = solve_chains(problem, **options, policy=solver.policy)
    params = solved_params(start.params, found)
    result = _result(found, options['n_iter'], bool(layout.n_shared), processes)
    if task.on_step is not None:
        task.on_step(result.n_steps, result.loss_end)
    return StageOutcome(replace(start, params=params), found.converged, result, energy=found.energy)


def _result(found: ChainSolution, n_iter: int, shared: bool, processes: Processes) -> SolverResult:
    """Say how it went in all processes: what is done next hangs on it, and must be the same in all of them.

    Frames that took no part, of which nothing is seen in this stage or whose energy is not finite, do not count.
    """
    energies = torch.stack([_finite(e).sum() for e in (found.start_energy, found.energy)])
    unfinished = ((found.iterations > 0) & ~found.converged).sum()
    counts = torch.stack((found.converged.sum(), unfinished)).to(energies)
    before, end, n_converged, n_unfinished = processes.sum(torch.cat((energies, counts))).tolist()
    steps = int(processes.gather(found.iterations.amax(0, keepdim=True)).max())
    reason = StopReason.CONVERGED if n_converged and not n_unfinished else StopReason.MAX_STEPS
    if reason is StopReason.MAX_STEPS and steps < n_iter and (shared or not n_unfinished):
        reason = StopReason.STALLED
    return SolverResult(before, end, steps, steps + 1, 0, reason)


def _finite(energies: Tensor) -> Tensor:
    return energies.double().nan_to_num(0.0, 0.0, 0.0)
