"""What is seen of a posed tree: its points' energy, gradient and Gauss-Newton curvature, summed over the views.

Gradients and curvatures are halved (sum of w r r' instead of its double). Robust terms are reweighted.
"""

from functools import cache
from types import SimpleNamespace
from typing import no_type_check

import warp as wp

from smilfit.solvers.warp_camera import camera_functions
from smilfit.solvers.warp_rows import row_functions
from smilfit.solvers.warp_types import chain_types

# From this many squared sigmas on a robust term is its bound; pixels beyond a lens can be too many to be squared.
SATURATED = wp.constant(1e12)


@no_type_check
@cache
def point_functions(scalar, width):
    """Make `observe` and `count_seen` for one float type and width of the border."""
    t = chain_types(scalar, width)
    vec3, Chain, Seen = t.vec3, t.Chain, t.Seen

    @wp.struct
    class Pull:
        """A point's energy, gradient, and the six numbers of its symmetric curvature."""

        energy: scalar
        gradient: vec3
        diagonal: vec3
        mixed: vec3  # xy, xz, yz

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

    sights = _pull_in_space(t, Pull, scalar), _pull_in_picture(t, Pull, scalar, width)
    return SimpleNamespace(observe=_observe(t, Pull, *sights, scalar, width), count_seen=count_seen)


@no_type_check
def _pull_in_space(t, Pull, scalar):
    vec3, Chain, Seen = t.vec3, t.Chain, t.Seen

    @wp.func
    def pull_in_space(c: Chain, seen: Seen, frame: int, k: int, x: vec3, narrow: scalar) -> Pull:
        """Begin with what the point's seen place says, or with nothing."""
        pull = Pull()
        if c.has_3d == 1:
            weight = seen.weights3d[frame, k]
            if weight > scalar(0.0):
                r = x - seen.targets[frame, k]
                s = wp.dot(r, r)
                bend = scalar(1.0) / (scalar(1.0) + s * c.sharpness3d[k] * narrow)
                share = weight * bend * bend
                pull.energy = weight * s * bend
                pull.gradient = r * share
                pull.diagonal = vec3(share, share, share)
        return pull

    return pull_in_space


@no_type_check
def _pull_in_picture(t, Pull, scalar, width):
    vec3, Chain, Seen = t.vec3, t.Chain, t.Seen
    cameras = camera_functions(scalar, width)

    @wp.func
    def pull_in_picture(
        c: Chain, seen: Seen, frame: int, camera: int, k: int, x: vec3, narrow: scalar, before: Pull
    ) -> Pull:
        """Add what one camera saw of a point."""
        pull = before
        weight = seen.weights2d[frame, camera, k]
        if weight > scalar(0.0):
            image = cameras.project(c, seen, frame, camera, x)
            miss = image.place - seen.xy[frame, camera, k]
            s = wp.dot(miss, miss)
            sharp = c.sharpness2d[k] * narrow
            if s * sharp > scalar(SATURATED):
                pull.energy = pull.energy + weight / sharp
            else:
                bend = scalar(1.0) / (scalar(1.0) + s * sharp)
                share = weight * bend * bend
                u, v = image.by_u, image.by_v
                su, sv = share * u, share * v
                pull.energy = pull.energy + weight * s * bend
                pull.gradient = pull.gradient + share * (miss[0] * u + miss[1] * v)
                pull.diagonal = pull.diagonal + wp.cw_mul(su, u) + wp.cw_mul(sv, v)
                pull.mixed = pull.mixed + vec3(
                    su[0] * u[1] + sv[0] * v[1],
                    su[0] * u[2] + sv[0] * v[2],
                    su[1] * u[2] + sv[1] * v[2],
                )
        return pull

    return pull_in_picture


@no_type_check
def _observe(t, Pull, pull_in_space, pull_in_picture, scalar, width):
    rows = row_functions(scalar, width)
    vec3, mat33, Chain, Seen, Work = t.vec3, t.mat33, t.Chain, t.Seen, t.Work

    @wp.func
    def keep(c: Chain, w: Work, slot: int, side: int, k: int, x: vec3, pull: Pull):
        d, m = pull.diagonal, pull.mixed
        w.vecs[slot, rows.point_row(c, side) + k] = x
        w.vecs[slot, rows.gradient_row(c, side) + k] = pull.gradient
        w.mats[slot, rows.curvature_row(c, side) + k] = mat33(
            d[0], m[0], m[1],
            m[0], d[1], m[2],
            m[1], m[2], d[2],
        )  # fmt: skip

    @wp.func
    def observe(c: Chain, seen: Seen, w: Work, slot: int, frame: int, side: int, widening: scalar) -> scalar:
        """Compute a posed state's points, their gradients and curvatures; return the points' energy."""
        zero = scalar(0.0)
        energy = scalar(0.0)
        second = scalar(0.0)
        size = wp.exp(w.nums[slot, rows.scale_row(c, side)])
        root = w.vecs[slot, rows.place_row(c, side)]
        narrow = scalar(1.0) / (widening * widening)
        for k in range(c.n_points):
            j = c.point_joint[k]
            x = w.vecs[slot, rows.place_row(c, side) + j]
            offset = c.point_offset[k]
            if wp.dot(offset, offset) > zero:
                x = x + size * (w.mats[slot, rows.world_row(c, side) + j] * offset)
            pull = pull_in_space(c, seen, frame, k, x, narrow)
            for camera in range(c.n_cameras):
                pull = pull_in_picture(c, seen, frame, camera, k, x, narrow, pull)
            keep(c, w, slot, side, k, x, pull)
            energy += pull.energy
            arm = x - root
            second += (pull.diagonal[0] + pull.diagonal[1] + pull.diagonal[2]) * wp.dot(arm, arm)
        w.nums[slot, rows.scale_row(c, side) + 2] = second / scalar(3.0)
        return energy

    return observe
