"""What is seen of a posed tree: its points' energy, gradient and Gauss-Newton curvature, summed over the views."""

from functools import cache
from types import SimpleNamespace
from typing import no_type_check

import warp as wp

from smilfit.solvers.warp_rows import row_functions
from smilfit.solvers.warp_types import chain_types

# As in `smilfit.geometry.projection`: the smallest depth with an image, as a share of the distance.
NEAR = wp.constant(1e-4)
# From this many squared sigmas on a robust term is its bound; pixels beyond a lens can be too many to be squared.
SATURATED = wp.constant(1e12)


@no_type_check
@cache
def point_functions(scalar, width):
    """Make `observe` and `count_seen` for one float type and width of the border."""
    t, rows = chain_types(scalar, width), row_functions(scalar, width)
    vec2, vec3, mat33, Chain, Seen, Work = t.vec2, t.vec3, t.mat33, t.Chain, t.Seen, t.Work
    place_row, world_row, scale_row = rows.place_row, rows.world_row, rows.scale_row
    point_row, gradient_row, curvature_row = rows.point_row, rows.gradient_row, rows.curvature_row

    @wp.struct
    class Image:
        """A pixel and the rows of its derivative by the world point."""

        pixel: vec2
        by_u: vec3
        by_v: vec3

    @wp.func
    def project(c: Chain, seen: Seen, frame: int, camera: int, x: vec3) -> Image:
        # One row of cameras serves all frames.
        intrinsics = seen.intrinsics[wp.min(frame, seen.intrinsics.shape[0] - 1), camera]
        rotation = seen.rotation[wp.min(frame, seen.rotation.shape[0] - 1), camera]
        p = rotation * x + seen.translation[wp.min(frame, seen.translation.shape[0] - 1), camera]
        one, two = scalar(1.0), scalar(2.0)
        near = scalar(NEAR)
        # Behind the camera the depth is a constant, and the derivative has no share of it.
        depth = p[2]
        slope = one
        if p[2] <= scalar(0.0) or p[2] * p[2] <= near * near * wp.dot(p, p):
            depth = near * wp.max(wp.length(p), scalar(1e-12))
            slope = scalar(0.0)
        inverse = one / depth
        nx = p[0] * inverse
        ny = p[1] * inverse
        row_x = (rotation[0] - rotation[2] * (nx * slope)) * inverse
        row_y = (rotation[1] - rotation[2] * (ny * slope)) * inverse
        if c.has_lens == 1:
            fl = wp.min(frame, seen.lens.shape[0] - 1)
            fold = seen.fold[wp.min(frame, seen.fold.shape[0] - 1), camera]
            radius = wp.sqrt(nx * nx + ny * ny)
            if radius >= fold:
                # Beyond the fold it stands on it; how far beyond it was counts as a constant.
                shrink = fold / wp.max(radius, scalar(1e-12))
                nx, ny = nx * shrink, ny * shrink
                row_x, row_y = row_x * shrink, row_y * shrink
            k1 = seen.lens[fl, camera, 0]
            k2 = seen.lens[fl, camera, 1]
            p1 = seen.lens[fl, camera, 2]
            p2 = seen.lens[fl, camera, 3]
            k3 = seen.lens[fl, camera, 4]
            r2 = nx * nx + ny * ny
            radial = one + r2 * (k1 + r2 * (k2 + r2 * k3))
            growth = two * (k1 + r2 * (two * k2 + r2 * scalar(3.0) * k3))
            cross = growth * nx * ny + two * p1 * nx + two * p2 * ny
            xx = radial + growth * nx * nx + two * p1 * ny + scalar(6.0) * p2 * nx
            yy = radial + growth * ny * ny + scalar(6.0) * p1 * ny + two * p2 * nx
            lens_x = nx * radial + two * p1 * nx * ny + p2 * (r2 + two * nx * nx)
            lens_y = ny * radial + p1 * (r2 + two * ny * ny) + two * p2 * nx * ny
            new_x = row_x * xx + row_y * cross
            new_y = row_x * cross + row_y * yy
            nx, ny, row_x, row_y = lens_x, lens_y, new_x, new_y
        image = Image()
        image.pixel = vec2(
            intrinsics[0, 0] * nx + intrinsics[0, 1] * ny + intrinsics[0, 2],
            intrinsics[1, 0] * nx + intrinsics[1, 1] * ny + intrinsics[1, 2],
        )
        image.by_u = row_x * intrinsics[0, 0] + row_y * intrinsics[0, 1]
        image.by_v = row_x * intrinsics[1, 0] + row_y * intrinsics[1, 1]
        return image

    @wp.func
    def count_seen(c: Chain, seen: Seen, frame: int) -> int:
        """Count observations with a weight."""
        n = wp.int32(0)
        for k in range(c.n_points):
            if c.has_3d == 1 and seen.weights3d[frame, k] > scalar(0.0):
                n += 1
            for camera in range(c.n_cameras):
                if seen.weights2d[frame, camera, k] > scalar(0.0):
                    n += 1
        return n

    @wp.func
    def observe(c: Chain, seen: Seen, w: Work, slot: int, frame: int, side: int, widening: scalar) -> scalar:
        """Compute a posed state's points, their gradients and curvatures; return the points' energy.

        Gradients and curvatures are halved (sum of w r r' instead of its double). Robust terms are reweighted.
        """
        zero, one = scalar(0.0), scalar(1.0)
        energy = scalar(0.0)
        second = scalar(0.0)
        size = wp.exp(w.nums[slot, scale_row(c, side)])
        root = w.vecs[slot, place_row(c, side)]
        narrow = one / (widening * widening)
        for k in range(c.n_points):
            j = c.point_joint[k]
            x = w.vecs[slot, place_row(c, side) + j]
            offset = c.point_offset[k]
            if wp.dot(offset, offset) > zero:
                x = x + size * (w.mats[slot, world_row(c, side) + j] * offset)
            g = vec3(zero, zero, zero)
            # The six numbers of a symmetric curvature: diagonal, then xy, xz, yz.
            diagonal = vec3(zero, zero, zero)
            mixed = vec3(zero, zero, zero)
            if c.has_3d == 1:
                weight = seen.weights3d[frame, k]
                if weight > zero:
                    r = x - seen.targets[frame, k]
                    s = wp.dot(r, r)
                    bend = one / (one + s * c.sharpness3d[k] * narrow)
                    energy += weight * s * bend
                    share = weight * bend * bend
                    g = r * share
                    diagonal = vec3(share, share, share)
            for camera in range(c.n_cameras):
                weight = seen.weights2d[frame, camera, k]
                if weight > zero:
                    image = project(c, seen, frame, camera, x)
                    miss = image.pixel - seen.xy[frame, camera, k]
                    s = wp.dot(miss, miss)
                    sharp = c.sharpness2d[k] * narrow
                    if s * sharp > scalar(SATURATED):
                        energy += weight / sharp
                    else:
                        bend = one / (one + s * sharp)
                        energy += weight * s * bend
                        share = weight * bend * bend
                        u = image.by_u
                        v = image.by_v
                        g = g + share * (miss[0] * u + miss[1] * v)
                        su = share * u
                        sv = share * v
                        diagonal = diagonal + wp.cw_mul(su, u) + wp.cw_mul(sv, v)
                        mixed = mixed + vec3(
                            su[0] * u[1] + sv[0] * v[1],
                            su[0] * u[2] + sv[0] * v[2],
                            su[1] * u[2] + sv[1] * v[2],
                        )
            w.vecs[slot, point_row(c, side) + k] = x
            w.vecs[slot, gradient_row(c, side) + k] = g
            w.mats[slot, curvature_row(c, side) + k] = mat33(
                diagonal[0], mixed[0], mixed[1],
                mixed[0], diagonal[1], mixed[2],
                mixed[1], mixed[2], diagonal[2],
            )  # fmt: skip
            arm = x - root
            second += (diagonal[0] + diagonal[1] + diagonal[2]) * wp.dot(arm, arm)
        w.nums[slot, scale_row(c, side) + 2] = second / scalar(3.0)
        return energy

    return SimpleNamespace(observe=observe, count_seen=count_seen)
