"""The whole fit of a frame in one kernel: kinematics, residuals, step, acceptance, damping, convergence."""

from functools import cache
from types import SimpleNamespace
from typing import no_type_check

import warp as wp

from smilfit.solvers.warp_border import border_functions
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
    tree, points = tree_functions(scalar, width), point_functions(scalar, width)
    pose, priors, load, store = tree.pose, tree.priors, tree.load, tree.store
    observe, count_seen = points.observe, points.count_seen
    steps, border = elimination_functions(scalar, width), border_functions(scalar, width)
    eliminate, step_back = steps.eliminate, steps.step_back
    add_border_priors, damp_border = border.add_border_priors, border.damp_border
    solve_border, root_step = border.solve_border, border.root_step

    @wp.func
    def widening(c: Chain, iteration: int) -> scalar:
        if iteration < c.n_graduation:
            return c.graduation[iteration]
        return scalar(1.0)

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
    def fit_frame(c: Chain, seen: Seen, fit: Fit, w: Work, slot: int, frame: int):
        """Fit one frame. Every part stands here once: it is inlined, and its compilation is waited for."""
        load(c, fit, w, slot, frame)
        side, iteration, converged = wp.int32(0), wp.int32(0), wp.int32(0)
        energy = scalar(0.0)
        promised = scalar(0.0)
        mu = scalar(MU_START)
        rejected = scalar(REJECTED)
        wide = widening(c, 0)
        task = wp.int32(MEASURE)
        if count_seen(c, seen, frame) == 0:
            task = FINISH
            wide = scalar(1.0)
        while task != STOP:
            at = side
            if task == TRY:
                promised = eliminate(c, w, slot, side, mu)
                add_border_priors(c, w, slot, side)
                damp_border(c, w, slot, mu)
                promised += solve_border(c, w, slot)
                root_step(c, w, slot)
                promised += step_back(c, w, slot, side, mu)
                at = 1 - side
            pose(c, w, slot, frame, at)
            value = observe(c, seen, w, slot, frame, at, wide) + priors(c, w, slot, at)
            if iteration == 0 and task != TRY:
                fit.start_energy[frame] = value
            if task == FINISH:
                energy = value
                task = STOP
            elif task == MEASURE:
                energy = value
                task = TRY
                if iteration >= c.n_iter or not wp.isfinite(energy):
                    task = FINISH
                    wide = scalar(1.0)
            else:
                decrease = energy - value
                narrow = iteration >= c.n_graduation
                iteration += 1
                # A tried state that is not finite fails the comparison.
                if decrease >= scalar(0.0):
                    if narrow and decrease <= c.ftol * energy and mu < scalar(TIMID):
                        converged = wp.int32(1)
                    mu = damping_after(mu, decrease / wp.max(promised, scalar(1e-30)))
                    rejected = scalar(REJECTED)
                    side = at
                    energy = value
                else:
                    if narrow and promised <= c.ftol * energy:
                        converged = wp.int32(1)
                    mu = wp.max(mu, scalar(MU_REJECTED)) * rejected
                    rejected = rejected * scalar(2.0)
                after = widening(c, iteration)
                if converged == 1 or iteration >= c.n_iter or not (mu < scalar(MU_MOST)):
                    after = scalar(1.0)
                    task = STOP
                if after != wide:
                    if task == STOP:
                        task = FINISH
                    else:
                        task = MEASURE
                    wide = after
        if iteration > 0:
            store(c, fit, w, slot, frame, side)
        fit.energy[frame] = energy
        fit.converged[frame] = converged
        fit.iterations[frame] = iteration

    @wp.kernel(enable_backward=False, module='unique', module_options=OPTIONS)
    def fit_frames(c: Chain, seen: Seen, fit: Fit, w: Work, n_slots: int):
        slot = wp.tid()
        frame = wp.int32(slot)
        while frame < c.n_frames:
            fit_frame(c, seen, fit, w, slot, frame)
            frame += n_slots

    return SimpleNamespace(fit_frames=fit_frames)
