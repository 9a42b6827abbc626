"""What is seen of a posed tree: its points' energy, gradient and Gauss-Newton curvature, summed over the views.

A point is a weighted mean of rigid points. Gradients and curvatures are halved (sum of w r r' instead of its double).
Robust terms are reweighted.
"""

from typing import Any, no_type_check

import warp as wp

from smilfit.solvers.kernel.warp_camera import project
from smilfit.solvers.kernel.warp_rows import (
    arm_row,
    coefficient_row,
    curvature_row,
    gradient_row,
    place_row,
    scale_row,
    world_row,
)

# From this many squared sigmas on a robust term is its bound; pixels beyond a lens can be too many to be squared.
SATURATED = wp.constant(1e12)


@no_type_check
@wp.func
def count_seen(c: Any, seen: Any, frame: int) -> int:
    """Count observations with a weight."""
    n = wp.int32(0)
    zero = type(c.ftol)(0.0)
    for k in range(c.n_points):
        if c.has_3d == 1 and seen.weights3d[frame, k] > zero:
            n += 1
        for camera in range(c.n_cameras):
            if seen.weights2d[frame, camera, k] > zero:
                n += 1
    return n


@no_type_check
@wp.func
def see_in_space(c: Any, seen: Any, frame: int, k: int, x: Any, narrow: Any):
    """Begin with what was seen of a point in space: energy, gradient, diagonal and mixed curvature."""
    zero = type(narrow)(0.0)
    energy = type(narrow)(0.0)
    gradient, diagonal, mixed = (
        wp.vector(zero, zero, zero),
        wp.vector(zero, zero, zero),
        wp.vector(zero, zero, zero),
    )
    if c.has_3d == 1:
        weight = seen.weights3d[frame, k]
        if weight > zero:
            r = x - seen.targets[frame, k]
            s = wp.dot(r, r)
            bend = type(narrow)(1.0) / (type(narrow)(1.0) + s * c.sharpness3d[k] * narrow)
            share = weight * bend * bend
            energy = weight * s * bend
            gradient = r * share
            diagonal = wp.vector(share, share, share)
    return energy, gradient, diagonal, mixed


@no_type_check
@wp.func
def see_in_image(c: Any, seen: Any, frame: int, camera: int, k: int, x: Any, weight: Any, narrow: Any):
    """Return what one camera saw of a point: energy, gradient, diagonal and mixed (xy, xz, yz) curvature."""
    zero = type(narrow)(0.0)
    place, u, v = project(c, seen, frame, camera, x)
    r = place - seen.xy[frame, camera, k]
    s = wp.dot(r, r)
    sharp = c.sharpness2d[k] * narrow
    energy = type(narrow)(0.0)
    gradient, diagonal, mixed = (
        wp.vector(zero, zero, zero),
        wp.vector(zero, zero, zero),
        wp.vector(zero, zero, zero),
    )
    if s * sharp > type(narrow)(SATURATED):
        energy = weight / sharp
    else:
        bend = type(narrow)(1.0) / (type(narrow)(1.0) + s * sharp)
        share = weight * bend * bend
        su, sv = share * u, share * v
        energy = weight * s * bend
        gradient = share * (r[0] * u + r[1] * v)
        diagonal = wp.cw_mul(su, u) + wp.cw_mul(sv, v)
        mixed = wp.vector(
            su[0] * u[1] + sv[0] * v[1], su[0] * u[2] + sv[0] * v[2], su[1] * u[2] + sv[1] * v[2]
        )
    return energy, gradient, diagonal, mixed


@no_type_check
@wp.func
def part_place(c: Any, w: Any, slot: int, frame: int, side: int, n: int, size: Any):
    """Return the world place of a rigid point; keep its arm from its joint."""
    j = c.part_joint[n]
    x = w.vecs[slot, place_row(c, side) + j]
    if c.has_arms == 1:
        offset = c.part_offset[wp.min(frame, c.part_offset.shape[0] - 1), n]
        if c.has_part_dirs == 1:
            for i in range(c.n_chunks):
                z = w.lanes[slot, coefficient_row(side), i]
                offset = offset + wp.vector(
                    wp.dot(z, c.part_dirs[n, 0, i]),
                    wp.dot(z, c.part_dirs[n, 1, i]),
                    wp.dot(z, c.part_dirs[n, 2, i]),
                )
        arm = offset
        if wp.dot(offset, offset) > type(size)(0.0):
            arm = size * (w.mats[slot, world_row(c, side) + j] * offset)
            x = x + arm
        w.vecs[slot, arm_row(c, side) + n] = arm
    return x


@no_type_check
@wp.func
def point_place(c: Any, w: Any, slot: int, frame: int, side: int, k: int, size: Any):
    """Return the world place of a point, the mean of its rigid points; keep their arms."""
    first = c.part_start[k]
    x = part_place(c, w, slot, frame, side, first, size)
    if c.part_start[k + 1] > first + 1:
        x = x * c.part_share[first]
        for n in range(first + 1, c.part_start[k + 1]):
            x = x + c.part_share[n] * part_place(c, w, slot, frame, side, n, size)
    return x


@no_type_check
@wp.func
def observe(c: Any, seen: Any, w: Any, slot: int, frame: int, side: int, widening: Any):
    """Compute a posed state's points, their gradients and curvatures; return the points' energy."""
    zero = type(widening)(0.0)
    energy = type(widening)(0.0)
    second = type(widening)(0.0)
    size = wp.exp(w.nums[slot, scale_row(c, side)])
    root = w.vecs[slot, place_row(c, side)]
    narrow = type(widening)(1.0) / (widening * widening)
    for k in range(c.n_points):
        x = point_place(c, w, slot, frame, side, k, size)
        e, g, d, m = see_in_space(c, seen, frame, k, x, narrow)
        for camera in range(c.n_cameras):
            weight = seen.weights2d[frame, camera, k]
            if weight > zero:
                e2, g2, d2, m2 = see_in_image(c, seen, frame, camera, k, x, weight, narrow)
                e = e + e2
                g = g + g2
                d = d + d2
                m = m + m2
        w.vecs[slot, gradient_row(c, side) + k] = g
        w.mats[slot, curvature_row(c, side) + k] = wp.matrix(
            d[0], m[0], m[1], m[0], d[1], m[2], m[1], m[2], d[2], shape=(3, 3)
        )
        energy += e
        arm = x - root
        second += (d[0] + d[1] + d[2]) * wp.dot(arm, arm)
    w.nums[slot, scale_row(c, 2)] = second / type(widening)(3.0)
    return energy
