"""Products and inverses of 3 x 3 matrices."""

from functools import cache
from types import SimpleNamespace
from typing import no_type_check

import warp as wp

from smilfit.solvers.warp_types import chain_types


@no_type_check
@cache
def small_functions(scalar, width):
    """Make the functions for one float type; the width only picks the types."""
    t = chain_types(scalar, width)
    vec3, mat33 = t.vec3, t.mat33

    @wp.func
    def inverse_spd(a: mat33) -> mat33:
        """Invert by L D L^T, which keeps the well-determined directions when one is not; a dead pivot gives 0."""
        one, zero, tiny = scalar(1.0), scalar(0.0), scalar(1e-30)
        i0, i1, i2 = zero, zero, zero
        if a[0, 0] > tiny:
            i0 = one / a[0, 0]
        l10, l20 = a[1, 0] * i0, a[2, 0] * i0
        d1 = a[1, 1] - l10 * a[1, 0]
        if d1 > tiny:
            i1 = one / d1
        rest = a[2, 1] - l20 * a[1, 0]
        l21 = rest * i1
        d2 = a[2, 2] - l20 * a[2, 0] - l21 * rest
        if d2 > tiny:
            i2 = one / d2
        m20 = l21 * l10 - l20
        xy = -i1 * l10 - i2 * l21 * m20
        xz, yz = i2 * m20, -i2 * l21
        return mat33(
            i0 + i1 * l10 * l10 + i2 * m20 * m20, xy, xz,
            xy, i1 + i2 * l21 * l21, yz,
            xz, yz, i2,
        )  # fmt: skip

    @wp.func
    def cross_columns(d: vec3, m: mat33) -> mat33:
        """Compute [d]x m."""
        return mat33(
            d[1] * m[2, 0] - d[2] * m[1, 0], d[1] * m[2, 1] - d[2] * m[1, 1], d[1] * m[2, 2] - d[2] * m[1, 2],
            d[2] * m[0, 0] - d[0] * m[2, 0], d[2] * m[0, 1] - d[0] * m[2, 1], d[2] * m[0, 2] - d[0] * m[2, 2],
            d[0] * m[1, 0] - d[1] * m[0, 0], d[0] * m[1, 1] - d[1] * m[0, 1], d[0] * m[1, 2] - d[1] * m[0, 2],
        )  # fmt: skip

    return SimpleNamespace(inverse_spd=inverse_spd, cross_columns=cross_columns)
