"""Silhouettes that say by how much they are missed."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from smilfit.registry import RENDERERS
from smilfit.renderers.base import Renderer, RenderOutput, choose_backend
from smilfit.renderers.outline import (
    MeshEdges,
    Outline,
    SilhouetteEdges,
    find_outline,
    mesh_edges,
    silhouette_edges,
    visible_alpha,
)
from smilfit.renderers.projected import ProjectedMeshes, project_meshes
from smilfit.renderers.soft_coverage import soft_alpha
from smilfit.structures import Cameras

MODES = ('soft', 'visible')
# Half of the visible mode's edge is at least this, px: then every place of an edge lies near some pixel's centre.
LEAST_HALF_WIDTH_PX = 0.75


@RENDERERS.register_module()
class SilhouetteRenderer(Renderer):
    """Render how much of each pixel a mesh covers; gradients reach vertices and cameras.

    `'visible'` is 1 inside the silhouette, 0 outside, 1/2 on the outline, and rises as `1/2 + 3/4 x - 1/4 x^3` of the
    signed distance to the outline within `sqrt(sigma)` of it (at least 0.75 px). It agrees with the hard z-buffer
    wherever that is asked at 1/2, whatever the mesh's fineness. `'soft'` is the formula of SoftRasterizer (Liu et al.
    2019) and PyTorch3D, `1 - prod_f (1 - sigmoid(-d_f / sigma))`, with `d_f` the squared distance to triangle f,
    negative inside: where triangles are smaller than the blur, the inside stays below 1 and the silhouette grows by
    the blur's width. Lengths are in units of half the image's shorter side, PyTorch3D's NDC.

    Vertices go through the whole camera as in `ZBufferRenderer`, and faces are left out as there. Only `alpha`
    and `n_cut` are given, unless `surface` renders the rest.

    Args:
        mode: `'visible'` or `'soft'`.
        sigma: squared length over which an edge is blurred, in those units.
        near: least depth of a corner, world unit.
        backend: `'warp'` for kernels, `'torch'` for tensor operations, `'auto'` for kernels where warp is installed.
        surface: renders depth, normals and the rest; None for none of them.
        max_pairs: how many (triangle, pixel) pairs tensor operations may hold in memory at once.

    Raises:
        ValueError: an argument that is out of range.
        ImportError: `backend='warp'` without warp.
    """

    differentiable = True

    def __init__(
        self,
        mode: str = 'visible',
        sigma: float = 1e-4,
        near: float = 0.0,
        backend: str = 'auto',
        surface: Renderer | None = None,
        max_pairs: int = 500_000,
    ) -> None:
        super().__init__()
        if mode not in MODES:
            raise ValueError(f'SilhouetteRenderer: mode must be one of {MODES}; got {mode!r}.')
        if not (sigma > 0 and math.isfinite(sigma)):
            raise ValueError(f'SilhouetteRenderer: sigma must be positive; got {sigma}.')
        if max_pairs < 1:
            raise ValueError(f'SilhouetteRenderer: max_pairs must be positive; got {max_pairs}.')
        self.mode, self.sigma, self.near, self.max_pairs = mode, sigma, near, max_pairs
        self.backend = choose_backend(backend, 'SilhouetteRenderer')
        self.surface = surface
        # The sides of the mesh drawn last: a fit draws one mesh over and over.
        self._edges: tuple[Tensor, MeshEdges] | None = None

    def forward(
        self,
        vertices: Float[Tensor, 'N V 3'],
        faces: Int[Tensor, 'F 3'],
        cameras: Cameras,
        colour: Float[Tensor, 'V 3'] | Float[Tensor, '3'] | None = None,
    ) -> RenderOutput:
        """Render N meshes of the same faces; see `Renderer.forward`."""
        meshes = project_meshes(vertices, faces, cameras, self.near)
        alpha = self._soft(meshes) if self.mode == 'soft' else self._visible(meshes)
        if self.surface is None:
            return RenderOutput(alpha, meshes.n_cut)
        return self.surface(vertices, faces, cameras, colour).with_alpha(alpha)

    def _soft(self, meshes: ProjectedMeshes) -> Tensor:
        if self.backend == 'torch':
            return soft_alpha(meshes, self.sigma, self.max_pairs)
        from smilfit.renderers.warp_soft import soft_alpha_by_warp

        return soft_alpha_by_warp(meshes, self.sigma)

    def _visible(self, meshes: ProjectedMeshes) -> Tensor:
        if len(meshes) == 0:
            return meshes.pixels.new_zeros(0, meshes.height, meshes.width)
        half_width_px = max(math.sqrt(self.sigma) / meshes.ndc_per_px, LEAST_HALF_WIDTH_PX)
        contour = silhouette_edges(meshes, self._edges_of(meshes.faces), half_width_px)
        return visible_alpha(meshes, contour, self._outline(meshes, contour, half_width_px), half_width_px)

    def _outline(self, meshes: ProjectedMeshes, contour: SilhouetteEdges, reach_px: float) -> Outline:
        if self.backend == 'torch':
            return find_outline(meshes, contour, reach_px, self.max_pairs)
        from smilfit.renderers.warp_outline import find_outline_by_warp

        return find_outline_by_warp(meshes, contour, reach_px)

    def _edges_of(self, faces: Tensor) -> MeshEdges:
        known = self._edges
        if known is None or known[0].device != faces.device or not torch.equal(known[0], faces):
            known = self._edges = (faces, mesh_edges(faces))
        return known[1]
