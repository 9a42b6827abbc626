"""Paint a shaded mesh over an 8-bit image by kernels: nothing is computed that the image does not show."""

import numpy as np
import torch
import warp as wp
from jaxtyping import Float, Int
from torch import Tensor

from smilfit.renderers.warp_memory import launch, view
from smilfit.renderers.warp_paint_kernels import paint_kernels
from smilfit.structures import Cameras


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
