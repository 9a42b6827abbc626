"""Run one stage of a fit by a solver of second order."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from smilfit.body_models import SMIL, RestShape
from smilfit.handlers import ActiveTerm, BodyState
from smilfit.registrants.second_order.covariance import fit_covariance
from smilfit.registrants.second_order.frame_batch import FrameBatch
from smilfit.registrants.second_order.kernel import KernelPlan, not_planned, plan_kernel, run_kernel
from smilfit.registrants.second_order.problem import BodyProblem
from smilfit.registrants.second_order.slope_check import check_terms
from smilfit.registrants.second_order.variable_layout import VariableLayout
from smilfit.registrants.second_order.variable_state import VariableState
from smilfit.registrants.stage import Stage, fitted_joints
from smilfit.registrants.stage_task import FitState, StageOutcome, StageTask
from smilfit.solvers import Processes, SecondOrderSolver, StopReason, warp_available
from smilfit.structures import PARAMETERS, BodyParams, parameter_names


def run_second_order(
    task: StageTask, solver: SecondOrderSolver, start: FitState, processes: Processes | None = None
) -> StageOutcome:
    """Fit the parameters of a stage.

    Raises:
        TypeError: a term that is not a sum of squares, by name; or a focal length to be fitted.
        ValueError: joint scales of the mode `'inherited'`, under which a joint's turn is no rotation in the world.
    """
    task = replace(task, log_focal=start.log_focal)
    body, stage, params = task.body, task.stage, start.params.as_axis_angle()
    params = params.with_rest(stage.fit, body.sizes)
    further = [n for n in params.further if not PARAMETERS[n].linear]
    if further:
        raise TypeError(
            f'LevenbergMarquardt: {stage.name} must be of parameters whose derivatives are known; got '
            f'{", ".join(further)}. Use optimizer=dict(type="LBFGS").'
        )
    if 'focal' in stage.fit:
        raise TypeError(
            f'LevenbergMarquardt: {stage.name} must not fit the focal length; got fit_focal=True. Use '
            'optimizer=dict(type="LBFGS") or dict(type="Adam") in this stage.'
        )
    fitted = {
        ('log_scale' if name == 'scale' else name): task.share_shape and name in parameter_names(shared=True)
        for name in stage.extras
    }
    _check_scales(body, params, fitted)
    shift, moving = start.camera_shift, None
    if 'cameras' in stage.fit:
        fitted['cameras'] = True
        moving = task.moving_cameras()
        shift = params.transl.new_zeros(len(task.cameras()), 6) if shift is None else shift
    point = VariableState.from_params(params, fitted, shift)
    layout = VariableLayout.of(body, _free(body, stage), 'transl' in stage.fit, fitted, point, moving)
    rest = None if {'betas', 'expression'} & set(fitted) else body.rest_shape(params.betas)
    processes = processes or Processes()
    start = replace(start, params=params, camera_shift=shift)
    frames = FrameBatch(task, layout, rest)
    if solver.may_use_kernel:
        with torch.no_grad():
            state = task.state(start)
        task = with_clip_totals(task, [(task.terms, state)], processes)
        plan = plan_kernel(task, layout, solver, start, state)
    else:
        parts = ((part.terms, part.state) for part in BodyProblem(frames, point.batch_size).posed(point))
        task = with_clip_totals(task, parts, processes)
        plan = not_planned(solver)
    check_terms(replace(frames, task=task), point)
    # A process without the kernel keeps the others from it: all must go the same way.
    if int(processes.sum(torch.tensor(float(plan.reason is None)))) == processes.count:
        outcome = run_kernel(task, layout, solver, start, plan, fitted, processes)
        if _is_finished(outcome, plan):
            return _with_covariance(outcome, task, layout, fitted, solver, processes)
        # Dense equations go on from where its steps were too short, or gained nothing.
        point = VariableState.from_params(outcome.state.params, fitted, shift)
        rest_done = _run_dense(task, layout, None, solver, point, start, processes, ~outcome.converged)
        outcome = _joined(outcome, rest_done)
        return _with_covariance(outcome, task, layout, fitted, solver, processes)
    found = _run_dense(task, layout, rest, solver, point, start, processes)
    return _with_covariance(
        replace(found, engine_reason=plan.reason), task, layout, fitted, solver, processes
    )


def _is_finished(outcome: StageOutcome, plan: KernelPlan) -> bool:
    """Say whether the kernel's end is the end of the stage.

    Of points that hang on several bones it takes a bound for the hessian: where its steps ran out, that may be why.
    """
    reason = outcome.result.reason
    return reason is not StopReason.STALLED and not (plan.terms.loose and reason is StopReason.MAX_STEPS)


def _run_dense(
    task: StageTask,
    layout: VariableLayout,
    rest: RestShape | None,
    solver: SecondOrderSolver,
    point: VariableState,
    start: FitState,
    processes: Processes,
    wanted: Tensor | None = None,
) -> StageOutcome:
    """Solve by dense equations: all frames, or of frames by themselves those that are wanted."""
    stage = task.stage
    problem = BodyProblem(FrameBatch(task, layout, rest), point.batch_size, processes)
    robust = any(term.robust for term in task.terms)
    some, begin, energy = problem, point, None
    in_part = wanted is not None and not problem.coupled and processes.count == 1
    if in_part:
        rows = wanted.nonzero().flatten()
        some, begin = problem.take(rows), point.take(rows)
    end, status, result = solver.minimise(some, begin, stage.n_iter, stage.ftol, task.on_step, robust)
    converged = status.converged
    if in_part:
        end, converged = point.put(rows, end), (~wanted).index_copy(0, rows, converged)
        energy = problem.evaluate(end).energy
    state = FitState(end.params(), end.camera_shift, start.log_focal)
    engine = 'banded' if problem.moving else 'dense'
    return StageOutcome(state, converged, result, energy=energy, engine=engine)


def _joined(first: StageOutcome, then: StageOutcome) -> StageOutcome:
    """Give the outcome of two engines, one after the other; the second may have worked on what the first left."""
    a, b = first.result, then.result
    end = b.loss_end
    if then.energy is not None:
        end = float(then.energy.double().nan_to_num(0.0, 0.0, 0.0).sum())
    steps, evaluations = a.n_steps + b.n_steps, a.n_evaluations + b.n_evaluations
    result = replace(b, loss_start=a.loss_start, loss_end=end, n_steps=steps, n_evaluations=evaluations)
    result = replace(result, n_not_finite=max(a.n_not_finite, b.n_not_finite))
    return replace(then, result=result, engine=f'{first.engine}, then {then.engine}')


def _with_covariance(
    outcome: StageOutcome,
    task: StageTask,
    layout: VariableLayout,
    fitted: Mapping[str, bool],
    solver: SecondOrderSolver,
    processes: Processes,
) -> StageOutcome:
    """Compute the covariance where a stage ended, if it is asked for, whatever it ran on."""
    if not solver.covariance:
        return outcome
    point = VariableState.from_params(outcome.state.params, fitted, outcome.state.camera_shift)
    known = None if layout.shared or task.doubt is None else task.doubt.to(point.transl)
    problem = BodyProblem(FrameBatch(task, layout), point.batch_size, processes)
    kernel = solver.may_use_kernel and warp_available()
    return replace(outcome, covariance=fit_covariance(problem, point, known, kernel))


def with_clip_totals(
    task: StageTask, parts: Iterable[tuple[tuple[ActiveTerm, ...], BodyState]], processes: Processes
) -> StageTask:
    """Hold what means divide by at its value for all frames of all processes.

    A term must weigh the same whether a solver looks at all frames, at a block of them, or at those that are left.
    Totals that are held already, those of a longer clip, stay.

    Args:
        task: the stage.
        parts: terms and bodies, block by block.
        processes: those that hold other frames.
    """
    if all(term.kind != 'mean' or term.totals is not None for term in task.terms):
        return task
    sums: list[list[Tensor]] = [[] for _ in task.terms]
    with torch.no_grad():
        for terms, state in parts:
            for found, term in zip(sums, terms):
                totals = [item.total() for item in term.stated(state)]
                found[:] = [a + b for a, b in zip(found, totals)] if found else totals
    flat = processes.sum(torch.stack([total for found in sums for total in found]))
    every = iter(flat.unbind(0))
    terms = (replace(t, totals=tuple(next(every) for _ in found)) for t, found in zip(task.terms, sums))
    return replace(task, terms=tuple(terms))


def _free(body: SMIL, stage: Stage) -> list[int]:
    allowed = fitted_joints(stage, body.data)
    turning = range(1, body.n_joints) if allowed is None else [j for j in allowed if j > 0]
    root = [0] if 'global_orient' in stage.fit else []
    return [*root, *(turning if stage.turns else ())]


def _check_scales(body: SMIL, params: BodyParams, fitted: Mapping[str, bool]) -> None:
    scaled = params.log_joint_scales is not None or 'log_joint_scales' in fitted or body.scaledirs is not None
    if scaled and body.joint_scale_mode == 'inherited':
        raise ValueError(
            f'LevenbergMarquardt: joint scales must be of the mode "local"; {body.data.name} has "inherited". '
            'Use optimizer=dict(type="LBFGS"), or joint_scale_mode="local".'
        )
