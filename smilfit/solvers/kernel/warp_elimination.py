"""One damped Gauss-Newton system of a tree, factorised from leaves to root and solved from root to leaves, in O(J).

Unknowns are the joints' rotations w_j (world frame, `R_j <- exp(G_parent^T w_j) R_j`), the root's translation, and
a border z of coefficients and the logarithm of the scale. A joint moves by its twist (omega, v) about its own
place: omega_j = omega_parent + w_j and v_j = v_parent + omega_parent x d_j + E_j z with the bone d_j. The cost below
a joint is a quadratic in its twist, with the articulated inertia [[A, B], [B^T, C]]. Minimised over w_j under the
damping and prior L it stays one, with A' = A - A (A + L)^-1 A = L (A + L)^-1 A: no small difference of large
numbers. Twists about a common origin lose half of float32's digits at the end of a long tail; these do not.

(Featherstone, Rigid Body Dynamics Algorithms, 2008, ch. 7, for the recursion.) A point of several rigid points is
bounded by Jensen's inequality: each takes its share of the point's curvature, so that the system stays a tree.
"""

from typing import no_type_check

import warp as wp

from smilfit.solvers.kernel.warp_border import (
    add_loads,
    add_part,
    add_rows,
    add_squares,
    by_step,
    clear_border,
    crossed,
    move_border,
    read_rows,
    times,
    write_rows,
)
from smilfit.solvers.kernel.warp_rotations import (
    angle_curvature,
    beyond_angles,
    cross_columns,
    inverse_spd,
    limit_axes,
    rotated,
    scaled_identity,
)
from smilfit.solvers.kernel.warp_types import (
    FIXED,
    MOVES,
    ROOT,
    Chain,
    Matrix,
    Scalar,
    Vector,
    Work,
    angle_row,
    arm_row,
    curvature_row,
    gradient_row,
    own_row,
    pivot_row,
    place_row,
    root_row,
    scale_row,
    side_row,
    transl_row,
    wide_row,
    world_row,
)

# Damping that never goes away, as a share of the body's second moment: a bone of no length asks for no turn.
FLOOR = wp.constant(1e-9)


@no_type_check
@wp.func
def carry(c: Chain, w: Work, slot: int, j: int, d: Vector, rotation: Matrix, mixed: Matrix, shift: Matrix):
    """Add an inertia given about a place at d from joint j: v there is v_j - [d]x omega_j."""
    jn = c.n_joints
    moved = mixed + cross_columns(d, shift)
    # -B' [d]x is [d]x applied to the rows of B': its transpose is [d]x B'^T.
    across = wp.transpose(cross_columns(d, wp.transpose(moved)))
    w.mats[slot, j] = w.mats[slot, j] + (rotation + across + cross_columns(d, wp.transpose(mixed)))
    w.mats[slot, jn + j] = w.mats[slot, jn + j] + moved
    w.mats[slot, 2 * jn + j] = w.mats[slot, 2 * jn + j] + shift


@no_type_check
@wp.func
def clear(c: Chain, w: Work, slot: int):
    """Start with joints that nothing holds."""
    zero = type(c.ftol)(0.0)
    for i in range(3 * c.n_joints):
        w.mats[slot, i] = scaled_identity(zero)
        w.vecs[slot, i] = wp.vector(zero, zero, zero)
        w.nums[slot, i] = zero
    if c.n_border > 0:
        clear_border(c, w, slot)


@no_type_check
@wp.func
def gather_part(c: Chain, w: Work, slot: int, side: int, n: int, curvature: Matrix, mass: Scalar, g: Vector):
    """Add what a rigid point weighs and how it is drawn to its joint."""
    jn = c.n_joints
    j = c.part_joint[n]
    w.vecs[slot, jn + j] = w.vecs[slot, jn + j] + g
    w.nums[slot, j] = w.nums[slot, j] + mass
    d = g * type(mass)(0.0)
    square = type(mass)(0.0)
    if c.has_arms == 1:
        d = w.vecs[slot, arm_row(c, side) + n]
        square = wp.dot(d, d)
    if square > type(mass)(0.0):
        zero = scaled_identity(type(mass)(0.0))
        carry(c, w, slot, j, d, zero, zero, curvature)
        w.vecs[slot, j] = w.vecs[slot, j] + wp.cross(d, g)
        w.vecs[slot, 2 * jn + j] = w.vecs[slot, 2 * jn + j] + mass * d
        w.nums[slot, jn + j] = w.nums[slot, jn + j] + mass * square
    else:
        w.mats[slot, 2 * jn + j] = w.mats[slot, 2 * jn + j] + curvature
    if c.has_part_columns == 1 or (c.fit_scale == 1 and square > type(mass)(0.0)):
        add_part(c, w, slot, side, j, n, d, curvature, g)


@no_type_check
@wp.func
def gather(c: Chain, w: Work, slot: int, side: int):
    """Collect the points' gradients and curvatures at their joints."""
    clear(c, w, slot)
    for k in range(c.n_points):
        curvature = w.mats[slot, curvature_row(c, side) + k]
        mass = (curvature[0, 0] + curvature[1, 1] + curvature[2, 2]) / type(c.ftol)(3.0)
        if mass > type(c.ftol)(0.0):
            g = w.vecs[slot, gradient_row(c, side) + k]
            for n in range(c.part_start[k], c.part_start[k + 1]):
                share = c.part_share[n]
                gather_part(c, w, slot, side, n, share * curvature, share * mass, share * g)


@no_type_check
@wp.func
def parent_rotation(c: Chain, w: Work, slot: int, side: int, j: int):
    """Return the world rotation of a joint's parent."""
    if j == 0:
        return scaled_identity(type(c.ftol)(1.0))
    return w.mats[slot, world_row(c, side) + c.parents[j]]


@no_type_check
@wp.func
def resistance(c: Chain, w: Work, slot: int, side: int, j: int):
    """Add the gradient of priors and limits to that of the joint's own turn, and return their curvature."""
    zero = type(c.ftol)(0.0)
    gradient = wp.vector(zero, zero, zero)
    hold = scaled_identity(zero)
    if c.has_priors == 1:
        weight = c.pose_weight[j]
        if c.has_limits == 1 or weight > zero:
            rotation = parent_rotation(c, w, slot, side, j)
            theta = w.vecs[slot, angle_row(c, side) + j]
            gradient = weight * (rotation * theta)
            hold = weight * angle_curvature(rotation * theta)
            if c.has_limits == 1:
                over = beyond_angles(c, theta, j)
                if wp.dot(over, over) > zero:
                    axes = limit_axes(c, theta, over, rotation, j)
                    hold = hold + c.limit_weight * (wp.transpose(axes) * axes)
                    gradient = gradient + c.limit_weight * (wp.transpose(axes) * over)
    if c.has_rotations == 1:
        half = type(c.ftol)(0.5)
        gradient = gradient + half * c.rotation_gradient[slot, j]
        hold = hold + half * c.rotation_hessian[slot, j]
    return gradient, hold


@no_type_check
@wp.func
def pass_border(
    c: Chain,
    w: Work,
    slot: int,
    side: int,
    j: int,
    d: Vector,
    size: Scalar,
    mixed: Matrix,
    mixed_left: Matrix,
    shift: Matrix,
    hold: Matrix,
):
    """Eliminate a joint's turn from the border and hand the rest to its parent.

    `d` is the joint's place seen from its parent's, or for the root from the scale's centre.
    """
    inverse = scaled_identity(type(size)(0.0))
    if c.roles[j] == MOVES:
        inverse = w.mats[slot, 2 * c.n_joints + j]
    up = wp.int32(0)
    if j > 0:
        up = c.chunk_start[c.parents[j]]
    rotation = parent_rotation(c, w, slot, side, j) * size
    first = c.chunk_start[j]
    for n in range(first, c.chunk_start[j + 1]):
        i = c.chunk[n]
        mask = c.scale_mask[i]
        ex, ey, ez = d[0] * mask, d[1] * mask, d[2] * mask
        if c.has_columns == 1:
            bx, by, bz = times(rotation, c.columns[j, 0, i], c.columns[j, 1, i], c.columns[j, 2, i])
            ex, ey, ez = ex + bx, ey + by, ez + bz
        write_rows(w, slot, wide_row(3, n), ex, ey, ez)
        tx, ty, tz = read_rows(w, slot, wide_row(0, n))
        px, py, pz = read_rows(w, slot, wide_row(1, n))
        ax, ay, az = times(inverse, tx, ty, tz)
        if c.roles[j] == MOVES:
            mx, my, mz = times(wp.transpose(mixed), ax, ay, az)
            px, py, pz = px - mx, py - my, pz - mz
            tx, ty, tz = times(hold, ax, ay, az)
        write_rows(w, slot, wide_row(2, n), ax, ay, az)
        sx, sy, sz = times(shift, ex, ey, ez)
        sx, sy, sz = px + sx, py + sy, pz + sz
        # What coupled to the place is done with: its rows keep what the parent's place feels.
        write_rows(w, slot, wide_row(1, n), sx, sy, sz)
        add_squares(c, w, slot, first, n, 1, ex, ey, ez)
        add_squares(c, w, slot, first, n, 3, px, py, pz)
        add_squares(c, w, slot, first, n, 0, -ax, -ay, -az)
        if j > 0:
            # The parent has all of its children's chunks, in the same order.
            while c.chunk[up] < i:
                up += 1
            add_rows(w, slot, wide_row(1, up), sx, sy, sz)
            cx, cy, cz = crossed(d, sx, sy, sz)
            bx, by, bz = times(mixed_left, ex, ey, ez)
            add_rows(w, slot, wide_row(0, up), tx + bx + cx, ty + by + cy, tz + bz + cz)


@no_type_check
@wp.func
def hand_on(
    c: Chain, w: Work, slot: int, j: int, p: int, d: Vector, rotation: Matrix, mixed: Matrix, shift: Matrix
):
    """Add what is left of a joint's inertia to its parent, at d from it."""
    jn = c.n_joints
    mass = w.nums[slot, j]
    moment = w.vecs[slot, 2 * jn + j]
    second = w.nums[slot, jn + j] + type(mass)(2.0) * wp.dot(d, moment) + mass * wp.dot(d, d)
    carry(c, w, slot, p, d, rotation, mixed, shift)
    w.vecs[slot, 2 * jn + p] = w.vecs[slot, 2 * jn + p] + moment + mass * d
    w.nums[slot, p] = w.nums[slot, p] + mass
    w.nums[slot, jn + p] = w.nums[slot, jn + p] + second


@no_type_check
@wp.func
def eliminate_root(c: Chain, w: Work, slot: int, mu: Scalar, shift: Matrix):
    """Eliminate the root's place. A root that stays has no compliance."""
    zero = type(mu)(0.0)
    inverse = scaled_identity(zero)
    if c.fit_transl == 1:
        inverse = inverse_spd(shift + scaled_identity(mu * w.nums[slot, 0]))
    w.mats[slot, root_row(c)] = inverse
    if c.n_border > 0:
        for n in range(c.chunk_start[1]):
            ax, ay, az = read_rows(w, slot, wide_row(1, n))
            x, y, z = times(inverse, ax, ay, az)
            write_rows(w, slot, wide_row(0, n), x, y, z)
            add_squares(c, w, slot, 0, n, 1, -x, -y, -z)


@no_type_check
@wp.func
def eliminate(c: Chain, w: Work, slot: int, side: int, mu: Scalar):
    """Reduce a state's quadratic to the border; what the substitutions need stays in the workspace."""
    jn = c.n_joints
    half = type(mu)(0.5)
    place = place_row(c, side)
    floor = type(mu)(FLOOR) * w.nums[slot, scale_row(c, 2)]
    size = wp.exp(w.nums[slot, scale_row(c, side)])
    for up in range(jn):
        j = jn - 1 - up
        rotation = w.mats[slot, j]
        mixed = w.mats[slot, jn + j]
        shift = w.mats[slot, 2 * jn + j]
        mixed_before = mixed
        hold = scaled_identity(type(mu)(0.0))
        if c.roles[j] != FIXED:
            gradient, held = resistance(c, w, slot, side, j)
            w.vecs[slot, own_row(c) + j] = gradient
            stiff = mu * (w.nums[slot, jn + j] + wp.trace(held)) + floor
            w.nums[slot, 2 * jn + j] = stiff
            hold = held + scaled_identity(stiff)
            if c.roles[j] == MOVES:
                inverse = inverse_spd(rotation + hold)
                keep, keep_mixed = inverse * rotation, inverse * mixed
                w.mats[slot, j] = keep
                w.mats[slot, jn + j] = keep_mixed
                w.mats[slot, 2 * jn + j] = inverse
                shift = shift - wp.transpose(mixed) * keep_mixed
                left = hold * keep
                # The exact one is symmetric; rounding is not.
                rotation = half * (left + wp.transpose(left))
                mixed = hold * keep_mixed
            else:
                w.mats[slot, 2 * jn + j] = inverse_spd(hold)
        above = w.vecs[slot, transl_row(c, side)]
        if j > 0:
            above = w.vecs[slot, place + c.parents[j]]
        d = w.vecs[slot, place + j] - above
        if c.n_border > 0:
            pass_border(c, w, slot, side, j, d, size, mixed_before, mixed, shift, hold)
        if j > 0:
            hand_on(c, w, slot, j, c.parents[j], d, rotation, mixed, shift)
        else:
            eliminate_root(c, w, slot, mu, shift)


@no_type_check
@wp.func
def forward(c: Chain, w: Work, slot: int, side: int, transl_load: Vector):
    """Reduce loads to the border's right-hand side; return load^T factor^-1 load."""
    jn, place = c.n_joints, place_row(c, side)
    value = type(c.ftol)(0.0)
    for up in range(jn):
        j = jn - 1 - up
        torque = w.vecs[slot, j]
        force = w.vecs[slot, jn + j]
        load = w.vecs[slot, own_row(c) + j]
        if c.roles[j] == MOVES:
            load = load + torque
            torque = torque - wp.transpose(w.mats[slot, j]) * load
            force = force - wp.transpose(w.mats[slot, jn + j]) * load
        if c.roles[j] != FIXED:
            answer = w.mats[slot, 2 * jn + j] * load
            value += wp.dot(load, answer)
            w.vecs[slot, j] = answer
        if c.n_border > 0:
            add_loads(c, w, slot, j, 3, force)
            if c.roles[j] == MOVES:
                add_loads(c, w, slot, j, 2, -load)
        if j > 0:
            p = c.parents[j]
            d = w.vecs[slot, place + j] - w.vecs[slot, place + p]
            w.vecs[slot, p] = w.vecs[slot, p] + torque + wp.cross(d, force)
            w.vecs[slot, jn + p] = w.vecs[slot, jn + p] + force
        else:
            load = force + transl_load
            answer = w.mats[slot, root_row(c)] * load
            value += wp.dot(load, answer)
            w.vecs[slot, transl_row(c, 2)] = answer
            if c.n_border > 0:
                add_loads(c, w, slot, 0, ROOT, -load)
    return value


@no_type_check
@wp.func
def back(c: Chain, w: Work, slot: int, side: int, mu: Scalar, longest: Scalar):
    """Follow the border's step to the root's and all joints' turns; return what the damping takes.

    A joint turns by `longest` at most; those beyond it make up for the rest.
    """
    jn, place = c.n_joints, place_row(c, side)
    shift = -w.vecs[slot, transl_row(c, 2)]
    taken = type(mu)(0.0)
    if c.n_border > 0:
        shift = shift - by_step(c, w, slot, 0, ROOT)
        for i in range(c.n_border):
            z = w.thin[slot, side_row(), i]
            taken += w.thin[slot, pivot_row(), i] * z * z
    w.vecs[slot, transl_row(c, 2)] = shift
    taken += mu * w.nums[slot, 0] * wp.dot(shift, shift)
    zero = type(mu)(0.0)
    for j in range(jn):
        omega = wp.vector(zero, zero, zero)
        v = shift
        if j > 0:
            p = c.parents[j]
            omega = w.vecs[slot, 3 * jn + p]
            v = w.vecs[slot, 4 * jn + p] + wp.cross(omega, w.vecs[slot, place + j] - w.vecs[slot, place + p])
        if c.n_border > 0:
            v = v + by_step(c, w, slot, j, 3)
        rotation = wp.vector(zero, zero, zero)
        if c.roles[j] != FIXED:
            rotation = -w.vecs[slot, j]
            if c.roles[j] == MOVES:
                rotation = rotation - w.mats[slot, j] * omega - w.mats[slot, jn + j] * v
                if c.n_border > 0:
                    rotation = rotation - by_step(c, w, slot, j, 2)
            length = wp.length(rotation)
            if length > longest:
                rotation = rotation * (longest / length)
            taken += w.nums[slot, 2 * jn + j] * wp.dot(rotation, rotation)
        w.vecs[slot, j] = rotation
        w.vecs[slot, 3 * jn + j] = omega + rotation
        w.vecs[slot, 4 * jn + j] = v
    return taken


@no_type_check
@wp.func
def advance(c: Chain, w: Work, slot: int, side: int):
    """Put the state after the step on the other side."""
    jn = c.n_joints
    for j in range(jn):
        q = w.quats[slot, side * jn + j]
        if c.roles[j] != FIXED:
            q = rotated(q, wp.transpose(parent_rotation(c, w, slot, side, j)) * w.vecs[slot, j])
        w.quats[slot, (1 - side) * jn + j] = q
    w.vecs[slot, transl_row(c, 1 - side)] = w.vecs[slot, transl_row(c, side)] + w.vecs[slot, transl_row(c, 2)]
    move_border(c, w, slot, side)
