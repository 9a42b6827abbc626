"""The soft silhouette by kernels: a triangle's share of the pixels near it, and its gradient from them."""

# Warp's kernels are annotated by values, made for a float type: no checker knows them as types.
# mypy: disable-error-code="valid-type"

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
from smilfit.renderers.warp_memory import OPTIONS, launch, plane_functions, scalar_of, view


def soft_alpha_by_warp(meshes: ProjectedMeshes, sigma: float) -> Float[Tensor, 'N H W']:
    """Render soft silhouettes, all meshes in one launch; as `soft_alpha`."""
    visible = meshes.windings != 0
    clear = _LogTransmittance.apply(
        meshes.corners(), visible, meshes.width, meshes.height, sigma, meshes.ndc_per_px
    )
    return -torch.expm1(clear)


class _LogTransmittance(torch.autograd.Function):
    """Sum over triangles of `log(1 - sigmoid(-d / sigma))`."""

    @staticmethod
    def forward(
        ctx: Any, corners: Tensor, visible: Tensor, width: int, height: int, sigma: float, unit: float
    ) -> Tensor:
        clear = corners.new_zeros(len(corners), height, width)
        ctx.save_for_backward(corners.detach(), visible)
        # Distances stay in px: sigma moves into that unit.
        ctx.control = (width, height, sigma / unit**2)
        _run('forward', corners, visible, clear, None, *ctx.control)
        return clear

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        corners, visible = ctx.saved_tensors
        result = torch.zeros_like(corners)
        _run('backward', corners, visible, gradient.contiguous(), result, *ctx.control)
        return result, None, None, None, None, None


def _run(
    which: str,
    corners: Tensor,
    visible: Tensor,
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
    inputs = [points, view(visible.reshape(-1).to(torch.uint8)), f, *control, view(image.reshape(-1))]
    if result is not None:
        inputs.append(view(result.reshape(n * f, 3, 2), kernels.vec2))
    launch(getattr(kernels, which), n * f, inputs, corners.device)


@no_type_check
@cache
def soft_kernels(scalar):
    """Make the kernels of one float type."""
    return SimpleNamespace(
        forward=_forward(scalar), backward=_backward(scalar), vec2=plane_functions(scalar).vec2
    )


@no_type_check
@cache
def _triangle_functions(scalar):
    plane = plane_functions(scalar)
    vec2, vec3, cross = plane.vec2, plane.vec3, plane.cross

    @wp.struct
    class Triangle:
        """Corners, sides, and one over the sides' squared lengths."""

        a: vec2
        b: vec2
        c: vec2
        ab: vec2
        bc: vec2
        ca: vec2
        over: vec3

    @wp.func
    def nearest_on_edge(p: vec2, a: vec2, edge: vec2, inverse: scalar):
        """Return the squared distance and the place of the nearest point on a side."""
        to = p - a
        t = wp.clamp(wp.dot(to, edge) * inverse, scalar(0.0), scalar(1.0))
        away = to - t * edge
        return vec2(wp.dot(away, away), t)

    @wp.func
    def inverse_square(edge: vec2):
        return scalar(1.0) / wp.max(wp.dot(edge, edge), scalar(1e-20))

    @wp.func
    def triangle_of(corners: wp.array2d(dtype=vec2), i: int):
        t = Triangle()
        a, b, c = corners[i, 0], corners[i, 1], corners[i, 2]
        t.a = a
        t.b = b
        t.c = c
        t.ab = b - a
        t.bc = c - b
        t.ca = a - c
        t.over = vec3(inverse_square(t.ab), inverse_square(t.bc), inverse_square(t.ca))
        return t

    @wp.func
    def inside(p: vec2, t: Triangle):
        u, v, w = cross(t.ab, p - t.a), cross(t.bc, p - t.b), cross(t.ca, p - t.c)
        zero = scalar(0.0)
        return (u >= zero and v >= zero and w >= zero) or (u <= zero and v <= zero and w <= zero)

    return SimpleNamespace(triangle_of=triangle_of, nearest_on_edge=nearest_on_edge, inside=inside)


@no_type_check
def _forward(scalar):
    plane, functions = plane_functions(scalar), _triangle_functions(scalar)
    vec2, pixel_box = plane.vec2, plane.pixel_box
    triangle_of, nearest_on_edge, inside = functions.triangle_of, functions.nearest_on_edge, functions.inside

    @wp.kernel(enable_backward=False, module='unique', module_options=OPTIONS)
    def forward(
        corners: wp.array2d(dtype=vec2),
        visible: wp.array(dtype=wp.uint8),
        n_faces: int,
        width: int,
        height: int,
        sharpness: scalar,
        reach2: scalar,
        reach: scalar,
        clear: wp.array(dtype=scalar),
    ):
        i = wp.tid()
        if visible[i] == wp.uint8(0):
            return
        t = triangle_of(corners, i)
        box = pixel_box(wp.min(t.a, wp.min(t.b, t.c)), wp.max(t.a, wp.max(t.b, t.c)), reach, width, height)
        first = (i / n_faces) * width * height
        for y in range(box[1], box[3] + 1):
            for x in range(box[0], box[2] + 1):
                p = vec2(scalar(x), scalar(y))
                d = wp.min(
                    nearest_on_edge(p, t.a, t.ab, t.over[0])[0],
                    wp.min(
                        nearest_on_edge(p, t.b, t.bc, t.over[1])[0],
                        nearest_on_edge(p, t.c, t.ca, t.over[2])[0],
                    ),
                )
                within = inside(p, t)
                if within or d < reach2:
                    z = d * sharpness
                    value = -wp.log(scalar(1.0) + wp.exp(-z))
                    if within:
                        value -= z
                    wp.atomic_add(clear, first + y * width + x, value)

    return forward


@no_type_check
def _backward(scalar):
    plane, functions = plane_functions(scalar), _triangle_functions(scalar)
    vec2, pixel_box = plane.vec2, plane.pixel_box
    triangle_of, nearest_on_edge, inside = functions.triangle_of, functions.nearest_on_edge, functions.inside

    @wp.kernel(enable_backward=False, module='unique', module_options=OPTIONS)
    def backward(
        corners: wp.array2d(dtype=vec2),
        visible: wp.array(dtype=wp.uint8),
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
        if visible[i] == wp.uint8(0):
            return
        t = triangle_of(corners, i)
        box = pixel_box(wp.min(t.a, wp.min(t.b, t.c)), wp.max(t.a, wp.max(t.b, t.c)), reach, width, height)
        first = (i / n_faces) * width * height
        sum_a, sum_b, sum_c = vec2(), vec2(), vec2()
        for y in range(box[1], box[3] + 1):
            for x in range(box[0], box[2] + 1):
                upstream = gradient[first + y * width + x]
                if upstream != scalar(0.0):
                    p = vec2(scalar(x), scalar(y))
                    on_ab = nearest_on_edge(p, t.a, t.ab, t.over[0])
                    on_bc = nearest_on_edge(p, t.b, t.bc, t.over[1])
                    on_ca = nearest_on_edge(p, t.c, t.ca, t.over[2])
                    d = wp.min(on_ab[0], wp.min(on_bc[0], on_ca[0]))
                    within = inside(p, t)
                    if within or d < reach2:
                        # The slope of log(1 - sigmoid(-d)) is the share itself: sigmoid(-d), d negative inside.
                        share = wp.exp(-d * sharpness)
                        share = share / (scalar(1.0) + share)
                        if within:
                            share = share - scalar(1.0)
                        factor = scalar(2.0) * upstream * share * sharpness
                        if on_ab[0] == d:
                            away = factor * (t.a + on_ab[1] * t.ab - p)
                            sum_a += (scalar(1.0) - on_ab[1]) * away
                            sum_b += on_ab[1] * away
                        elif on_bc[0] == d:
                            away = factor * (t.b + on_bc[1] * t.bc - p)
                            sum_b += (scalar(1.0) - on_bc[1]) * away
                            sum_c += on_bc[1] * away
                        else:
                            away = factor * (t.c + on_ca[1] * t.ca - p)
                            sum_c += (scalar(1.0) - on_ca[1]) * away
                            sum_a += on_ca[1] * away
        result[i, 0] = sum_a
        result[i, 1] = sum_b
        result[i, 2] = sum_c

    return backward
