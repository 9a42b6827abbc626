"""The tree itself: a state's places and priors, and a state read from and written to the caller's tensors."""

from functools import cache
from types import SimpleNamespace
from typing import no_type_check

import warp as wp

from smilfit.solvers.warp_angles import angle_functions
from smilfit.solvers.warp_rows import row_functions
from smilfit.solvers.warp_types import FIXED, chain_types

FIXED_JOINT = wp.constant(FIXED)


@no_type_check
@cache
def tree_functions(scalar, width):
    """Make the functions of a tree for one float type and width of the border."""
    t, rows = chain_types(scalar, width), row_functions(scalar, width)
    load, store = _load_and_store(t, rows)
    return SimpleNamespace(
        turned=_turned(t, scalar),
        pose=_pose(t, rows),
        priors=_priors(t, rows, scalar, width),
        load=load,
        store=store,
    )


@no_type_check
def _turned(t, scalar):
    vec3, quat = t.vec3, t.quat

    @wp.func
    def turned(q: quat, w: vec3) -> quat:
        """Turn by the rotation vector w, seen from the parent; of unit length again."""
        angle = wp.length(w)
        half = scalar(0.5)
        # sin(a / 2) / a by its series where it is the better one.
        factor = half - angle * angle / scalar(48.0)
        if angle > scalar(1e-2):
            factor = wp.sin(half * angle) / angle
        step = quat(w[0] * factor, w[1] * factor, w[2] * factor, wp.cos(half * angle))
        return wp.normalize(step * q)

    return turned


@no_type_check
def _pose(t, rows):
    vec3, Chain, Work = t.vec3, t.Chain, t.Work

    @wp.func
    def bone(c: Chain, w: Work, slot: int, frame: int, side: int, j: int) -> vec3:
        v = c.bones[wp.min(frame, c.bones.shape[0] - 1), j]
        if c.has_dirs == 1:
            for i in range(c.n_betas):
                beta = w.nums[slot, rows.betas_row(c, side) + i]
                v = v + beta * vec3(c.dirs[j, 0, i], c.dirs[j, 1, i], c.dirs[j, 2, i])
        return v

    @wp.func
    def pose(c: Chain, w: Work, slot: int, frame: int, side: int):
        """Compute the world rotations and places of all joints of a state."""
        size = wp.exp(w.nums[slot, rows.scale_row(c, side)])
        turn, place = rows.world_row(c, side), rows.place_row(c, side)
        first = size * bone(c, w, slot, frame, side, 0)
        w.vecs[slot, place] = first + w.vecs[slot, rows.transl_row(c, side)]
        w.mats[slot, turn] = wp.quat_to_matrix(w.quats[slot, side * c.n_joints])
        for j in range(1, c.n_joints):
            p = c.parents[j]
            parent_turn = w.mats[slot, turn + p]
            arm = size * (parent_turn * bone(c, w, slot, frame, side, j))
            w.vecs[slot, place + j] = w.vecs[slot, place + p] + arm
            w.mats[slot, turn + j] = parent_turn * wp.quat_to_matrix(w.quats[slot, side * c.n_joints + j])

    return pose


@no_type_check
def _priors(t, rows, scalar, width):
    Chain, Work = t.Chain, t.Work
    angles = angle_functions(scalar, width)

    @wp.func
    def pose_prior(c: Chain, w: Work, slot: int, side: int) -> scalar:
        """Compute the energy of angles; keep the rotation vectors where they count."""
        energy = scalar(0.0)
        for j in range(c.n_joints):
            weight = c.pose_weight[j]
            if c.has_limits == 1 or weight > scalar(0.0):
                theta = angles.rotation_vector(w.quats[slot, side * c.n_joints + j])
                w.vecs[slot, rows.angle_row(c, side) + j] = theta
                energy += weight * wp.dot(theta, theta)
                if c.has_limits == 1:
                    for i in range(3):
                        over = angles.violation(theta[i], c.limits[j, i][0], c.limits[j, i][1])
                        energy += c.limit_weight * over * over
        return energy

    @wp.func
    def priors(c: Chain, w: Work, slot: int, side: int) -> scalar:
        """Compute the energy of what is known beforehand."""
        energy = scalar(0.0)
        if c.has_priors == 1:
            energy = pose_prior(c, w, slot, side)
        for i in range(c.betas_precision.shape[0]):
            di = w.nums[slot, rows.betas_row(c, side) + i] - c.betas_mean[i]
            for k in range(c.betas_precision.shape[0]):
                dk = w.nums[slot, rows.betas_row(c, side) + k] - c.betas_mean[k]
                energy += di * c.betas_precision[i, k] * dk
        s = w.nums[slot, rows.scale_row(c, side)]
        return energy + c.log_scale_weight * s * s

    return priors


@no_type_check
def _load_and_store(t, rows):
    Chain, Fit, Work = t.Chain, t.Fit, t.Work

    @wp.func
    def load(c: Chain, fit: Fit, w: Work, slot: int, frame: int):
        """Read a frame's start into side 0."""
        for j in range(c.n_joints):
            w.quats[slot, j] = wp.normalize(wp.quat_from_matrix(fit.rotations[frame, j]))
        w.vecs[slot, rows.transl_row(c, 0)] = fit.transl[frame]
        w.nums[slot, rows.scale_row(c, 0)] = fit.log_scale[frame]
        for i in range(c.n_betas):
            w.nums[slot, rows.betas_row(c, 0) + i] = fit.betas[frame, i]

    @wp.func
    def store(c: Chain, fit: Fit, w: Work, slot: int, frame: int, side: int):
        """Write what was free; what was not keeps its bits."""
        for j in range(c.n_joints):
            if c.roles[j] != FIXED_JOINT:
                fit.rotations[frame, j] = wp.quat_to_matrix(w.quats[slot, side * c.n_joints + j])
        if c.fit_transl == 1:
            fit.transl[frame] = w.vecs[slot, rows.transl_row(c, side)]
        if c.fit_scale == 1:
            fit.log_scale[frame] = w.nums[slot, rows.scale_row(c, side)]
        if c.fit_betas == 1:
            for i in range(c.n_betas):
                fit.betas[frame, i] = w.nums[slot, rows.betas_row(c, side) + i]

    return load, store
