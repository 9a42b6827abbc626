"""Run one stage of a fit by a solver of second order."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.registrants.second_order.block import FrameBlock
from smilfit.registrants.second_order.covariance import fit_covariance
from smilfit.registrants.second_order.kernel import plan_kernel, run_kernel
from smilfit.registrants.second_order.layout import Layout
from smilfit.registrants.second_order.point import BodyPoint
from smilfit.registrants.second_order.problem import BodyProblem
from smilfit.registrants.stage import Stage, fitted_joints
from smilfit.registrants.stage_task import FitState, StageOutcome, StageTask
from smilfit.solvers import Processes, SecondOrderSolver, StopReason
from smilfit.structures import BodyParams, parameter_names


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
    if params.further:
        raise TypeError(
            f'LevenbergMarquardt: {stage.name} must be of parameters whose derivatives are known; got '
            f'{", ".join(params.further)}. Use optimizer=dict(type="LBFGS").'
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
    shift = start.camera_shift
    if 'cameras' in stage.fit:
        fitted['cameras'] = True
        shift = params.transl.new_zeros(len(task.cameras()), 6) if shift is None else shift
    point = BodyPoint.from_params(params, fitted, shift)
    layout = Layout.of(body, _free(body, stage), 'transl' in stage.fit, fitted, point)
    rest = None if {'betas', 'expression'} & set(fitted) else body.rest_shape(params.betas)
    processes = processes or Processes()
    task = with_clip_totals(task, FrameBlock(task, layout, rest), point, processes)
    start = replace(start, params=params)
    plan = plan_kernel(task, layout, solver, start)
    # A process without the kernel keeps the others from it: all must go the same way.
    if int(processes.sum(torch.tensor(float(plan.reason is None)))) == processes.count:
        outcome = run_kernel(task, layout, solver, start, plan, fitted, processes)
        if outcome.result.reason is not StopReason.STALLED:
            return _with_covariance(outcome, task, layout, fitted, solver, processes)
        # Its last steps gained nothing, short of what was asked: dense equations go on from there.
        start, plan = outcome.state, replace(plan, reason='steps that gain nothing')
        point = BodyPoint.from_params(start.params, fitted, shift)
    problem = BodyProblem(FrameBlock(task, layout, rest), params.batch_size, processes)
    robust = any(term.robust for term in task.terms)
    point, status, result = solver.minimise(problem, point, stage.n_iter, stage.ftol, task.on_step, robust)
    covariance = fit_covariance(problem, point) if solver.covariance else None
    end = FitState(point.params(), point.camera_shift, start.log_focal)
    engine = 'banded' if problem.moving else 'dense'
    return StageOutcome(
        end, status.converged, result, covariance, engine=engine, engine_reason=plan.reason
    )


def _with_covariance(
    outcome: StageOutcome,
    task: StageTask,
    layout: Layout,
    fitted: Mapping[str, bool],
    solver: SecondOrderSolver,
    processes: Processes,
) -> StageOutcome:
    """Compute the covariance where the kernel ended, if it is asked for."""
    if not solver.covariance:
        return outcome
    point = BodyPoint.from_params(outcome.state.params, fitted, outcome.state.camera_shift)
    problem = BodyProblem(FrameBlock(task, layout), point.batch_size, processes)
    return replace(outcome, covariance=fit_covariance(problem, point))


def with_clip_totals(
    task: StageTask, frames: FrameBlock, point: BodyPoint, processes: Processes
) -> StageTask:
    """Hold what means divide by at its value for all frames of all processes.

    A term must weigh the same whether a solver looks at all frames, at a block of them, or at those that are left.
    Totals that are held already, those of a longer clip, stay.
    """
    if all(term.kind != 'mean' or term.totals is not None for term in task.terms):
        return task
    sums: list[list[Tensor]] = [[] for _ in task.terms]
    with torch.no_grad():
        for part in BodyProblem(frames, point.batch_size, processes).posed(point):
            for found, term in zip(sums, part.terms):
                totals = [item.total() for item in term.stated(part.state)]
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
