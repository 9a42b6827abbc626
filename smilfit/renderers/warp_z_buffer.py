"""Which face does each pixel see, by a kernel: one thread a triangle, all images in one launch."""

from functools import cache
from types import SimpleNamespace
from typing import no_type_check

import torch
import warp as wp
from jaxtyping import Int
from torch import Tensor

from smilfit.renderers.projected import ProjectedMeshes
from smilfit.renderers.scanline import EDGE_TOLERANCE_PX
from smilfit.renderers.warp_memory import OPTIONS, launch, view
from smilfit.renderers.warp_plane import plane_functions


@torch.no_grad()
def seen_faces_by_warp(meshes: ProjectedMeshes) -> Int[Tensor, 'N H W']:
    """Find the face that each pixel of each image sees, as `seen_faces`; -1 where there is none."""
    kernels = z_buffer_kernels()
    n, n_faces = meshes.drawable.shape
    corners = meshes.corners().double().reshape(-1, 3, 2).contiguous()
    inverse_z = (1 / meshes.in_camera[..., 2].double())[:, meshes.faces].reshape(-1, 3).contiguous()
    turns = meshes.turns.reshape(-1).to(torch.int8)
    shape = (n, meshes.height, meshes.width)
    buffer = torch.zeros(shape, dtype=torch.int64, device=corners.device)
    inputs = [view(corners, kernels.vec2), view(inverse_z, kernels.vec3), view(turns)]
    size = [n_faces, meshes.width, meshes.height, view(buffer.view(-1))]
    launch(kernels.draw, n * n_faces, [*inputs, *size], corners.device)
    return torch.where(buffer > 0, 0x7FFFFFFF - (buffer & 0x7FFFFFFF), -1)


@no_type_check
@cache
def z_buffer_kernels():
    """Make the kernel; it works in double precision, because small triangles need it."""
    plane = plane_functions(wp.float64)
    vec2, vec3, cross, pixel_box = plane.vec2, plane.vec3, plane.cross, plane.pixel_box
    tolerance = wp.constant(wp.float64(EDGE_TOLERANCE_PX))
    # One integer carries the depth and then the face: the nearest wins, the lowest face where they are equal.
    middle, steps = wp.constant(wp.float64(128.0)), wp.constant(wp.float64(2**23))

    @wp.kernel(enable_backward=False, module='unique', module_options=OPTIONS)
    def draw(
        corners: wp.array2d(dtype=vec2),
        inverse_z: wp.array(dtype=vec3),
        turns: wp.array(dtype=wp.int8),
        n_faces: int,
        width: int,
        height: int,
        buffer: wp.array(dtype=wp.int64),
    ):
        i = wp.tid()
        turn = wp.float64(turns[i])
        if turn == wp.float64(0.0):
            return
        a, b, c = corners[i, 0], corners[i, 1], corners[i, 2]
        ab, bc, ca = turn * (b - a), turn * (c - b), turn * (a - c)
        outer = -tolerance * vec3(wp.length(ab), wp.length(bc), wp.length(ca))
        over = wp.float64(1.0) / cross(ab, c - a)
        box = pixel_box(wp.min(a, wp.min(b, c)), wp.max(a, wp.max(b, c)), tolerance, width, height)
        for y in range(box[1], box[3] + 1):
            for x in range(box[0], box[2] + 1):
                p = vec2(wp.float64(x), wp.float64(y))
                u, v, w = cross(bc, p - b), cross(ca, p - c), cross(ab, p - a)
                if u >= outer[1] and v >= outer[2] and w >= outer[0]:
                    nearness = wp.dot(vec3(u, v, w), inverse_z[i]) * over
                    # The logarithm keeps about single precision at every depth, and 31 bits hold it.
                    level = wp.clamp(wp.log2(nearness) + middle, wp.float64(0.0), wp.float64(255.0))
                    key = (wp.int64(level * steps) << wp.int64(32)) | wp.int64(0x7FFFFFFF - i % n_faces)
                    wp.atomic_max(buffer, ((i / n_faces) * height + y) * width + x, key)

    return SimpleNamespace(draw=draw, vec2=vec2, vec3=vec3)
