"""One damped Gauss-Newton step of a tree by articulated elimination, from the leaves to the root, in O(J).

Unknowns are the joints' rotations w_j (world frame, `R_j <- exp(G_parent^T w_j) R_j`), the root's translation, and
a border z of shape coefficients and the logarithm of the scale. A joint moves by its twist (omega, v) about its own
place: omega_j = omega_parent + w_j and v_j = v_parent + omega_parent x d_j + E_j z with the bone d_j. The cost below
a joint is a quadratic in its twist, with the articulated inertia [[A, B], [B^T, C]]. Minimised over w_j under the
damping and prior L it stays one, with A' = A - A (A + L)^-1 A = L (A + L)^-1 A: no small difference of large
numbers. Twists about a common origin lose half of float32's digits at the end of a long tail; these do not.

(Featherstone, Rigid Body Dynamics Algorithms, 2008, ch. 7, for the recursion.)
"""

from functools import cache
from types import SimpleNamespace
from typing import no_type_check

import warp as wp

from smilfit.solvers.warp_angles import angle_functions
from smilfit.solvers.warp_border import border_functions
from smilfit.solvers.warp_rows import row_functions
from smilfit.solvers.warp_tree import tree_functions
from smilfit.solvers.warp_types import FIXED, MOVES, chain_types

FIXED_JOINT = wp.constant(FIXED)
MOVING_JOINT = wp.constant(MOVES)
# Damping that never goes away, as a share of the body's second moment: a bone of no length asks for no turn.
FLOOR = wp.constant(1e-9)
# A joint turns at most this far in one step, rad; the others are not held back by it.
LONGEST = wp.constant(1.5)


@no_type_check
@cache
def elimination_functions(scalar, width):
    """Make `eliminate` and `step_back` for one float type and width of the border."""
    t, rows = chain_types(scalar, width), row_functions(scalar, width)
    tree, border = tree_functions(scalar, width), border_functions(scalar, width)
    angles = angle_functions(scalar, width)
    vec3, mat33, Chain, Work = t.vec3, t.mat33, t.Chain, t.Work
    place_row, world_row, angle_row = rows.place_row, rows.world_row, rows.angle_row
    point_row, gradient_row, curvature_row = rows.point_row, rows.gradient_row, rows.curvature_row
    betas_row, scale_row, transl_row = rows.betas_row, rows.scale_row, rows.transl_row
    side_row, pivot_row = rows.side_row, rows.pivot_row
    turned = tree.turned
    angle_curvature, limit_gradient, limit_axes = (
        angles.angle_curvature,
        angles.limit_gradient,
        angles.limit_axes,
    )
    clear, columns, columns_rigid = border.clear, border.columns, border.columns_rigid
    eliminate_root, moved_by_border = border.eliminate_root, border.moved_by_border

    @wp.func
    def inverse_spd(a: mat33) -> mat33:
        """Invert by L D L^T, which keeps the well-determined directions when one is not; a dead pivot gives 0."""
        one, zero, tiny = scalar(1.0), scalar(0.0), scalar(1e-30)
        i0, i1, i2 = zero, zero, zero
        if a[0, 0] > tiny:
            i0 = one / a[0, 0]
        l10, l20 = a[1, 0] * i0, a[2, 0] * i0
        d1 = a[1, 1] - l10 * a[1, 0]
        if d1 > tiny:
            i1 = one / d1
        rest = a[2, 1] - l20 * a[1, 0]
        l21 = rest * i1
        d2 = a[2, 2] - l20 * a[2, 0] - l21 * rest
        if d2 > tiny:
            i2 = one / d2
        m20 = l21 * l10 - l20
        xy = -i1 * l10 - i2 * l21 * m20
        xz, yz = i2 * m20, -i2 * l21
        return mat33(
            i0 + i1 * l10 * l10 + i2 * m20 * m20, xy, xz,
            xy, i1 + i2 * l21 * l21, yz,
            xz, yz, i2,
        )  # fmt: skip

    @wp.func
    def cross_columns(d: vec3, m: mat33) -> mat33:
        """Compute [d]x m."""
        return mat33(
            d[1] * m[2, 0] - d[2] * m[1, 0], d[1] * m[2, 1] - d[2] * m[1, 1], d[1] * m[2, 2] - d[2] * m[1, 2],
            d[2] * m[0, 0] - d[0] * m[2, 0], d[2] * m[0, 1] - d[0] * m[2, 1], d[2] * m[0, 2] - d[0] * m[2, 2],
            d[0] * m[1, 0] - d[1] * m[0, 0], d[0] * m[1, 1] - d[1] * m[0, 1], d[0] * m[1, 2] - d[1] * m[0, 2],
        )  # fmt: skip

    @wp.func
    def carry(w: Work, slot: int, c: Chain, j: int, d: vec3, a: mat33, b: mat33, cc: mat33):
        """Add an inertia given about a place at d from joint j: v there is v_j - [d]x omega_j."""
        jn = c.n_joints
        mixed = b + cross_columns(d, cc)
        # -B' [d]x is [d]x applied to the rows of B': its transpose is [d]x B'^T.
        turned_mixed = cross_columns(d, wp.transpose(mixed))
        w.mats[slot, j] = w.mats[slot, j] + a + wp.transpose(turned_mixed) + cross_columns(d, wp.transpose(b))
        w.mats[slot, jn + j] = w.mats[slot, jn + j] + mixed
        w.mats[slot, 2 * jn + j] = w.mats[slot, 2 * jn + j] + cc

    @wp.func
    def gather(c: Chain, w: Work, slot: int, side: int):
        """Collect the points' gradients and curvatures at their joints."""
        zero = scalar(0.0)
        jn = c.n_joints
        nothing, null = mat33(zero), vec3(zero, zero, zero)
        for j in range(jn):
            for i in range(3):
                w.mats[slot, i * jn + j] = nothing
                w.vecs[slot, i * jn + j] = null
                w.nums[slot, i * jn + j] = zero
        if c.n_border > 0:
            clear(c, w, slot)
        for k in range(c.n_points):
            cc = w.mats[slot, curvature_row(c, side) + k]
            mass = (cc[0, 0] + cc[1, 1] + cc[2, 2]) / scalar(3.0)
            if mass > zero:
                j = c.point_joint[k]
                g = w.vecs[slot, gradient_row(c, side) + k]
                w.vecs[slot, jn + j] = w.vecs[slot, jn + j] + g
                w.nums[slot, j] = w.nums[slot, j] + mass
                d = w.vecs[slot, point_row(c, side) + k] - w.vecs[slot, place_row(c, side) + j]
                if wp.dot(d, d) > zero:
                    carry(w, slot, c, j, d, nothing, nothing, cc)
                    w.vecs[slot, j] = w.vecs[slot, j] + wp.cross(d, g)
                    w.vecs[slot, 2 * jn + j] = w.vecs[slot, 2 * jn + j] + mass * d
                    w.nums[slot, jn + j] = w.nums[slot, jn + j] + mass * wp.dot(d, d)
                    if c.fit_scale == 1:
                        columns_rigid(c, w, slot, j, d, cc, g)
                else:
                    w.mats[slot, 2 * jn + j] = w.mats[slot, 2 * jn + j] + cc

    @wp.func
    def parent_turn(c: Chain, w: Work, slot: int, side: int, j: int) -> mat33:
        if j == 0:
            return wp.identity(3, scalar)
        return w.mats[slot, world_row(c, side) + c.parents[j]]

    @wp.func
    def eliminate(c: Chain, w: Work, slot: int, side: int, mu: scalar) -> scalar:
        """Reduce a state's quadratic to the root and the border; return the decrease it promises so far."""
        gather(c, w, slot, side)
        jn = c.n_joints
        zero = scalar(0.0)
        promised = scalar(0.0)
        floor = scalar(FLOOR) * w.nums[slot, scale_row(c, side) + 2]
        size = wp.exp(w.nums[slot, scale_row(c, side)])
        place = place_row(c, side)
        for up in range(jn):
            j = jn - 1 - up
            a = w.mats[slot, j]
            b = w.mats[slot, jn + j]
            cc = w.mats[slot, 2 * jn + j]
            torque = w.vecs[slot, j]
            force = w.vecs[slot, jn + j]
            mass = w.nums[slot, j]
            moment = w.vecs[slot, 2 * jn + j]
            second = w.nums[slot, jn + j]
            mixed = b
            # What a rotation costs: prior, limits and damping, and the prior's pull.
            rotates = wp.int32(0)
            keep = mat33(zero)  # (A + L)^-1 A
            keep_b = mat33(zero)
            inv = mat33(zero)
            hold = mat33(zero)
            if c.roles[j] != FIXED_JOINT:
                weight = zero
                pull = vec3(zero, zero, zero)
                if c.has_priors == 1:
                    weight = c.pose_weight[j]
                    if c.has_limits == 1 or weight > zero:
                        turn = parent_turn(c, w, slot, side, j)
                        theta = w.vecs[slot, angle_row(c, side) + j]
                        pull = weight * (turn * theta)
                        hold = weight * angle_curvature(turn * theta)
                        if c.has_limits == 1:
                            over = limit_gradient(c, theta, j)
                            if wp.dot(over, over) > zero:
                                axes = limit_axes(c, theta, over, turn)
                                hold = hold + c.limit_weight * (wp.transpose(axes) * axes)
                                pull = pull + wp.transpose(axes) * over
                stiff = mu * (second + hold[0, 0] + hold[1, 1] + hold[2, 2]) + floor
                w.nums[slot, 2 * jn + j] = stiff
                hold = hold + wp.diag(vec3(stiff, stiff, stiff))
                if c.roles[j] == MOVING_JOINT:
                    rotates = wp.int32(1)
                    inv = inverse_spd(a + hold)
                    load = torque + pull
                    answer = inv * load
                    promised += wp.dot(load, answer)
                    keep = inv * a
                    keep_b = inv * b
                    w.mats[slot, j] = keep
                    w.mats[slot, jn + j] = keep_b
                    w.vecs[slot, j] = answer
                    torque = hold * answer - pull
                    force = force - wp.transpose(b) * answer
                    cc = cc - wp.transpose(b) * keep_b
                    a = hold * keep
                    # The exact one is symmetric; rounding is not.
                    a = scalar(0.5) * (a + wp.transpose(a))
                    b = hold * keep_b
                else:
                    answer = inverse_spd(hold) * pull
                    promised += wp.dot(pull, answer)
                    w.vecs[slot, j] = answer
            if j > 0:
                p = c.parents[j]
                d = w.vecs[slot, place + j] - w.vecs[slot, place + p]
                if c.n_border > 0:
                    columns(c, w, slot, side, j, p, d, size, rotates, inv, hold, mixed, b, cc, force)
                carry(w, slot, c, p, d, a, b, cc)
                w.vecs[slot, jn + p] = w.vecs[slot, jn + p] + force
                w.vecs[slot, p] = w.vecs[slot, p] + torque + wp.cross(d, force)
                w.nums[slot, p] = w.nums[slot, p] + mass
                w.vecs[slot, 2 * jn + p] = w.vecs[slot, 2 * jn + p] + moment + mass * d
                w.nums[slot, jn + p] = (
                    w.nums[slot, jn + p] + second + scalar(2.0) * wp.dot(d, moment) + mass * wp.dot(d, d)
                )
            else:
                if c.n_border > 0:
                    reach = w.vecs[slot, place] - w.vecs[slot, transl_row(c, side)]
                    columns(c, w, slot, side, 0, -1, reach, size, rotates, inv, hold, mixed, b, cc, force)
                w.mats[slot, 2 * jn] = cc
                w.vecs[slot, jn] = force
        # A root that stays has no compliance.
        inv = mat33(zero)
        if c.fit_transl == 1:
            stiff = mu * w.nums[slot, 0]
            inv = inverse_spd(w.mats[slot, 2 * jn] + wp.diag(vec3(stiff, stiff, stiff)))
        return promised + eliminate_root(c, w, slot, inv)

    @wp.func
    def step_back(c: Chain, w: Work, slot: int, side: int, mu: scalar) -> scalar:
        """Turn the root's and border's step into a tried state on the other side; return what the damping took."""
        jn = c.n_joints
        other = 1 - side
        place = place_row(c, side)
        zero = scalar(0.0)
        taken = scalar(0.0)
        shift = w.vecs[slot, transl_row(c, 0) + 2]
        taken += mu * w.nums[slot, 0] * wp.dot(shift, shift)
        for j in range(jn):
            omega = vec3(zero, zero, zero)
            v = shift
            if j > 0:
                p = c.parents[j]
                omega = w.vecs[slot, 3 * jn + p]
                d = w.vecs[slot, place + j] - w.vecs[slot, place + p]
                v = w.vecs[slot, 4 * jn + p] + wp.cross(omega, d)
            if c.n_border > 0:
                v = v + moved_by_border(c, w, slot, j, 3)
            q = w.quats[slot, side * jn + j]
            if c.roles[j] != FIXED_JOINT:
                step = w.vecs[slot, j]
                if c.roles[j] == MOVING_JOINT:
                    step = step + w.mats[slot, j] * omega + w.mats[slot, jn + j] * v
                    if c.n_border > 0:
                        step = step + moved_by_border(c, w, slot, j, 2)
                length = wp.length(step)
                if length > scalar(LONGEST):
                    step = step * (scalar(LONGEST) / length)
                taken += w.nums[slot, 2 * jn + j] * wp.dot(step, step)
                q = turned(q, -(wp.transpose(parent_turn(c, w, slot, side, j)) * step))
                omega = omega - step
            w.quats[slot, other * jn + j] = q
            w.vecs[slot, 3 * jn + j] = omega
            w.vecs[slot, 4 * jn + j] = v
        w.vecs[slot, transl_row(c, other)] = w.vecs[slot, transl_row(c, side)] + shift
        s = w.nums[slot, scale_row(c, side)]
        for i in range(c.n_border):
            z = w.thin[slot, side_row(c), i]
            taken += w.thin[slot, pivot_row(c), i] * z * z
        if c.fit_scale == 1:
            s += w.thin[slot, side_row(c), c.n_border - 1]
        w.nums[slot, scale_row(c, other)] = s
        for i in range(c.n_betas):
            beta = w.nums[slot, betas_row(c, side) + i]
            if c.fit_betas == 1:
                beta += w.thin[slot, side_row(c), i]
            w.nums[slot, betas_row(c, other) + i] = beta
        return taken

    return SimpleNamespace(eliminate=eliminate, step_back=step_back)
