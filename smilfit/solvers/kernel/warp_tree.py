"""The tree itself: a state's places and priors, and a state read from and written to the caller's tensors."""

from typing import no_type_check

import warp as wp

from smilfit.solvers.kernel.warp_rotations import beyond_angles, rotation_vector, violation
from smilfit.solvers.kernel.warp_types import (
    FIXED,
    LANES,
    Chain,
    Fit,
    Work,
    angle_row,
    coefficient_row,
    place_row,
    scale_row,
    transl_row,
    world_row,
)

CHUNK = wp.constant(LANES)


@no_type_check
@wp.func
def bone(c: Chain, w: Work, slot: int, frame: int, side: int, j: int):
    """Return a joint's offset from its parent, model unit."""
    v = c.bones[wp.min(frame, c.bones.shape[0] - 1), j]
    if c.has_dirs == 1:
        for n in range(c.dirs_start[j], c.dirs_start[j + 1]):
            i = c.dirs_chunk[n]
            z = w.lanes[slot, coefficient_row(side), i]
            v = v + wp.vector(
                wp.dot(z, c.dirs[j, 0, i]), wp.dot(z, c.dirs[j, 1, i]), wp.dot(z, c.dirs[j, 2, i])
            )
    return v


@no_type_check
@wp.func
def pose(c: Chain, w: Work, slot: int, frame: int, side: int):
    """Compute the world rotations and places of all joints of a state."""
    size = wp.exp(w.nums[slot, scale_row(c, side)])
    rotation, place = world_row(c, side), place_row(c, side)
    w.vecs[slot, place] = size * bone(c, w, slot, frame, side, 0) + w.vecs[slot, transl_row(c, side)]
    w.mats[slot, rotation] = wp.quat_to_matrix(w.quats[slot, side * c.n_joints])
    for j in range(1, c.n_joints):
        p = c.parents[j]
        parent_rotation = w.mats[slot, rotation + p]
        arm = size * (parent_rotation * bone(c, w, slot, frame, side, j))
        w.vecs[slot, place + j] = w.vecs[slot, place + p] + arm
        w.mats[slot, rotation + j] = parent_rotation * wp.quat_to_matrix(w.quats[slot, side * c.n_joints + j])


@no_type_check
@wp.func
def pose_prior(c: Chain, w: Work, slot: int, side: int):
    """Compute the energy of angles; keep the rotation vectors where they count."""
    energy = type(c.ftol)(0.0)
    for j in range(c.n_joints):
        weight = c.pose_weight[j]
        if c.has_limits == 1 or weight > type(c.ftol)(0.0):
            theta = rotation_vector(w.quats[slot, side * c.n_joints + j])
            w.vecs[slot, angle_row(c, side) + j] = theta
            energy += weight * wp.dot(theta, theta)
            if c.has_limits == 1:
                over = beyond_angles(c, theta, j)
                energy += c.limit_weight * wp.dot(over, over)
    return energy


@no_type_check
@wp.func
def prior_slope(c: Chain, w: Work, slot: int, side: int, i: int):
    """Compute the i-th row of precision (c - mean)."""
    slope = type(c.ftol)(0.0)
    for n in range(c.prior_start[i], c.prior_start[i + 1]):
        k = c.prior_chunk[n]
        slope += wp.dot(c.precision[i, k], w.lanes[slot, coefficient_row(side), k] - c.mean[k])
    return slope


@no_type_check
@wp.func
def beyond_limits(c: Chain, w: Work, slot: int, side: int, i: int):
    """Report by how much the i-th coefficient is out of its limits."""
    limits = c.coefficient_limits[i]
    return violation(w.thin[slot, coefficient_row(side), i], limits[0], limits[1])


@no_type_check
@wp.func
def priors(c: Chain, w: Work, slot: int, side: int):
    """Compute the energy of what is known beforehand."""
    energy = type(c.ftol)(0.0)
    if c.has_priors == 1:
        energy = pose_prior(c, w, slot, side)
    for i in range(c.n_priors):
        away = w.thin[slot, coefficient_row(side), i] - c.mean[i // CHUNK][i % CHUNK]
        energy += away * prior_slope(c, w, slot, side, i)
    for i in range(c.n_limits):
        over = beyond_limits(c, w, slot, side, i)
        energy += c.coefficient_limit_weight[i] * over * over
    s = w.nums[slot, scale_row(c, side)]
    return energy + c.log_scale_weight * s * s


@no_type_check
@wp.func
def load(c: Chain, fit: Fit, w: Work, slot: int, frame: int, side: int):
    """Read a frame's state."""
    for j in range(c.n_joints):
        w.quats[slot, side * c.n_joints + j] = wp.normalize(wp.quat_from_matrix(fit.rotations[frame, j]))
    w.vecs[slot, transl_row(c, side)] = fit.transl[frame]
    w.nums[slot, scale_row(c, side)] = fit.log_scale[frame]
    # What is left of the last vector is multiplied by zeros, and must be a number.
    for i in range(c.n_chunks):
        w.lanes[slot, coefficient_row(side), i] = c.scale_mask[i] * type(c.ftol)(0.0)
    for i in range(c.n_coefficients):
        w.thin[slot, coefficient_row(side), i] = fit.coefficients[frame, i]


@no_type_check
@wp.func
def store(c: Chain, fit: Fit, w: Work, slot: int, frame: int, side: int):
    """Write what was free; what was not keeps its bits."""
    for j in range(c.n_joints):
        if c.roles[j] != FIXED:
            fit.rotations[frame, j] = wp.quat_to_matrix(w.quats[slot, side * c.n_joints + j])
    if c.fit_transl == 1:
        fit.transl[frame] = w.vecs[slot, transl_row(c, side)]
    if c.fit_scale == 1:
        fit.log_scale[frame] = w.nums[slot, scale_row(c, side)]
    for i in range(c.n_fitted):
        fit.coefficients[frame, c.fitted[i]] = w.thin[slot, coefficient_row(side), c.fitted[i]]
