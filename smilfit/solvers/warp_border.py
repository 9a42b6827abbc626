"""The border of a tree's elimination: columns of what moves all joints at once, shape coefficients and the scale.

Border rows of the workspace, by joint and column: 0 what couples to the joint's turn, 1 what couples to its place,
2 the eliminated turn's answer, 3 the motion E of the place against the parent's, 4 what couples to the parent's place.
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
def border_functions(scalar):
    """Make the functions of the border for one float type."""
    t, rows = chain_types(scalar), row_functions(scalar)
    vec3, mat33, Chain, Work = t.vec3, t.mat33, t.Chain, t.Work
    border_row, square_row, side_row = rows.border_row, rows.square_row, rows.side_row
    betas_row, scale_row, transl_row, world_row = rows.betas_row, rows.scale_row, rows.transl_row, rows.world_row

    @wp.func
    def clear(c: Chain, w: Work, slot: int):
        """Start with an empty border."""
        zero = scalar(0.0)
        for i in range(c.n_border * (c.n_border + 3)):
            w.nums[slot, square_row(c) + i] = zero
        for i in range(2 * c.n_joints * c.n_border):
            w.vecs[slot, border_row(c, 0) + i] = vec3(zero, zero, zero)

    @wp.func
    def columns_rigid(c: Chain, w: Work, slot: int, j: int, d: vec3, curvature: mat33, gradient: vec3):
        """Add a point fixed to joint j at d: the scale moves it along d."""
        i = c.n_border - 1
        pushed = curvature * d
        at = j * c.n_border + i
        w.vecs[slot, border_row(c, 0) + at] = w.vecs[slot, border_row(c, 0) + at] + wp.cross(d, pushed)
        w.vecs[slot, border_row(c, 1) + at] = w.vecs[slot, border_row(c, 1) + at] + pushed
        h, s = side_row(c, 0) + i, square_row(c) + i * c.n_border + i
        w.nums[slot, h] = w.nums[slot, h] + wp.dot(d, gradient)
        w.nums[slot, s] = w.nums[slot, s] + wp.dot(d, pushed)

    @wp.func
    def columns(
        c: Chain, w: Work, slot: int, side: int, j: int, p: int, d: vec3, size: scalar, rotates: int,
        inv: mat33, hold: mat33, mixed: mat33, new_mixed: mat33, new_force_curvature: mat33, force: vec3,
    ):  # fmt: skip
        """Eliminate a joint's turn from the border and hand the rest to its parent.

        `d` is the joint's place seen from its parent's, or for the root (p = -1) from the scale's centre.
        """
        q = c.n_border
        own = j * q
        n_shape = q - c.fit_scale
        motion_turn = wp.identity(3, scalar) * size
        if p >= 0:
            motion_turn = w.mats[slot, world_row(c, side) + p] * size
        for i in range(q):
            e = d
            if i < n_shape:
                if c.has_dirs == 1:
                    e = motion_turn * c.dirs[j, i]
                else:
                    e = vec3(scalar(0.0), scalar(0.0), scalar(0.0))
            at_turn = w.vecs[slot, border_row(c, 0) + own + i]
            at_place = w.vecs[slot, border_row(c, 1) + own + i]
            h = w.nums[slot, side_row(c, 0) + i]
            if rotates == 1:
                answer = inv * at_turn
                w.vecs[slot, border_row(c, 2) + own + i] = answer
                h -= wp.dot(at_turn, w.vecs[slot, j])
                at_place = at_place - wp.transpose(mixed) * answer
                at_turn = hold * answer
            above = at_place + new_force_curvature * e
            w.nums[slot, side_row(c, 0) + i] = h + wp.dot(e, force)
            w.vecs[slot, border_row(c, 1) + own + i] = at_place
            w.vecs[slot, border_row(c, 3) + own + i] = e
            w.vecs[slot, border_row(c, 4) + own + i] = above
            if p >= 0:
                a, b = border_row(c, 0) + p * q + i, border_row(c, 1) + p * q + i
                w.vecs[slot, a] = w.vecs[slot, a] + at_turn + new_mixed * e + wp.cross(d, above)
                w.vecs[slot, b] = w.vecs[slot, b] + above
        for i in range(q):
            above = w.vecs[slot, border_row(c, 4) + own + i]
            e = w.vecs[slot, border_row(c, 3) + own + i]
            at_turn = w.vecs[slot, border_row(c, 0) + own + i]
            for k in range(i + 1):
                s = square_row(c) + i * q + k
                added = wp.dot(e, w.vecs[slot, border_row(c, 1) + own + k])
                added += wp.dot(above, w.vecs[slot, border_row(c, 3) + own + k])
                if rotates == 1:
                    added -= wp.dot(at_turn, w.vecs[slot, border_row(c, 2) + own + k])
                w.nums[slot, s] = w.nums[slot, s] + added

    @wp.func
    def eliminate_root(c: Chain, w: Work, slot: int, inv: mat33) -> scalar:
        """Eliminate the root's place, whose damped curvature has the inverse `inv`; return the promised decrease."""
        q = c.n_border
        force = w.vecs[slot, c.n_joints]
        answer = inv * force
        w.vecs[slot, transl_row(c, 0) + 2] = answer
        for i in range(q):
            above = w.vecs[slot, border_row(c, 4) + i]
            w.vecs[slot, border_row(c, 0) + i] = inv * above
            w.nums[slot, side_row(c, 0) + i] = w.nums[slot, side_row(c, 0) + i] - wp.dot(above, answer)
            for k in range(i + 1):
                s = square_row(c) + i * q + k
                w.nums[slot, s] = w.nums[slot, s] - wp.dot(above, w.vecs[slot, border_row(c, 0) + k])
        return wp.dot(force, answer)

    @wp.func
    def add_border_priors(c: Chain, w: Work, slot: int, side: int, mu: scalar):
        """Add what is known of shape and scale beforehand, and the damping."""
        q = c.n_border
        if c.fit_betas == 1:
            for i in range(c.betas_precision.shape[0]):
                pull = scalar(0.0)
                for k in range(c.betas_precision.shape[0]):
                    pull += c.betas_precision[i, k] * (w.nums[slot, betas_row(c, side) + k] - c.betas_mean[k])
                    if k <= i:
                        s = square_row(c) + i * q + k
                        w.nums[slot, s] = w.nums[slot, s] + c.betas_precision[i, k]
                w.nums[slot, side_row(c, 0) + i] = w.nums[slot, side_row(c, 0) + i] + pull
        if c.fit_scale == 1:
            h, s = side_row(c, 0) + q - 1, square_row(c) + q * q - 1
            w.nums[slot, h] = w.nums[slot, h] + c.log_scale_weight * w.nums[slot, scale_row(c, side)]
            w.nums[slot, s] = w.nums[slot, s] + c.log_scale_weight
        for i in range(q):
            s = square_row(c) + i * q + i
            damping = wp.max(mu, scalar(LEAST)) * wp.max(w.nums[slot, s], scalar(0.0))
            w.nums[slot, side_row(c, 2) + i] = damping
            w.nums[slot, s] = w.nums[slot, s] + damping

    @wp.func
    def solve_border(c: Chain, w: Work, slot: int) -> scalar:
        """Solve the border by L D L^T in place; a dead pivot asks for no step. Return the promised decrease."""
        q = c.n_border
        top, z = square_row(c), side_row(c, 1)
        promised = scalar(0.0)
        for i in range(q):
            y = -w.nums[slot, side_row(c, 0) + i]
            before = w.nums[slot, top + i * q + i]
            for k in range(i):
                # Row i still holds D_k L_ik: what the earlier columns left of it.
                left = w.nums[slot, top + i * q + k]
                for m in range(k):
                    left -= w.nums[slot, top + i * q + m] * w.nums[slot, top + k * q + m]
                w.nums[slot, top + i * q + k] = left
            pivot = before
            for k in range(i):
                left = w.nums[slot, top + i * q + k]
                unit = left * w.nums[slot, top + k * q + k]
                pivot -= left * unit
                y -= unit * w.nums[slot, z + k]
                w.nums[slot, top + i * q + k] = unit
            inverse = scalar(0.0)
            if pivot > scalar(LEAST) * scalar(0.1) * before and pivot > scalar(1e-30):
                inverse = scalar(1.0) / pivot
            w.nums[slot, top + i * q + i] = inverse
            w.nums[slot, z + i] = y
            promised += y * y * inverse
        for down in range(q):
            i = q - 1 - down
            value = w.nums[slot, z + i] * w.nums[slot, top + i * q + i]
            for k in range(i + 1, q):
                value -= w.nums[slot, top + k * q + i] * w.nums[slot, z + k]
            w.nums[slot, z + i] = value
        return promised

    @wp.func
    def root_step(c: Chain, w: Work, slot: int):
        """Find the root's shift from the border's step."""
        row = transl_row(c, 0) + 2
        shift = w.vecs[slot, row]
        for i in range(c.n_border):
            shift = shift + w.nums[slot, side_row(c, 1) + i] * w.vecs[slot, border_row(c, 0) + i]
        w.vecs[slot, row] = -shift

    return SimpleNamespace(
        clear=clear,
        columns=columns,
        columns_rigid=columns_rigid,
        eliminate_root=eliminate_root,
        add_border_priors=add_border_priors,
        solve_border=solve_border,
        root_step=root_step,
    )
