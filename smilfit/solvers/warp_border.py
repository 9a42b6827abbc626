"""The border of a tree's elimination: columns of what moves all joints at once, shape coefficients and the scale.

Wide rows of the workspace, by joint and axis: 0 what couples to the joint's turn, 1 what couples to its place, 2 the
eliminated turn's answer, 3 the motion E of the place against the parent's.
"""

from functools import cache
from types import SimpleNamespace
from typing import no_type_check

import warp as wp

from smilfit.solvers.warp_columns import column_functions
from smilfit.solvers.warp_rows import row_functions
from smilfit.solvers.warp_turn import turn_functions
from smilfit.solvers.warp_types import chain_types


@no_type_check
@cache
def gathering_functions(scalar, width):
    """Make what fills the border from the points, for one float type and width of the border."""
    t, rows, columns = (
        chain_types(scalar, width),
        row_functions(scalar, width),
        column_functions(scalar, width),
    )
    vec3, mat33, wide, Chain, Work = t.vec3, t.mat33, t.wide, t.Chain, t.Work

    @wp.func
    def clear_border(c: Chain, w: Work, slot: int):
        """Start with an empty border."""
        nothing = wide(scalar(0.0))
        for i in range(6 * c.n_joints):
            w.lanes[slot, i] = nothing
        for i in range(c.n_border + 1):
            w.lanes[slot, rows.square_row(c) + i] = nothing

    @wp.func
    def add_point(c: Chain, w: Work, slot: int, j: int, d: vec3, curvature: mat33, gradient: vec3):
        """Add a point fixed to joint j at d: the scale moves it along d."""
        e = columns.outer(d, c.scale_mask[0])
        pushed = columns.times(curvature, e)
        columns.add(w, slot, rows.wide_row(c, 0, j), columns.crossed(d, pushed))
        columns.add(w, slot, rows.wide_row(c, 1, j), pushed)
        w.lanes[slot, rows.side_row(c)] = w.lanes[slot, rows.side_row(c)] + columns.along(gradient, e)
        columns.add_square(c, w, slot, e, pushed)

    return SimpleNamespace(clear_border=clear_border, add_point=add_point)


@no_type_check
@cache
def passing_functions(scalar, width):
    """Make what hands the border on from joint to parent, for one float type and width of the border."""
    t, rows, columns = (
        chain_types(scalar, width),
        row_functions(scalar, width),
        column_functions(scalar, width),
    )
    vec3, Chain, Work, Columns = t.vec3, t.Chain, t.Work, columns.Columns
    Joint = turn_functions(scalar, width).Joint
    motion, add_squares = _motion(t, rows, columns, scalar), _add_squares(t, rows, Columns)

    @wp.func
    def pass_border(
        c: Chain, w: Work, slot: int, side: int, j: int, p: int, d: vec3, size: scalar, joint: Joint
    ):
        """Eliminate a joint's turn from the border and hand the rest to its parent.

        `d` is the joint's place seen from its parent's, or for the root (p = -1) from the scale's centre.
        """
        e = motion(c, w, slot, side, j, p, d, size)
        at_turn = columns.read(w, slot, rows.wide_row(c, 0, j))
        at_place = columns.read(w, slot, rows.wide_row(c, 1, j))
        pull = w.lanes[slot, rows.side_row(c)] + columns.along(joint.force, e)
        answer = Columns()
        coupled = at_turn
        if joint.rotates == 1:
            answer = columns.times(joint.inverse, at_turn)
            columns.write(w, slot, rows.wide_row(c, 2, j), answer)
            pull = pull - columns.along(w.vecs[slot, j], at_turn)
            at_place = columns.minus(at_place, columns.times(wp.transpose(joint.mixed_before), answer))
            coupled = columns.times(joint.hold, answer)
        above = columns.plus(at_place, columns.times(joint.shift, e))
        w.lanes[slot, rows.side_row(c)] = pull
        columns.write(w, slot, rows.wide_row(c, 3, j), e)
        if p >= 0:
            handed = columns.plus(
                columns.plus(coupled, columns.times(joint.mixed, e)), columns.crossed(d, above)
            )
            columns.add(w, slot, rows.wide_row(c, 0, p), handed)
            columns.add(w, slot, rows.wide_row(c, 1, p), above)
        else:
            columns.write(w, slot, rows.wide_row(c, 1, j), above)
        add_squares(c, w, slot, e, at_place, above, at_turn, answer)

    return SimpleNamespace(pass_border=pass_border)


@no_type_check
def _motion(t, rows, columns, scalar):
    vec3, Chain, Work, Columns = t.vec3, t.Chain, t.Work, columns.Columns

    @wp.func
    def motion(c: Chain, w: Work, slot: int, side: int, j: int, p: int, d: vec3, size: scalar) -> Columns:
        """Give the motion E of a joint's place against its parent's, or the root's against the scale's centre."""
        e = columns.outer(d, c.scale_mask[0])
        if c.has_columns == 1:
            shape = Columns()
            shape.x = c.columns[j, 0]
            shape.y = c.columns[j, 1]
            shape.z = c.columns[j, 2]
            turn = wp.identity(3, scalar) * size
            if p >= 0:
                turn = w.mats[slot, rows.world_row(c, side) + p] * size
            e = columns.plus(e, columns.times(turn, shape))
        return e

    return motion


@no_type_check
def _add_squares(t, rows, Columns):
    Chain, Work = t.Chain, t.Work

    @wp.func
    def add_squares(
        c: Chain, w: Work, slot: int, e: Columns, at_place: Columns, above: Columns, at_turn: Columns, answer: Columns
    ):  # fmt: skip
        """Add E^T at_place + above^T E - at_turn^T answer to the border's matrix."""
        square = rows.square_row(c)
        for i in range(c.n_border):
            row = w.lanes[slot, square + i]
            row = row + e.x[i] * at_place.x + e.y[i] * at_place.y + e.z[i] * at_place.z
            row = row + above.x[i] * e.x + above.y[i] * e.y + above.z[i] * e.z
            row = row - at_turn.x[i] * answer.x - at_turn.y[i] * answer.y - at_turn.z[i] * answer.z
            w.lanes[slot, square + i] = row

    return add_squares


@no_type_check
@cache
def root_functions(scalar, width):
    """Make the elimination of the root's place and its way back, for one float type and width of the border."""
    t, rows, columns = (
        chain_types(scalar, width),
        row_functions(scalar, width),
        column_functions(scalar, width),
    )
    mat33, Chain, Work = t.mat33, t.Chain, t.Work

    @wp.func
    def eliminate_root(c: Chain, w: Work, slot: int, inverse: mat33) -> scalar:
        """Eliminate the root's place, whose damped curvature's inverse is given; return the promised decrease."""
        force = w.vecs[slot, c.n_joints]
        answer = inverse * force
        w.vecs[slot, rows.transl_row(c, 0) + 2] = answer
        if c.n_border > 0:
            above = columns.read(w, slot, rows.wide_row(c, 1, 0))
            columns.write(w, slot, rows.wide_row(c, 0, 0), columns.times(inverse, above))
            w.lanes[slot, rows.side_row(c)] = w.lanes[slot, rows.side_row(c)] - columns.along(answer, above)
            columns.add_square(c, w, slot, above, columns.times(-inverse, above))
        return wp.dot(force, answer)

    @wp.func
    def root_step(c: Chain, w: Work, slot: int):
        """Find the root's shift from the border's step."""
        row = rows.transl_row(c, 0) + 2
        shift = w.vecs[slot, row]
        if c.n_border > 0:
            shift = shift + columns.by_step(c, w, slot, rows.wide_row(c, 0, 0))
        w.vecs[slot, row] = -shift

    return SimpleNamespace(eliminate_root=eliminate_root, root_step=root_step)
