"""A hard z-buffer in plain tensor operations: needs no compiler and no GPU."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from smilfit.geometry.projection import project_points, world_to_camera
from smilfit.registry import RENDERERS
from smilfit.renderers.base import Renderer, RenderOutput, check_mesh, one_camera_a_mesh
from smilfit.renderers.scanline import faces_with_image, locate, picture_triangles, visible_faces
from smilfit.renderers.shading import shade, vertex_normals
from smilfit.structures import Cameras


@RENDERERS.register_module()
class ZBufferRenderer(Renderer):
    """Render by a z-buffer, one sample at each pixel's centre; not differentiable.

    Vertices go through the whole camera, lens distortion and all, so a vertex lands exactly where
    `Cameras.project` puts it. Edges between them stay straight in the picture, which is the true image to
    second order in the edge's length; undistort the picture, or refine the mesh, where a lens bends long edges.
    Both sides of a face are seen. A face is left out if one of its corners has no image (behind the
    camera, nearer than `near`, or beyond the fold of the lens); those with some corners in view are counted
    in `n_cut`.

    Args:
        ambient: share of the light that does not come from the camera.
        near: least depth of a corner, world unit.
        max_pixels: how many pixels of faces' boxes may be in memory at once (about 60 bytes each).
    """

    def __init__(self, ambient: float = 0.25, near: float = 0.0, max_pixels: int = 4_000_000) -> None:
        super().__init__()
        if not 0 <= ambient <= 1:
            raise ValueError(f'ZBufferRenderer: ambient must be in [0, 1]; got {ambient}.')
        self.ambient = ambient
        self.near = near
        self.max_pixels = max_pixels

    @torch.no_grad()
    def forward(
        self,
        vertices: Float[Tensor, 'N V 3'],
        faces: Int[Tensor, 'F 3'],
        cameras: Cameras,
        colour: Float[Tensor, 'V 3'] | Float[Tensor, '3'] | None = None,
    ) -> RenderOutput:
        """Render N meshes of the same faces; see `Renderer.forward`."""
        check_mesh(vertices, faces)
        faces = faces.long()
        cameras, width, height = one_camera_a_mesh(cameras.to(vertices), len(vertices))
        in_camera = world_to_camera(vertices, cameras.R, cameras.t).squeeze(1)
        pixels, depth, usable = project_points(
            vertices, cameras.K, cameras.R, cameras.t, cameras.dist, cameras.fold
        )
        usable &= depth > self.near
        if colour is None:
            colour = vertices.new_ones(3)
        colour = colour.to(vertices).expand(vertices.shape[1], 3)
        pictures = [
            self._render_one(in_camera[n], pixels[n, 0], usable[n, 0], faces, colour, width, height)
            for n in range(len(vertices))
        ]
        if not pictures:
            return _empty(0, width, height, vertices)
        return RenderOutput(*(torch.stack(parts) for parts in zip(*pictures)))

    def _render_one(
        self,
        points: Tensor,
        pixels: Tensor,
        usable: Tensor,
        faces: Tensor,
        colour: Tensor,
        width: int,
        height: int,
    ) -> tuple[Tensor, ...]:
        drawable, n_cut = faces_with_image(usable, faces)
        kept = drawable.nonzero().squeeze(1)
        triangles = picture_triangles(pixels, points[:, 2], faces[kept], width, height)
        face = visible_faces(triangles, width, height, self.max_pixels)
        at = (face >= 0).nonzero().squeeze(1)
        corners = faces[kept[face[at]]]
        position = points[corners]
        weights, z = locate(triangles, face[at], at % width, at // width, position[..., 2], len(kept))
        weights = weights.to(points.dtype).unsqueeze(-1)
        normal = _blend(weights, vertex_normals(points, faces)[corners])
        to_viewer = -torch.nn.functional.normalize(_blend(weights, position), dim=-1)
        normal = torch.nn.functional.normalize(normal, dim=-1, eps=1e-30)
        normal = torch.where((normal * to_viewer).sum(-1, keepdim=True) < 0, -normal, normal)
        rgb = shade(normal, to_viewer, _blend(weights, colour[corners]), self.ambient)

        picture = _empty(1, width, height, points)
        flat = [getattr(picture, name)[0].flatten(0, 1) for name in _PIXEL_FIELDS]
        values = (torch.ones_like(z), z, normal, kept[face[at]], weights.squeeze(-1), rgb)
        for target, value in zip(flat, values):
            target[at] = value.to(target.dtype)
        picture.n_cut[0] = n_cut
        return tuple(getattr(picture, name)[0] for name in (*_PIXEL_FIELDS, 'n_cut'))


def _blend(weights: Tensor, corners: Tensor) -> Tensor:
    return weights[:, 0] * corners[:, 0] + weights[:, 1] * corners[:, 1] + weights[:, 2] * corners[:, 2]


_PIXEL_FIELDS = ('alpha', 'depth', 'normals', 'face_id', 'barycentric', 'shading')


def _empty(n: int, width: int, height: int, like: Tensor) -> RenderOutput:
    shape = (n, height, width)
    return RenderOutput(
        alpha=like.new_zeros(shape),
        depth=like.new_full(shape, torch.inf),
        normals=like.new_zeros((*shape, 3)),
        face_id=like.new_full(shape, -1, dtype=torch.int64),
        barycentric=like.new_zeros((*shape, 3)),
        shading=like.new_zeros((*shape, 3)),
        n_cut=like.new_zeros((n,), dtype=torch.int64),
    )
