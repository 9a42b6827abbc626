"""What a state looks like: its joints and points in the world, their pixels, its joints' rotation vectors."""

from functools import cache
from types import SimpleNamespace
from typing import no_type_check

import warp as wp

from smilfit.solvers.kernel.warp_camera import project
from smilfit.solvers.kernel.warp_points import point_place
from smilfit.solvers.kernel.warp_rotations import rotation_vector
from smilfit.solvers.kernel.warp_rows import place_row, scale_row
from smilfit.solvers.kernel.warp_tree import load, pose
from smilfit.solvers.kernel.warp_types import OPTIONS, chain_types


@no_type_check
@cache
def measure_kernel(scalar):
    """Make the struct of the answers and the kernel of one float type; thread and frame are one."""
    t = chain_types(scalar)

    @wp.struct
    class Measured:
        joints: wp.array2d(dtype=t.vec3)
        points: wp.array2d(dtype=t.vec3)
        pixels: wp.array3d(dtype=t.vec2)
        turns: wp.array2d(dtype=t.vec3)

    @wp.kernel(enable_backward=False, module='unique', module_options=OPTIONS)
    def measure(c: t.Chain, seen: t.Seen, fit: t.Fit, m: Measured, w: t.Work, n_slots: int, first: int):
        frame = wp.tid() + first
        load(c, fit, w, frame, frame, 0)
        pose(c, w, frame, frame, 0)
        for j in range(c.n_joints):
            m.joints[frame, j] = w.vecs[frame, place_row(c, 0) + j]
            m.turns[frame, j] = rotation_vector(w.quats[frame, j])
        size = wp.exp(w.nums[frame, scale_row(c, 0)])
        for k in range(c.n_points):
            x = point_place(c, w, frame, frame, 0, k, size)
            m.points[frame, k] = x
            for camera in range(c.n_cameras):
                image, _u, _v = project(c, seen, frame, camera, x)
                m.pixels[frame, camera, k] = image

    return SimpleNamespace(Measured=Measured, kernel=measure)
