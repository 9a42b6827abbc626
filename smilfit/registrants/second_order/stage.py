"""Run one stage of a fit by Levenberg-Marquardt."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace

import torch

from smilfit.body_models import SMIL
from smilfit.registrants.second_order.block import FrameBlock
from smilfit.registrants.second_order.covariance import fit_covariance
from smilfit.registrants.second_order.kernel import kernel_takes, run_kernel
from smilfit.registrants.second_order.layout import Layout
from smilfit.registrants.second_order.means import whole_means
from smilfit.registrants.second_order.point import BodyPoint
from smilfit.registrants.second_order.problem import BodyProblem
from smilfit.registrants.stage import Stage, fitted_joints
from smilfit.registrants.stage_task import ActiveTerm, FitState, StageOutcome, StageTask
from smilfit.solvers import LevenbergMarquardt, Processes, StopReason
from smilfit.structures import BodyParams, parameter_names


def run_second_order(
    task: StageTask, solver: LevenbergMarquardt, start: FitState, processes: Processes | None = None
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
    backend = solver.backend if solver.backend in ('dense', 'tree') else 'auto'
    block = FrameBlock(task, layout, rest, backend)
    problem = BodyProblem(block, params.batch_size, processes)
    robust = any(getattr(t.handler.loss, 'sigma', None) is not None for t in task.terms)
    averaging = [t.handler for t in task.terms if _averages(t)]
    takes = kernel_takes(task, layout, start, solver.backend) and not solver.covariance
    # A process without the kernel keeps the others from it: all must go the same way.
    if int(processes.sum(torch.tensor(float(takes)))) == processes.count:
        means = (
            nullcontext()
            if processes.count == 1
            else whole_means(averaging, lambda: problem.posed(point), processes.sum)
        )
        with means:
            outcome = run_kernel(task, layout, solver, start, processes)
        if outcome.result.reason is not StopReason.STALLED:
            return outcome
        # Its last steps gained nothing, short of what was asked: the plain path goes on from there.
        start, params = outcome.state, outcome.state.params
        point = BodyPoint.from_params(params, fitted, shift)
    covariance = None
    with whole_means(averaging, lambda: problem.posed(point), processes.sum):
        point, status, result = solver.minimise(
            problem, point, stage.n_iter, stage.ftol, task.on_step, robust
        )
        if solver.covariance:
            covariance = fit_covariance(problem, point)
    end = FitState(point.params(), point.camera_shift, start.log_focal)
    return StageOutcome(end, status.converged, result, covariance)


def _averages(term: ActiveTerm) -> bool:
    """Say whether a term may be a mean; a loss of an unknown kind may."""
    return (term.reduction or getattr(term.handler.loss, 'reduction', 'mean')) == 'mean'


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
