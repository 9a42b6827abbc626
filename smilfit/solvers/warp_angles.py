"""Priors on a joint's rotation vector: its logarithm, and derivatives by a turn in the world's frame."""

from functools import cache
from types import SimpleNamespace
from typing import no_type_check

import warp as wp

from smilfit.solvers.warp_types import chain_types


@no_type_check
@cache
def angle_functions(scalar, width):
    """Make the functions of an angle for one float type and width of the border."""
    t = chain_types(scalar, width)
    cotangent_rest = _cotangent_rest(scalar)
    return SimpleNamespace(**_of_angles(t, cotangent_rest, scalar), **_of_limits(t, cotangent_rest, scalar))


@no_type_check
def _cotangent_rest(scalar):
    @wp.func
    def cotangent_rest(square: scalar) -> scalar:
        """Compute (1 - a/2 cot(a/2)) / a^2 of a^2, by its series near 0."""
        if square < scalar(1e-2):
            return scalar(1.0) / scalar(12.0) + square / scalar(720.0)
        half = scalar(0.5) * wp.sqrt(square)
        return (scalar(1.0) - half * wp.cos(half) / wp.sin(half)) / square

    return cotangent_rest


@no_type_check
def _of_angles(t, cotangent_rest, scalar):
    vec3, mat33, quat = t.vec3, t.mat33, t.quat

    @wp.func
    def rotation_vector(q: quat) -> vec3:
        """Take the logarithm of a unit quaternion: the shorter way round, at most pi long."""
        v = vec3(q[0], q[1], q[2])
        real = q[3]
        if real < scalar(0.0):
            v = -v
            real = -real
        length = wp.length(v)
        if length < scalar(1e-6):
            return v * (scalar(2.0) / real)
        return v * (scalar(2.0) * wp.atan2(length, real) / length)

    @wp.func
    def angle_curvature(theta: vec3) -> mat33:
        """Give half the second derivative of |theta|^2 by a turn: 1 along theta, a/2 cot(a/2) across it."""
        square = wp.dot(theta, theta)
        factor = cotangent_rest(square)
        across = scalar(1.0) - factor * square
        return factor * wp.outer(theta, theta) + wp.diag(vec3(across, across, across))

    return {'rotation_vector': rotation_vector, 'angle_curvature': angle_curvature}


@no_type_check
def _of_limits(t, cotangent_rest, scalar):
    vec3, mat33, Chain = t.vec3, t.mat33, t.Chain

    @wp.func
    def violation(theta: scalar, low: scalar, high: scalar) -> scalar:
        return wp.min(theta - low, scalar(0.0)) + wp.max(theta - high, scalar(0.0))

    @wp.func
    def limit_gradient(c: Chain, theta: vec3, j: int) -> vec3:
        return c.limit_weight * vec3(
            violation(theta[0], c.limits[j, 0][0], c.limits[j, 0][1]),
            violation(theta[1], c.limits[j, 1][0], c.limits[j, 1][1]),
            violation(theta[2], c.limits[j, 2][0], c.limits[j, 2][1]),
        )

    @wp.func
    def limit_axes(c: Chain, theta: vec3, over: vec3, turn: mat33) -> mat33:
        """Give the derivative of the violated angles by w, row by row: J_l^-1(theta) G_parent^T, others 0."""
        factor = cotangent_rest(wp.dot(theta, theta))
        skew = wp.skew(theta)
        one = wp.identity(3, scalar)
        axes = (one - scalar(0.5) * skew + factor * (skew * skew)) * wp.transpose(turn)
        zero = scalar(0.0)
        keep = vec3(zero, zero, zero)
        for i in range(3):
            if over[i] != zero:
                keep[i] = scalar(1.0)
        return wp.diag(keep) * axes

    return {'violation': violation, 'limit_gradient': limit_gradient, 'limit_axes': limit_axes}
