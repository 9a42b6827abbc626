"""Run one stage of a fit by Levenberg-Marquardt."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.registrants.second_order.layout import Layout
from smilfit.registrants.second_order.means import whole_means
from smilfit.registrants.second_order.point import BodyPoint
from smilfit.registrants.second_order.problem import BodyProblem
from smilfit.registrants.stage import Stage, fitted_joints
from smilfit.registrants.terms import ActiveTerm, needed
from smilfit.registrants.variables import SHAPE_PARAMETERS
from smilfit.solvers import LevenbergMarquardt, SolverResult
from smilfit.solvers.base import StepCallback
from smilfit.structures import BodyParams


def run_second_order(
    body: SMIL,
    stage: Stage,
    solver: LevenbergMarquardt,
    params: BodyParams,
    terms: Sequence[ActiveTerm],
    keypoint_weights: Mapping[str, float],
    share_shape: bool,
    on_step: StepCallback | None = None,
    frames: Tensor | None = None,
) -> tuple[BodyParams, Tensor, SolverResult]:
    """Fit the parameters of a stage.

    Args:
        body: the body.
        stage: what moves, how long.
        solver: the solver.
        params: where to start.
        terms: the active handlers.
        keypoint_weights: factors on named keypoints.
        share_shape: whether shape, scale and skeleton are one for all frames.
        on_step: called after every step.
        frames: numbers of the frames in the recording.

    Raises:
        TypeError: a term that is not a sum of squares, by name.
        ValueError: joint scales of the mode `'inherited'`, under which a joint's turn is no rotation in the world.
    """
    params = params.as_axis_angle()
    fitted = {
        ('log_scale' if name == 'scale' else name): share_shape and name in SHAPE_PARAMETERS
        for name in stage.fit
        if name not in ('global_orient', 'body_pose', 'transl')
    }
    _check_scales(body, params, fitted)
    point = BodyPoint.from_params(params, fitted)
    layout = Layout.of(body, _free(body, stage), 'transl' in stage.fit, fitted, point)
    rest = None if 'betas' in fitted or 'expression' in fitted else body.rest_shape(params.betas)
    problem = BodyProblem(body, layout, terms, needed(terms), keypoint_weights, rest, frames)
    handlers = [t.handler for t in terms]
    robust = any(getattr(t.handler.loss, 'sigma', None) is not None for t in terms)
    with whole_means(handlers, lambda: problem.evaluate(point), problem.total):
        point, status, result = solver.minimise(problem, point, stage.n_iter, stage.ftol, on_step, robust)
    return point.params(), status.converged, result


def _free(body: SMIL, stage: Stage) -> list[int]:
    allowed = fitted_joints(stage, body.data)
    turning = range(1, body.n_joints) if allowed is None else [j for j in allowed if j > 0]
    root = [0] if 'global_orient' in stage.fit else []
    return [*root, *(turning if 'body_pose' in stage.fit else ())]


def _check_scales(body: SMIL, params: BodyParams, fitted: Mapping[str, bool]) -> None:
    scaled = params.log_joint_scales is not None or 'log_joint_scales' in fitted or body.scaledirs is not None
    if scaled and body.joint_scale_mode == 'inherited':
        raise ValueError(
            f'LevenbergMarquardt: joint scales must be of the mode "local"; {body.data.name} has "inherited". '
            'Use optimizer=dict(type="LBFGS"), or joint_scale_mode="local".'
        )
