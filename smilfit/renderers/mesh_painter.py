"""Meshes over images, for pictures alone: 8 bits, no gradients, nothing computed that is not shown."""

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from smilfit.registry import RENDERERS
from smilfit.renderers.base import Renderer, RenderOutput, check_mesh, choose_backend
from smilfit.renderers.projected import ProjectedMeshes, project_meshes
from smilfit.renderers.scanline import faces_by_scanlines, locate
from smilfit.structures import Cameras

if TYPE_CHECKING:
    from smilfit.renderers.warp_paint import WarpPainter


def vertex_normals(vertices: Float[Tensor, '*n V 3'], faces: Int[Tensor, 'F 3']) -> Float[Tensor, '*n V 3']:
    """Average the normals of the faces around each vertex, weighted by their areas; 0 for a lone vertex."""
    a, b, c = (vertices.index_select(-2, faces[:, corner]) for corner in range(3))
    face_normal = torch.linalg.cross(b - a, c - a)
    # All meshes as one: torch adds rows of a matrix nine times faster than those of a stack.
    n_vertices = vertices.shape[-2]
    total, face_normal = torch.zeros_like(vertices).reshape(-1, 3), face_normal.reshape(-1, 3)
    first = n_vertices * torch.arange(vertices.shape[:-2].numel(), device=faces.device)
    for corner in range(3):
        index = (first[:, None] + faces[:, corner]).reshape(-1)
        total = total.index_add(0, index, face_normal)
    return torch.nn.functional.normalize(total, dim=-1, eps=1e-30).reshape(vertices.shape)


def shade(
    normals: Float[Tensor, '*n 3'],
    to_light: Float[Tensor, '*#n 3'],
    colour: Float[Tensor, '*#n 3'],
    ambient: float = 0.25,
) -> Float[Tensor, '*n 3']:
    """Shade by Lambert's law, both sides alike: colour (ambient + (1 - ambient) |n . l|).

    Args:
        normals: of unit length.
        to_light: of unit length, towards the light; the viewer's direction makes a headlight.
        colour: RGB in [0, 1].
        ambient: share of the light that comes from everywhere.
    """
    cosine = (normals * to_light).sum(-1, keepdim=True).abs().clamp_max(1)
    return colour * (ambient + (1 - ambient) * cosine)


def interpolate(
    render: RenderOutput, faces: Int[Tensor, 'F 3'], values: Float[Tensor, 'V D']
) -> Float[Tensor, 'N H W D']:
    """Spread values of vertices over the images; 0 where empty."""
    face_id = render.layer('face_id')
    visible = face_id >= 0
    spread = values.new_zeros((*visible.shape, values.shape[1]))
    corners = values[faces[face_id[visible]]]
    spread[visible] = (render.layer('barycentric')[visible].to(values.dtype).unsqueeze(-1) * corners).sum(-2)
    return spread


def paint_faces(render: RenderOutput, face_colour: Float[Tensor, 'F 3']) -> Float[Tensor, 'N H W 3']:
    """Multiply the shading by a colour of each face (render with white for the plain colours)."""
    face_id, shading = render.layer('face_id'), render.layer('shading')
    visible = face_id >= 0
    painted = torch.zeros_like(shading)
    painted[visible] = shading[visible] * face_colour[face_id[visible]].to(painted.dtype)
    return painted


def overlay(
    image: UInt8[np.ndarray, 'H W 3'],
    render: RenderOutput,
    index: int = 0,
    opacity: float = 0.6,
    colour: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> UInt8[np.ndarray, 'H W 3']:
    """Lay one rendered image over a photograph.

    Args:
        image: RGB of the render's size.
        render: images of which `index` is taken.
        opacity: of the mesh, where it covers a pixel.
        colour: RGB in [0, 1] that tints the shading.

    Raises:
        ValueError: the image and the render differ in size.
    """
    alpha = render.alpha[index].detach().cpu().numpy()
    if alpha.shape != image.shape[:2]:
        raise ValueError(
            f'overlay: image and render must have one size; got {image.shape[:2]} and {alpha.shape} (rows, '
            f'columns). Render with the cameras of this image.'
        )
    import cv2

    light = np.ascontiguousarray(render.layer('shading')[index].detach().cpu().float().numpy())
    rgb = cv2.multiply(light, np.array([255.0 * c for c in (*colour, 0.0)]), dtype=cv2.CV_8U)
    share = np.float32(opacity) * alpha.astype(np.float32)
    return cv2.blendLinear(np.ascontiguousarray(image), rgb, 1 - share, share)


@RENDERERS.register_module()
class ZBufferRenderer(Renderer):
    """Render by a z-buffer, one sample at each pixel's centre.

    Vertices go through the whole camera, lens distortion and all, so a vertex lands exactly where
    `Cameras.project` puts it. Edges between them stay straight in the image, which is the true image to
    second order in the edge's length; undistort the image, or refine the mesh, where a lens bends long edges.
    Both sides of a face are seen. A face is left out if one of its corners has no image (behind the
    camera, nearer than `near`, or beyond the fold of the lens); those with some corners in view are counted
    in `n_cut`.

    Depth, normals, barycentric coordinates and shading carry gradients to vertices, cameras and colours, as if
    every pixel went on seeing the face it sees: there is none at silhouettes, and `alpha` has none at all.

    Args:
        ambient: share of the light that does not come from the camera.
        near: least depth of a corner, world unit.
        max_pixels: how many pixels of faces' boxes tensor operations may hold in memory at once (about 60 bytes
            each).
        backend: `'warp'` for a kernel, `'torch'` for tensor operations, `'auto'` for the kernel where warp is
            installed.
    """

    def __init__(
        self, ambient: float = 0.25, near: float = 0.0, max_pixels: int = 4_000_000, backend: str = 'auto'
    ) -> None:
        super().__init__()
        if not 0 <= ambient <= 1:
            raise ValueError(f'ZBufferRenderer: ambient must be in [0, 1]; got {ambient}.')
        self.ambient = ambient
        self.near = near
        self.max_pixels = max_pixels
        self.backend = choose_backend(backend, 'ZBufferRenderer')

    def forward(
        self,
        vertices: Float[Tensor, 'N V 3'],
        faces: Int[Tensor, 'F 3'],
        cameras: Cameras,
        colour: Float[Tensor, 'V 3'] | Float[Tensor, '3'] | None = None,
    ) -> RenderOutput:
        """Render N meshes of the same faces; see `Renderer.forward`."""
        meshes = project_meshes(vertices, faces, cameras, self.near)
        colour = vertices.new_ones(3) if colour is None else colour
        return self._paint(
            meshes, self._visible_faces(meshes), colour.to(meshes.pixels).expand(vertices.shape[1], 3)
        )

    def _visible_faces(self, meshes: ProjectedMeshes) -> Int[Tensor, 'N H W']:
        if self.backend == 'torch':
            return faces_by_scanlines(meshes, self.max_pixels)
        from smilfit.renderers.warp_z_buffer import faces_by_warp

        return faces_by_warp(meshes)

    def _paint(self, meshes: ProjectedMeshes, face_id: Tensor, colour: Tensor) -> RenderOutput:
        where = (face_id >= 0).nonzero(as_tuple=True)
        image = where[0].unsqueeze(1)
        corners = meshes.faces[face_id[where]]
        position = meshes.in_camera[image, corners]
        at = torch.stack((where[2], where[1]), 1)
        weights, depth = locate(meshes.pixels[image, corners], position[..., 2], at)
        share = weights.unsqueeze(-1)
        normal = _blend(share, vertex_normals(meshes.in_camera, meshes.faces)[image, corners])
        to_viewer = -torch.nn.functional.normalize(_blend(share, position), dim=-1)
        normal = torch.nn.functional.normalize(normal, dim=-1, eps=1e-30)
        normal = torch.where((normal * to_viewer).sum(-1, keepdim=True) < 0, -normal, normal)
        rgb = shade(normal, to_viewer, _blend(share, colour[corners]), self.ambient)

        shape, new = face_id.shape, meshes.pixels.new_zeros
        return RenderOutput(
            alpha=(face_id >= 0).to(meshes.pixels.dtype),
            n_cut=meshes.n_cut,
            depth=new(shape).fill_(torch.inf).index_put(where, depth),
            normals=new((*shape, 3)).index_put(where, normal),
            face_id=face_id,
            barycentric=new((*shape, 3)).index_put(where, weights),
            shading=new((*shape, 3)).index_put(where, rgb),
        )


def _blend(weights: Tensor, corners: Tensor) -> Tensor:
    # Much faster than a sum over three.
    return weights[:, 0] * corners[:, 0] + weights[:, 1] * corners[:, 1] + weights[:, 2] * corners[:, 2]


AMBIENT = 0.25


class MeshPainter:
    """Paint meshes of one topology over images, each as `ZBufferRenderer` and `overlay` would.

    A mesh must not be changed in place between the views of it. One thread at a time.

    Args:
        backend: `'warp'` for kernels, `'torch'` for `ZBufferRenderer` and `overlay` themselves, `'auto'` for the
            kernels where warp is installed.
    """

    def __init__(self, faces: Int[Tensor, 'F 3'], backend: str = 'auto') -> None:
        self.faces = faces.cpu().int().contiguous()
        self.backend = choose_backend(backend, 'MeshPainter')
        # The mesh of the image before, as it was given and as it is painted.
        self._taken: tuple[Tensor, Tensor | None, Tensor, Tensor] | None = None

    def normals(self, vertices: Float[Tensor, 'V 3']) -> Float[Tensor, 'V 3']:
        """Return the normals of a mesh's vertices, for `paint`: they are the same for all of its views."""
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
        plain, of_vertices = self._take(vertices, normals)
        canvas = np.array(image, order='C')
        self._kernels.paint(canvas, plain, of_vertices, camera, colour, opacity, AMBIENT)
        return canvas

    def _take(self, vertices: Tensor, normals: Tensor | None) -> tuple[Tensor, Tensor]:
        """Check and convert a mesh, unless it is that of the image before."""
        if self._taken is None or self._taken[0] is not vertices or self._taken[1] is not normals:
            plain = vertices.detach().cpu().float().contiguous()
            check_mesh(plain.unsqueeze(0), self.faces)
            self._taken = vertices, normals, plain, self.normals(plain) if normals is None else normals
        return self._taken[2:]

    @cached_property
    def _kernels(self) -> 'WarpPainter':
        # Imported where it is used: warp is optional.
        from smilfit.renderers.warp_paint import WarpPainter

        return WarpPainter(self.faces)
