"""Derivatives that a term hands in are held against automatic ones before anything is built on them."""

import torch
from torch import Tensor

from smilfit.handlers import ActiveTerm, BodyState
from smilfit.losses import Residuals
from smilfit.registrants.second_order.automatic import value_slopes
from smilfit.registrants.second_order.coupled import MotionModel
from smilfit.registrants.second_order.equations import FrameEquations, unknown_rows
from smilfit.registrants.second_order.frame_batch import FrameBatch, FrameEvaluation
from smilfit.registrants.second_order.kinematics import Kinematics
from smilfit.registrants.second_order.models import models_of
from smilfit.registrants.second_order.variable_layout import VariableLayout
from smilfit.registrants.second_order.variable_state import VariableState

# Frames that are looked at, and the relative difference of gradients that is no rounding.
FRAMES, TOLERANCE = 3, 2e-2
# A gradient of so many last digits of what it is summed of is none.
ROUNDING = 1e3
# Below this slope a robust function's automatic derivative is a difference of nearly equal numbers; it is looked at
# with so wide a function instead.
FLAT, WIDE = 1e-6, 1e12
# How far bodies are bent to look at derivatives that are 0 where they stand, rad.
BEND = 0.5


def check_terms(frames: FrameBatch, point: VariableState) -> None:
    """Hold the slopes of terms that were not looked at yet against automatic ones, before the first step.

    A body at rest has no gradient of many terms; then bodies that are bent are looked at too. A term without any is
    looked at again in the next stage, a few times in all.

    Raises:
        TypeError: a contradiction, by name.
    """
    if not any(term.handler.looks_left for term in frames.task.terms):
        return
    rows = torch.arange(min(FRAMES, point.batch_size), device=point.transl.device)
    some, here = frames.take(rows), point.take(rows)
    at = some.evaluate(here)
    bent = None
    for term in (t for t in some.task.terms if t.handler.looks_left):
        compared = check_slopes(term, at.state, at.kinematics, frames.layout)
        if not compared:
            bent = _bent(some, at) if bent is None else bent
            compared = check_slopes(term, bent.state, bent.kinematics, frames.layout)
        term.handler.looks_left = 0 if compared else term.handler.looks_left - 1


def _bent(frames: FrameBatch, at: FrameEvaluation) -> FrameEvaluation:
    """Pose bodies far from where they are, every one in a way of its own."""
    kin, point = at.kinematics, at.point
    turns = BEND * torch.sin(torch.arange(kin.joints.numel(), dtype=kin.joints.dtype))
    turns = turns.to(kin.joints).reshape(kin.joints.shape)
    return frames.evaluate(point.moved(turns, kin.parent_rotations, 0 * point.transl, {}))


def check_slopes(term: ActiveTerm, state: BodyState, kin: Kinematics, layout: VariableLayout) -> bool:
    """Compare the gradient by a term's quadratic model with the automatic gradient of its value.

    Columns of cameras are left out: automatic derivatives are by the body.

    Returns:
        Whether there was a gradient to compare; joints within their limits have none, for one.

    Raises:
        TypeError: they contradict each other: a wrong slope, or residuals that are not pointwise though they say so.
    """
    widening = WIDE if _is_flat(term, state) else 1.0
    if widening != 1.0 and _is_flat(term, state, widening):
        return False
    exact = value_slopes(term, state, widening)
    if not exact:
        return False
    of_body = torch.ones(layout.n_own + layout.n_shared, dtype=torch.bool)
    of_body[layout.extra_columns().get('cameras', slice(0))] = False
    expected = unknown_rows(exact, state.output, kin, layout)[:, 0, of_body]
    given = _model_gradient(term, state, kin, layout, widening)[:, of_body]
    size = expected.norm()
    off = (given - expected).norm()
    # A term of what this stage does not move has a gradient of rounding alone.
    reach = (kin.joints - kin.joints[:, :1]).abs().max().clamp_min(1)
    parts = sum(slope.abs().sum() for slope in exact.values())
    there = size > ROUNDING * torch.finfo(size.dtype).eps * reach * parts
    if bool(size.isfinite()) and bool(there) and bool(off > TOLERANCE * size):
        raise TypeError(
            f'LevenbergMarquardt: the slopes that {term.name} hands in contradict the derivative of its residuals: '
            f'gradients differ by {float(off / size):.0%}. Mend slope, pointwise and source in its Residuals, or '
            'leave them out: derivatives are then found automatically.'
        )
    return bool(there)


def _is_flat(term: ActiveTerm, state: BodyState, widening: float = 1.0) -> bool:
    """Say whether residuals lie so far off that a term's robust function has next to no slope there."""
    with torch.no_grad():
        stated = [item for item in term.stated(state) if isinstance(item, Residuals) and item.robust]
        found = [item.terms(term.continuous(state), widening) for item in stated]
    return any(bool(((t.slope < FLAT) & (t.weight > 0)).any()) for t in found if t.slope is not None)


def _model_gradient(
    term: ActiveTerm, state: BodyState, kin: Kinematics, layout: VariableLayout, widening: float
) -> Tensor:
    models, coupled = models_of(term, state, widening, 'cameras' in layout.extra_columns())
    gradient = FrameEquations(kin, layout).add(models, state, widening).vector
    for index in coupled:
        motion = MotionModel.of(term, index, state, kin, layout, widening)
        product = motion.product(motion.value.unsqueeze(-1))
        gradient = gradient + (motion.jacobian.transpose(1, 2) @ product).squeeze(-1)
    return gradient
