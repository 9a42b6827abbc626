"""The tensors that a stage moves, and the body parameters made of them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from smilfit.registrants.stage import POSE_PARTS, fitted_joints
from smilfit.registrants.stage_task import FitState, StageOutcome, StageTask, first_cameras
from smilfit.solvers import FirstOrderSolver, StopReason
from smilfit.structures import PARAMETERS, BodyParams, Cameras


class Variables:
    """Leaf tensors for some parameters; all others stay as they are.

    What is positive moves as its logarithm. Where the shape is shared, one row of what is shared with it stands for
    the whole clip. A parameter that is absent has nothing to fit.

    Args:
        params: where to start, rotations as axis-angle; `with_rest` adds what is absent.
        fit: names of the parameters that move.
        share_shape: what the table of parameters calls `shared` is one for all frames.
        joints: indices (of all joints, root 0) that may turn; None for all.
        camera_shift: corrections of the cameras; those of `moving_cameras` move where `fit` holds `'cameras'`.
        log_focal: of a factor on focal lengths; it moves where `fit` holds `'focal'`, from 0 where None.
        camera: the one camera that sees the body, of all frames or one a frame; None where there are several. As its
            focal length grows the body moves away: what an image shows well, its size, then does not change.
        moving_cameras: places of the cameras that move; None for all.
    """

    def __init__(
        self,
        params: BodyParams,
        fit: Sequence[str],
        share_shape: bool,
        joints: Sequence[int] | None = None,
        camera_shift: Tensor | None = None,
        log_focal: Tensor | None = None,
        camera: Cameras | None = None,
        moving_cameras: Sequence[int] | None = None,
    ) -> None:
        self._start = params.detach()
        self._share_shape = share_shape
        self._joints = None if joints is None else [j - 1 for j in joints if j > 0]
        self.leaves: dict[str, Tensor] = {}
        self._camera_shift = camera_shift
        if camera_shift is not None and 'cameras' in fit:
            every = range(len(camera_shift))
            rows = list(every if moving_cameras is None else moving_cameras)
            self._moving = torch.tensor(rows, device=camera_shift.device)
            self.leaves['cameras'] = camera_shift[self._moving].clone().requires_grad_()
        self._log_focal = log_focal
        if 'focal' in fit:
            self.leaves['focal'] = self._focal(log_focal).clone().requires_grad_()
        self._camera = camera if {'focal', 'transl'} <= set(fit) else None
        self._focal_start = self._focal(log_focal)
        # Hands, jaw and eyes are joints of the pose.
        names = dict.fromkeys('body_pose' if n in POSE_PARTS else n for n in fit)
        for name in names:
            if PARAMETERS[name].of == 'body' and getattr(self._start, name) is not None:
                value = self._initial(name)
                if value.numel():
                    self.leaves[name] = value.clone().requires_grad_()

    def _initial(self, name: str) -> Tensor:
        value = PARAMETERS[name].free(getattr(self._start, name))
        if name == 'body_pose' and self._joints is not None:
            value = value[:, self._joints]
        return value.mean(0, keepdim=True) if self._share_shape and PARAMETERS[name].shared else value

    def _focal(self, value: Tensor | None) -> Tensor:
        value = self._start.transl.new_zeros(1) if value is None else value
        return value.mean(0, keepdim=True) if self._share_shape else value.expand(self._start.batch_size)

    def state(self) -> FitState:
        """Put all together."""
        shift = self._camera_shift
        if shift is not None and 'cameras' in self.leaves:
            shift = shift.index_copy(0, self._moving, self.leaves['cameras'])
        return FitState(self.params(), shift, self.leaves.get('focal', self._log_focal))

    def params(self) -> BodyParams:
        """Put the parameters of all frames together."""
        changes = {}
        for name, leaf in self.leaves.items():
            if PARAMETERS[name].of == 'camera':
                continue
            value = PARAMETERS[name].from_free(leaf)
            if name == 'body_pose' and self._joints is not None:
                value = self._start.body_pose.index_copy(1, self._index(value), value)
            if value.shape[0] == 1 and self._start.batch_size > 1:
                value = value.expand(self._start.batch_size, *value.shape[1:])
            changes[name] = value
        if self._camera is not None:
            changes['transl'] = self._carried(changes['transl'], self._camera)
        return self._start.replace(**changes)

    def _carried(self, transl: Tensor, camera: Cameras) -> Tensor:
        """Move bodies along the optical axis as far as focal lengths have grown."""
        axis = camera.R[..., 0, 2, :].to(transl)
        depth = ((transl - camera.centres()[..., 0, :].to(transl)) * axis).sum(-1, keepdim=True)
        grown = torch.expm1(self.leaves['focal'] - self._focal_start).unsqueeze(1)
        return transl + grown * depth * axis

    def _index(self, like: Tensor) -> Tensor:
        return torch.tensor(self._joints, device=like.device)


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
