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

# Damping, as a share of the curvature: at the start, at least, and where a frame gives up.
MU_START, MU_LEAST, MU_MOST = wp.constant(3e-2), wp.constant(1e-7), wp.constant(1e9)

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
    add_border_priors, solve_border, root_step = border.add_border_priors, border.solve_border, border.root_step

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
        load(c, fit, w, slot, frame)
        pose(c, w, slot, frame, 0)
        side = int(0)
        energy = observe(c, seen, w, slot, frame, 0, widening(c, 0)) + priors(c, w, slot, 0)
        iteration = int(0)
        converged = int(0)
        going = int(1)
        mu = scalar(MU_START)
        rejected = scalar(8.0)
        if count_seen(c, seen, frame) == 0 or not wp.isfinite(energy):
            going = int(0)
        while going == 1 and iteration < c.n_iter:
            wide = widening(c, iteration)
            if iteration > 0 and wide != widening(c, iteration - 1):
                energy = observe(c, seen, w, slot, frame, side, wide) + priors(c, w, slot, side)
            promised = eliminate(c, w, slot, side, mu)
            add_border_priors(c, w, slot, side, mu)
            promised += solve_border(c, w, slot)
            root_step(c, w, slot)
            promised += step_back(c, w, slot, side, mu)
            other = 1 - side
            pose(c, w, slot, frame, other)
            tried = observe(c, seen, w, slot, frame, other, wide) + priors(c, w, slot, other)
            decrease = energy - tried
            # A tried state that is not finite fails every comparison.
            if decrease >= scalar(0.0):
                small = c.ftol * energy
                side = other
                energy = tried
                mu = damping_after(mu, decrease / wp.max(promised, scalar(1e-30)))
                rejected = scalar(8.0)
                if decrease <= small and iteration >= c.n_graduation:
                    converged = int(1)
            else:
                mu = wp.max(mu, scalar(1e-4)) * rejected
                rejected = rejected * scalar(2.0)
                if promised <= c.ftol * energy and iteration >= c.n_graduation:
                    converged = int(1)
                if not (mu < scalar(MU_MOST)):
                    going = int(0)
            if converged == 1:
                going = int(0)
            iteration += 1
        if iteration > 0:
            store(c, fit, w, slot, frame, side)
            if widening(c, iteration - 1) != scalar(1.0):
                energy = observe(c, seen, w, slot, frame, side, scalar(1.0)) + priors(c, w, slot, side)
        elif c.n_graduation > 0:
            energy = observe(c, seen, w, slot, frame, side, scalar(1.0)) + priors(c, w, slot, side)
        fit.energy[frame] = energy
        fit.converged[frame] = converged
        fit.iterations[frame] = iteration

    @wp.kernel(enable_backward=False, module='unique', module_options=OPTIONS)
    def fit_frames(c: Chain, seen: Seen, fit: Fit, w: Work, n_slots: int):
        slot = wp.tid()
        frame = int(slot)
        while frame < c.n_frames:
            fit_frame(c, seen, fit, w, slot, frame)
            frame += n_slots

    return SimpleNamespace(fit_frames=fit_frames)
