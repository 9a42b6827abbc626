"""What all of the renderers' kernels share: vectors in the image, and boxes of pixels."""

# Warp's kernels are annotated by values, made for a float type: no checker knows them as types.
# mypy: disable-error-code="valid-type"

from functools import cache
from types import SimpleNamespace
from typing import no_type_check

import warp as wp


@no_type_check
@cache
def plane_functions(scalar):
    """Make the functions of one float type."""
    vec2 = wp.types.vector(length=2, dtype=scalar)
    vec3 = wp.types.vector(length=3, dtype=scalar)
    # Beyond any image, and within an integer's range.
    far = wp.constant(scalar(1e9))

    @wp.func
    def cross(u: vec2, v: vec2):
        return u[0] * v[1] - u[1] * v[0]

    @wp.func
    def pixel_box(low: vec2, high: vec2, margin: scalar, width: int, height: int):
        """Return the first and the last pixel (x, y, x, y) within a margin of a box, of those in the image."""
        return wp.vec4i(
            wp.max(wp.int32(wp.ceil(wp.clamp(low[0] - margin, -far, far))), 0),
            wp.max(wp.int32(wp.ceil(wp.clamp(low[1] - margin, -far, far))), 0),
            wp.min(wp.int32(wp.floor(wp.clamp(high[0] + margin, -far, far))), width - 1),
            wp.min(wp.int32(wp.floor(wp.clamp(high[1] + margin, -far, far))), height - 1),
        )

    return SimpleNamespace(vec2=vec2, vec3=vec3, cross=cross, pixel_box=pixel_box)
