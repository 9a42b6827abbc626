"""The border of a tree's elimination: columns of what moves all joints at once, coefficients and the scale.

A matrix of 3 rows and as many columns as the border has stands in three wide rows, chunk by chunk; a product with a
3 x 3 matrix is nine multiply-adds of whole vectors. Of the border's matrix only the upper triangle is right, from
the chunk of the diagonal on.
"""

from typing import no_type_check

import warp as wp

from smilfit.solvers.kernel.warp_tree import beyond_limits, prior_slope
from smilfit.solvers.kernel.warp_types import (
    LANES,
    Chain,
    Factor,
    Lanes,
    Matrix,
    Scalar,
    Vector,
    Work,
    coefficient_row,
    inverse_row,
    pivot_row,
    scale_row,
    side_row,
    square_row,
    wide_row,
    world_row,
)

CHUNK = wp.constant(LANES)
# Least damping of the border as a share of its diagonal: shape and scale can be nearly the same motion.
LEAST = wp.constant(1e-6)
DEAD = wp.constant(1e-7)


@no_type_check
@wp.func
def times(a: Matrix, x: Lanes, y: Lanes, z: Lanes):
    """Multiply a 3 x 3 matrix with a chunk of columns."""
    return (
        a[0, 0] * x + a[0, 1] * y + a[0, 2] * z,
        a[1, 0] * x + a[1, 1] * y + a[1, 2] * z,
        a[2, 0] * x + a[2, 1] * y + a[2, 2] * z,
    )


@no_type_check
@wp.func
def crossed(d: Vector, x: Lanes, y: Lanes, z: Lanes):
    """Compute [d]x of a chunk of columns."""
    return d[1] * z - d[2] * y, d[2] * x - d[0] * z, d[0] * y - d[1] * x


@no_type_check
@wp.func
def add_rows(w: Work, slot: int, at: int, x: Lanes, y: Lanes, z: Lanes):
    """Add a chunk to a stored matrix."""
    w.pool[slot, at] = w.pool[slot, at] + x
    w.pool[slot, at + 1] = w.pool[slot, at + 1] + y
    w.pool[slot, at + 2] = w.pool[slot, at + 2] + z


@no_type_check
@wp.func
def read_rows(w: Work, slot: int, at: int):
    """Read a chunk of a stored matrix."""
    return w.pool[slot, at], w.pool[slot, at + 1], w.pool[slot, at + 2]


@no_type_check
@wp.func
def write_rows(w: Work, slot: int, at: int, x: Lanes, y: Lanes, z: Lanes):
    """Write a chunk of a stored matrix."""
    w.pool[slot, at] = x
    w.pool[slot, at + 1] = y
    w.pool[slot, at + 2] = z


@no_type_check
@wp.func
def total(v: Lanes):
    """Add a chunk's numbers in pairs: one after the other each would wait for the last."""
    return ((v[0] + v[1]) + (v[2] + v[3])) + ((v[4] + v[5]) + (v[6] + v[7]))


@no_type_check
@wp.func
def by_step(c: Chain, w: Work, slot: int, j: int, kind: int):
    """Multiply a matrix of joint j by the border's step."""
    # Three of their own: a loop changes its variables in place.
    a = c.scale_mask[0] * type(c.ftol)(0.0)
    b = c.scale_mask[0] * type(c.ftol)(0.0)
    d = c.scale_mask[0] * type(c.ftol)(0.0)
    for n in range(c.chunk_start[j], c.chunk_start[j + 1]):
        z = w.lanes[slot, side_row(), c.chunk[n]]
        x, y, t = read_rows(w, slot, wide_row(kind, n))
        a, b, d = a + wp.cw_mul(z, x), b + wp.cw_mul(z, y), d + wp.cw_mul(z, t)
    return wp.vector(total(a), total(b), total(d))


@no_type_check
@wp.func
def add_loads(c: Chain, w: Work, slot: int, j: int, kind: int, v: Vector):
    """Add the transpose of a matrix of joint j times v to the border's right-hand side."""
    for n in range(c.chunk_start[j], c.chunk_start[j + 1]):
        i = c.chunk[n]
        x, y, z = read_rows(w, slot, wide_row(kind, n))
        w.lanes[slot, side_row(), i] = w.lanes[slot, side_row(), i] + v[0] * x + v[1] * y + v[2] * z


@no_type_check
@wp.func
def add_squares(c: Chain, w: Work, slot: int, first: int, n: int, kind: int, x: Lanes, y: Lanes, z: Lanes):
    """Add a^T b to the border's matrix: of a joint's chunks, `first` to n, a is stored as far as n, b given there."""
    k = c.chunk[n]
    for m in range(first, n + 1):
        top, at = CHUNK * c.chunk[m], wide_row(kind, m)
        for i in range(wp.min(CHUNK, c.n_border - top)):
            row = square_row() + top + i
            w.lanes[slot, row, k] = (
                w.lanes[slot, row, k]
                + w.thin_pool[slot, at, i] * x
                + w.thin_pool[slot, at + 1, i] * y
                + w.thin_pool[slot, at + 2, i] * z
            )


@no_type_check
@wp.func
def clear_border(c: Chain, w: Work, slot: int):
    """Start with a border of which only the priors know."""
    nothing = c.scale_mask[0] * type(c.ftol)(0.0)
    for n in range(c.chunk_start[c.n_joints]):
        write_rows(w, slot, wide_row(0, n), nothing, nothing, nothing)
        write_rows(w, slot, wide_row(1, n), nothing, nothing, nothing)
    for k in range(c.n_chunks):
        w.lanes[slot, side_row(), k] = nothing
        for i in range(wp.min(CHUNK * (k + 1), c.n_border)):
            w.lanes[slot, square_row() + i, k] = c.border_precision[i, k]


@no_type_check
@wp.func
def add_part(
    c: Chain, w: Work, slot: int, side: int, j: int, n: int, arm: Vector, curvature: Matrix, gradient: Vector
):
    """Add a rigid point of joint j: the scale moves it along its arm, coefficients by its own columns."""
    first, end = c.chunk_start[j], c.chunk_start[j + 1]
    if c.has_part_columns == 0:
        last = c.n_border - 1
        at, lane = wide_row(0, end - 1), last - CHUNK * c.chunk[end - 1]
        p = curvature * arm
        q = wp.cross(arm, p)
        for i in range(3):
            w.thin_pool[slot, at + i, lane] = w.thin_pool[slot, at + i, lane] + q[i]
            w.thin_pool[slot, at + 3 + i, lane] = w.thin_pool[slot, at + 3 + i, lane] + p[i]
        w.thin[slot, side_row(), last] = w.thin[slot, side_row(), last] + wp.dot(gradient, arm)
        square = square_row() + last
        w.thin[slot, square, last] = w.thin[slot, square, last] + wp.dot(arm, p)
    else:
        rotation = w.mats[slot, world_row(c, side) + j] * wp.exp(w.nums[slot, scale_row(c, side)])
        for m in range(first, end):
            i = c.chunk[m]
            mask = c.scale_mask[i]
            ex, ey, ez = times(
                rotation, c.part_columns[n, 0, i], c.part_columns[n, 1, i], c.part_columns[n, 2, i]
            )
            ex, ey, ez = ex + arm[0] * mask, ey + arm[1] * mask, ez + arm[2] * mask
            px, py, pz = times(curvature, ex, ey, ez)
            # Joint j has not been eliminated yet: its rows 3 are free.
            write_rows(w, slot, wide_row(3, m), ex, ey, ez)
            add_rows(w, slot, wide_row(1, m), px, py, pz)
            qx, qy, qz = crossed(arm, px, py, pz)
            add_rows(w, slot, wide_row(0, m), qx, qy, qz)
            add_squares(c, w, slot, first, m, 3, px, py, pz)
        add_loads(c, w, slot, j, 3, gradient)


@no_type_check
@wp.func
def add_border_slopes(c: Chain, w: Work, slot: int, side: int):
    """Add the slopes of what is known of coefficients and scale beforehand, and the curvature of their limits."""
    if c.n_priors > 0:
        for i in range(c.n_fitted):
            slope = prior_slope(c, w, slot, side, c.fitted[i])
            w.thin[slot, side_row(), i] = w.thin[slot, side_row(), i] + slope
    if c.n_limits > 0:
        for i in range(c.n_fitted):
            over = beyond_limits(c, w, slot, side, c.fitted[i])
            if over != type(c.ftol)(0.0):
                weight = c.coefficient_limit_weight[c.fitted[i]]
                square = square_row() + i
                w.thin[slot, side_row(), i] = w.thin[slot, side_row(), i] + weight * over
                w.thin[slot, square, i] = w.thin[slot, square, i] + weight
    if c.fit_scale == 1:
        i = c.n_border - 1
        slope = c.log_scale_weight * w.nums[slot, scale_row(c, side)]
        w.thin[slot, side_row(), i] = w.thin[slot, side_row(), i] + slope


@no_type_check
@wp.func
def damp_border(c: Chain, w: Work, slot: int, mu: Scalar):
    """Add the damping, a share of the border's own diagonal."""
    square = square_row()
    for k in range(c.n_chunks):
        w.lanes[slot, pivot_row(), k] = c.scale_mask[k] * type(mu)(0.0)
    for i in range(c.n_border):
        damping = wp.max(mu, type(mu)(LEAST)) * wp.max(w.thin[slot, square + i, i], type(mu)(0.0))
        w.thin[slot, pivot_row(), i] = damping
        w.thin[slot, square + i, i] = w.thin[slot, square + i, i] + damping


@no_type_check
@wp.func
def factorise_border(c: Chain, w: Work, slot: int):
    """Factorise the border's matrix as U^T D^-1 U in place, 1 / D in a row of its own, 0 for a dead pivot.

    The diagonal and what is left of it become 0, so that whole vectors can be multiplied.
    """
    top, inverses = square_row(), inverse_row()
    for i in range(c.n_border):
        w.thin[slot, inverses, i] = w.thin[slot, top + i, i]
    for k in range(c.n_border):
        pivot = w.thin[slot, top + k, k]
        inverse = type(c.ftol)(0.0)
        if pivot > type(c.ftol)(DEAD) * w.thin[slot, inverses, k] and pivot > type(c.ftol)(1e-30):
            inverse = type(c.ftol)(1.0) / pivot
        w.thin[slot, inverses, k] = inverse
        for i in range(k + 1, c.n_border):
            factor = w.thin[slot, top + k, i] * inverse
            for m in range(i // CHUNK, c.n_chunks):
                w.lanes[slot, top + i, m] = w.lanes[slot, top + i, m] - factor * w.lanes[slot, top + k, m]
        for m in range(CHUNK * (k // CHUNK), k + 1):
            w.thin[slot, top + k, m] = type(c.ftol)(0.0)


@no_type_check
@wp.func
def solve_border(c: Chain, w: Work, slot: int):
    """Replace the right-hand side s by the step -square^-1 s; return s^T square^-1 s."""
    top, z = square_row(), side_row()
    value = type(c.ftol)(0.0)
    for k in range(c.n_border):
        y = w.thin[slot, z, k]
        factor = y * w.thin[slot, inverse_row(), k]
        value += y * factor
        for m in range(k // CHUNK, c.n_chunks):
            w.lanes[slot, z, m] = w.lanes[slot, z, m] - factor * w.lanes[slot, top + k, m]
    for down in range(c.n_border):
        k = c.n_border - 1 - down
        # What stands above the diagonal meets the steps that are known, which have the other sign.
        rest = -w.thin[slot, z, k]
        w.thin[slot, z, k] = type(c.ftol)(0.0)
        for m in range(k // CHUNK, c.n_chunks):
            rest -= wp.dot(w.lanes[slot, z, m], w.lanes[slot, top + k, m])
        w.thin[slot, z, k] = rest * w.thin[slot, inverse_row(), k]
    return value


@no_type_check
@wp.func
def move_border(c: Chain, w: Work, slot: int, side: int):
    """Put coefficients and scale after the border's step on the other side."""
    s = w.nums[slot, scale_row(c, side)]
    if c.fit_scale == 1:
        s += w.thin[slot, side_row(), c.n_border - 1]
    w.nums[slot, scale_row(c, 1 - side)] = s
    for i in range(c.n_chunks):
        w.lanes[slot, coefficient_row(1 - side), i] = w.lanes[slot, coefficient_row(side), i]
    for i in range(c.n_fitted):
        k = coefficient_row(1 - side)
        w.thin[slot, k, c.fitted[i]] = w.thin[slot, k, c.fitted[i]] + w.thin[slot, side_row(), i]


@no_type_check
@wp.func
def border_rise(c: Chain, w: Work, slot: int, f: Factor, frame: int):
    """Compute (2 s + square z)^T z of the right-hand side s, a matrix not factorised, and a step z from outside."""
    rise = type(c.ftol)(0.0)
    for i in range(c.n_border):
        k = i // CHUNK
        row = square_row() + i
        two = type(c.ftol)(2.0)
        own = wp.cw_mul(w.lanes[slot, row, k], f.border[frame, k])
        for m in range(k + 1, c.n_chunks):
            own = own + wp.cw_mul(w.lanes[slot, row, m], two * f.border[frame, m])
        rise += (two * w.thin[slot, side_row(), i] + total(own)) * f.border[frame, k][i - CHUNK * k]
    return rise
