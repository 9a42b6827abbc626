"""The border of a tree's elimination: columns of what moves all joints at once, coefficients and the scale.

A matrix of 3 rows and as many columns as the border has stands in three wide rows, chunk by chunk; a product with a
3 x 3 matrix is nine multiply-adds of whole vectors. Of the border's matrix only the upper triangle is right, from
the chunk of the diagonal on.
"""

from typing import Any, no_type_check

import warp as wp

from smilfit.solvers.warp_rows import (
    coefficient_row,
    inverse_row,
    pivot_row,
    scale_row,
    side_row,
    square_row,
    wide_row,
    world_row,
)
from smilfit.solvers.warp_tree import prior_slope
from smilfit.solvers.warp_types import LANES

CHUNK = wp.constant(LANES)
# Least damping of the border as a share of its diagonal: shape and scale can be nearly the same motion.
LEAST = wp.constant(1e-6)
DEAD = wp.constant(1e-7)


@no_type_check
@wp.func
def times(a: Any, x: Any, y: Any, z: Any):
    """Multiply a 3 x 3 matrix with a chunk of columns."""
    return (
        a[0, 0] * x + a[0, 1] * y + a[0, 2] * z,
        a[1, 0] * x + a[1, 1] * y + a[1, 2] * z,
        a[2, 0] * x + a[2, 1] * y + a[2, 2] * z,
    )


@no_type_check
@wp.func
def crossed(d: Any, x: Any, y: Any, z: Any):
    """Compute [d]x of a chunk of columns."""
    return d[1] * z - d[2] * y, d[2] * x - d[0] * z, d[0] * y - d[1] * x


@no_type_check
@wp.func
def add_rows(w: Any, slot: int, row: int, i: int, x: Any, y: Any, z: Any):
    """Add a chunk to a stored matrix."""
    w.lanes[slot, row, i] = w.lanes[slot, row, i] + x
    w.lanes[slot, row + 1, i] = w.lanes[slot, row + 1, i] + y
    w.lanes[slot, row + 2, i] = w.lanes[slot, row + 2, i] + z


@no_type_check
@wp.func
def read_rows(w: Any, slot: int, row: int, i: int):
    """Read a chunk of a stored matrix."""
    return w.lanes[slot, row, i], w.lanes[slot, row + 1, i], w.lanes[slot, row + 2, i]


@no_type_check
@wp.func
def write_rows(w: Any, slot: int, row: int, i: int, x: Any, y: Any, z: Any):
    """Write a chunk of a stored matrix."""
    w.lanes[slot, row, i] = x
    w.lanes[slot, row + 1, i] = y
    w.lanes[slot, row + 2, i] = z


@no_type_check
@wp.func
def by_step(c: Any, w: Any, slot: int, row: int):
    """Multiply a stored matrix by the border's step."""
    zero = type(c.ftol)(0.0)
    v = wp.vector(zero, zero, zero)
    for i in range(c.n_chunks):
        z = w.lanes[slot, side_row(c), i]
        v = v + wp.vector(
            wp.dot(z, w.lanes[slot, row, i]),
            wp.dot(z, w.lanes[slot, row + 1, i]),
            wp.dot(z, w.lanes[slot, row + 2, i]),
        )
    return v


@no_type_check
@wp.func
def add_loads(c: Any, w: Any, slot: int, row: int, v: Any):
    """Add a stored matrix's transpose times v to the border's right-hand side."""
    for i in range(c.n_chunks):
        w.lanes[slot, side_row(c), i] = (
            w.lanes[slot, side_row(c), i]
            + v[0] * w.lanes[slot, row, i]
            + v[1] * w.lanes[slot, row + 1, i]
            + v[2] * w.lanes[slot, row + 2, i]
        )


@no_type_check
@wp.func
def add_squares(c: Any, w: Any, slot: int, k: int, row: int, x: Any, y: Any, z: Any):
    """Add a^T b to chunk k of the border's matrix: a stored as far as this chunk, b given."""
    for i in range(wp.min(CHUNK * (k + 1), c.n_border)):
        w.lanes[slot, square_row(c) + i, k] = (
            w.lanes[slot, square_row(c) + i, k]
            + w.thin[slot, row, i] * x
            + w.thin[slot, row + 1, i] * y
            + w.thin[slot, row + 2, i] * z
        )


@no_type_check
@wp.func
def clear_border(c: Any, w: Any, slot: int):
    """Start with an empty border."""
    for k in range(c.n_chunks):
        nothing = c.scale_mask[k] * type(c.ftol)(0.0)
        for i in range(6 * c.n_joints):
            w.lanes[slot, i, k] = nothing
        w.lanes[slot, side_row(c), k] = nothing
        for i in range(c.n_border):
            w.lanes[slot, square_row(c) + i, k] = nothing


@no_type_check
@wp.func
def add_part(c: Any, w: Any, slot: int, side: int, j: int, n: int, arm: Any, curvature: Any, gradient: Any):
    """Add a rigid point of joint j: the scale moves it along its arm, coefficients by its own columns."""
    if c.has_part_columns == 0:
        last = c.n_border - 1
        p = curvature * arm
        q = wp.cross(arm, p)
        for i in range(3):
            w.thin[slot, wide_row(c, 0, j) + i, last] = w.thin[slot, wide_row(c, 0, j) + i, last] + q[i]
            w.thin[slot, wide_row(c, 1, j) + i, last] = w.thin[slot, wide_row(c, 1, j) + i, last] + p[i]
        w.thin[slot, side_row(c), last] = w.thin[slot, side_row(c), last] + wp.dot(gradient, arm)
        square = square_row(c) + last
        w.thin[slot, square, last] = w.thin[slot, square, last] + wp.dot(arm, p)
    else:
        # Joint j has not been eliminated yet: its rows 3 are free.
        own = wide_row(c, 3, j)
        turn = w.mats[slot, world_row(c, side) + j] * wp.exp(w.nums[slot, scale_row(c, side)])
        for i in range(c.n_chunks):
            ex, ey, ez = times(
                turn, c.part_columns[n, 0, i], c.part_columns[n, 1, i], c.part_columns[n, 2, i]
            )
            ex, ey, ez = (
                ex + arm[0] * c.scale_mask[i],
                ey + arm[1] * c.scale_mask[i],
                ez + arm[2] * c.scale_mask[i],
            )
            px, py, pz = times(curvature, ex, ey, ez)
            write_rows(w, slot, own, i, ex, ey, ez)
            add_rows(w, slot, wide_row(c, 1, j), i, px, py, pz)
            qx, qy, qz = crossed(arm, px, py, pz)
            add_rows(w, slot, wide_row(c, 0, j), i, qx, qy, qz)
            add_squares(c, w, slot, i, own, px, py, pz)
        add_loads(c, w, slot, own, gradient)


@no_type_check
@wp.func
def add_border_priors(c: Any, w: Any, slot: int, side: int):
    """Add what is known of coefficients and scale beforehand."""
    square, loads = square_row(c), side_row(c)
    if c.precision.shape[0] > 0:
        for i in range(c.n_fitted):
            row = c.fitted[i]
            w.thin[slot, loads, i] = w.thin[slot, loads, i] + prior_slope(c, w, slot, side, row)
            for k in range(i, c.n_fitted):
                w.thin[slot, square + i, k] = w.thin[slot, square + i, k] + c.precision[row, c.fitted[k]]
    if c.fit_scale == 1:
        i = c.n_border - 1
        w.thin[slot, loads, i] = (
            w.thin[slot, loads, i] + c.log_scale_weight * w.nums[slot, scale_row(c, side)]
        )
        w.thin[slot, square + i, i] = w.thin[slot, square + i, i] + c.log_scale_weight


@no_type_check
@wp.func
def damp_border(c: Any, w: Any, slot: int, mu: Any):
    """Add the damping, a share of the border's own diagonal."""
    square = square_row(c)
    for i in range(c.n_border):
        damping = wp.max(mu, type(mu)(LEAST)) * wp.max(w.thin[slot, square + i, i], type(mu)(0.0))
        w.thin[slot, pivot_row(c), i] = damping
        w.thin[slot, square + i, i] = w.thin[slot, square + i, i] + damping


@no_type_check
@wp.func
def factorise_border(c: Any, w: Any, slot: int):
    """Factorise the border's matrix as U^T D^-1 U in place, 1 / D in a row of its own, 0 for a dead pivot.

    The diagonal and what is left of it become 0, so that whole vectors can be multiplied.
    """
    top, inverses = square_row(c), inverse_row(c)
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
def solve_border(c: Any, w: Any, slot: int):
    """Replace the right-hand side s by the step -square^-1 s; return s^T square^-1 s."""
    top, z = square_row(c), side_row(c)
    value = type(c.ftol)(0.0)
    for k in range(c.n_border):
        y = w.thin[slot, z, k]
        factor = y * w.thin[slot, inverse_row(c), k]
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
        w.thin[slot, z, k] = rest * w.thin[slot, inverse_row(c), k]
    return value


@no_type_check
@wp.func
def move_border(c: Any, w: Any, slot: int, side: int):
    """Put coefficients and scale after the border's step on the other side."""
    s = w.nums[slot, scale_row(c, side)]
    if c.fit_scale == 1:
        s += w.thin[slot, side_row(c), c.n_border - 1]
    w.nums[slot, scale_row(c, 1 - side)] = s
    for i in range(c.n_chunks):
        w.lanes[slot, coefficient_row(c, 1 - side), i] = w.lanes[slot, coefficient_row(c, side), i]
    for i in range(c.n_fitted):
        k = coefficient_row(c, 1 - side)
        w.thin[slot, k, c.fitted[i]] = w.thin[slot, k, c.fitted[i]] + w.thin[slot, side_row(c), i]
