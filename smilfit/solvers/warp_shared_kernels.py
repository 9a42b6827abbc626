"""The two passes over all frames of a step with a shape and scale shared by them: reduce, then try."""

from functools import cache
from types import SimpleNamespace
from typing import no_type_check

import warp as wp

from smilfit.solvers.warp_back import back_functions
from smilfit.solvers.warp_border import root_functions
from smilfit.solvers.warp_border_solve import border_terms
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
    t = chain_types(scalar, width)
    wide, Chain, Seen, Fit, Work = t.wide, t.Chain, t.Seen, t.Fit, t.Work

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

    reduce_frame, linearise = _reduce(t, Shared, scalar, width)
    try_frame = _try(t, Shared, scalar, width)

    @wp.kernel(enable_backward=False, module='unique', module_options=OPTIONS)
    def reduce_frames(c: Chain, seen: Seen, fit: Fit, w: Work, h: Shared, n_slots: int):
        """Reduce every frame to its quadratic of the border."""
        slot = wp.tid()
        frame = wp.int32(slot)
        while frame < c.n_frames:
            if h.active[frame] != 0:
                reduce_frame(c, seen, fit, w, h, slot, frame)
            frame += n_slots

    @wp.kernel(enable_backward=False, module='unique', module_options=OPTIONS)
    def try_frames(c: Chain, seen: Seen, fit: Fit, tried: Fit, w: Work, h: Shared, n_slots: int):
        """Follow the border's step in every frame and measure where it leads."""
        slot = wp.tid()
        frame = wp.int32(slot)
        while frame < c.n_frames:
            if h.active[frame] != 0:
                linearise(c, seen, fit, w, h, slot, frame)
                try_frame(c, seen, tried, w, h, slot, frame)
            frame += n_slots

    return SimpleNamespace(Shared=Shared, reduce_frames=reduce_frames, try_frames=try_frames)


@no_type_check
def _reduce(t, Shared, scalar, width):
    Chain, Seen, Fit, Work = t.Chain, t.Seen, t.Fit, t.Work
    rows, tree, points = (
        row_functions(scalar, width),
        tree_functions(scalar, width),
        point_functions(scalar, width),
    )
    steps, terms = elimination_functions(scalar, width), border_terms(scalar, width)

    @wp.func
    def linearise(c: Chain, seen: Seen, fit: Fit, w: Work, h: Shared, slot: int, frame: int):
        tree.load(c, fit, w, slot, frame)
        tree.pose(c, w, slot, frame, 0)
        value = points.observe(c, seen, w, slot, frame, 0, h.widening)
        h.energy[frame] = value + tree.priors(c, w, slot, 0)
        h.promised[frame] = steps.eliminate(c, w, slot, 0, h.mu[frame])

    @wp.func
    def reduce_frame(c: Chain, seen: Seen, fit: Fit, w: Work, h: Shared, slot: int, frame: int):
        linearise(c, seen, fit, w, h, slot, frame)
        terms.add_border_priors(c, w, slot, 0)
        if points.count_seen(c, seen, frame) == 0 or not wp.isfinite(h.energy[frame]):
            h.active[frame] = 0
        else:
            for i in range(c.n_border):
                h.square[frame, i] = w.lanes[slot, rows.square_row(c) + i]
            h.side[frame] = w.lanes[slot, rows.side_row(c)]

    return reduce_frame, linearise


@no_type_check
def _try(t, Shared, scalar, width):
    wide, Chain, Seen, Fit, Work = t.wide, t.Chain, t.Seen, t.Fit, t.Work
    rows, tree, points = (
        row_functions(scalar, width),
        tree_functions(scalar, width),
        point_functions(scalar, width),
    )
    root, back = root_functions(scalar, width), back_functions(scalar, width)

    @wp.func
    def hand_shape(c: Chain, w: Work, slot: int):
        """Give the old pose, side 0, the new shape and scale."""
        w.nums[slot, rows.scale_row(c, 0)] = w.nums[slot, rows.scale_row(c, 1)]
        for i in range(c.n_betas):
            w.nums[slot, rows.betas_row(c, 0) + i] = w.nums[slot, rows.betas_row(c, 1) + i]

    @wp.func
    def try_frame(c: Chain, seen: Seen, tried: Fit, w: Work, h: Shared, slot: int, frame: int):
        w.lanes[slot, rows.side_row(c)] = h.step[0]
        w.lanes[slot, rows.pivot_row(c)] = wide(scalar(0.0))
        root.root_step(c, w, slot)
        h.taken[frame] = back.step_back(c, w, slot, 0, h.mu[frame])
        # A frame may have to give way to the others. Where its energy rises, its step is held against the old pose
        # with the new shape, so that a pose's step that went too far does not hold up the others.
        side = wp.int32(1)
        chosen = wp.int32(1)
        while side >= 0:
            tree.pose(c, w, slot, frame, side)
            value = points.observe(c, seen, w, slot, frame, side, h.widening) + tree.priors(c, w, slot, side)
            if side == 1 or value < h.tried[frame] or not wp.isfinite(h.tried[frame]):
                h.tried[frame] = value
                chosen = side
            side -= 1
            if side == 0:
                if value <= h.energy[frame]:
                    side = -1
                else:
                    hand_shape(c, w, slot)
        tree.store(c, tried, w, slot, frame, chosen)

    return try_frame
