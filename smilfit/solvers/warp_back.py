"""The way back: from the steps of root and border to a tried state."""

from functools import cache
from types import SimpleNamespace
from typing import no_type_check

import warp as wp

from smilfit.solvers.warp_columns import column_functions
from smilfit.solvers.warp_rows import row_functions
from smilfit.solvers.warp_tree import FIXED_JOINT, tree_functions
from smilfit.solvers.warp_turn import MOVING_JOINT, turn_functions
from smilfit.solvers.warp_types import chain_types

# A joint turns at most this far in one step, rad; the others are not held back by it.
LONGEST = wp.constant(1.5)


@no_type_check
@cache
def back_functions(scalar, width):
    """Make `step_back` for one float type and width of the border."""
    t, rows, columns = (
        chain_types(scalar, width),
        row_functions(scalar, width),
        column_functions(scalar, width),
    )
    vec3, Chain, Work = t.vec3, t.Chain, t.Work
    joint_back, border_back = _joint_back(t, scalar, width), _border_back(t, rows, scalar)

    @wp.func
    def step_back(c: Chain, w: Work, slot: int, side: int, mu: scalar) -> scalar:
        """Turn the root's and border's step into a tried state on the other side; return what the damping took."""
        jn, place = c.n_joints, rows.place_row(c, side)
        zero = scalar(0.0)
        shift = w.vecs[slot, rows.transl_row(c, 0) + 2]
        taken = mu * w.nums[slot, 0] * wp.dot(shift, shift)
        for j in range(jn):
            omega = vec3(zero, zero, zero)
            v = shift
            if j > 0:
                p = c.parents[j]
                omega = w.vecs[slot, 3 * jn + p]
                v = w.vecs[slot, 4 * jn + p] + wp.cross(
                    omega, w.vecs[slot, place + j] - w.vecs[slot, place + p]
                )
            if c.n_border > 0:
                v = v + columns.by_step(c, w, slot, rows.wide_row(c, 3, j))
            taken += joint_back(c, w, slot, side, j, omega, v)
        w.vecs[slot, rows.transl_row(c, 1 - side)] = w.vecs[slot, rows.transl_row(c, side)] + shift
        return taken + border_back(c, w, slot, side)

    return SimpleNamespace(step_back=step_back)


@no_type_check
def _joint_back(t, scalar, width):
    rows, columns = row_functions(scalar, width), column_functions(scalar, width)
    vec3, Chain, Work = t.vec3, t.Chain, t.Work
    tree, turns = tree_functions(scalar, width), turn_functions(scalar, width)

    @wp.func
    def joint_back(c: Chain, w: Work, slot: int, side: int, j: int, omega: vec3, v: vec3) -> scalar:
        """Turn a joint whose parent turns by omega and whose place moves by v; return what its damping took."""
        jn = c.n_joints
        taken = scalar(0.0)
        q = w.quats[slot, side * jn + j]
        turn = omega
        if c.roles[j] != FIXED_JOINT:
            step = w.vecs[slot, j]
            if c.roles[j] == MOVING_JOINT:
                step = step + w.mats[slot, j] * omega + w.mats[slot, jn + j] * v
                if c.n_border > 0:
                    step = step + columns.by_step(c, w, slot, rows.wide_row(c, 2, j))
            length = wp.length(step)
            if length > scalar(LONGEST):
                step = step * (scalar(LONGEST) / length)
            taken = w.nums[slot, 2 * jn + j] * wp.dot(step, step)
            q = tree.turned(q, -(wp.transpose(turns.parent_turn(c, w, slot, side, j)) * step))
            turn = omega - step
        w.quats[slot, (1 - side) * jn + j] = q
        w.vecs[slot, 3 * jn + j] = turn
        w.vecs[slot, 4 * jn + j] = v
        return taken

    return joint_back


@no_type_check
def _border_back(t, rows, scalar):
    Chain, Work = t.Chain, t.Work

    @wp.func
    def border_back(c: Chain, w: Work, slot: int, side: int) -> scalar:
        """Change shape and scale; return what their damping took."""
        step, other = rows.side_row(c), 1 - side
        taken = scalar(0.0)
        for i in range(c.n_border):
            z = w.thin[slot, step, i]
            taken += w.thin[slot, rows.pivot_row(c), i] * z * z
        s = w.nums[slot, rows.scale_row(c, side)]
        if c.fit_scale == 1:
            s += w.thin[slot, step, c.n_border - 1]
        w.nums[slot, rows.scale_row(c, other)] = s
        for i in range(c.n_betas):
            beta = w.nums[slot, rows.betas_row(c, side) + i]
            if c.fit_betas == 1:
                beta += w.thin[slot, step, i]
            w.nums[slot, rows.betas_row(c, other) + i] = beta
        return taken

    return border_back
