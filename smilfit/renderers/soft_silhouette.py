"""A silhouette that says by how much it is missed: differentiable, in plain tensor operations.

The readable twin of any faster kernel: small pictures only.
"""

import math
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from smilfit.geometry.projection import project_points
from smilfit.registry import RENDERERS
from smilfit.renderers.base import Renderer, RenderOutput, check_mesh, one_camera_a_mesh
from smilfit.renderers.scanline import LEAST_AREA_PX2, faces_with_image
from smilfit.renderers.z_buffer import ZBufferRenderer
from smilfit.structures import Cameras

# A triangle counts at a pixel as long as its share is at least this.
LEAST_SHARE = 1e-4


@RENDERERS.register_module()
class SoftSilhouetteRenderer(Renderer):
    """Render how much of each pixel a mesh covers, softly: `alpha = 1 - prod_f (1 - sigmoid(-d_f / sigma))`.

    `d_f` is the squared distance from the pixel's centre to triangle f, negative inside, as in SoftRasterizer (Liu et
    al. 2019) and PyTorch3D. Distances are in units of half the picture's shorter side, which is PyTorch3D's
    NDC; `sigma=1e-4` blurs an edge by about 1 % of that. All triangles near a pixel count, so where triangles are
    much smaller than the blur the silhouette grows by about its width: keep sigma small. Gradients reach the
    vertices through the whole camera, lens distortion and all; depth, normals and the rest are those of the hard
    z-buffer and carry none. Faces are left out as by `ZBufferRenderer`.

    Args:
        sigma: squared length, in those units, over which an edge is blurred.
        near: least depth of a corner, world unit.
        max_pixels: how many (triangle, pixel) pairs may be in memory at once (about 300 bytes each).
    """

    differentiable = True

    def __init__(self, sigma: float = 1e-4, near: float = 0.0, max_pixels: int = 500_000) -> None:
        super().__init__()
        if sigma <= 0:
            raise ValueError(f'SoftSilhouetteRenderer: sigma must be positive; got {sigma}.')
        self.sigma = sigma
        self.near = near
        self.max_pixels = max_pixels
        self.hard = ZBufferRenderer(near=near)

    def forward(
        self,
        vertices: Float[Tensor, 'N V 3'],
        faces: Int[Tensor, 'F 3'],
        cameras: Cameras,
        colour: Float[Tensor, 'V 3'] | Float[Tensor, '3'] | None = None,
    ) -> RenderOutput:
        """Render N meshes of the same faces; see `Renderer.forward`."""
        check_mesh(vertices, faces)
        hard = self.hard(vertices.detach(), faces, cameras, colour)
        one_each, width, height = one_camera_a_mesh(cameras.to(vertices), len(vertices))
        pixels, depth, usable = project_points(
            vertices, one_each.K, one_each.R, one_each.t, one_each.dist, one_each.fold
        )
        usable = usable & (depth > self.near)
        pictures = [
            self._alpha(pixels[n, 0], faces.long()[faces_with_image(usable[n, 0], faces)[0]], width, height)
            for n in range(len(vertices))
        ]
        return replace(hard, alpha=torch.stack(pictures)) if pictures else hard

    def _alpha(self, pixels: Tensor, faces: Tensor, width: int, height: int) -> Tensor:
        unit = 2 / min(width, height)
        corners = pixels[faces]
        sides = (corners[:, 1:] - corners[:, :1]).detach()
        area = sides[:, 0, 0] * sides[:, 1, 1] - sides[:, 0, 1] * sides[:, 1, 0]
        corners = corners[area.abs() > LEAST_AREA_PX2]
        # Beyond this squared distance a triangle's share is below the least.
        reach2 = self.sigma * math.log(1 / LEAST_SHARE - 1)
        low, size = _boxes(corners.detach(), math.sqrt(reach2) / unit, width, height)
        total = size.prod(1).cumsum(0)
        clear = corners.new_zeros(height * width)
        start = 0
        while start < len(corners):
            done = int(total[start - 1]) if start else 0
            end = max(int(torch.searchsorted(total, done + self.max_pixels, right=True)), start + 1)
            chunk = slice(start, end)
            which, at = _pairs(low[chunk], size[chunk])
            # What a chunk needs for its gradient is computed again when it is asked for.
            log_clear = checkpoint(
                _log_clear, corners[chunk], which, at, unit, self.sigma, reach2, use_reentrant=False
            )
            clear = clear.index_add(0, at[:, 1] * width + at[:, 0], log_clear)
            start = end
        return -torch.expm1(clear).reshape(height, width)


def _boxes(
    corners: Float[Tensor, 'F 3 2'], margin_px: float, width: int, height: int
) -> tuple[Int[Tensor, 'F 2'], Int[Tensor, 'F 2']]:
    """Give the first pixel and the size of the box of pixels that a triangle's blur can reach."""
    limit = corners.new_tensor([width - 1, height - 1])
    low = (corners.amin(1) - margin_px).ceil().clamp_min(0)
    high = torch.minimum((corners.amax(1) + margin_px).floor(), limit)
    return low.long(), (high - low + 1).clamp_min(0).long()


def _pairs(low: Tensor, size: Tensor) -> tuple[Int[Tensor, 'P'], Int[Tensor, 'P 2']]:
    """List (triangle, pixel) of all boxes."""
    count = size.prod(1)
    which = torch.repeat_interleave(count)
    step = torch.arange(len(which), device=low.device) - (count.cumsum(0) - count)[which]
    across = size[which, 0]
    return which, low[which] + torch.stack((step % across, step // across), 1)


def _log_clear(
    corners: Float[Tensor, 'F 3 2'],
    which: Int[Tensor, 'P'],
    at: Int[Tensor, 'P 2'],
    unit: float,
    sigma: float,
    reach2: float,
) -> Float[Tensor, 'P']:
    """Give the logarithm of what each triangle leaves clear of each pixel: `log(1 - sigmoid(-d / sigma))`."""
    d = signed_squared_distance(at.to(corners), corners[which]) * unit**2
    log_clear = torch.nn.functional.logsigmoid(d / sigma)
    return torch.where(d < reach2, log_clear, torch.zeros_like(log_clear))


def signed_squared_distance(
    points: Float[Tensor, 'P 2'], corners: Float[Tensor, 'P 3 2']
) -> Float[Tensor, 'P']:
    """Give the squared distance of each point to its triangle's outline, negative inside."""
    sides = corners.roll(-1, 1) - corners
    to_point = points.unsqueeze(1) - corners
    along = (to_point * sides).sum(-1) / sides.square().sum(-1).clamp_min(1e-20)
    squared = (to_point - along.clamp(0, 1).unsqueeze(-1) * sides).square().sum(-1).amin(1)
    turn = (sides[..., 0] * to_point[..., 1] - sides[..., 1] * to_point[..., 0]).detach()
    inside = (turn >= 0).all(1) | (turn <= 0).all(1)
    return torch.where(inside, -squared, squared)
