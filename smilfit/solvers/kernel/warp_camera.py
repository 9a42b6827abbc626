"""The image of a world point and its derivative, through a camera with or without a lens."""

from typing import Any, no_type_check

import warp as wp

# As in `smilfit.geometry.projection`: the smallest depth with an image, as a share of the distance.
NEAR = wp.constant(1e-4)


@no_type_check
@wp.func
def through_lens(seen: Any, frame: int, camera: int, place: Any, by_u: Any, by_v: Any):
    """Bend a ray by Brown and Conrady's lens: its place and its derivative's rows.

    Beyond the fold it stands on it; how far beyond it was counts as a constant.
    """
    one, two = place.dtype(1.0), place.dtype(2.0)
    fold = seen.fold[wp.min(frame, seen.fold.shape[0] - 1), camera]
    radius = wp.length(place)
    shrink = place.dtype(1.0)
    if radius >= fold:
        shrink = fold / wp.max(radius, place.dtype(1e-12))
    x, y = place[0] * shrink, place[1] * shrink
    by_x, by_y = by_u * shrink, by_v * shrink
    row = wp.min(frame, seen.lens.shape[0] - 1)
    k1, k2, k3 = seen.lens[row, camera, 0], seen.lens[row, camera, 1], seen.lens[row, camera, 4]
    p1, p2 = seen.lens[row, camera, 2], seen.lens[row, camera, 3]
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
def project(c: Any, seen: Any, frame: int, camera: int, x: Any):
    """Return the image of a world point in px and the rows of its derivative."""
    # One row of cameras serves all frames.
    rotation = seen.rotation[wp.min(frame, seen.rotation.shape[0] - 1), camera]
    p = rotation * x + seen.translation[wp.min(frame, seen.translation.shape[0] - 1), camera]
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
        place, by_u, by_v = through_lens(seen, frame, camera, place, by_u, by_v)
    k = seen.intrinsics[wp.min(frame, seen.intrinsics.shape[0] - 1), camera]
    image = wp.vector(
        k[0, 0] * place[0] + k[0, 1] * place[1] + k[0, 2],
        k[1, 0] * place[0] + k[1, 1] * place[1] + k[1, 2],
    )
    return image, by_u * k[0, 0] + by_v * k[0, 1], by_u * k[1, 0] + by_v * k[1, 1]
