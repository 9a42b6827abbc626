"""Which face does each pixel see, by a kernel: one thread a triangle, all images in one launch."""

from functools import cache
from types import SimpleNamespace
from typing import no_type_check

import torch
import warp as wp
from jaxtyping import Float, Int
from torch import Tensor

from smilfit.renderers.projected import LEAST_AREA_PX2, ProjectedMeshes
from smilfit.renderers.scanline import EDGE_TOLERANCE_PX
from smilfit.renderers.warp_memory import OPTIONS, launch, view
from smilfit.renderers.warp_plane import plane_functions


@torch.no_grad()
def seen_faces_by_warp(meshes: ProjectedMeshes) -> Int[Tensor, 'N H W']:
    """Find the face that each pixel of each image sees, as `seen_faces`; -1 where there is none."""
    # 0 where a vertex has no image.
    inverse_z = torch.where(meshes.usable, 1 / meshes.in_camera[..., 2].double(), 0.0)
    faces = meshes.faces.int()
    buffer = draw_faces(meshes.pixels.double(), inverse_z, faces, meshes.width, meshes.height)
    return torch.where(buffer > 0, 0x7FFFFFFF - (buffer & 0x7FFFFFFF), -1)


def draw_faces(
    pixels: Float[Tensor, 'N V 2'],
    inverse_z: Float[Tensor, 'N V'],
    faces: Int[Tensor, 'F 3'],
    width: int,
    height: int,
) -> Int[Tensor, 'N H W']:
    """Draw triangles into z-buffers; the lower 31 bits of what a pixel sees are 0x7FFFFFFF - face, and 0 is empty.

    Args:
        pixels: of the vertices, double precision.
        inverse_z: 1 / depth of the vertices, above 0; a face with a corner of 0 is left out.
        faces: 32 bits.
        width: of the images, px.
        height: of the images, px.
    """
    kernels = z_buffer_kernels()
    buffer = torch.zeros((len(pixels), height, width), dtype=torch.int64, device=pixels.device)
    inputs = [view(pixels, kernels.vec2), view(inverse_z), view(faces), width, height, view(buffer.view(-1))]
    launch(kernels.draw, len(pixels) * len(faces), inputs, pixels.device)
    return buffer


@no_type_check
@cache
def z_buffer_kernels():
    """Make the kernel; it works in double precision, because small triangles need it."""
    plane = plane_functions(wp.float64)
    vec2, vec3, cross, pixel_box = plane.vec2, plane.vec3, plane.cross, plane.pixel_box
    tolerance = wp.constant(wp.float64(EDGE_TOLERANCE_PX))
    least_area = wp.constant(wp.float64(LEAST_AREA_PX2))
    zero, one = wp.constant(wp.float64(0.0)), wp.constant(wp.float64(1.0))
    # One integer carries the depth and then the face: the nearest wins, the lowest face where they are equal.
    middle, steps = wp.constant(wp.float64(128.0)), wp.constant(wp.float64(2**23))

    @wp.kernel(enable_backward=False, module='unique', module_options=OPTIONS)
    def draw(
        pixels: wp.array2d(dtype=vec2),
        inverse_z: wp.array2d(dtype=wp.float64),
        faces: wp.array2d(dtype=wp.int32),
        width: int,
        height: int,
        buffer: wp.array(dtype=wp.int64),
    ):
        i = wp.tid()
        n_faces = faces.shape[0]
        image, face = i / n_faces, i % n_faces
        first, second, third = faces[face, 0], faces[face, 1], faces[face, 2]
        a, b, c = pixels[image, first], pixels[image, second], pixels[image, third]
        # Most triangles of a fine mesh hold no pixel's centre: asked first.
        box = pixel_box(wp.min(a, wp.min(b, c)), wp.max(a, wp.max(b, c)), tolerance, width, height)
        if box[0] > box[2] or box[1] > box[3]:
            return
        over_z = vec3(inverse_z[image, first], inverse_z[image, second], inverse_z[image, third])
        if over_z[0] <= zero or over_z[1] <= zero or over_z[2] <= zero:
            return
        area = cross(b - a, c - a)
        if wp.abs(area) <= least_area:
            return
        turn = wp.sign(area)
        ab, bc, ca = turn * (b - a), turn * (c - b), turn * (a - c)
        outer = -tolerance * vec3(wp.length(ab), wp.length(bc), wp.length(ca))
        over = one / cross(ab, c - a)
        for y in range(box[1], box[3] + 1):
            for x in range(box[0], box[2] + 1):
                p = vec2(wp.float64(x), wp.float64(y))
                u, v, w = cross(bc, p - b), cross(ca, p - c), cross(ab, p - a)
                if u >= outer[1] and v >= outer[2] and w >= outer[0]:
                    nearness = wp.dot(vec3(u, v, w), over_z) * over
                    # The logarithm keeps about single precision at every depth, and 31 bits hold it.
                    level = wp.clamp(wp.log2(nearness) + middle, zero, wp.float64(255.0))
                    key = (wp.int64(level * steps) << wp.int64(32)) | wp.int64(0x7FFFFFFF - face)
                    wp.atomic_max(buffer, (image * height + y) * width + x, key)

    return SimpleNamespace(draw=draw, vec2=vec2, vec3=vec3)
