"""Which face does each pixel see, by a kernel: one thread a triangle, all images in one launch."""

# Warp's kernels are annotated by values, made for a float type: no checker knows them as types.
# mypy: disable-error-code="valid-type"

from functools import cache
from types import SimpleNamespace
from typing import no_type_check

import torch
import warp as wp
from jaxtyping import Float, Int
from torch import Tensor

from smilfit.renderers.projected import LEAST_AREA_PX2, ProjectedMeshes
from smilfit.renderers.scanline import EDGE_TOLERANCE_PX
from smilfit.renderers.warp_memory import OPTIONS, launch, plane_functions, view


@torch.no_grad()
def faces_by_warp(meshes: ProjectedMeshes) -> Int[Tensor, 'N H W']:
    """Find the face that each pixel of each image sees, as `faces_by_scanlines`; -1 where there is none."""
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
    inputs = [
        view(pixels, kernels.vec2),
        view(inverse_z),
        view(faces),
        wp.vec2i(0, 0),
        width,
        height,
        view(buffer.view(-1)),
    ]
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

    @wp.func
    def span(side: vec2):
        return wp.abs(side[0]) + wp.abs(side[1])

    @wp.kernel(enable_backward=False, module='unique', module_options=OPTIONS)
    def draw(
        pixels: wp.array2d(dtype=vec2),
        inverse_z: wp.array2d(dtype=wp.float64),
        faces: wp.array2d(dtype=wp.int32),
        low: wp.vec2i,
        width: int,
        height: int,
        buffer: wp.array(dtype=wp.int64),
    ):
        i = wp.tid()
        n_faces = faces.shape[0]
        image, face = i / n_faces, i % n_faces
        first, second, third = faces[face, 0], faces[face, 1], faces[face, 2]
        corner = vec2(wp.float64(low[0]), wp.float64(low[1]))
        a, b, c = pixels[image, first] - corner, pixels[image, second] - corner, pixels[image, third] - corner
        # Most triangles of a fine mesh hold no pixel's centre: asked first.
        box = pixel_box(wp.min(a, wp.min(b, c)), wp.max(a, wp.max(b, c)), tolerance, width, height)
        if box[0] > box[2] or box[1] > box[3]:
            return
        over_z = vec3(inverse_z[image, first], inverse_z[image, second], inverse_z[image, third])
        if over_z[0] <= zero or over_z[1] <= zero or over_z[2] <= zero:
            return
        ab, ac = b - a, c - a
        area = cross(ab, ac)
        if wp.abs(area) <= least_area:
            return
        over = one / area
        # How far outside of each side a pixel may lie, in shares of the triangle's height over it.
        margin = -tolerance * wp.abs(over) * vec3(span(c - b), span(ac), span(ab))
        for y in range(box[1], box[3] + 1):
            for x in range(box[0], box[2] + 1):
                p = vec2(wp.float64(x), wp.float64(y)) - a
                v, w = cross(p, ac) * over, cross(ab, p) * over
                u = one - v - w
                if u >= margin[0] and v >= margin[1] and w >= margin[2]:
                    # One integer carries the depth and then the face: the nearest wins, the lowest face where they
                    # are equal. The bits of positive numbers of single precision are in the order of the numbers.
                    nearness = wp.float32(wp.dot(vec3(u, v, w), over_z))
                    level = wp.int64(wp.cast(nearness, wp.int32))
                    key = (level << wp.int64(32)) | wp.int64(0x7FFFFFFF - face)
                    wp.atomic_max(buffer, (image * height + y) * width + x, key)

    return SimpleNamespace(draw=draw, vec2=vec2, vec3=vec3)
