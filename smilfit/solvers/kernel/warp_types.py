"""Warp's types for the chain kernels, in float32 or float64, and the rows of their workspace.

Imported only where warp is used.
"""

# Warp takes annotations that are values, which no checker reads.
# mypy: disable-error-code="valid-type, name-defined, misc"

from functools import cache
from types import SimpleNamespace
from typing import Any, no_type_check

import warp as wp

# Kernels' functions take either float type, which warp spells Any; these are the structs and numbers that they mean.
Chain = Any
Observed = Any
Fit = Any
Work = Any
Factor = Any  # of `warp_steps`
Extra = Any
Spread = Any  # of `warp_covariance`
Scalar = Any
Vector = Any
Matrix = Any
Quaternion = Any
Lanes = Any
Array = Any

# What a joint's own rotation does in the fit.
FIXED, MOVES, TURNS_NOTHING = (wp.constant(i) for i in range(3))
# Columns of the border stand side by side in vectors of so many numbers.
LANES = 8
# Multiply-adds in one instruction: warp's own default keeps products and sums apart.
OPTIONS = {'cpu_compiler_flags': f'{wp.config.cpu_compiler_flags} -ffp-contract=fast'}


# Checkers of type hints would take a wrapped function for the source of a kernel.
@no_type_check
@cache
def chain_types(scalar):
    """Make the structs that a kernel takes, for one float type.

    `Chain` holds what all frames share, `Observed` the observations, `Fit` the state that is read and written,
    `Work` the workspace of the threads: [thread, row], its rows named below.
    """
    t = SimpleNamespace(
        scalar=scalar,
        vec2=wp.types.vector(2, scalar),
        vec3=wp.types.vector(3, scalar),
        mat33=wp.types.matrix((3, 3), scalar),
        quat=wp.types.quaternion(scalar),
        wide=wp.types.vector(LANES, scalar),
    )
    t.Policy = _policy(t)
    return SimpleNamespace(**vars(t), Chain=_chain(t), Observed=_observed(t), Fit=_fit(t), Work=_work(t))


@no_type_check
def _policy(t):
    @wp.struct
    class Policy:
        start: t.scalar
        least: t.scalar
        most: t.scalar
        best: t.scalar
        rejected: t.scalar
        least_rejected: t.scalar
        max_converged: t.scalar
        loosest: t.scalar
        rounding: t.scalar
        longest_rotation: t.scalar

    return Policy


@no_type_check
def _chain(t):
    @wp.struct
    class Chain:
        n_frames: int
        n_joints: int
        n_points: int
        n_parts: int  # rigid points, of which points are made
        n_cameras: int
        n_coefficients: int
        n_fitted: int  # coefficients that are fitted
        n_border: int  # fitted columns: coefficients, then the scale
        n_chunks: int  # vectors that a row of the border takes
        fit_scale: int
        fit_transl: int
        has_3d: int
        has_lens: int
        has_dirs: int
        has_columns: int
        has_arms: int
        has_part_dirs: int
        has_part_columns: int
        has_limits: int
        has_priors: int
        has_rotations: int
        n_graduation: int
        n_iter: int
        ftol: t.scalar
        limit_weight: t.scalar
        log_scale_weight: t.scalar
        policy: t.Policy
        parents: wp.array(dtype=wp.int32)
        roles: wp.array(dtype=wp.int32)
        fitted: wp.array(dtype=wp.int32)  # numbers of the fitted coefficients
        chunk_start: wp.array(dtype=wp.int32)  # (J + 1): the border's chunks below a joint
        chunk: wp.array(dtype=wp.int32)
        dirs_start: wp.array(dtype=wp.int32)  # (J + 1): the coefficients' chunks of a bone
        dirs_chunk: wp.array(dtype=wp.int32)
        part_start: wp.array(dtype=wp.int32)  # (K + 1): the rigid points of a point
        part_joint: wp.array(dtype=wp.int32)
        part_share: wp.array(dtype=t.scalar)
        part_offset: wp.array2d(dtype=t.vec3)
        bones: wp.array2d(dtype=t.vec3)
        dirs: wp.array3d(dtype=t.wide)  # (J, 3, chunks): change of the bones by all coefficients
        columns: wp.array3d(dtype=t.wide)  # by the fitted ones
        part_dirs: wp.array3d(dtype=t.wide)
        part_columns: wp.array3d(dtype=t.wide)
        scale_mask: wp.array(dtype=t.wide)  # (chunks): 1 in the scale's column
        pose_weight: wp.array(dtype=t.scalar)
        limits: wp.array2d(dtype=t.vec2)
        limit_maps: wp.array(dtype=t.mat33)  # what makes of a rotation vector what the limits are of
        n_priors: int  # coefficients if they have a prior, else 0
        prior_start: wp.array(dtype=wp.int32)  # (S + 1): a row's chunks that are not zero
        prior_chunk: wp.array(dtype=wp.int32)
        mean: wp.array(dtype=t.wide)
        precision: wp.array2d(dtype=t.wide)
        n_limits: int  # coefficients if they have limits, else 0
        coefficient_limits: wp.array(dtype=t.vec2)
        coefficient_limit_weight: wp.array(dtype=t.scalar)
        border_precision: wp.array2d(dtype=t.wide)  # of fitted coefficients and the scale
        rotation_gradient: wp.array2d(dtype=t.vec3)  # more of the joints' own turns, by frame
        rotation_hessian: wp.array2d(dtype=t.mat33)
        sharpness3d: wp.array(dtype=t.scalar)  # 1 / sigma^2, 0 for a plain square
        sharpness2d: wp.array(dtype=t.scalar)
        graduation: wp.array(dtype=t.scalar)

    return Chain


@no_type_check
def _observed(t):
    @wp.struct
    class Observed:
        targets: wp.array2d(dtype=t.vec3)
        weights3d: wp.array2d(dtype=t.scalar)
        xy: wp.array3d(dtype=t.vec2)
        weights2d: wp.array3d(dtype=t.scalar)
        intrinsics: wp.array2d(dtype=t.mat33)
        rotation: wp.array2d(dtype=t.mat33)
        translation: wp.array2d(dtype=t.vec3)
        lens: wp.array3d(dtype=t.scalar)
        fold: wp.array2d(dtype=t.scalar)

    return Observed


@no_type_check
def _fit(t):
    @wp.struct
    class Fit:
        rotations: wp.array2d(dtype=t.mat33)
        transl: wp.array(dtype=t.vec3)
        log_scale: wp.array(dtype=t.scalar)
        coefficients: wp.array2d(dtype=t.scalar)
        energy: wp.array(dtype=t.scalar)
        start_energy: wp.array(dtype=t.scalar)
        converged: wp.array(dtype=wp.int32)
        iterations: wp.array(dtype=wp.int32)

    return Fit


@no_type_check
def _work(t):
    @wp.struct
    class Work:
        mats: wp.array2d(dtype=t.mat33)
        vecs: wp.array2d(dtype=t.vec3)
        quats: wp.array2d(dtype=t.quat)
        nums: wp.array2d(dtype=t.scalar)
        lanes: wp.array3d(dtype=t.wide)  # [thread, row, chunk]
        thin: wp.array3d(dtype=t.scalar)  # the same memory, number by number
        pool: wp.array2d(dtype=t.wide)
        thin_pool: wp.array3d(dtype=t.scalar)

    return Work


# Where the border's matrix begins.
SQUARE = wp.constant(5)
# The kind of joint 0's matrix that answers for the root's place.
ROOT = wp.constant(0)


@no_type_check
@wp.func
def world_row(c: Chain, side: int) -> int:
    """Find the joints' world rotations."""
    return (3 + side) * c.n_joints


@no_type_check
@wp.func
def curvature_row(c: Chain, side: int) -> int:
    """Find the points' curvatures."""
    return 5 * c.n_joints + side * c.n_points


@no_type_check
@wp.func
def root_row(c: Chain) -> int:
    """Find the inverse for the root's place."""
    return 5 * c.n_joints + 2 * c.n_points


@no_type_check
@wp.func
def place_row(c: Chain, side: int) -> int:
    """Find the joints' places."""
    return (5 + side) * c.n_joints


@no_type_check
@wp.func
def angle_row(c: Chain, side: int) -> int:
    """Find the joints' rotation vectors."""
    return (7 + side) * c.n_joints


@no_type_check
@wp.func
def own_row(c: Chain) -> int:
    """Find the gradient or load of the joints' own turns."""
    return 9 * c.n_joints


@no_type_check
@wp.func
def arm_row(c: Chain, side: int) -> int:
    """Find the arms of rigid points."""
    return 10 * c.n_joints + side * c.n_parts


@no_type_check
@wp.func
def gradient_row(c: Chain, side: int) -> int:
    """Find the points' gradients."""
    return 10 * c.n_joints + 2 * c.n_parts + side * c.n_points


@no_type_check
@wp.func
def transl_row(c: Chain, side: int) -> int:
    """Find the translation; the root's step for side 2."""
    return 10 * c.n_joints + 2 * c.n_parts + 2 * c.n_points + side


@no_type_check
@wp.func
def scale_row(c: Chain, side: int) -> int:
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
