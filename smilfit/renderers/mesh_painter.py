"""Meshes over images, for pictures alone: 8 bits, no gradients, nothing computed that is not shown."""

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from smilfit.renderers.backend import choose_backend
from smilfit.renderers.base import check_mesh
from smilfit.renderers.shading import overlay, vertex_normals
from smilfit.renderers.z_buffer import ZBufferRenderer
from smilfit.structures import Cameras

AMBIENT = 0.25


class MeshPainter:
    """Paint meshes of one topology over images, each as `ZBufferRenderer` and `overlay` would.

    Args:
        faces: corners of each triangle.
        backend: `'warp'` for kernels, `'torch'` for `ZBufferRenderer` and `overlay` themselves, `'auto'` for the
            kernels where warp is installed.
    """

    def __init__(self, faces: Int[Tensor, 'F 3'], backend: str = 'auto') -> None:
        self.faces = faces.cpu().int().contiguous()
        self.backend = choose_backend(backend, 'MeshPainter')

    def normals(self, vertices: Float[Tensor, 'V 3']) -> Float[Tensor, 'V 3']:
        """Give the normals of a mesh's vertices, for `paint`: they are the same for all of its views."""
        return vertex_normals(vertices.detach().cpu().float(), self.faces)

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
        vertices = vertices.detach().cpu().float().contiguous()
        camera = camera.map(lambda x: x.cpu().float())
        if self.backend == 'torch':
            render = ZBufferRenderer(AMBIENT, backend='torch')(vertices.unsqueeze(0), self.faces, camera)
            return overlay(image, render, 0, opacity, colour)
        check_mesh(vertices.unsqueeze(0), self.faces)
        size = tuple(int(side) for side in camera.size.reshape(-1, 2)[0].tolist())
        if size != image.shape[1::-1]:
            raise ValueError(
                f'MeshPainter: the camera must be of size {image.shape[1::-1]} px, as the image; got {size}.'
            )
        # Imported where it is used: warp is optional.
        from smilfit.renderers.warp_paint import paint_by_warp

        normals = self.normals(vertices) if normals is None else normals
        canvas = np.array(image, order='C')
        paint_by_warp(canvas, vertices, normals, self.faces, camera, colour, opacity, AMBIENT)
        return canvas
