"""The two passes over all frames of a step with a shape and scale shared by them: reduce, then try."""

from functools import cache
from types import SimpleNamespace
from typing import no_type_check

import warp as wp

from smilfit.solvers.warp_border import border_functions
from smilfit.solvers.warp_elimination import elimination_functions
from smilfit.solvers.warp_kernels import OPTIONS
from smilfit.solvers.warp_points import point_functions
from smilfit.solvers.warp_rows import row_functions
from smilfit.solvers.warp_tree import tree_functions
from smilfit.solvers.warp_types import chain_types


@no_type_check
@cache
def shared_kernels(scalar, width):
    """Make the kernels and their struct for one float type and width of the border."""
    t, rows = chain_types(scalar, width), row_functions(scalar, width)
    wide, Chain, Seen, Fit, Work = t.wide, t.Chain, t.Seen, t.Fit, t.Work
    tree, points = tree_functions(scalar, width), point_functions(scalar, width)
    pose, priors, load, store = tree.pose, tree.priors, tree.load, tree.store
    observe, count_seen = points.observe, points.count_seen
    steps, border = elimination_functions(scalar, width), border_functions(scalar, width)
    eliminate, step_back = steps.eliminate, steps.step_back
    add_border_priors, root_step = border.add_border_priors, border.root_step
    square_row, side_row, pivot_row = rows.square_row, rows.side_row, rows.pivot_row
    betas_row, scale_row = rows.betas_row, rows.scale_row

    @wp.struct
    class Shared:
        widening: scalar
        step: wp.array(dtype=wide)  # one row: the border's step
        mu: wp.array(dtype=scalar)
        active: wp.array(dtype=wp.int32)
        energy: wp.array(dtype=scalar)
        promised: wp.array(dtype=scalar)
        square: wp.array2d(dtype=wide)
        side: wp.array(dtype=wide)
        tried: wp.array(dtype=scalar)
        taken: wp.array(dtype=scalar)

    @wp.func
    def linearise(c: Chain, seen: Seen, fit: Fit, w: Work, h: Shared, slot: int, frame: int):
        load(c, fit, w, slot, frame)
        pose(c, w, slot, frame, 0)
        h.energy[frame] = observe(c, seen, w, slot, frame, 0, h.widening) + priors(c, w, slot, 0)
        h.promised[frame] = eliminate(c, w, slot, 0, h.mu[frame])

    @wp.kernel(enable_backward=False, module='unique', module_options=OPTIONS)
    def reduce_frames(c: Chain, seen: Seen, fit: Fit, w: Work, h: Shared, n_slots: int):
        """Reduce every frame to its quadratic of the border."""
        slot = wp.tid()
        frame = wp.int32(slot)
        while frame < c.n_frames:
            if h.active[frame] != 0:
                linearise(c, seen, fit, w, h, slot, frame)
                add_border_priors(c, w, slot, 0)
                if count_seen(c, seen, frame) == 0 or not wp.isfinite(h.energy[frame]):
                    h.active[frame] = 0
                else:
                    for i in range(c.n_border):
                        h.square[frame, i] = w.lanes[slot, square_row(c) + i]
                    h.side[frame] = w.lanes[slot, side_row(c)]
            frame += n_slots

    @wp.func
    def hand_shape(c: Chain, w: Work, slot: int):
        """Give the old pose, side 0, the new shape and scale."""
        w.nums[slot, scale_row(c, 0)] = w.nums[slot, scale_row(c, 1)]
        for i in range(c.n_betas):
            w.nums[slot, betas_row(c, 0) + i] = w.nums[slot, betas_row(c, 1) + i]

    @wp.kernel(enable_backward=False, module='unique', module_options=OPTIONS)
    def try_frames(c: Chain, seen: Seen, fit: Fit, tried: Fit, w: Work, h: Shared, n_slots: int):
        """Follow the border's step in every frame and measure where it leads."""
        slot = wp.tid()
        frame = wp.int32(slot)
        while frame < c.n_frames:
            if h.active[frame] != 0:
                linearise(c, seen, fit, w, h, slot, frame)
                w.lanes[slot, side_row(c)] = h.step[0]
                w.lanes[slot, pivot_row(c)] = wide(scalar(0.0))
                root_step(c, w, slot)
                h.taken[frame] = step_back(c, w, slot, 0, h.mu[frame])
                # A frame may have to give way to the others. Where its energy rises, its step is held against the
                # old pose with the new shape, so that a pose's step that went too far does not hold up the others.
                side, chosen = wp.int32(1), wp.int32(1)
                while side >= 0:
                    pose(c, w, slot, frame, side)
                    value = observe(c, seen, w, slot, frame, side, h.widening) + priors(c, w, slot, side)
                    if side == 1 or value < h.tried[frame] or not wp.isfinite(h.tried[frame]):
                        h.tried[frame] = value
                        chosen = side
                    side -= 1
                    if side == 0:
                        if value <= h.energy[frame]:
                            side = -1
                        else:
                            hand_shape(c, w, slot)
                store(c, tried, w, slot, frame, chosen)
            frame += n_slots

    return SimpleNamespace(Shared=Shared, reduce_frames=reduce_frames, try_frames=try_frames)
