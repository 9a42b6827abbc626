"""The soft silhouette by kernels: one thread a triangle adds to every pixel near it, and gathers its own gradient.

A product over triangles has no order, so nothing is sorted and nothing is cut off at some number of faces a pixel.
The adjoint is written by hand: the squared distance to the nearest side's nearest point, differentiated with that
point's place on the side held, is `-2 (p - q) (1 - t)` and `-2 (p - q) t` for the side's ends.
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.renderers.projected import ProjectedMeshes
from smilfit.renderers.soft_coverage import squared_reach
from smilfit.renderers.warp_memory import launch, scalar_of, view
from smilfit.renderers.warp_soft_kernels import soft_kernels


def soft_alpha_by_warp(meshes: ProjectedMeshes, sigma: float) -> Float[Tensor, 'N H W']:
    """Render soft silhouettes, all meshes in one launch; as `soft_alpha`."""
    seen = meshes.turns != 0
    clear = _LogTransmittance.apply(
        meshes.corners(), seen, meshes.width, meshes.height, sigma, meshes.ndc_per_px
    )
    return -torch.expm1(clear)


class _LogTransmittance(torch.autograd.Function):
    """Sum over triangles of `log(1 - sigmoid(-d / sigma))`."""

    @staticmethod
    def forward(
        ctx: Any, corners: Tensor, seen: Tensor, width: int, height: int, sigma: float, unit: float
    ) -> Tensor:
        clear = corners.new_zeros(len(corners), height, width)
        ctx.save_for_backward(corners.detach(), seen)
        # Distances stay in px: sigma moves into that unit.
        ctx.control = (width, height, sigma / unit**2)
        _run('forward', corners, seen, clear, None, *ctx.control)
        return clear

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        corners, seen = ctx.saved_tensors
        result = torch.zeros_like(corners)
        _run('backward', corners, seen, gradient.contiguous(), result, *ctx.control)
        return result, None, None, None, None, None


def _run(
    which: str,
    corners: Tensor,
    seen: Tensor,
    image: Tensor,
    result: Tensor | None,
    width: int,
    height: int,
    sigma_px2: float,
) -> None:
    scalar = scalar_of(corners)
    kernels = soft_kernels(scalar)
    n, f = corners.shape[:2]
    reach2 = squared_reach(sigma_px2)
    points = view(corners.reshape(n * f, 3, 2), kernels.vec2)
    control = [width, height, scalar(1 / sigma_px2), scalar(reach2), scalar(math.sqrt(reach2))]
    # An image is one long row of numbers to the kernels.
    inputs = [points, view(seen.reshape(-1).to(torch.uint8)), f, *control, view(image.reshape(-1))]
    if result is not None:
        inputs.append(view(result.reshape(n * f, 3, 2), kernels.vec2))
    launch(getattr(kernels, which), n * f, inputs, corners.device)
