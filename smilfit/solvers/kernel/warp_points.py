"""What is seen of a posed tree: its points' images, energy, gradient and Gauss-Newton curvature, by view.

A point is a weighted mean of rigid points. Gradients and curvatures are halved (sum of w r r' instead of its double).
Robust terms are reweighted.
"""

from typing import no_type_check

import warp as wp

from smilfit.solvers.kernel.warp_types import (
    Chain,
    Observed,
    Scalar,
    Vector,
    Work,
    arm_row,
    coefficient_row,
    curvature_row,
    gradient_row,
    place_row,
    scale_row,
    world_row,
)

# As in `smilfit.geometry.projection`: the smallest depth with an image, as a share of the distance.
NEAR = wp.constant(1e-4)


@no_type_check
@wp.func
def through_lens(observed: Observed, frame: int, camera: int, place: Vector, by_u: Vector, by_v: Vector):
    """Bend a ray by Brown and Conrady's lens: its place and its derivative's rows.

    Beyond the fold it stands on it; how far beyond it was counts as a constant.
    """
    one, two = place.dtype(1.0), place.dtype(2.0)
    fold = observed.fold[wp.min(frame, observed.fold.shape[0] - 1), camera]
    radius = wp.length(place)
    shrink = place.dtype(1.0)
    if radius >= fold:
        shrink = fold / wp.max(radius, place.dtype(1e-12))
    x, y = place[0] * shrink, place[1] * shrink
    by_x, by_y = by_u * shrink, by_v * shrink
    row = wp.min(frame, observed.lens.shape[0] - 1)
    k1, k2, k3 = observed.lens[row, camera, 0], observed.lens[row, camera, 1], observed.lens[row, camera, 4]
    p1, p2 = observed.lens[row, camera, 2], observed.lens[row, camera, 3]
    r2 = x * x + y * y
    radial = one + r2 * (k1 + r2 * (k2 + r2 * k3))
    growth = two * (k1 + r2 * (two * k2 + r2 * place.dtype(3.0) * k3))
    cross = growth * x * y + two * p1 * x + two * p2 * y
    xx = radial + growth * x * x + two * p1 * y + place.dtype(6.0) * p2 * x
    yy = radial + growth * y * y + place.dtype(6.0) * p1 * y + two * p2 * x
    bent = wp.vector(
        x * radial + two * p1 * x * y + p2 * (r2 + two * x * x),
        y * radial + p1 * (r2 + two * y * y) + two * p2 * x * y,
    )
    return bent, by_x * xx + by_y * cross, by_x * cross + by_y * yy


@no_type_check
@wp.func
def project(c: Chain, observed: Observed, frame: int, camera: int, x: Vector):
    """Return the image of a world point in px and the rows of its derivative."""
    # One row of cameras serves all frames.
    rotation = observed.rotation[wp.min(frame, observed.rotation.shape[0] - 1), camera]
    p = rotation * x + observed.translation[wp.min(frame, observed.translation.shape[0] - 1), camera]
    near = x.dtype(NEAR)
    # Behind the camera the depth is a constant, and the derivative has no share of it.
    depth = p[2]
    slope = x.dtype(1.0)
    if p[2] <= x.dtype(0.0) or p[2] * p[2] <= near * near * wp.dot(p, p):
        depth = near * wp.max(wp.length(p), x.dtype(1e-12))
        slope = x.dtype(0.0)
    inverse = x.dtype(1.0) / depth
    place = wp.vector(p[0] * inverse, p[1] * inverse)
    by_u = (rotation[0] - rotation[2] * (place[0] * slope)) * inverse
    by_v = (rotation[1] - rotation[2] * (place[1] * slope)) * inverse
    if c.has_lens == 1:
        place, by_u, by_v = through_lens(observed, frame, camera, place, by_u, by_v)
    k = observed.intrinsics[wp.min(frame, observed.intrinsics.shape[0] - 1), camera]
    image = wp.vector(
        k[0, 0] * place[0] + k[0, 1] * place[1] + k[0, 2],
        k[1, 0] * place[0] + k[1, 1] * place[1] + k[1, 2],
    )
    return image, by_u * k[0, 0] + by_v * k[0, 1], by_u * k[1, 0] + by_v * k[1, 1]


# From this many squared sigmas on a robust term is its bound; pixels beyond a lens can be too many to be squared.
SATURATED = wp.constant(1e12)


@no_type_check
@wp.func
def count_observations(c: Chain, observed: Observed, frame: int) -> int:
    """Count observations with a weight."""
    n = wp.int32(0)
    zero = type(c.ftol)(0.0)
    for k in range(c.n_points):
        if c.has_3d == 1 and observed.weights3d[frame, k] > zero:
            n += 1
        for camera in range(c.n_cameras):
            if observed.weights2d[frame, camera, k] > zero:
                n += 1
    return n


@no_type_check
@wp.func
def see_in_space(c: Chain, observed: Observed, frame: int, k: int, x: Vector, narrow: Scalar):
    """Begin with what was seen of a point in space: energy, gradient, diagonal and mixed curvature."""
    zero = type(narrow)(0.0)
    energy = type(narrow)(0.0)
    gradient, diagonal, mixed = (
        wp.vector(zero, zero, zero),
        wp.vector(zero, zero, zero),
        wp.vector(zero, zero, zero),
    )
    if c.has_3d == 1:
        weight = observed.weights3d[frame, k]
        if weight > zero:
            r = x - observed.targets[frame, k]
            s = wp.dot(r, r)
            bend = type(narrow)(1.0) / (type(narrow)(1.0) + s * c.sharpness3d[k] * narrow)
            share = weight * bend * bend
            energy = weight * s * bend
            gradient = r * share
            diagonal = wp.vector(share, share, share)
    return energy, gradient, diagonal, mixed


@no_type_check
@wp.func
def see_in_image(
    c: Chain, observed: Observed, frame: int, camera: int, k: int, x: Vector, weight: Scalar, narrow: Scalar
):
    """Return what one camera saw of a point: energy, gradient, diagonal and mixed (xy, xz, yz) curvature."""
    zero = type(narrow)(0.0)
    place, u, v = project(c, observed, frame, camera, x)
    r = place - observed.xy[frame, camera, k]
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
def part_place(c: Chain, w: Work, slot: int, frame: int, side: int, n: int, size: Scalar):
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
def point_place(c: Chain, w: Work, slot: int, frame: int, side: int, k: int, size: Scalar):
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
def observe(c: Chain, observed: Observed, w: Work, slot: int, frame: int, side: int, widening: Scalar):
    """Compute a posed state's points, their gradients and curvatures; return the points' energy."""
    zero = type(widening)(0.0)
    energy = type(widening)(0.0)
    second = type(widening)(0.0)
    size = wp.exp(w.nums[slot, scale_row(c, side)])
    root = w.vecs[slot, place_row(c, side)]
    narrow = type(widening)(1.0) / (widening * widening)
    for k in range(c.n_points):
        x = point_place(c, w, slot, frame, side, k, size)
        e, g, d, m = see_in_space(c, observed, frame, k, x, narrow)
        for camera in range(c.n_cameras):
            weight = observed.weights2d[frame, camera, k]
            if weight > zero:
                e2, g2, d2, m2 = see_in_image(c, observed, frame, camera, k, x, weight, narrow)
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
