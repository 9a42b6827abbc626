"""Run a stage by a solver that needs only the gradient of the whole objective."""

import torch
from torch import Tensor

from smilfit.registrants.stage import fitted_joints
from smilfit.registrants.stage_task import FitState, StageOutcome, StageTask, first_cameras
from smilfit.registrants.variables import Variables
from smilfit.solvers import FirstOrderSolver, StopReason


def run_first_order(task: StageTask, solver: FirstOrderSolver, start: FitState) -> StageOutcome:
    """Fit the parameters of a stage to the sum of its terms; all frames have converged, or none."""
    params, stage = start.params.with_rest(task.stage.fit, task.body.sizes), task.stage
    shift, moving = start.camera_shift, None
    if 'cameras' in stage.fit:
        moving = task.moving_cameras()
        shift = params.transl.new_zeros(len(task.cameras()), 6) if shift is None else shift
    joints = fitted_joints(stage, task.body.data)
    camera = first_cameras(
        {t.handler.handler_key: t.related_input for t in task.terms if t.related_input is not None}
    )
    camera = camera if camera is not None and len(camera) == 1 else None
    variables = Variables(params, stage.fit, task.share_shape, joints, shift, start.log_focal, camera, moving)
    moving_shape = {'betas', 'expression'} & set(variables.leaves)
    rest = None if moving_shape else task.body.rest_shape(params.betas)

    def objective() -> Tensor:
        values = task.values(variables.state(), rest)
        return torch.stack(list(values.values())).sum() if values else params.transl.new_zeros(())

    leaves = list(variables.leaves.values())
    result = solver.minimise(objective, leaves, stage.n_iter, stage.ftol, task.on_step)
    done = result.reason is StopReason.CONVERGED
    converged = torch.full((params.batch_size,), done, device=params.transl.device)
    end = variables.state()
    shift, focal = (None if x is None else x.detach() for x in (end.camera_shift, end.log_focal))
    return StageOutcome(FitState(end.params.detach(), shift, focal), converged, result)
