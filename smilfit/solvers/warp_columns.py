"""Matrices of 3 rows and as many columns as the border is wide, and where they stand in the workspace.

All columns of one axis stand side by side in one wide vector, so that a product with a 3 x 3 matrix is nine
multiply-adds of whole vectors.
"""

from functools import cache
from types import SimpleNamespace
from typing import no_type_check

import warp as wp

from smilfit.solvers.warp_rows import row_functions
from smilfit.solvers.warp_types import chain_types


@no_type_check
@cache
def column_functions(scalar, width):
    """Make the type, its arithmetic and its storage for one float type and width of the border."""
    t = chain_types(scalar, width)
    wide = t.wide

    @wp.struct
    class Columns:
        """A 3 x q matrix by rows."""

        x: wide
        y: wide
        z: wide

    return SimpleNamespace(Columns=Columns, **_arithmetic(t, Columns), **_storage(t, Columns, scalar, width))


@no_type_check
def _arithmetic(t, Columns):
    vec3, mat33, wide = t.vec3, t.mat33, t.wide

    @wp.func
    def times(a: mat33, m: Columns) -> Columns:
        r = Columns()
        r.x = a[0, 0] * m.x + a[0, 1] * m.y + a[0, 2] * m.z
        r.y = a[1, 0] * m.x + a[1, 1] * m.y + a[1, 2] * m.z
        r.z = a[2, 0] * m.x + a[2, 1] * m.y + a[2, 2] * m.z
        return r

    @wp.func
    def plus(a: Columns, b: Columns) -> Columns:
        r = Columns()
        r.x = a.x + b.x
        r.y = a.y + b.y
        r.z = a.z + b.z
        return r

    @wp.func
    def minus(a: Columns, b: Columns) -> Columns:
        r = Columns()
        r.x = a.x - b.x
        r.y = a.y - b.y
        r.z = a.z - b.z
        return r

    @wp.func
    def crossed(d: vec3, m: Columns) -> Columns:
        r = Columns()
        r.x = d[1] * m.z - d[2] * m.y
        r.y = d[2] * m.x - d[0] * m.z
        r.z = d[0] * m.y - d[1] * m.x
        return r

    @wp.func
    def outer(d: vec3, row: wide) -> Columns:
        r = Columns()
        r.x = d[0] * row
        r.y = d[1] * row
        r.z = d[2] * row
        return r

    @wp.func
    def along(v: vec3, m: Columns) -> wide:
        return v[0] * m.x + v[1] * m.y + v[2] * m.z

    return {'times': times, 'plus': plus, 'minus': minus, 'crossed': crossed, 'outer': outer, 'along': along}


@no_type_check
def _storage(t, Columns, scalar, width):
    rows = row_functions(scalar, width)
    vec3, Chain, Work = t.vec3, t.Chain, t.Work

    @wp.func
    def read(w: Work, slot: int, row: int) -> Columns:
        m = Columns()
        m.x = w.lanes[slot, row]
        m.y = w.lanes[slot, row + 1]
        m.z = w.lanes[slot, row + 2]
        return m

    @wp.func
    def write(w: Work, slot: int, row: int, m: Columns):
        w.lanes[slot, row] = m.x
        w.lanes[slot, row + 1] = m.y
        w.lanes[slot, row + 2] = m.z

    @wp.func
    def add(w: Work, slot: int, row: int, m: Columns):
        w.lanes[slot, row] = w.lanes[slot, row] + m.x
        w.lanes[slot, row + 1] = w.lanes[slot, row + 1] + m.y
        w.lanes[slot, row + 2] = w.lanes[slot, row + 2] + m.z

    @wp.func
    def add_square(c: Chain, w: Work, slot: int, a: Columns, b: Columns):
        """Add a^T b to the border's matrix."""
        square = rows.square_row(c)
        for i in range(c.n_border):
            w.lanes[slot, square + i] = w.lanes[slot, square + i] + a.x[i] * b.x + a.y[i] * b.y + a.z[i] * b.z

    @wp.func
    def by_step(c: Chain, w: Work, slot: int, row: int) -> vec3:
        """Multiply a stored matrix by the border's step."""
        z = w.lanes[slot, rows.side_row(c)]
        m = read(w, slot, row)
        return vec3(wp.dot(z, m.x), wp.dot(z, m.y), wp.dot(z, m.z))

    return {'read': read, 'write': write, 'add': add, 'add_square': add_square, 'by_step': by_step}
