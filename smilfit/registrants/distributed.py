"""Frames of one fit distributed over processes: each solves for its own, all for what the frames share."""

from collections.abc import Mapping
from dataclasses import replace

import torch

from smilfit.handlers import BaseHandler
from smilfit.registrants.clip_fit import with_first_shape
from smilfit.registrants.second_order import run_second_order
from smilfit.registrants.stage import Solver, Stage
from smilfit.registrants.stage_task import FitState, StageOutcome, StageTask
from smilfit.solvers import Processes, SecondOrderSolver
from smilfit.structures import FitCovariance


def unsupported_reason(stage: Stage, solver: Solver, handlers: Mapping[str, BaseHandler]) -> str | None:
    """Return why the frames of a stage cannot be distributed over processes, and what to do; None if they can."""
    if not isinstance(solver, SecondOrderSolver):
        return (
            f'{stage.label}: the optimizer must be of second order; got {type(solver).__name__}, which looks at '
            'all frames at once. Use optimizer=dict(type="LevenbergMarquardt").'
        )
    for key, weight in stage.weights.items():
        if weight and handlers[key].frame_order:
            return (
                f'{stage.label}: no handler may tie frames to their neighbours; {type(handlers[key]).__name__} '
                f'{key!r} does. Leave out {key}_weight.'
            )
    return None


def run_distributed(
    task: StageTask, solver: SecondOrderSolver, start: FitState, processes: Processes
) -> StageOutcome:
    """Run a stage on this process's share of the frames, and join what all processes found.

    Args:
        task: the stage with all frames, alike in all processes, and at least one a process.
        solver: solves.
        start: of all frames, alike in all processes.
        processes: those that take part.

    Returns:
        The outcome of all frames, alike in all processes.
    """
    device = start.params.transl.device
    rows = torch.arange(start.params.batch_size, device=device)[processes.share(start.params.batch_size)]
    part = run_second_order(task.take(rows), solver, start.take(rows), processes)
    return StageOutcome(
        replace(_joined_state(part.state, task, processes), log_focal=start.log_focal),
        processes.gather(part.converged),
        part.result,
        None if part.covariance is None else _joined_covariance(part.covariance, processes),
        engine=part.engine,
        engine_reason=part.engine_reason,
    )


def _joined_state(part: FitState, task: StageTask, processes: Processes) -> FitState:
    params = part.params.map(processes.gather)
    if task.share_shape:
        params = with_first_shape(params, params)
    shift = part.camera_shift
    # Processes may differ by a rounding: the first one's word holds.
    return FitState(params, None if shift is None else processes.gather(shift)[: len(shift)])


def _joined_covariance(part: FitCovariance, processes: Processes) -> FitCovariance:
    # Matrices of all unknowns are computed by each process when asked for, of its own frames: they are not joined.
    keypoints, sd = processes.gather(part.keypoints), processes.gather(part.parameter_sd())
    return replace(part, whole=None, keypoints=keypoints, sd=sd)
