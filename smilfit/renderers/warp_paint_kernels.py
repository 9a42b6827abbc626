"""Kernels that paint a shaded mesh: pixels of its vertices, their normals, and what its pixels show."""

# Warp's kernels are annotated by values, made for a float type: no checker knows them as types.
# mypy: disable-error-code="valid-type"

from functools import cache
from types import SimpleNamespace
from typing import no_type_check

import warp as wp

from smilfit.geometry.projection import NEAR
from smilfit.renderers.warp_memory import OPTIONS
from smilfit.renderers.warp_z_buffer import z_buffer_kernels


@no_type_check
@cache
def paint_kernels():
    """Gather the kernels, and the types of what they are given: a thread a vertex, a face, or a pixel of a box."""
    buffers = z_buffer_kernels()
    types = SimpleNamespace(
        vec2=buffers.vec2,
        vec3=buffers.vec3,
        vec5=wp.types.vector(length=5, dtype=wp.float64),
        mat33=wp.types.matrix(shape=(3, 3), dtype=wp.float64),
    )
    return SimpleNamespace(
        project=_project_kernel(types),
        draw=buffers.draw,
        paint=_pixel_kernel(types),
        add_normals=_normal_kernel(),
        **vars(types),
    )


@no_type_check
def _project_kernel(types):
    double, vec2, vec3, vec5, mat33 = wp.float64, types.vec2, types.vec3, types.vec5, types.mat33
    near, zero, one, two = (wp.constant(double(x)) for x in (NEAR, 0.0, 1.0, 2.0))

    @wp.kernel(enable_backward=False, module='unique', module_options=OPTIONS)
    def project(
        vertices: wp.array(dtype=wp.vec3),
        rotation: mat33,
        translation: vec3,
        intrinsics: mat33,
        lens: vec5,
        fold: wp.float64,
        size: wp.vec2i,
        pixels: wp.array2d(dtype=vec2),
        inverse_z: wp.array2d(dtype=wp.float64),
        box: wp.array(dtype=wp.int32),
    ):
        i = wp.tid()
        world = vec3(double(vertices[i][0]), double(vertices[i][1]), double(vertices[i][2]))
        point = rotation * world + translation
        inverse_z[0, i] = zero
        if point[2] <= near * wp.length(point):
            return
        over = one / point[2]
        x, y = point[0] * over, point[1] * over
        r2 = x * x + y * y
        if r2 >= fold * fold:
            return
        radial = one + r2 * (lens[0] + r2 * (lens[1] + r2 * lens[4]))
        bent = vec3(
            x * radial + two * lens[2] * x * y + lens[3] * (r2 + two * x * x),
            y * radial + lens[2] * (r2 + two * y * y) + two * lens[3] * x * y,
            one,
        )
        projected = intrinsics * bent
        pixels[0, i] = vec2(projected[0], projected[1])
        inverse_z[0, i] = over
        # Clamped into the image's frame and one px around it, whose numbers fit an integer.
        column, row = (
            wp.clamp(projected[0], -one, double(size[0])),
            wp.clamp(projected[1], -one, double(size[1])),
        )
        wp.atomic_min(box, 0, wp.max(wp.int32(wp.floor(column)), 0))
        wp.atomic_min(box, 1, wp.max(wp.int32(wp.floor(row)), 0))
        wp.atomic_max(box, 2, wp.min(wp.int32(wp.ceil(column)), size[0] - 1))
        wp.atomic_max(box, 3, wp.min(wp.int32(wp.ceil(row)), size[1] - 1))

    return project


@no_type_check
def _normal_kernel():
    @wp.kernel(enable_backward=False, module='unique', module_options=OPTIONS)
    def add_normals(
        vertices: wp.array(dtype=wp.vec3),
        faces: wp.array2d(dtype=wp.int32),
        total: wp.array(dtype=wp.vec3),
    ):
        i = wp.tid()
        first, second, third = faces[i, 0], faces[i, 1], faces[i, 2]
        a = vertices[first]
        normal = wp.cross(vertices[second] - a, vertices[third] - a)
        wp.atomic_add(total, first, normal)
        wp.atomic_add(total, second, normal)
        wp.atomic_add(total, third, normal)

    return add_normals


@no_type_check
def _pixel_kernel(types):
    double, vec2 = wp.float64, types.vec2
    zero, one = (wp.constant(double(x)) for x in (0.0, 1.0))

    @wp.kernel(enable_backward=False, module='unique', module_options=OPTIONS)
    def paint(
        buffer: wp.array(dtype=wp.int64),
        columns: int,
        low: wp.vec2i,
        width: int,
        pixels: wp.array2d(dtype=vec2),
        inverse_z: wp.array2d(dtype=wp.float64),
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
        x, y = i % columns + low[0], i / columns + low[1]
        # Where a triangle is large, the difference of its corners from the pixel needs double precision, once.
        p = vec2(double(x), double(y))
        a, b, c = pixels[0, first] - p, pixels[0, second] - p, pixels[0, third] - p
        u, v, w = b[0] * c[1] - b[1] * c[0], c[0] * a[1] - c[1] * a[0], a[0] * b[1] - a[1] * b[0]
        rotation = wp.sign(u + v + w)
        u = wp.max(rotation * u, zero) * inverse_z[0, first]
        v = wp.max(rotation * v, zero) * inverse_z[0, second]
        w = wp.max(rotation * w, zero) * inverse_z[0, third]
        over = one / (u + v + w)
        s, t, r = wp.float32(u * over), wp.float32(v * over), wp.float32(w * over)
        to_viewer = eye - (s * vertices[first] + t * vertices[second] + r * vertices[third])
        normal = s * normals[first] + t * normals[second] + r * normals[third]
        squares = wp.dot(normal, normal) * wp.dot(to_viewer, to_viewer)
        cosine = wp.min(wp.abs(wp.dot(normal, to_viewer)) / wp.sqrt(wp.max(squares, 1.0e-30)), 1.0)
        light = ambient + (1.0 - ambient) * cosine
        start = 3 * (y * width + x)
        for k in range(3):
            # Adding a half and cutting off rounds to the nearest, as no number here is negative.
            shaded = wp.float32(wp.int32(wp.min(light * colour[k], 255.0) + 0.5))
            mixed = (1.0 - opacity) * wp.float32(canvas[start + k]) + opacity * shaded
            canvas[start + k] = wp.uint8(wp.int32(mixed + 0.5))

    return paint
