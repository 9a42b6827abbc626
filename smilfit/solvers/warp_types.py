"""Warp's types for the chain kernels, in float32 or float64. Imported only where warp is used."""

from functools import cache
from types import SimpleNamespace
from typing import no_type_check

import warp as wp

# What a joint's own rotation does in the fit.
FIXED, MOVES, TURNS_NOTHING = 0, 1, 2


# Checkers of type hints would take a wrapped function for the source of a kernel.
@no_type_check
@cache
def chain_types(scalar, width):
    """Make the structs that a kernel takes, for one float type and one width of the border.

    `Chain` holds what all frames share, `Seen` the observations, `Fit` the state that is read and written in place,
    `Work` the workspace of the threads: [thread, row], its rows named in `warp_rows`.
    """
    t = SimpleNamespace(
        scalar=scalar,
        vec2=wp.types.vector(2, scalar),
        vec3=wp.types.vector(3, scalar),
        mat33=wp.types.matrix((3, 3), scalar),
        quat=wp.types.quaternion(scalar),
        wide=wp.types.vector(width, scalar),
    )
    return SimpleNamespace(**vars(t), Chain=_chain(t), Seen=_seen(t), Fit=_fit(t), Work=_work(t))


@no_type_check
def _chain(t):
    @wp.struct
    class Chain:
        n_frames: int
        n_joints: int
        n_points: int
        n_cameras: int
        n_betas: int  # 0 without shape
        n_border: int  # fitted columns: shape coefficients, then the scale
        fit_betas: int
        fit_scale: int
        fit_transl: int
        has_3d: int
        has_lens: int
        has_dirs: int
        has_columns: int
        has_limits: int
        has_priors: int
        n_graduation: int
        n_iter: int
        ftol: t.scalar
        limit_weight: t.scalar
        log_scale_weight: t.scalar
        parents: wp.array(dtype=wp.int32)
        roles: wp.array(dtype=wp.int32)
        point_joint: wp.array(dtype=wp.int32)
        bones: wp.array2d(dtype=t.vec3)
        dirs: wp.array3d(dtype=t.scalar)
        columns: wp.array2d(dtype=t.wide)  # (J, 3): the same, as wide as the border
        scale_mask: wp.array(dtype=t.wide)  # one row: 1 in the scale's column
        point_offset: wp.array(dtype=t.vec3)
        pose_weight: wp.array(dtype=t.scalar)
        limits: wp.array2d(dtype=t.vec2)
        betas_mean: wp.array(dtype=t.scalar)
        betas_precision: wp.array2d(dtype=t.scalar)
        sharpness3d: wp.array(dtype=t.scalar)  # 1 / sigma^2, 0 for a plain square
        sharpness2d: wp.array(dtype=t.scalar)
        graduation: wp.array(dtype=t.scalar)

    return Chain


@no_type_check
def _seen(t):
    @wp.struct
    class Seen:
        targets: wp.array2d(dtype=t.vec3)
        weights3d: wp.array2d(dtype=t.scalar)
        xy: wp.array3d(dtype=t.vec2)
        weights2d: wp.array3d(dtype=t.scalar)
        intrinsics: wp.array2d(dtype=t.mat33)
        rotation: wp.array2d(dtype=t.mat33)
        translation: wp.array2d(dtype=t.vec3)
        lens: wp.array3d(dtype=t.scalar)
        fold: wp.array2d(dtype=t.scalar)

    return Seen


@no_type_check
def _fit(t):
    @wp.struct
    class Fit:
        rotations: wp.array2d(dtype=t.mat33)
        transl: wp.array(dtype=t.vec3)
        log_scale: wp.array(dtype=t.scalar)
        betas: wp.array2d(dtype=t.scalar)
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
        lanes: wp.array2d(dtype=t.wide)
        thin: wp.array3d(dtype=t.scalar)  # the same memory, number by number

    return Work


def border_width(n_border: int) -> int:
    """Round the border's columns up to whole vectors of a CPU, so that few kernels serve all models."""
    return 8 * -(-n_border // 8) if n_border > 4 else 4


def workspace_rows(n_joints: int, n_points: int, n_betas: int, n_border: int) -> dict[str, int]:
    """Count the rows of a thread's workspace by type."""
    j, k = n_joints, n_points
    return {
        'mats': 5 * j + 2 * k,
        'vecs': 9 * j + 4 * k + 3,
        'quats': 2 * j,
        'nums': 3 * j + 2 * n_betas + 4,
        'lanes': 12 * j + n_border + 2 if n_border > 0 else 0,
    }
