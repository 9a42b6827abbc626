"""Where things stand in a thread's workspace.

`side` is 0 or 1: the accepted and the tried state change places, so that an accepted step costs no copy and no
second projection.
"""

from functools import cache
from types import SimpleNamespace
from typing import no_type_check

import warp as wp

from smilfit.solvers.warp_types import chain_types


@no_type_check
@cache
def row_functions(scalar, width):
    """Make the functions that find a row, for one float type and width."""
    Chain = chain_types(scalar, width).Chain
    return SimpleNamespace(
        **_of_matrices(Chain), **_of_vectors(Chain), **_of_numbers(Chain), **_of_lanes(Chain)
    )


@no_type_check
def _of_matrices(Chain):
    # Matrices: rotational, mixed and translational part of a joint's articulated inertia (after its elimination the
    # first two hold what the back-substitution needs), world rotations, curvatures of points.
    @wp.func
    def world_row(c: Chain, side: int) -> int:
        return (3 + side) * c.n_joints

    @wp.func
    def curvature_row(c: Chain, side: int) -> int:
        return 5 * c.n_joints + side * c.n_points

    return {'world_row': world_row, 'curvature_row': curvature_row}


@no_type_check
def _of_vectors(Chain):
    # Vectors: torque (then the eliminated rotation), force, first moment, angular and linear velocity; places and
    # rotation vectors of joints; places and gradients of points; translations and the root's step.
    @wp.func
    def place_row(c: Chain, side: int) -> int:
        return (5 + side) * c.n_joints

    @wp.func
    def angle_row(c: Chain, side: int) -> int:
        return (7 + side) * c.n_joints

    @wp.func
    def point_row(c: Chain, side: int) -> int:
        return 9 * c.n_joints + side * c.n_points

    @wp.func
    def gradient_row(c: Chain, side: int) -> int:
        return 9 * c.n_joints + (2 + side) * c.n_points

    @wp.func
    def transl_row(c: Chain, side: int) -> int:
        return 9 * c.n_joints + 4 * c.n_points + side

    return {
        'place_row': place_row,
        'angle_row': angle_row,
        'point_row': point_row,
        'gradient_row': gradient_row,
        'transl_row': transl_row,
    }


@no_type_check
def _of_numbers(Chain):
    # Numbers: mass, second moment and damping of joints; shape; scale and the whole body's second moment.
    @wp.func
    def betas_row(c: Chain, side: int) -> int:
        return 3 * c.n_joints + side * c.n_betas

    @wp.func
    def scale_row(c: Chain, side: int) -> int:
        return 3 * c.n_joints + 2 * c.n_betas + side

    return {'betas_row': betas_row, 'scale_row': scale_row}


@no_type_check
def _of_lanes(Chain):
    # Wide rows: four 3-row matrices a joint; the border's matrix, its right-hand side (then its step), its damping.
    @wp.func
    def wide_row(c: Chain, kind: int, j: int) -> int:
        return 3 * (kind * c.n_joints + j)

    @wp.func
    def square_row(c: Chain) -> int:
        return 12 * c.n_joints

    @wp.func
    def side_row(c: Chain) -> int:
        return 12 * c.n_joints + c.n_border

    @wp.func
    def pivot_row(c: Chain) -> int:
        return 12 * c.n_joints + c.n_border + 1

    return {'wide_row': wide_row, 'square_row': square_row, 'side_row': side_row, 'pivot_row': pivot_row}
