"""Paint a shaded mesh over an 8-bit image by kernels: nothing is computed that the image does not show."""

# Warp's kernels are annotated by values, made for a float type: no checker knows them as types.
# mypy: disable-error-code="valid-type"

from functools import cache
from types import SimpleNamespace
from typing import no_type_check

import numpy as np
import torch
import warp as wp
from jaxtyping import Float, Int
from torch import Tensor

from smilfit.geometry.projection import NEAR
from smilfit.renderers.warp_memory import OPTIONS, launch, view
from smilfit.renderers.warp_z_buffer import z_buffer_kernels
from smilfit.structures import Cameras


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


class WarpPainter:
    """Paints meshes of one topology by kernels; what they work in is kept for the next image.

    Args:
        faces: corners of each triangle, int32 on the CPU.
    """

    def __init__(self, faces: Int[Tensor, 'F 3']) -> None:
        self.faces = faces
        self._faces = view(faces)
        self._shown: tuple[Tensor, Tensor] | None = None
        self._arrays: dict[str, wp.array] = {}
        self._box = torch.zeros(4, dtype=torch.int32)
        self._buffer = torch.zeros(0, dtype=torch.int64)

    def normals(self, vertices: Float[Tensor, 'V 3']) -> Float[Tensor, 'V 3']:
        """Average the normals of the faces around each vertex as `vertex_normals`; float32."""
        total = torch.zeros_like(vertices)
        inputs = [view(vertices, wp.vec3), self._faces, view(total, wp.vec3)]
        launch(paint_kernels().add_normals, len(self.faces), inputs, vertices.device)
        return torch.nn.functional.normalize(total, dim=-1, eps=1e-30)

    @torch.no_grad()
    def paint(
        self,
        canvas: np.ndarray,
        vertices: Float[Tensor, 'V 3'],
        normals: Float[Tensor, 'V 3'],
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
            camera: one, of the image's size.
            colour: RGB in [0, 1].
            opacity: of the mesh, where it covers a pixel.
            ambient: share of the light that does not come from the camera.
        """
        self._show(vertices, normals)
        (height, width), kernels, arrays = canvas.shape[:2], paint_kernels(), self._arrays
        left, top, right, bottom = self._project(camera, width, height)
        columns, rows = right - left + 1, bottom - top + 1
        if columns <= 0 or rows <= 0:
            return
        # The box alone is an image of its own.
        if len(self._buffer) < rows * columns:
            self._buffer = torch.zeros(height * width, dtype=torch.int64)
            arrays['buffer'] = view(self._buffer)
        self._buffer[: rows * columns] = 0
        low, eye = wp.vec2i(left, top), camera.centres().reshape(-1, 3)[0].tolist()
        visible = [arrays['pixels'], arrays['inverse_z']]
        drawn = [*visible, self._faces, low, columns, rows, arrays['buffer']]
        launch(kernels.draw, len(self.faces), drawn, vertices.device)
        inputs = [
            arrays['buffer'],
            columns,
            low,
            width,
            *visible,
            arrays['vertices'],
            arrays['normals'],
            self._faces,
            wp.vec3(*eye),
            wp.vec3(*(255.0 * c for c in colour)),
            opacity,
            ambient,
            view(torch.from_numpy(canvas.reshape(-1))),
        ]
        launch(kernels.paint, rows * columns, inputs, vertices.device)

    def _show(self, vertices: Tensor, normals: Tensor) -> None:
        """Take a mesh, which is mostly the one of the view before."""
        if self._shown is not None and self._shown[0] is vertices and self._shown[1] is normals:
            return
        kernels, count = paint_kernels(), len(vertices)
        if self._shown is None or len(self._shown[0]) != count:
            self._arrays['pixels'] = view(torch.zeros(1, count, 2, dtype=torch.float64), kernels.vec2)
            self._arrays['inverse_z'] = view(torch.zeros(1, count, dtype=torch.float64))
            self._arrays['box'] = view(self._box)
        self._shown = vertices, normals
        self._arrays |= {'vertices': view(vertices, wp.vec3), 'normals': view(normals, wp.vec3)}

    def _project(self, camera: Cameras, width: int, height: int) -> list[int]:
        """Find the vertices' pixels and 1 / depth (0 where a vertex has no image) as `project_points`.

        Gives the first and the last column and row (left, top, right, bottom) inside the image that they are in.
        """
        kernels, arrays = paint_kernels(), self._arrays
        K, R, t = camera.K.reshape(3, 3), camera.R.reshape(3, 3), camera.t.reshape(3)
        lens, fold = [0.0] * 5, float('inf')
        if camera.dist is not None:
            lens = camera.dist.reshape(5).tolist()
        if camera.fold is not None:
            fold = float(camera.fold.reshape(()))
        self._box[:] = torch.tensor([width, height, -1, -1])
        inputs = [
            arrays['vertices'],
            kernels.mat33(*R.flatten().tolist()),
            kernels.vec3(*t.tolist()),
            kernels.mat33(*K.flatten().tolist()),
            kernels.vec5(*lens),
            fold,
            wp.vec2i(width, height),
            arrays['pixels'],
            arrays['inverse_z'],
            arrays['box'],
        ]
        launch(kernels.project, len(arrays['vertices']), inputs, self.faces.device)
        return self._box.tolist()
