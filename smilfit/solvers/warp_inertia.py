"""Articulated inertia of joints: what the points below add up to, carried from place to place."""

from functools import cache
from types import SimpleNamespace
from typing import no_type_check

import warp as wp

from smilfit.solvers.warp_border import gathering_functions
from smilfit.solvers.warp_rows import row_functions
from smilfit.solvers.warp_small import small_functions
from smilfit.solvers.warp_types import chain_types


@no_type_check
@cache
def inertia_functions(scalar, width):
    """Make the functions for one float type and width of the border."""
    t, rows, small = chain_types(scalar, width), row_functions(scalar, width), small_functions(scalar, width)
    vec3, mat33, Chain, Work = t.vec3, t.mat33, t.Chain, t.Work
    border = gathering_functions(scalar, width)

    @wp.func
    def carry(c: Chain, w: Work, slot: int, j: int, d: vec3, turn: mat33, mixed: mat33, shift: mat33):
        """Add an inertia given about a place at d from joint j: v there is v_j - [d]x omega_j."""
        jn = c.n_joints
        moved = mixed + small.cross_columns(d, shift)
        # -B' [d]x is [d]x applied to the rows of B': its transpose is [d]x B'^T.
        across = wp.transpose(small.cross_columns(d, wp.transpose(moved)))
        turn_there = turn + across + small.cross_columns(d, wp.transpose(mixed))
        w.mats[slot, j] = w.mats[slot, j] + turn_there
        w.mats[slot, jn + j] = w.mats[slot, jn + j] + moved
        w.mats[slot, 2 * jn + j] = w.mats[slot, 2 * jn + j] + shift

    @wp.func
    def clear(c: Chain, w: Work, slot: int):
        """Start with joints that nothing holds."""
        zero = scalar(0.0)
        for i in range(3 * c.n_joints):
            w.mats[slot, i] = mat33(zero)
            w.vecs[slot, i] = vec3(zero, zero, zero)
            w.nums[slot, i] = zero
        if c.n_border > 0:
            border.clear_border(c, w, slot)

    @wp.func
    def gather(c: Chain, w: Work, slot: int, side: int):
        """Collect the points' gradients and curvatures at their joints."""
        zero = scalar(0.0)
        jn = c.n_joints
        clear(c, w, slot)
        for k in range(c.n_points):
            curvature = w.mats[slot, rows.curvature_row(c, side) + k]
            mass = (curvature[0, 0] + curvature[1, 1] + curvature[2, 2]) / scalar(3.0)
            if mass > zero:
                j = c.point_joint[k]
                g = w.vecs[slot, rows.gradient_row(c, side) + k]
                w.vecs[slot, jn + j] = w.vecs[slot, jn + j] + g
                w.nums[slot, j] = w.nums[slot, j] + mass
                d = w.vecs[slot, rows.point_row(c, side) + k] - w.vecs[slot, rows.place_row(c, side) + j]
                if wp.dot(d, d) > zero:
                    carry(c, w, slot, j, d, mat33(zero), mat33(zero), curvature)
                    w.vecs[slot, j] = w.vecs[slot, j] + wp.cross(d, g)
                    w.vecs[slot, 2 * jn + j] = w.vecs[slot, 2 * jn + j] + mass * d
                    w.nums[slot, jn + j] = w.nums[slot, jn + j] + mass * wp.dot(d, d)
                    if c.fit_scale == 1:
                        border.add_point(c, w, slot, j, d, curvature, g)
                else:
                    w.mats[slot, 2 * jn + j] = w.mats[slot, 2 * jn + j] + curvature

    return SimpleNamespace(carry=carry, gather=gather)
