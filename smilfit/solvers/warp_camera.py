"""The picture of a world point and its derivative, through a camera with or without a lens."""

from functools import cache
from types import SimpleNamespace
from typing import no_type_check

import warp as wp

from smilfit.solvers.warp_types import chain_types

# As in `smilfit.geometry.projection`: the smallest depth with an image, as a share of the distance.
NEAR = wp.constant(1e-4)


@no_type_check
@cache
def camera_functions(scalar, width):
    """Make `project` and its struct for one float type; the width only picks the types."""
    t = chain_types(scalar, width)
    vec2, vec3 = t.vec2, t.vec3

    @wp.struct
    class Image:
        """A place in a picture and the rows of its derivative by the world point."""

        place: vec2
        by_u: vec3
        by_v: vec3

    through_lens = _lens(t, Image, scalar)
    return SimpleNamespace(Image=Image, project=_project(t, Image, through_lens, scalar))


@no_type_check
def _lens(t, Image, scalar):
    vec2, Seen = t.vec2, t.Seen

    @wp.func
    def through_lens(seen: Seen, frame: int, camera: int, ideal: Image) -> Image:
        """Bend a ray by Brown and Conrady's lens.

        Beyond the fold it stands on it; how far beyond it was counts as a constant.
        """
        one, two = scalar(1.0), scalar(2.0)
        fold = seen.fold[wp.min(frame, seen.fold.shape[0] - 1), camera]
        radius = wp.length(ideal.place)
        shrink = one
        if radius >= fold:
            shrink = fold / wp.max(radius, scalar(1e-12))
        x, y = ideal.place[0] * shrink, ideal.place[1] * shrink
        by_x, by_y = ideal.by_u * shrink, ideal.by_v * shrink
        row = wp.min(frame, seen.lens.shape[0] - 1)
        k1, k2, k3 = seen.lens[row, camera, 0], seen.lens[row, camera, 1], seen.lens[row, camera, 4]
        p1, p2 = seen.lens[row, camera, 2], seen.lens[row, camera, 3]
        r2 = x * x + y * y
        radial = one + r2 * (k1 + r2 * (k2 + r2 * k3))
        growth = two * (k1 + r2 * (two * k2 + r2 * scalar(3.0) * k3))
        cross = growth * x * y + two * p1 * x + two * p2 * y
        xx = radial + growth * x * x + two * p1 * y + scalar(6.0) * p2 * x
        yy = radial + growth * y * y + scalar(6.0) * p1 * y + two * p2 * x
        bent = Image()
        bent.place = vec2(
            x * radial + two * p1 * x * y + p2 * (r2 + two * x * x),
            y * radial + p1 * (r2 + two * y * y) + two * p2 * x * y,
        )
        bent.by_u = by_x * xx + by_y * cross
        bent.by_v = by_x * cross + by_y * yy
        return bent

    return through_lens


@no_type_check
def _project(t, Image, through_lens, scalar):
    vec2, vec3, Chain, Seen = t.vec2, t.vec3, t.Chain, t.Seen

    @wp.func
    def project(c: Chain, seen: Seen, frame: int, camera: int, x: vec3) -> Image:
        # One row of cameras serves all frames.
        rotation = seen.rotation[wp.min(frame, seen.rotation.shape[0] - 1), camera]
        p = rotation * x + seen.translation[wp.min(frame, seen.translation.shape[0] - 1), camera]
        near = scalar(NEAR)
        # Behind the camera the depth is a constant, and the derivative has no share of it.
        depth = p[2]
        slope = scalar(1.0)
        if p[2] <= scalar(0.0) or p[2] * p[2] <= near * near * wp.dot(p, p):
            depth = near * wp.max(wp.length(p), scalar(1e-12))
            slope = scalar(0.0)
        inverse = scalar(1.0) / depth
        ray = Image()
        ray.place = vec2(p[0] * inverse, p[1] * inverse)
        ray.by_u = (rotation[0] - rotation[2] * (ray.place[0] * slope)) * inverse
        ray.by_v = (rotation[1] - rotation[2] * (ray.place[1] * slope)) * inverse
        if c.has_lens == 1:
            ray = through_lens(seen, frame, camera, ray)
        k = seen.intrinsics[wp.min(frame, seen.intrinsics.shape[0] - 1), camera]
        image = Image()
        image.place = vec2(
            k[0, 0] * ray.place[0] + k[0, 1] * ray.place[1] + k[0, 2],
            k[1, 0] * ray.place[0] + k[1, 1] * ray.place[1] + k[1, 2],
        )
        image.by_u = ray.by_u * k[0, 0] + ray.by_v * k[0, 1]
        image.by_v = ray.by_u * k[1, 0] + ray.by_v * k[1, 1]
        return image

    return project
