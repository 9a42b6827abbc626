"""Run one stage of a fit by a solver of second order."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from smilfit.body_models import SMIL, RestShape
from smilfit.handlers import ActiveTerm, BodyState
from smilfit.losses import Residuals
from smilfit.registrants.second_order.automatic import value_slopes
from smilfit.registrants.second_order.banded import MotionModel
from smilfit.registrants.second_order.body_problem import BodyProblem, FrameBatch, FrameEvaluation
from smilfit.registrants.second_order.equations import FrameEquations, unknown_rows
from smilfit.registrants.second_order.kernel_terms import (
    ChainTerms,
    UnsupportedError,
    chain_problem,
    chain_terms,
    coefficients_of,
    solved_params,
)
from smilfit.registrants.second_order.kinematics import Kinematics
from smilfit.registrants.second_order.quadratic_models import models_of
from smilfit.registrants.second_order.rigid_points import Coefficients
from smilfit.registrants.second_order.tree_problem import TreeProblem, TreeStage
from smilfit.registrants.second_order.uncertainty.covariance import fit_covariance
from smilfit.registrants.second_order.unknowns import VariableLayout, VariableState
from smilfit.registrants.stage import Stage, fitted_joints
from smilfit.registrants.stage_task import FitState, StageOutcome, StageTask
from smilfit.solvers import (
    ChainProblem,
    ChainSolution,
    LevenbergMarquardt,
    Processes,
    SecondOrderSolver,
    SolverResult,
    StopReason,
    solve_chains,
    warp_available,
)
from smilfit.structures import PARAMETERS, BodyParams, parameter_names


@dataclass(frozen=True)
class KernelPlan:
    """A stage in the kernel's terms."""

    terms: ChainTerms
    fitted: Coefficients


def plan_kernel(
    task: StageTask, layout: VariableLayout, solver: LevenbergMarquardt, start: FitState, state: BodyState
) -> KernelPlan | str:
    """Return a stage in the kernel's terms, or why it does not take it; `state` is the body where it starts.

    Raises:
        ImportError: the kernel is asked for and not installed.
        TypeError: it is asked for and cannot take a term, by name.
    """
    if not warp_available():
        if solver.backend == 'warp':
            raise ImportError(
                'LevenbergMarquardt: backend "warp" must be installed; it is not. Run: pip install warp-lang'
            )
        return 'a machine without warp-lang'
    try:
        fitted = coefficients_of(task, layout, start.params)
        with torch.no_grad():
            terms = chain_terms(task, layout, state, fitted, with_torch=True)
    except UnsupportedError as reason:
        if solver.backend == 'warp':
            raise TypeError(
                f'LevenbergMarquardt: the back end "warp" cannot take {reason} in {task.stage.label}. '
                'Use backend="auto" or "torch".'
            ) from reason
        return str(reason)
    return KernelPlan(terms, fitted)


def run_kernel(
    task: StageTask,
    layout: VariableLayout,
    solver: LevenbergMarquardt,
    start: FitState,
    plan: KernelPlan,
    moving: Mapping[str, bool],
    processes: Processes,
) -> StageOutcome:
    """Fit the parameters of a stage that the kernel takes.

    Frames by themselves whose every term it evaluates are fitted by one launch, and hooks are called once, when it is
    done; of others it solves the steps of the solver's own loop.
    """
    problem = chain_problem(task, layout, start, plan.fitted, plan.terms)
    if plan.terms.by_torch or layout.n_shared:
        return _run_steps(task, layout, solver, start, plan, moving, processes, problem)
    stage = task.stage
    graduation = solver.gnc_schedule if any(term.robust for term in task.terms) else ()
    n_iter = stage.n_iter + len(graduation)
    with torch.no_grad():
        matches = solve_chains(problem, n_iter, stage.ftol, graduation, solver.policy)
    params = solved_params(start.params, matches, plan.fitted)
    constant = plan.terms.constant
    result = _result(matches, constant, n_iter, processes)
    if task.on_step is not None:
        task.on_step(result.n_steps, result.loss_end)
    energy = matches.energy + constant
    return StageOutcome(
        replace(start, params=params), matches.converged, result, energy=energy, engine='kernel'
    )


def _run_steps(
    task: StageTask,
    layout: VariableLayout,
    solver: LevenbergMarquardt,
    start: FitState,
    plan: KernelPlan,
    moving: Mapping[str, bool],
    processes: Processes,
    problem: ChainProblem,
) -> StageOutcome:
    stage, terms = task.stage, plan.terms
    by_torch = replace(task, terms=tuple(terms.by_torch))
    frames = FrameBatch(by_torch, layout)
    known = TreeStage(frames, start.params, plan.fitted, moving, terms.constant)
    tree = TreeProblem(problem, known, layout.n_shared > 0, processes)
    robust = any(term.robust for term in task.terms)
    matches, status, result = solver.minimise(
        tree, problem.start, stage.n_iter, stage.ftol, task.on_step, robust
    )
    params = solved_params(start.params, matches, plan.fitted)
    engine = 'kernel and torch' if terms.by_torch else 'kernel'
    return StageOutcome(replace(start, params=params), status.converged, result, engine=engine)


def _result(
    solution: ChainSolution, constant: Tensor | float, n_iter: int, processes: Processes
) -> SolverResult:
    """Return how it went in all processes: what is done next hangs on it, and must be the same in all of them.

    Frames that took no part, of which nothing is seen in this stage or whose energy is not finite, do not count.
    """
    energies = torch.stack([_finite(e + constant).sum() for e in (solution.start_energy, solution.energy)])
    unfinished = ((solution.iterations > 0) & ~solution.converged).sum()
    broken = (~solution.start_energy.isfinite()).sum()
    counts = torch.stack((solution.converged.sum(), unfinished, broken)).to(energies)
    before, end, n_converged, n_unfinished, n_broken = processes.sum(torch.cat((energies, counts))).tolist()
    steps = int(processes.gather(solution.iterations.amax(0, keepdim=True)).max())
    reason = StopReason.CONVERGED if n_converged and not n_unfinished else StopReason.MAX_STEPS
    if reason is StopReason.MAX_STEPS and steps < n_iter and not n_unfinished:
        reason = StopReason.STALLED
    return SolverResult(before, end, steps, steps + 1, 0, reason, int(n_broken))


def _finite(energies: Tensor) -> Tensor:
    return energies.double().nan_to_num(0.0, 0.0, 0.0)


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
    valid = size > ROUNDING * torch.finfo(size.dtype).eps * reach * parts
    if bool(size.isfinite()) and bool(valid) and bool(off > TOLERANCE * size):
        raise TypeError(
            f'LevenbergMarquardt: the slopes that {term.name} hands in contradict the derivative of its residuals: '
            f'gradients differ by {float(off / size):.0%}. Mend slope, pointwise and source in its Residuals, or '
            'leave them out: derivatives are then found automatically.'
        )
    return bool(valid)


def _is_flat(term: ActiveTerm, state: BodyState, widening: float = 1.0) -> bool:
    """Check whether residuals lie so far off that a term's robust function has next to no slope there."""
    with torch.no_grad():
        stated = [item for item in term.stated(state) if isinstance(item, Residuals) and item.robust]
        result = [item.terms(term.continuous(state), widening) for item in stated]
    return any(bool(((t.slope < FLAT) & (t.weight > 0)).any()) for t in result if t.slope is not None)


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
            f'LevenbergMarquardt: {stage.label} must be of parameters whose derivatives are known; got '
            f'{", ".join(further)}. Use optimizer=dict(type="LBFGS").'
        )
    if 'focal' in stage.fit:
        raise TypeError(
            f'LevenbergMarquardt: {stage.label} must not fit the focal length; got fit_focal=True. Use '
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
    plan: KernelPlan | str
    if isinstance(solver, LevenbergMarquardt) and solver.may_use_kernel:
        with torch.no_grad():
            state = task.state(start)
        task = with_clip_totals(task, [(task.terms, state)], processes)
        plan = plan_kernel(task, layout, solver, start, state)
    else:
        parts = ((part.terms, part.state) for part in BodyProblem(frames, point.batch_size).posed(point))
        task = with_clip_totals(task, parts, processes)
        plan = type(solver).__name__
        if isinstance(solver, LevenbergMarquardt):
            plan = f'backend={solver.backend!r}'
    check_terms(replace(frames, task=task), point)
    # A process without the kernel keeps the others from it: all must go the same way.
    planned = isinstance(plan, KernelPlan)
    together = int(processes.sum(torch.tensor(float(planned)))) == processes.count
    if together and isinstance(plan, KernelPlan) and isinstance(solver, LevenbergMarquardt):
        outcome = run_kernel(task, layout, solver, start, plan, fitted, processes)
        if not _is_finished(outcome, plan):
            # Dense equations go on from where its steps were too short, or gained nothing.
            point = VariableState.from_params(outcome.state.params, fitted, shift)
            left = ~outcome.converged
            outcome = _joined(outcome, _run_dense(task, layout, None, solver, point, start, processes, left))
    else:
        outcome = _run_dense(task, layout, rest, solver, point, start, processes)
        outcome = replace(outcome, engine_reason=plan if isinstance(plan, str) else None)
    return _with_covariance(outcome, task, layout, fitted, solver, processes)


def _is_finished(outcome: StageOutcome, plan: KernelPlan) -> bool:
    """Check whether the kernel's end is the end of the stage.

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
    if problem.coupled or processes.count > 1:
        wanted = None
    if wanted is not None:
        rows = wanted.nonzero().flatten()
        some, begin = problem.take(rows), point.take(rows)
    end, status, result = solver.minimise(some, begin, stage.n_iter, stage.ftol, task.on_step, robust)
    converged = status.converged
    if wanted is not None:
        end, converged = point.put(rows, end), (~wanted).index_copy(0, rows, converged)
        energy = problem.evaluate(end).energy
    state = FitState(end.params(), end.camera_shift, start.log_focal)
    engine = 'banded' if problem.moving else 'dense'
    return StageOutcome(state, converged, result, energy=energy, engine=engine)


def _joined(first: StageOutcome, then: StageOutcome) -> StageOutcome:
    """Return the outcome of two engines, one after the other; the second may have worked on what the first left."""
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
            for result, term in zip(sums, terms):
                totals = [item.total() for item in term.stated(state)]
                result[:] = [a + b for a, b in zip(result, totals)] if result else totals
    flat = processes.sum(torch.stack([total for result in sums for total in result]))
    every = iter(flat.unbind(0))
    held = (replace(t, totals=tuple(next(every) for _ in result)) for t, result in zip(task.terms, sums))
    return replace(task, terms=tuple(held))


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
