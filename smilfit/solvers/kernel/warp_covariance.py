"""Covariances from a tree's own factor: of every joint's twist and turn, from the root on, and their derivatives.

After `eliminate` a joint's turn follows its parent's twist as `w = -keep omega - mixed v + e`, with v the velocity of
the joint's own place, and e has the covariance `inverse`. So covariances go from the root to the leaves in O(J).
`H^-1 G H^-1` is minus the derivative of H^-1 along G: what G changes of the factor goes from the leaves to the root,
what that changes of covariances back. `second_order.uncertainty.covariance_passes` is the readable twin.

Matrices come and go by twists about the root's place, (angular, linear); inside they are about each joint's own.
"""

# Warp takes annotations that are values, which no checker reads.
# mypy: disable-error-code="valid-type, name-defined, misc"

from functools import cache
from types import SimpleNamespace
from typing import no_type_check

import warp as wp

from smilfit.solvers.kernel.warp_elimination import back, carry, clear, eliminate, forward
from smilfit.solvers.kernel.warp_rotations import cross_columns, scaled_identity
from smilfit.solvers.kernel.warp_types import (
    MOVES,
    OPTIONS,
    Array,
    Chain,
    Matrix,
    Spread,
    Vector,
    Work,
    chain_types,
    own_row,
    place_row,
    root_row,
    scale_row,
    transl_row,
)


@no_type_check
@wp.func
def block(m: Array, frame: int, j: int, row: int, column: int):
    """Read a 3 x 3 block."""
    return wp.matrix(
        m[frame, j, row, column], m[frame, j, row, column + 1], m[frame, j, row, column + 2],
        m[frame, j, row + 1, column], m[frame, j, row + 1, column + 1], m[frame, j, row + 1, column + 2],
        m[frame, j, row + 2, column], m[frame, j, row + 2, column + 1], m[frame, j, row + 2, column + 2],
        shape=(3, 3),
    )  # fmt: skip


@no_type_check
@wp.func
def write_twist(m: Array, frame: int, j: int, a: Matrix, b: Matrix, d: Matrix):
    """Write [[a, b], [b^T, d]]."""
    for row in range(3):
        for column in range(3):
            m[frame, j, row, column] = a[row, column]
            m[frame, j, row, 3 + column] = b[row, column]
            m[frame, j, 3 + row, column] = b[column, row]
            m[frame, j, 3 + row, 3 + column] = d[row, column]


@no_type_check
@wp.func
def at_place(d: Vector, a: Matrix, b: Matrix, c: Matrix):
    """Carry the covariance of a twist to a place at d: v there is v - [d]x omega."""
    mixed = b - wp.transpose(cross_columns(d, a))
    return mixed, c - cross_columns(d, b) - wp.transpose(cross_columns(d, mixed))


@no_type_check
@wp.func
def arm_of(c: Chain, w: Work, slot: int, j: int):
    """Return a joint's place from its parent's; of the root nothing."""
    place = place_row(c, 0)
    if j == 0:
        return w.vecs[slot, place] * type(c.ftol)(0.0)
    return w.vecs[slot, place + j] - w.vecs[slot, place + c.parents[j]]


@no_type_check
@wp.func
def from_above(c: Chain, s: Spread, w: Work, frame: int, j: int):
    """Return the covariance of a joint's twist, or its change, before the joint turns."""
    if j == 0:
        zero = scaled_identity(type(c.ftol)(0.0))
        return zero, zero, type(c.ftol)(1.0) * s.place[frame]
    p, arm = c.parents[j], arm_of(c, w, frame, j)
    b, d = at_place(arm, s.a[frame, p], s.b[frame, p], s.d[frame, p])
    return type(c.ftol)(1.0) * s.a[frame, p], b, d


@no_type_check
@wp.func
def factorise_hessian(c: Chain, h: Spread, w: Work, frame: int):
    """Eliminate turns and place of given matrices; inside all is halved."""
    zero, half = type(c.ftol)(0.0), type(c.ftol)(0.5)
    jn = c.n_joints
    place = place_row(c, 0)
    clear(c, w, frame)
    w.nums[frame, scale_row(c, 0)] = zero
    w.nums[frame, scale_row(c, 2)] = zero
    w.vecs[frame, transl_row(c, 0)] = wp.vector(zero, zero, zero)
    for j in range(jn):
        w.vecs[frame, place + j] = h.places[frame, j]
    for j in range(jn):
        a = half * block(h.twist, frame, j, 0, 0)
        b = half * block(h.twist, frame, j, 0, 3)
        d = half * block(h.twist, frame, j, 3, 3)
        carry(c, w, frame, j, w.vecs[frame, place] - w.vecs[frame, place + j], a, b, d)
    w.mats[frame, 2 * jn] = w.mats[frame, 2 * jn] + half * h.place[frame]
    eliminate(c, w, frame, 0, zero)


@no_type_check
@wp.func
def spread_frame(c: Chain, s: Spread, w: Work, frame: int):
    """Return the covariances, from the root on."""
    half, jn = type(c.ftol)(0.5), c.n_joints
    root = w.vecs[frame, place_row(c, 0)]
    one = scaled_identity(type(c.ftol)(1.0))
    zero = scaled_identity(type(c.ftol)(0.0))
    s.place[frame] = half * w.mats[frame, root_row(c)]
    for j in range(jn):
        a, b, d = from_above(c, s, w, frame, j)
        s.rotation[frame, j] = zero
        if c.roles[j] == MOVES:
            keep, mixed = w.mats[frame, j], w.mats[frame, jn + j]
            inverse = half * w.mats[frame, 2 * jn + j]
            # K' P of K' = (keep, mixed), and from it K' P K.
            pa = keep * a + mixed * wp.transpose(b)
            pb = keep * b + mixed * d
            s.rotation[frame, j] = pa * wp.transpose(keep) + pb * wp.transpose(mixed) + inverse
            # omega' = (1 - keep) omega - mixed v + e
            left = one - keep
            ra = left * a - mixed * wp.transpose(b)
            rb = left * b - mixed * d
            a = ra * wp.transpose(left) - rb * wp.transpose(mixed) + inverse
            b = rb
        s.a[frame, j] = a
        s.b[frame, j] = b
        s.d[frame, j] = d
        b, d = at_place(root - w.vecs[frame, place_row(c, 0) + j], a, b, d)
        write_twist(s.twist, frame, j, a, b, d)


@no_type_check
@wp.func
def add_block(g: Spread, frame: int, j: int, d: Vector, rotation: Matrix, mixed: Matrix, shift: Matrix):
    """Add an inertia given about a place at d from joint j, as `carry`."""
    moved = mixed + cross_columns(d, shift)
    across = wp.transpose(cross_columns(d, wp.transpose(moved)))
    g.a[frame, j] = g.a[frame, j] + rotation + across + cross_columns(d, wp.transpose(mixed))
    g.b[frame, j] = g.b[frame, j] + moved
    g.d[frame, j] = g.d[frame, j] + shift


@no_type_check
@wp.func
def collect_change(c: Chain, g: Spread, w: Work, frame: int):
    """Bring what G changes to the joints, from the leaves on; keep the changes of K, top and bottom, and inverse."""
    half, jn = type(c.ftol)(0.5), c.n_joints
    one = scaled_identity(type(c.ftol)(1.0))
    zero = scaled_identity(type(c.ftol)(0.0))
    place = place_row(c, 0)
    for j in range(jn):
        g.a[frame, j] = zero
        g.b[frame, j] = zero
        g.d[frame, j] = zero
    for up in range(jn):
        j = jn - 1 - up
        add_block(
            g,
            frame,
            j,
            w.vecs[frame, place] - w.vecs[frame, place + j],
            block(g.twist, frame, j, 0, 0),
            block(g.twist, frame, j, 0, 3),
            block(g.twist, frame, j, 3, 3),
        )
        a, b, d = one * g.a[frame, j], one * g.b[frame, j], one * g.d[frame, j]
        if c.roles[j] == MOVES:
            keep, mixed = w.mats[frame, j], w.mats[frame, jn + j]
            inverse = half * w.mats[frame, 2 * jn + j]
            own = g.rotation[frame, j]
            change = own + a
            g.a[frame, j] = (a - wp.transpose(keep) * change) * inverse
            g.b[frame, j] = (wp.transpose(b) - wp.transpose(mixed) * change) * inverse
            g.d[frame, j] = inverse * change * inverse
            left = one - keep
            rest = b - a * mixed
            d = d - wp.transpose(mixed) * rest - wp.transpose(b) * mixed + wp.transpose(mixed) * own * mixed
            b = wp.transpose(left) * rest + wp.transpose(keep) * own * mixed
            a = wp.transpose(left) * a * left + wp.transpose(keep) * own * keep
        if j > 0:
            add_block(g, frame, c.parents[j], arm_of(c, w, frame, j), a, b, d)
        else:
            inverse = half * w.mats[frame, root_row(c)]
            g.place[frame] = inverse * (d + g.place[frame]) * inverse


@no_type_check
@wp.func
def spread_change(c: Chain, s: Spread, g: Spread, w: Work, frame: int):
    """Follow the changes from the root on: minus the derivatives of the covariances."""
    jn = c.n_joints
    root = w.vecs[frame, place_row(c, 0)]
    one = scaled_identity(type(c.ftol)(1.0))
    zero = scaled_identity(type(c.ftol)(0.0))
    half = type(c.ftol)(0.5)
    for j in range(jn):
        # The parent's covariance P, and its change C.
        a, b, d = from_above(c, s, w, frame, j)
        ca, cb, cd = from_above(c, g, w, frame, j)
        if c.roles[j] == MOVES:
            keep, mixed = w.mats[frame, j], w.mats[frame, jn + j]
            top, bottom, inverse = g.a[frame, j], g.b[frame, j], g.d[frame, j]
            held_a = a * top + b * bottom
            held_b = wp.transpose(b) * top + d * bottom
            cross = keep * held_a + mixed * held_b
            qa = keep * ca + mixed * wp.transpose(cb)
            qb = keep * cb + mixed * cd
            whole = qa * wp.transpose(keep) + qb * wp.transpose(mixed)
            g.rotation[frame, j] = whole - cross - wp.transpose(cross) + inverse
            left = one - keep
            fold = left * held_a - mixed * held_b + half * inverse
            ra = left * ca - mixed * wp.transpose(cb)
            rb = left * cb - mixed * cd
            ca = ra * wp.transpose(left) - rb * wp.transpose(mixed) + fold + wp.transpose(fold)
            cb = rb + wp.transpose(held_b)
        else:
            g.rotation[frame, j] = zero
        g.a[frame, j] = ca
        g.b[frame, j] = cb
        g.d[frame, j] = cd
        cb, cd = at_place(root - w.vecs[frame, place_row(c, 0) + j], ca, cb, cd)
        write_twist(g.twist, frame, j, ca, cb, cd)


@no_type_check
@wp.func
def answer_columns(c: Chain, rows: Array, turns: Array, places: Array, w: Work, frame: int):
    """Replace loads on twists about the root's place, column by column, by the motion that gives way to them."""
    zero, half, jn = type(c.ftol)(0.0), type(c.ftol)(0.5), c.n_joints
    place = place_row(c, 0)
    root = w.vecs[frame, place]
    nothing = wp.vector(zero, zero, zero)
    for i in range(rows.shape[3]):
        for j in range(jn):
            arm = root - w.vecs[frame, place + j]
            torque = wp.vector(rows[frame, j, 0, i], rows[frame, j, 1, i], rows[frame, j, 2, i])
            force = wp.vector(rows[frame, j, 3, i], rows[frame, j, 4, i], rows[frame, j, 5, i])
            w.vecs[frame, j] = half * (torque + wp.cross(arm, force))
            w.vecs[frame, jn + j] = half * force
            w.vecs[frame, own_row(c) + j] = nothing
        forward(c, w, frame, 0, nothing)
        back(c, w, frame, 0, zero, type(c.ftol)(1e30))
        for j in range(jn):
            omega = w.vecs[frame, 3 * jn + j]
            v = w.vecs[frame, 4 * jn + j] + wp.cross(omega, root - w.vecs[frame, place + j])
            rotation = w.vecs[frame, j]
            for k in range(3):
                rows[frame, j, k, i] = omega[k]
                rows[frame, j, 3 + k, i] = v[k]
                turns[frame, j, k, i] = rotation[k]
        shift = w.vecs[frame, transl_row(c, 2)]
        for k in range(3):
            places[frame, k, i] = shift[k]


@no_type_check
@cache
def spread_kernels(scalar):
    """Make the struct of matrices and the kernels of one float type; thread and frame are one.

    `Spread` holds hessians that come in, covariances or their changes that go out.
    """
    t = chain_types(scalar)

    @wp.struct
    class Spread:
        places: wp.array2d(dtype=t.vec3)
        twist: wp.array4d(dtype=t.scalar)  # [frame, joint], about the root's place
        rotation: wp.array2d(dtype=t.mat33)
        place: wp.array(dtype=t.mat33)
        a: wp.array2d(dtype=t.mat33)  # about the joint's own place: angular, mixed, linear
        b: wp.array2d(dtype=t.mat33)
        d: wp.array2d(dtype=t.mat33)

    @wp.kernel(enable_backward=False, module='unique', module_options=OPTIONS)
    def factorise(c: t.Chain, h: Spread, w: t.Work, n_slots: int, first: int):
        factorise_hessian(c, h, w, wp.tid() + first)

    @wp.kernel(enable_backward=False, module='unique', module_options=OPTIONS)
    def spread(c: t.Chain, v: Spread, w: t.Work, n_slots: int, first: int):
        spread_frame(c, v, w, wp.tid() + first)

    @wp.kernel(enable_backward=False, module='unique', module_options=OPTIONS)
    def change(c: t.Chain, v: Spread, g: Spread, w: t.Work, n_slots: int, first: int):
        collect_change(c, g, w, wp.tid() + first)
        spread_change(c, v, g, w, wp.tid() + first)

    @wp.kernel(enable_backward=False, module='unique', module_options=OPTIONS)
    def answer(
        c: t.Chain,
        rows: wp.array4d(dtype=t.scalar),
        turns: wp.array4d(dtype=t.scalar),
        places: wp.array3d(dtype=t.scalar),
        w: t.Work,
        n_slots: int,
        first: int,
    ):
        answer_columns(c, rows, turns, places, w, wp.tid() + first)

    return SimpleNamespace(Spread=Spread, factorise=factorise, spread=spread, change=change, answer=answer)
