"""Where things stand in a thread's workspace.

`side` is 0 or 1: the accepted and the tried state change places, so that an accepted step costs no copy and no
second projection. All functions of the kernels are generic: `c` is a `Chain`, `w` a `Work` of either float type.

Matrices: rotational, mixed and translational part of a joint's articulated inertia (after its elimination what the
substitutions need: the turn by the parent's twist, and the turn's inverse), world rotations, curvatures of points,
the root's inverse. Vectors: torque (then the turn), force, first moment, angular and linear velocity, places,
rotation vectors, the gradient of the joint's own turn; arms of rigid points, gradients of points, translations, the
root's step. Numbers: mass, second moment and damping of joints, scales, the body's second moment. Wide rows:
coefficients; the border's right-hand side (then its step), its damping, the inverses of its pivots, its matrix. The
pool: four 3-row matrices a joint, of kind 0 what couples to its turn (of the root, in the end, its place's answer),
1 what couples to its place, 2 the eliminated turn's answer, 3 the motion of the place against the parent's; chunk by
chunk of those that the joint has (`Chain.chunk`).
"""

from typing import Any, no_type_check

import warp as wp

# Where the border's matrix begins.
SQUARE = wp.constant(5)
# The kind of joint 0's matrix that answers for the root's place.
ROOT = wp.constant(0)


@no_type_check
@wp.func
def world_row(c: Any, side: int) -> int:
    """Find the joints' world rotations."""
    return (3 + side) * c.n_joints


@no_type_check
@wp.func
def curvature_row(c: Any, side: int) -> int:
    """Find the points' curvatures."""
    return 5 * c.n_joints + side * c.n_points


@no_type_check
@wp.func
def root_row(c: Any) -> int:
    """Find the inverse for the root's place."""
    return 5 * c.n_joints + 2 * c.n_points


@no_type_check
@wp.func
def place_row(c: Any, side: int) -> int:
    """Find the joints' places."""
    return (5 + side) * c.n_joints


@no_type_check
@wp.func
def angle_row(c: Any, side: int) -> int:
    """Find the joints' rotation vectors."""
    return (7 + side) * c.n_joints


@no_type_check
@wp.func
def own_row(c: Any) -> int:
    """Find the gradient or load of the joints' own turns."""
    return 9 * c.n_joints


@no_type_check
@wp.func
def arm_row(c: Any, side: int) -> int:
    """Find the arms of rigid points."""
    return 10 * c.n_joints + side * c.n_parts


@no_type_check
@wp.func
def gradient_row(c: Any, side: int) -> int:
    """Find the points' gradients."""
    return 10 * c.n_joints + 2 * c.n_parts + side * c.n_points


@no_type_check
@wp.func
def transl_row(c: Any, side: int) -> int:
    """Find the translation; the root's step for side 2."""
    return 10 * c.n_joints + 2 * c.n_parts + 2 * c.n_points + side


@no_type_check
@wp.func
def scale_row(c: Any, side: int) -> int:
    """Find the log scale; the body's second moment for side 2."""
    return 3 * c.n_joints + side


@no_type_check
@wp.func
def wide_row(kind: int, n: int) -> int:
    """Find chunk n of all joints' chunks, of the 3-row matrix of a kind."""
    return 12 * n + 3 * kind


@no_type_check
@wp.func
def coefficient_row(side: int) -> int:
    """Find the coefficients."""
    return side


@no_type_check
@wp.func
def side_row() -> int:
    """Find the border's right-hand side, then its step."""
    return 2


@no_type_check
@wp.func
def pivot_row() -> int:
    """Find the border's damping."""
    return 3


@no_type_check
@wp.func
def inverse_row() -> int:
    """Find the inverses of the border's pivots."""
    return 4


@no_type_check
@wp.func
def square_row() -> int:
    """Find the border's matrix."""
    return SQUARE


def workspace_rows(
    n_joints: int, n_points: int, n_parts: int, n_border: int, n_chunks: int
) -> dict[str, int]:
    """Count the rows of a thread's workspace by type."""
    j, k = n_joints, n_points
    return {
        'mats': 5 * j + 2 * k + 1,
        'vecs': 10 * j + 2 * n_parts + 2 * k + 3,
        'quats': 2 * j,
        'nums': 3 * j + 3,
        'lanes': SQUARE + n_border,
        'pool': 12 * j * n_chunks,
    }
