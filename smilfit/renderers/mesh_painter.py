"""Meshes over images, for pictures alone: 8 bits, no gradients, nothing computed that is not shown."""

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from smilfit.renderers.backend import choose_backend
from smilfit.renderers.base import check_mesh
from smilfit.renderers.shading import overlay, vertex_normals
from smilfit.renderers.z_buffer import ZBufferRenderer
from smilfit.structures import Cameras

if TYPE_CHECKING:
    from smilfit.renderers.warp_paint import WarpPainter

AMBIENT = 0.25


class MeshPainter:
    """Paint meshes of one topology over images, each as `ZBufferRenderer` and `overlay` would.

    A mesh must not be changed in place between the views of it. One thread at a time.

    Args:
        faces: corners of each triangle.
        backend: `'warp'` for kernels, `'torch'` for `ZBufferRenderer` and `overlay` themselves, `'auto'` for the
            kernels where warp is installed.
    """

    def __init__(self, faces: Int[Tensor, 'F 3'], backend: str = 'auto') -> None:
        self.faces = faces.cpu().int().contiguous()
        self.backend = choose_backend(backend, 'MeshPainter')
        # The mesh of the image before, as it was given and as it is painted.
        self._taken: tuple[Tensor, Tensor | None] | None = None
        self._shown: tuple[Tensor, Tensor] | None = None

    def normals(self, vertices: Float[Tensor, 'V 3']) -> Float[Tensor, 'V 3']:
        """Give the normals of a mesh's vertices, for `paint`: they are the same for all of its views."""
        vertices = vertices.detach().cpu().float().contiguous()
        if self.backend == 'torch':
            return vertex_normals(vertices, self.faces)
        return self._kernels.normals(vertices)

    @torch.no_grad()
    def paint(
        self,
        image: UInt8[np.ndarray, 'H W 3'],
        vertices: Float[Tensor, 'V 3'],
        camera: Cameras,
        colour: tuple[float, float, float] = (1.0, 1.0, 1.0),
        opacity: float = 0.6,
        normals: Float[Tensor, 'V 3'] | None = None,
    ) -> UInt8[np.ndarray, 'H W 3']:
        """Lay a mesh over an image; gives another image.

        Args:
            image: RGB.
            vertices: world points.
            camera: one, of the image's size.
            colour: RGB in [0, 1].
            opacity: of the mesh, where it covers a pixel.
            normals: from `normals`; computed if None.

        Raises:
            ValueError: a mesh that cannot be drawn, or a camera of another size than the image's.
        """
        if self.backend == 'torch':
            vertices, camera = vertices.detach().cpu().float(), camera.map(lambda x: x.cpu().float())
            render = ZBufferRenderer(AMBIENT, backend='torch')(vertices.unsqueeze(0), self.faces, camera)
            return overlay(image, render, 0, opacity, colour)
        size = tuple(int(side) for side in camera.size.reshape(-1, 2)[0].tolist())
        if size != image.shape[1::-1]:
            raise ValueError(
                f'MeshPainter: the camera must be of size {image.shape[1::-1]} px, as the image; got {size}.'
            )
        self._take(vertices, normals)
        canvas = np.array(image, order='C')
        self._kernels.paint(canvas, *self._shown, camera, colour, opacity, AMBIENT)
        return canvas

    def _take(self, vertices: Tensor, normals: Tensor | None) -> None:
        """Check and convert a mesh, unless it is that of the image before."""
        if self._taken is not None and self._taken[0] is vertices and self._taken[1] is normals:
            return
        plain = vertices.detach().cpu().float().contiguous()
        check_mesh(plain.unsqueeze(0), self.faces)
        self._shown = plain, self.normals(plain) if normals is None else normals
        self._taken = vertices, normals

    @cached_property
    def _kernels(self) -> 'WarpPainter':
        # Imported where it is used: warp is optional.
        from smilfit.renderers.warp_paint import WarpPainter

        return WarpPainter(self.faces)
