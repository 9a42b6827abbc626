"""The soft silhouette by kernels: one thread a triangle adds to every pixel near it, and gathers its own gradient.

A product over triangles has no order, so nothing is sorted and nothing is cut off at some number of faces a pixel.
The adjoint is written by hand: the squared distance to the nearest side's nearest point, differentiated with that
point's place on the side held, is `-2 (p - q) (1 - t)` and `-2 (p - q) t` for the side's ends.
"""

import math
from functools import cache
from types import SimpleNamespace
from typing import Any, no_type_check

import torch
import warp as wp
from jaxtyping import Float
from torch import Tensor

from smilfit.renderers.projected import ProjectedMeshes
from smilfit.renderers.soft_coverage import squared_reach
from smilfit.renderers.warp_memory import OPTIONS, launch, scalar_of, view
from smilfit.renderers.warp_plane import plane_functions


def soft_alpha_by_warp(meshes: ProjectedMeshes, sigma: float) -> Float[Tensor, 'N H W']:
    """Render soft silhouettes, all meshes in one launch; as `soft_alpha`."""
    seen = meshes.turns != 0
    clear = _LogClear.apply(meshes.corners(), seen, meshes.width, meshes.height, sigma, meshes.ndc_per_px)
    return -torch.expm1(clear)


class _LogClear(torch.autograd.Function):
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
    picture: Tensor,
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
    # A picture is one long row of numbers to the kernels.
    inputs = [points, view(seen.reshape(-1).to(torch.uint8)), f, *control, view(picture.reshape(-1))]
    if result is not None:
        inputs.append(view(result.reshape(n * f, 3, 2), kernels.vec2))
    launch(getattr(kernels, which), n * f, inputs, corners.device)


@no_type_check
@cache
def soft_kernels(scalar):
    """Make the kernels of one float type."""
    plane = plane_functions(scalar)
    vec2, vec3, cross, pixel_box = plane.vec2, plane.vec3, plane.cross, plane.pixel_box

    @wp.func
    def nearest_on_side(p: vec2, a: vec2, side: vec2, inverse: scalar):
        """Give the squared distance and the place of the nearest point on a side."""
        to = p - a
        t = wp.clamp(wp.dot(to, side) * inverse, scalar(0.0), scalar(1.0))
        away = to - t * side
        return vec2(wp.dot(away, away), t)

    @wp.func
    def inside(p: vec2, a: vec2, b: vec2, ab: vec2, bc: vec2, ca: vec2, c: vec2):
        u, v, w = cross(ab, p - a), cross(bc, p - b), cross(ca, p - c)
        zero = scalar(0.0)
        return (u >= zero and v >= zero and w >= zero) or (u <= zero and v <= zero and w <= zero)

    @wp.func
    def inverse_square(side: vec2):
        return scalar(1.0) / wp.max(wp.dot(side, side), scalar(1e-20))

    @wp.kernel(enable_backward=False, module='unique', module_options=OPTIONS)
    def forward(
        corners: wp.array2d(dtype=vec2),
        seen: wp.array(dtype=wp.uint8),
        n_faces: int,
        width: int,
        height: int,
        sharpness: scalar,
        reach2: scalar,
        reach: scalar,
        clear: wp.array(dtype=scalar),
    ):
        i = wp.tid()
        if seen[i] == wp.uint8(0):
            return
        a, b, c = corners[i, 0], corners[i, 1], corners[i, 2]
        ab, bc, ca = b - a, c - b, a - c
        over = vec3(inverse_square(ab), inverse_square(bc), inverse_square(ca))
        box = pixel_box(wp.min(a, wp.min(b, c)), wp.max(a, wp.max(b, c)), reach, width, height)
        first = (i / n_faces) * width * height
        for y in range(box[1], box[3] + 1):
            for x in range(box[0], box[2] + 1):
                p = vec2(scalar(x), scalar(y))
                d = wp.min(
                    nearest_on_side(p, a, ab, over[0])[0],
                    wp.min(nearest_on_side(p, b, bc, over[1])[0], nearest_on_side(p, c, ca, over[2])[0]),
                )
                within = inside(p, a, b, ab, bc, ca, c)
                if within or d < reach2:
                    z = d * sharpness
                    value = -wp.log(scalar(1.0) + wp.exp(-z))
                    if within:
                        value -= z
                    wp.atomic_add(clear, first + y * width + x, value)

    @wp.kernel(enable_backward=False, module='unique', module_options=OPTIONS)
    def backward(
        corners: wp.array2d(dtype=vec2),
        seen: wp.array(dtype=wp.uint8),
        n_faces: int,
        width: int,
        height: int,
        sharpness: scalar,
        reach2: scalar,
        reach: scalar,
        gradient: wp.array(dtype=scalar),
        result: wp.array2d(dtype=vec2),
    ):
        i = wp.tid()
        if seen[i] == wp.uint8(0):
            return
        a, b, c = corners[i, 0], corners[i, 1], corners[i, 2]
        ab, bc, ca = b - a, c - b, a - c
        over = vec3(inverse_square(ab), inverse_square(bc), inverse_square(ca))
        box = pixel_box(wp.min(a, wp.min(b, c)), wp.max(a, wp.max(b, c)), reach, width, height)
        first = (i / n_faces) * width * height
        sum_a, sum_b, sum_c = vec2(), vec2(), vec2()
        for y in range(box[1], box[3] + 1):
            for x in range(box[0], box[2] + 1):
                push = gradient[first + y * width + x]
                if push != scalar(0.0):
                    p = vec2(scalar(x), scalar(y))
                    on_ab = nearest_on_side(p, a, ab, over[0])
                    on_bc = nearest_on_side(p, b, bc, over[1])
                    on_ca = nearest_on_side(p, c, ca, over[2])
                    d = wp.min(on_ab[0], wp.min(on_bc[0], on_ca[0]))
                    within = inside(p, a, b, ab, bc, ca, c)
                    if within or d < reach2:
                        # The slope of log(1 - sigmoid(-d)) is the share itself: sigmoid(-d), d negative inside.
                        share = wp.exp(-d * sharpness)
                        share = share / (scalar(1.0) + share)
                        if within:
                            share = share - scalar(1.0)
                        force = scalar(2.0) * push * share * sharpness
                        if on_ab[0] == d:
                            away = force * (a + on_ab[1] * ab - p)
                            sum_a += (scalar(1.0) - on_ab[1]) * away
                            sum_b += on_ab[1] * away
                        elif on_bc[0] == d:
                            away = force * (b + on_bc[1] * bc - p)
                            sum_b += (scalar(1.0) - on_bc[1]) * away
                            sum_c += on_bc[1] * away
                        else:
                            away = force * (c + on_ca[1] * ca - p)
                            sum_c += (scalar(1.0) - on_ca[1]) * away
                            sum_a += on_ca[1] * away
        result[i, 0] = sum_a
        result[i, 1] = sum_b
        result[i, 2] = sum_c

    return SimpleNamespace(forward=forward, backward=backward, vec2=vec2)
