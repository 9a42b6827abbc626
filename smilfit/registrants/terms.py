"""The active terms of a stage, and a stage run by solvers that need only the gradient."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from smilfit.body_models import SMIL, RestShape
from smilfit.handlers import BaseHandler, BaseInput, BodyState
from smilfit.registrants.stage import Stage, fitted_joints
from smilfit.registrants.variables import Variables
from smilfit.solvers import FirstOrderSolver, SolverResult, StopReason
from smilfit.solvers.base import StepCallback
from smilfit.structures import BodyParams, QuadraticTerm


@dataclass(frozen=True)
class ActiveTerm:
    """A handler that takes part in a stage, with its input and the stage's overrides."""

    handler: BaseHandler
    related_input: BaseInput | None
    weight: float
    reduction: str | None

    def loss(self, state: BodyState) -> Tensor:
        """Give the term's value."""
        return self.handler(state, self.related_input, self.weight, self.reduction).sum()

    def second_order(self, state: BodyState) -> QuadraticTerm:
        """Give the term's quadratic model."""
        return self.handler.second_order(state, self.related_input, self.weight, self.reduction)

    def take(self, index: Tensor) -> 'ActiveTerm':
        """Pick frames."""
        return self if self.related_input is None else replace(self, related_input=self.related_input[index])


def needed(terms: Sequence[ActiveTerm]) -> tuple[str, ...]:
    """Say what the body must compute for some terms."""
    return tuple(dict.fromkeys(n for t in terms for n in t.handler.need(t.related_input)))


def term_values(
    body: SMIL,
    params: BodyParams,
    terms: Sequence[ActiveTerm],
    keypoint_weights: Mapping[str, float],
    frames: Tensor | None = None,
    rest: RestShape | None = None,
) -> dict[str, Tensor]:
    """Compute every term, by handler key."""
    state = BodyState(body, params, body(params, needed(terms), rest), dict(keypoint_weights), frames=frames)
    return {t.handler.handler_key: t.loss(state) for t in terms}


def run_first_order(
    body: SMIL,
    stage: Stage,
    solver: FirstOrderSolver,
    params: BodyParams,
    terms: Sequence[ActiveTerm],
    keypoint_weights: Mapping[str, float],
    share_shape: bool,
    on_step: StepCallback | None = None,
    frames: Tensor | None = None,
) -> tuple[BodyParams, Tensor, SolverResult]:
    """Fit the parameters of a stage to the sum of its terms; one verdict holds for all frames.

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

    Returns:
        The parameters, whether each frame has converged, and how it went.
    """
    variables = Variables(params, stage.fit, share_shape, fitted_joints(stage, body.data))
    rest = None if {'betas', 'expression'} & set(variables.leaves) else body.rest_shape(params.betas)

    def objective() -> Tensor:
        values = term_values(body, variables.params(), terms, keypoint_weights, frames, rest)
        return torch.stack(list(values.values())).sum() if values else params.transl.new_zeros(())

    leaves = list(variables.leaves.values())
    result = solver.minimise(objective, leaves, stage.n_iter, stage.ftol, on_step)
    done = torch.full(
        (params.batch_size,), result.reason is StopReason.CONVERGED, device=params.transl.device
    )
    return variables.params().detach(), done, result
