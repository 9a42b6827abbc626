"""The border of a tree's elimination: columns of what moves all joints at once, shape coefficients and the scale.

All columns of one axis stand side by side in one wide vector, so that a product with a 3 x 3 matrix is nine
multiply-adds of whole vectors. Wide rows of the workspace, by joint and axis: 0 what couples to the joint's turn,
1 what couples to its place, 2 the eliminated turn's answer, 3 the motion E of the place against the parent's.
"""

from functools import cache
from types import SimpleNamespace
from typing import no_type_check

import warp as wp

from smilfit.solvers.warp_rows import row_functions
from smilfit.solvers.warp_types import chain_types

# Least damping of the border as a share of its diagonal: shape and scale can be nearly the same motion.
LEAST = wp.constant(1e-6)


@no_type_check
@cache
def border_functions(scalar, width):
    """Make the functions of the border for one float type and width."""
    t, rows = chain_types(scalar, width), row_functions(scalar, width)
    vec3, mat33, wide, Chain, Work = t.vec3, t.mat33, t.wide, t.Chain, t.Work
    wide_row, square_row, side_row, pivot_row = rows.wide_row, rows.square_row, rows.side_row, rows.pivot_row
    betas_row, scale_row, transl_row, world_row = (
        rows.betas_row,
        rows.scale_row,
        rows.transl_row,
        rows.world_row,
    )

    @wp.struct
    class Columns:
        """A 3 x q matrix by rows."""

        x: wide
        y: wide
        z: wide

    @wp.func
    def read(w: Work, slot: int, row: int) -> Columns:
        m = Columns()
        m.x = w.lanes[slot, row]
        m.y = w.lanes[slot, row + 1]
        m.z = w.lanes[slot, row + 2]
        return m

    @wp.func
    def write(w: Work, slot: int, row: int, m: Columns):
        w.lanes[slot, row] = m.x
        w.lanes[slot, row + 1] = m.y
        w.lanes[slot, row + 2] = m.z

    @wp.func
    def times(a: mat33, m: Columns) -> Columns:
        r = Columns()
        r.x = a[0, 0] * m.x + a[0, 1] * m.y + a[0, 2] * m.z
        r.y = a[1, 0] * m.x + a[1, 1] * m.y + a[1, 2] * m.z
        r.z = a[2, 0] * m.x + a[2, 1] * m.y + a[2, 2] * m.z
        return r

    @wp.func
    def plus(a: Columns, b: Columns) -> Columns:
        r = Columns()
        r.x = a.x + b.x
        r.y = a.y + b.y
        r.z = a.z + b.z
        return r

    @wp.func
    def minus(a: Columns, b: Columns) -> Columns:
        r = Columns()
        r.x = a.x - b.x
        r.y = a.y - b.y
        r.z = a.z - b.z
        return r

    @wp.func
    def crossed(d: vec3, m: Columns) -> Columns:
        r = Columns()
        r.x = d[1] * m.z - d[2] * m.y
        r.y = d[2] * m.x - d[0] * m.z
        r.z = d[0] * m.y - d[1] * m.x
        return r

    @wp.func
    def along(v: vec3, m: Columns) -> wide:
        return v[0] * m.x + v[1] * m.y + v[2] * m.z

    @wp.func
    def clear(c: Chain, w: Work, slot: int):
        """Start with an empty border."""
        nothing = wide(scalar(0.0))
        for i in range(6 * c.n_joints):
            w.lanes[slot, i] = nothing
        for i in range(c.n_border + 1):
            w.lanes[slot, square_row(c) + i] = nothing

    @wp.func
    def add_square(c: Chain, w: Work, slot: int, a: Columns, b: Columns):
        """Add a^T b to the border's matrix."""
        square = square_row(c)
        for i in range(c.n_border):
            w.lanes[slot, square + i] = w.lanes[slot, square + i] + a.x[i] * b.x + a.y[i] * b.y + a.z[i] * b.z

    @wp.func
    def columns_rigid(c: Chain, w: Work, slot: int, j: int, d: vec3, curvature: mat33, gradient: vec3):
        """Add a point fixed to joint j at d: the scale moves it along d."""
        e = Columns()
        mask = c.scale_mask[0]
        e.x = d[0] * mask
        e.y = d[1] * mask
        e.z = d[2] * mask
        pushed = times(curvature, e)
        write(w, slot, wide_row(c, 0, j), plus(read(w, slot, wide_row(c, 0, j)), crossed(d, pushed)))
        write(w, slot, wide_row(c, 1, j), plus(read(w, slot, wide_row(c, 1, j)), pushed))
        w.lanes[slot, side_row(c)] = w.lanes[slot, side_row(c)] + along(gradient, e)
        add_square(c, w, slot, e, pushed)

    @wp.func
    def columns(
        c: Chain, w: Work, slot: int, side: int, j: int, p: int, d: vec3, size: scalar, rotates: int,
        inv: mat33, hold: mat33, mixed: mat33, new_mixed: mat33, place_curvature: mat33, force: vec3,
    ):  # fmt: skip
        """Eliminate a joint's turn from the border and hand the rest to its parent.

        `d` is the joint's place seen from its parent's, or for the root (p = -1) from the scale's centre.
        """
        e = Columns()
        mask = c.scale_mask[0]
        e.x = d[0] * mask
        e.y = d[1] * mask
        e.z = d[2] * mask
        if c.has_columns == 1:
            shape = Columns()
            shape.x = c.columns[j, 0]
            shape.y = c.columns[j, 1]
            shape.z = c.columns[j, 2]
            motion = wp.identity(3, scalar) * size
            if p >= 0:
                motion = w.mats[slot, world_row(c, side) + p] * size
            e = plus(e, times(motion, shape))
        at_turn = read(w, slot, wide_row(c, 0, j))
        at_place = read(w, slot, wide_row(c, 1, j))
        pull = w.lanes[slot, side_row(c)] + along(force, e)
        answer = Columns()
        coupled = at_turn
        if rotates == 1:
            answer = times(inv, at_turn)
            write(w, slot, wide_row(c, 2, j), answer)
            pull = pull - along(w.vecs[slot, j], at_turn)
            at_place = minus(at_place, times(wp.transpose(mixed), answer))
            coupled = times(hold, answer)
        above = plus(at_place, times(place_curvature, e))
        w.lanes[slot, side_row(c)] = pull
        write(w, slot, wide_row(c, 3, j), e)
        if p >= 0:
            handed = plus(plus(coupled, times(new_mixed, e)), crossed(d, above))
            write(w, slot, wide_row(c, 0, p), plus(read(w, slot, wide_row(c, 0, p)), handed))
            write(w, slot, wide_row(c, 1, p), plus(read(w, slot, wide_row(c, 1, p)), above))
        else:
            write(w, slot, wide_row(c, 1, j), above)
        square = square_row(c)
        for i in range(c.n_border):
            row = w.lanes[slot, square + i]
            row = row + e.x[i] * at_place.x + e.y[i] * at_place.y + e.z[i] * at_place.z
            row = row + above.x[i] * e.x + above.y[i] * e.y + above.z[i] * e.z
            if rotates == 1:
                row = row - at_turn.x[i] * answer.x - at_turn.y[i] * answer.y - at_turn.z[i] * answer.z
            w.lanes[slot, square + i] = row

    @wp.func
    def eliminate_root(c: Chain, w: Work, slot: int, inv: mat33) -> scalar:
        """Eliminate the root's place, whose damped curvature has the inverse `inv`; return the promised decrease."""
        force = w.vecs[slot, c.n_joints]
        answer = inv * force
        w.vecs[slot, transl_row(c, 0) + 2] = answer
        if c.n_border > 0:
            above = read(w, slot, wide_row(c, 1, 0))
            moved = times(inv, above)
            write(w, slot, wide_row(c, 0, 0), moved)
            w.lanes[slot, side_row(c)] = w.lanes[slot, side_row(c)] - along(answer, above)
            moved.x = -moved.x
            moved.y = -moved.y
            moved.z = -moved.z
            add_square(c, w, slot, above, moved)
        return wp.dot(force, answer)

    @wp.func
    def add_border_priors(c: Chain, w: Work, slot: int, side: int):
        """Add what is known of shape and scale beforehand."""
        q = c.n_border
        square = square_row(c)
        if c.fit_betas == 1:
            for i in range(c.betas_precision.shape[0]):
                pull = scalar(0.0)
                for k in range(c.betas_precision.shape[0]):
                    pull += c.betas_precision[i, k] * (w.nums[slot, betas_row(c, side) + k] - c.betas_mean[k])
                    w.thin[slot, square + i, k] = w.thin[slot, square + i, k] + c.betas_precision[i, k]
                w.thin[slot, side_row(c), i] = w.thin[slot, side_row(c), i] + pull
        if c.fit_scale == 1:
            i = q - 1
            pull = c.log_scale_weight * w.nums[slot, scale_row(c, side)]
            w.thin[slot, side_row(c), i] = w.thin[slot, side_row(c), i] + pull
            w.thin[slot, square + i, i] = w.thin[slot, square + i, i] + c.log_scale_weight

    @wp.func
    def damp_border(c: Chain, w: Work, slot: int, mu: scalar):
        """Add the damping, a share of the border's own diagonal."""
        square = square_row(c)
        for i in range(c.n_border):
            damping = wp.max(mu, scalar(LEAST)) * wp.max(w.thin[slot, square + i, i], scalar(0.0))
            w.thin[slot, pivot_row(c), i] = damping
            w.thin[slot, square + i, i] = w.thin[slot, square + i, i] + damping

    @wp.func
    def solve_border(c: Chain, w: Work, slot: int) -> scalar:
        """Solve the border by L D L^T in place; a dead pivot asks for no step. Return the promised decrease."""
        q = c.n_border
        top, z = square_row(c), side_row(c)
        promised = scalar(0.0)
        for i in range(q):
            y = -w.thin[slot, z, i]
            before = w.thin[slot, top + i, i]
            pivot = before
            for k in range(i):
                # Row i holds D_k L_ik until its own pivot is known.
                left = w.thin[slot, top + i, k]
                for m in range(k):
                    left -= w.thin[slot, top + i, m] * w.thin[slot, top + k, m]
                w.thin[slot, top + i, k] = left
            for k in range(i):
                left = w.thin[slot, top + i, k]
                unit = left * w.thin[slot, top + k, k]
                pivot -= left * unit
                y -= unit * w.thin[slot, z, k]
                w.thin[slot, top + i, k] = unit
            inverse = scalar(0.0)
            if pivot > scalar(LEAST) * scalar(0.1) * before and pivot > scalar(1e-30):
                inverse = scalar(1.0) / pivot
            w.thin[slot, top + i, i] = inverse
            w.thin[slot, z, i] = y
            promised += y * y * inverse
        for down in range(q):
            i = q - 1 - down
            value = w.thin[slot, z, i] * w.thin[slot, top + i, i]
            for k in range(i + 1, q):
                value -= w.thin[slot, top + k, i] * w.thin[slot, z, k]
            w.thin[slot, z, i] = value
        return promised

    @wp.func
    def root_step(c: Chain, w: Work, slot: int):
        """Find the root's shift from the border's step."""
        row = transl_row(c, 0) + 2
        shift = w.vecs[slot, row]
        if c.n_border > 0:
            z = w.lanes[slot, side_row(c)]
            moved = read(w, slot, wide_row(c, 0, 0))
            shift = shift + vec3(wp.dot(z, moved.x), wp.dot(z, moved.y), wp.dot(z, moved.z))
        w.vecs[slot, row] = -shift

    @wp.func
    def moved_by_border(c: Chain, w: Work, slot: int, j: int, kind: int) -> vec3:
        """Give what the border's step adds to a joint's motion (3) or to its turn's answer (2)."""
        z = w.lanes[slot, side_row(c)]
        m = read(w, slot, wide_row(c, kind, j))
        return vec3(wp.dot(z, m.x), wp.dot(z, m.y), wp.dot(z, m.z))

    return SimpleNamespace(
        clear=clear,
        columns=columns,
        columns_rigid=columns_rigid,
        eliminate_root=eliminate_root,
        add_border_priors=add_border_priors,
        damp_border=damp_border,
        solve_border=solve_border,
        root_step=root_step,
        moved_by_border=moved_by_border,
    )
