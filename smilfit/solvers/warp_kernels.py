"""The whole fit of a frame in one kernel: kinematics, residuals, step, acceptance, damping, convergence."""

from functools import cache
from types import SimpleNamespace
from typing import no_type_check

import warp as wp

from smilfit.solvers.warp_back import back_functions
from smilfit.solvers.warp_border import root_functions
from smilfit.solvers.warp_border_solve import border_solution, border_terms
from smilfit.solvers.warp_elimination import elimination_functions
from smilfit.solvers.warp_points import point_functions
from smilfit.solvers.warp_tree import tree_functions
from smilfit.solvers.warp_types import chain_types

# Damping, as a share of the curvature: at the start, at least, after a rejected step at least, and where a frame
# gives up; and the factor after a first rejection, which doubles with each that follows.
MU_START, MU_LEAST, MU_REJECTED, MU_MOST = (wp.constant(mu) for mu in (3e-2, 1e-7, 1e-4, 1e9))
REJECTED = wp.constant(8.0)
# Above this damping a small gain says nothing of the distance to the minimum.
TIMID = wp.constant(0.1)
# What the next evaluation of a frame is for.
MEASURE, TRY, FINISH, STOP = (wp.constant(i) for i in range(4))
# Multiply-adds in one instruction: warp's own default keeps products and sums apart.
OPTIONS = {'cpu_compiler_flags': f'{wp.config.cpu_compiler_flags} -ffp-contract=fast'}


@no_type_check
@cache
def chain_kernels(scalar, width):
    """Make the kernels of one float type and width of the border."""
    t = chain_types(scalar, width)
    Chain, Seen, Fit, Work = t.Chain, t.Seen, t.Fit, t.Work
    fit_frame = _fit_frame(t, _propose(t, scalar, width), _control(t, scalar), scalar, width)

    @wp.kernel(enable_backward=False, module='unique', module_options=OPTIONS)
    def fit_frames(c: Chain, seen: Seen, fit: Fit, w: Work, n_slots: int):
        slot = wp.tid()
        frame = wp.int32(slot)
        while frame < c.n_frames:
            fit_frame(c, seen, fit, w, slot, frame)
            frame += n_slots

    return SimpleNamespace(fit_frames=fit_frames)


@no_type_check
def _propose(t, scalar, width):
    Chain, Work = t.Chain, t.Work
    steps, back = elimination_functions(scalar, width), back_functions(scalar, width)
    root, terms, solution = (
        root_functions(scalar, width),
        border_terms(scalar, width),
        border_solution(scalar, width),
    )

    @wp.func
    def propose(c: Chain, w: Work, slot: int, side: int, mu: scalar) -> scalar:
        """Put the damped step's state on the other side; return the decrease it promises."""
        promised = steps.eliminate(c, w, slot, side, mu)
        terms.add_border_priors(c, w, slot, side)
        terms.damp_border(c, w, slot, mu)
        promised += solution.solve_border(c, w, slot)
        root.root_step(c, w, slot)
        return promised + back.step_back(c, w, slot, side, mu)

    return propose


@no_type_check
def _control(t, scalar):
    """Make what decides on a frame: acceptance, damping, graduation and end."""
    Chain = t.Chain

    @wp.struct
    class Control:
        """Where a frame's fit is: the accepted side, its energy, its damping, and what comes next."""

        task: int
        side: int
        iteration: int
        converged: int
        energy: scalar
        mu: scalar
        rejected: scalar  # the damping's factor after the next rejection
        widening: scalar

    @wp.func
    def widening(c: Chain, iteration: int) -> scalar:
        if iteration < c.n_graduation:
            return c.graduation[iteration]
        return scalar(1.0)

    begin, measured = _beginning(Chain, Control, widening, scalar)
    return SimpleNamespace(begin=begin, measured=measured, judged=_judged(Chain, Control, widening, scalar))


@no_type_check
def _beginning(Chain, Control, widening, scalar):
    @wp.func
    def begin(c: Chain, n_seen: int) -> Control:
        f = Control()
        f.task = MEASURE
        f.mu = scalar(MU_START)
        f.rejected = scalar(REJECTED)
        f.widening = widening(c, 0)
        if n_seen == 0:
            f.task = FINISH
            f.widening = scalar(1.0)
        return f

    @wp.func
    def measured(c: Chain, before: Control, value: scalar) -> Control:
        """Take the energy of the accepted state under a new widening."""
        f = before
        f.energy = value
        f.task = TRY
        if f.iteration >= c.n_iter or not wp.isfinite(value):
            f.task = FINISH
            f.widening = scalar(1.0)
        return f

    return begin, measured


@no_type_check
def _judged(Chain, Control, widening, scalar):
    @wp.func
    def damping_after(mu: scalar, gain: scalar) -> scalar:
        """Follow how much of the promised decrease came: less damping for a good model, more for a poor one."""
        factor = scalar(1.0)
        if gain > scalar(0.75):
            factor = scalar(0.1)
        elif gain < scalar(0.25):
            factor = scalar(3.0)
        return wp.max(mu * factor, scalar(MU_LEAST))

    @wp.func
    def judged(c: Chain, before: Control, value: scalar, promised: scalar) -> Control:
        """Accept or reject the tried state."""
        f = before
        decrease = before.energy - value
        narrow = before.iteration >= c.n_graduation
        f.iteration = before.iteration + 1
        # A tried state that is not finite fails the comparison.
        if decrease >= scalar(0.0):
            if narrow and decrease <= c.ftol * before.energy and before.mu < scalar(TIMID):
                f.converged = 1
            f.mu = damping_after(before.mu, decrease / wp.max(promised, scalar(1e-30)))
            f.rejected = scalar(REJECTED)
            f.side = 1 - before.side
            f.energy = value
        else:
            if narrow and promised <= c.ftol * before.energy:
                f.converged = 1
            f.mu = wp.max(before.mu, scalar(MU_REJECTED)) * before.rejected
            f.rejected = before.rejected * scalar(2.0)
        f.widening = widening(c, f.iteration)
        ends = f.converged == 1 or f.iteration >= c.n_iter or not (f.mu < scalar(MU_MOST))
        if ends:
            f.widening = scalar(1.0)
            f.task = STOP
        if f.widening != before.widening:
            f.task = wp.where(ends, FINISH, MEASURE)
        return f

    return judged


@no_type_check
def _fit_frame(t, propose, control, scalar, width):
    Chain, Seen, Fit, Work = t.Chain, t.Seen, t.Fit, t.Work
    tree, points = tree_functions(scalar, width), point_functions(scalar, width)

    @wp.func
    def fit_frame(c: Chain, seen: Seen, fit: Fit, w: Work, slot: int, frame: int):
        """Fit one frame. Every part stands here once: it is inlined, and its compilation is waited for."""
        tree.load(c, fit, w, slot, frame)
        f = control.begin(c, points.count_seen(c, seen, frame))
        promised = scalar(0.0)
        while f.task != STOP:
            at = f.side
            if f.task == TRY:
                promised = propose(c, w, slot, f.side, f.mu)
                at = 1 - f.side
            tree.pose(c, w, slot, frame, at)
            value = points.observe(c, seen, w, slot, frame, at, f.widening) + tree.priors(c, w, slot, at)
            if f.iteration == 0 and f.task != TRY:
                fit.start_energy[frame] = value
            if f.task == TRY:
                f = control.judged(c, f, value, promised)
            elif f.task == MEASURE:
                f = control.measured(c, f, value)
            else:
                f.energy = value
                f.task = STOP
        if f.iteration > 0:
            tree.store(c, fit, w, slot, frame, f.side)
        fit.energy[frame] = f.energy
        fit.converged[frame] = f.converged
        fit.iterations[frame] = f.iteration

    return fit_frame
