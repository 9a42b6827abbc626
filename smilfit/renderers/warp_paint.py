"""Paint a shaded mesh over an 8-bit image by kernels: nothing is computed that the image does not show."""

from functools import cache
from types import SimpleNamespace
from typing import no_type_check

import numpy as np
import torch
import warp as wp
from jaxtyping import Float, Int
from torch import Tensor

from smilfit.geometry.projection import project_points
from smilfit.renderers.warp_memory import OPTIONS, launch, view
from smilfit.renderers.warp_plane import plane_functions
from smilfit.renderers.warp_z_buffer import draw_faces
from smilfit.structures import Cameras


@torch.no_grad()
def paint_by_warp(
    canvas: np.ndarray,
    vertices: Float[Tensor, 'V 3'],
    normals: Float[Tensor, 'V 3'],
    faces: Int[Tensor, 'F 3'],
    camera: Cameras,
    colour: tuple[float, float, float],
    opacity: float,
    ambient: float,
) -> None:
    """Paint a mesh into an image, as `ZBufferRenderer` and `overlay` do to a grey level of 255.

    Args:
        canvas: RGB uint8 (H, W, 3), contiguous; painted into.
        vertices: world points, float32 on the CPU.
        normals: of the vertices, in the world.
        faces: corners of each triangle, int32.
        camera: one, of the image's size, float32.
        colour: RGB in [0, 1].
        opacity: of the mesh, where it covers a pixel.
        ambient: share of the light that does not come from the camera.
    """
    height, width = canvas.shape[:2]
    pixels, depth, usable = project_points(vertices, camera.K, camera.R, camera.t, camera.dist, camera.fold)
    pixels, depth, usable = pixels[0], depth[0], usable[0] & (depth[0] > 0)
    there = pixels[usable]
    if not len(there):
        return
    low = there.amin(0).floor().clamp(0, 1e6).int().tolist()
    high = there.amax(0).ceil().clamp(-1e6, 1e6).int().tolist()
    columns, rows = min(high[0], width - 1) - low[0] + 1, min(high[1], height - 1) - low[1] + 1
    if columns <= 0 or rows <= 0:
        return
    # The box alone is an image of its own.
    shifted = pixels.double() - torch.tensor(low, dtype=torch.float64)
    inverse_z = torch.where(usable, 1 / depth.double(), 0.0)
    buffer = draw_faces(shifted.unsqueeze(0), inverse_z.unsqueeze(0), faces, columns, rows)
    kernels = paint_kernels()
    eye = camera.centres().reshape(-1, 3)[0].tolist()
    inputs = [
        view(buffer.view(-1)),
        columns,
        wp.vec2i(*low),
        width,
        view(shifted, kernels.vec2),
        view(inverse_z),
        view(vertices, wp.vec3),
        view(normals, wp.vec3),
        view(faces),
        wp.vec3(*eye),
        wp.vec3(*(255.0 * c for c in colour)),
        opacity,
        ambient,
        view(torch.from_numpy(canvas.reshape(-1))),
    ]
    launch(kernels.paint, rows * columns, inputs, vertices.device)


@no_type_check
@cache
def paint_kernels():
    """Make the kernel: a thread a pixel."""
    plane = plane_functions(wp.float64)
    vec2, cross = plane.vec2, plane.cross

    @wp.kernel(enable_backward=False, module='unique', module_options=OPTIONS)
    def paint(
        buffer: wp.array(dtype=wp.int64),
        columns: int,
        low: wp.vec2i,
        width: int,
        pixels: wp.array(dtype=vec2),
        inverse_z: wp.array(dtype=wp.float64),
        vertices: wp.array(dtype=wp.vec3),
        normals: wp.array(dtype=wp.vec3),
        faces: wp.array2d(dtype=wp.int32),
        eye: wp.vec3,
        colour: wp.vec3,
        opacity: float,
        ambient: float,
        canvas: wp.array(dtype=wp.uint8),
    ):
        i = wp.tid()
        key = buffer[i]
        if key == wp.int64(0):
            return
        face = 0x7FFFFFFF - wp.int32(key & wp.int64(0x7FFFFFFF))
        first, second, third = faces[face, 0], faces[face, 1], faces[face, 2]
        x, y = i % columns, i / columns
        p = vec2(wp.float64(x), wp.float64(y))
        a, b, c = pixels[first] - p, pixels[second] - p, pixels[third] - p
        u, v, w = cross(b, c), cross(c, a), cross(a, b)
        over = wp.float64(1.0) / (u + v + w)
        none, whole = wp.float64(0.0), wp.float64(1.0)
        u, v, w = (
            wp.clamp(u * over, none, whole),
            wp.clamp(v * over, none, whole),
            wp.clamp(w * over, none, whole),
        )
        u, v, w = u * inverse_z[first], v * inverse_z[second], w * inverse_z[third]
        over = whole / (u + v + w)
        s, t, r = wp.float32(u * over), wp.float32(v * over), wp.float32(w * over)
        at = s * vertices[first] + t * vertices[second] + r * vertices[third]
        normal = s * normals[first] + t * normals[second] + r * normals[third]
        to_viewer = wp.normalize(eye - at)
        cosine = wp.min(wp.abs(wp.dot(wp.normalize(normal), to_viewer)), 1.0)
        light = ambient + (1.0 - ambient) * cosine
        start = 3 * ((y + low[1]) * width + x + low[0])
        for k in range(3):
            shaded = wp.rint(wp.min(light * colour[k], 255.0))
            mixed = (1.0 - opacity) * wp.float32(canvas[start + k]) + opacity * shaded
            canvas[start + k] = wp.uint8(wp.rint(mixed))

    return SimpleNamespace(paint=paint, vec2=vec2)
