"""The soft silhouette by PyTorch3D, for those who have installed it; it is imported nowhere else."""

import math
from importlib.util import find_spec

import torch
from jaxtyping import Float, Int
from torch import Tensor

from smilfit.registry import RENDERERS
from smilfit.renderers.base import Renderer, RenderOutput
from smilfit.renderers.projected import ProjectedMeshes, project_meshes
from smilfit.renderers.soft_coverage import squared_reach
from smilfit.structures import Cameras


@RENDERERS.register_module()
class PyTorch3DRenderer(Renderer):
    """Render `SilhouetteRenderer(mode='soft')`'s formula by PyTorch3D's rasteriser.

    Vertices are projected here, through the whole lens, and handed over in PyTorch3D's NDC; so a vertex lands where
    `Cameras.project` puts it, off-centre principal points, crops and images of any shape included. Only the
    `faces_per_pixel` nearest triangles of a pixel count: where more are within the blur, alpha is less than the
    formula's (dense body meshes need hundreds). Without a GPU its rasteriser asks every triangle at every pixel.
    Faces are left out as by `ZBufferRenderer`; only `alpha` and `n_cut` are given, unless `surface` renders the rest.

    Args:
        sigma: squared length over which an edge is blurred, in units of half the image's shorter side.
        faces_per_pixel: how many triangles count at a pixel.
        near: least depth of a corner, world unit.
        bin_size: of PyTorch3D's coarse step on a GPU, px; 0 for none, None for its own choice.
        surface: renders depth, normals and the rest; None for none of them.

    Raises:
        ImportError: PyTorch3D is not installed.
        ValueError: an argument that is out of range.
    """

    differentiable = True

    def __init__(
        self,
        sigma: float = 1e-4,
        faces_per_pixel: int = 100,
        near: float = 0.0,
        bin_size: int | None = None,
        surface: Renderer | None = None,
    ) -> None:
        super().__init__()
        if find_spec('pytorch3d') is None:
            raise ImportError(
                'PyTorch3DRenderer: pytorch3d must be installed; it is not. Build it for your torch '
                "(github.com/facebookresearch/pytorch3d, INSTALL.md), or use SilhouetteRenderer(mode='soft')."
            )
        from pytorch3d.renderer.mesh.rasterize_meshes import rasterize_meshes
        from pytorch3d.structures import Meshes

        if not (sigma > 0 and math.isfinite(sigma)) or faces_per_pixel < 1:
            raise ValueError(
                'PyTorch3DRenderer: sigma and faces_per_pixel must be positive; '
                f'got {sigma} and {faces_per_pixel}.'
            )
        self._rasterise, self._meshes = rasterize_meshes, Meshes
        self.sigma, self.faces_per_pixel = sigma, faces_per_pixel
        self.near, self.bin_size, self.surface = near, bin_size, surface

    def forward(
        self,
        vertices: Float[Tensor, 'N V 3'],
        faces: Int[Tensor, 'F 3'],
        cameras: Cameras,
        colour: Float[Tensor, 'V 3'] | Float[Tensor, '3'] | None = None,
    ) -> RenderOutput:
        """Render N meshes of the same faces; see `Renderer.forward`."""
        meshes = project_meshes(vertices, faces, cameras, self.near)
        alpha = self._alpha(meshes)
        if self.surface is None:
            return RenderOutput(alpha, meshes.n_cut)
        return self.surface(vertices, faces, cameras, colour).with_alpha(alpha)

    def _alpha(self, meshes: ProjectedMeshes) -> Tensor:
        shape = (len(meshes), meshes.height, meshes.width)
        visible = meshes.windings != 0
        if not bool(visible.any()):
            return meshes.pixels.new_zeros(shape)
        fragments = self._rasterise(
            self._meshes([*self._points(meshes)], [meshes.faces[s] for s in visible]),
            image_size=(meshes.height, meshes.width),
            blur_radius=squared_reach(self.sigma),
            faces_per_pixel=self.faces_per_pixel,
            bin_size=self.bin_size,
            # Beside a triangle its depth is that of its rim; carried on, it would fall behind the camera.
            clip_barycentric_coords=True,
        )
        face, _, _, distance = fragments
        # An empty place has the face -1 and no share.
        log_clear = torch.nn.functional.logsigmoid(distance / self.sigma)
        clear = torch.where(face >= 0, log_clear, torch.zeros_like(log_clear)).sum(-1)
        return -torch.expm1(clear).to(meshes.pixels.dtype)

    def _points(self, meshes: ProjectedMeshes) -> Float[Tensor, 'N V 3']:
        """Return corners in NDC: +x left, +y up, the shorter side from -1 to 1; its only precision is single."""
        centre = meshes.pixels.new_tensor([meshes.width - 1, meshes.height - 1]) / 2
        xy = (centre - meshes.pixels) * meshes.ndc_per_px
        return torch.cat((xy, meshes.in_camera[..., 2:]), 2).float()
