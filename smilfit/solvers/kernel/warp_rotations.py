"""Small matrices, rotations, and priors on a joint's rotation vector, with derivatives by a turn in world axes."""

from typing import no_type_check

import warp as wp

from smilfit.solvers.kernel.warp_types import Chain, Matrix, Quaternion, Scalar, Vector


@no_type_check
@wp.func
def inverse_spd(a: Matrix):
    """Invert by L D L^T, which keeps the well-determined directions when one is not; a dead pivot gives 0."""
    one, tiny = a.dtype(1.0), a.dtype(1e-30)
    i0, i1, i2 = a.dtype(0.0), a.dtype(0.0), a.dtype(0.0)
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
    return wp.matrix(
        i0 + i1 * l10 * l10 + i2 * m20 * m20, xy, xz,
        xy, i1 + i2 * l21 * l21, yz,
        xz, yz, i2, shape=(3, 3),
    )  # fmt: skip


@no_type_check
@wp.func
def cross_columns(d: Vector, m: Matrix):
    """Compute [d]x m."""
    return wp.matrix(
        d[1] * m[2, 0] - d[2] * m[1, 0], d[1] * m[2, 1] - d[2] * m[1, 1], d[1] * m[2, 2] - d[2] * m[1, 2],
        d[2] * m[0, 0] - d[0] * m[2, 0], d[2] * m[0, 1] - d[0] * m[2, 1], d[2] * m[0, 2] - d[0] * m[2, 2],
        d[0] * m[1, 0] - d[1] * m[0, 0], d[0] * m[1, 1] - d[1] * m[0, 1], d[0] * m[1, 2] - d[1] * m[0, 2],
        shape=(3, 3),
    )  # fmt: skip


@no_type_check
@wp.func
def scaled_identity(x: Scalar):
    """Make x times the identity."""
    o = type(x)(0.0)
    return wp.matrix(x, o, o, o, x, o, o, o, x, shape=(3, 3))


@no_type_check
@wp.func
def rotated(q: Quaternion, w: Vector):
    """Turn by the rotation vector w, seen from the parent; of unit length again."""
    angle = wp.length(w)
    half = w.dtype(0.5)
    # sin(a / 2) / a by its series where it is the better one.
    factor = half - angle * angle / w.dtype(48.0)
    if angle > w.dtype(1e-2):
        factor = wp.sin(half * angle) / angle
    step = wp.quaternion(w[0] * factor, w[1] * factor, w[2] * factor, wp.cos(half * angle))
    return wp.normalize(step * q)


@no_type_check
@wp.func
def cotangent_rest(square: Scalar):
    """Compute (1 - a/2 cot(a/2)) / a^2 of a^2, by its series near 0."""
    one = type(square)(1.0)
    if square < type(square)(1e-2):
        return one / type(square)(12.0) + square / type(square)(720.0)
    half = type(square)(0.5) * wp.sqrt(square)
    return (one - half * wp.cos(half) / wp.sin(half)) / square


@no_type_check
@wp.func
def rotation_vector(q: Quaternion):
    """Take the logarithm of a unit quaternion: the shorter way round, at most pi long."""
    v = wp.vector(q[0], q[1], q[2])
    real = q[3]
    if real < v.dtype(0.0):
        v = -v
        real = -real
    length = wp.length(v)
    if length < v.dtype(1e-6):
        return v * (v.dtype(2.0) / real)
    return v * (v.dtype(2.0) * wp.atan2(length, real) / length)


@no_type_check
@wp.func
def angle_curvature(theta: Vector):
    """Return half the second derivative of |theta|^2 by a turn: 1 along theta, a/2 cot(a/2) across it."""
    square = wp.dot(theta, theta)
    factor = cotangent_rest(square)
    return factor * wp.outer(theta, theta) + scaled_identity(theta.dtype(1.0) - factor * square)


@no_type_check
@wp.func
def violation(theta: Scalar, low: Scalar, high: Scalar):
    """Report by how much an angle is out of its limits."""
    zero = type(theta)(0.0)
    return wp.min(theta - low, zero) + wp.max(theta - high, zero)


@no_type_check
@wp.func
def beyond_angles(c: Chain, theta: Vector, j: int):
    """Report by how much each of the numbers that a joint's map makes of its rotation vector is out of its limits."""
    own = c.limit_maps[j] * theta
    return wp.vector(
        violation(own[0], c.limits[j, 0][0], c.limits[j, 0][1]),
        violation(own[1], c.limits[j, 1][0], c.limits[j, 1][1]),
        violation(own[2], c.limits[j, 2][0], c.limits[j, 2][1]),
    )


@no_type_check
@wp.func
def limit_axes(c: Chain, theta: Vector, over: Vector, rotation: Matrix, j: int):
    """Return the derivative of the violated angles by w, row by row: map J_l^-1(theta) G_parent^T, others 0."""
    factor = cotangent_rest(wp.dot(theta, theta))
    skew = wp.skew(theta)
    axes = scaled_identity(theta.dtype(1.0)) - theta.dtype(0.5) * skew + factor * (skew * skew)
    keep = wp.vector(
        wp.where(over[0] != over.dtype(0.0), over.dtype(1.0), over.dtype(0.0)),
        wp.where(over[1] != over.dtype(0.0), over.dtype(1.0), over.dtype(0.0)),
        wp.where(over[2] != over.dtype(0.0), over.dtype(1.0), over.dtype(0.0)),
    )
    return wp.diag(keep) * (c.limit_maps[j] * (axes * wp.transpose(rotation)))
