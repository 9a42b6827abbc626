"""A hard z-buffer: which face each pixel sees, and what follows from it, with gradients."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from smilfit.registry import RENDERERS
from smilfit.renderers.backend import choose_backend
from smilfit.renderers.base import Renderer, RenderOutput
from smilfit.renderers.projected import ProjectedMeshes, project_meshes
from smilfit.renderers.scanline import locate, seen_faces
from smilfit.renderers.shading import shade, vertex_normals
from smilfit.structures import Cameras


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
        return self._paint(meshes, self._seen(meshes), colour.to(meshes.pixels).expand(vertices.shape[1], 3))

    def _seen(self, meshes: ProjectedMeshes) -> Int[Tensor, 'N H W']:
        if self.backend == 'torch':
            return seen_faces(meshes, self.max_pixels)
        from smilfit.renderers.warp_z_buffer import seen_faces_by_warp

        return seen_faces_by_warp(meshes)

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
