"""The kernels of a tree's single steps: energies, factors, substitutions and the states after a step.

The accepted state stands on side 0 of a frame's workspace, together with its factor; side 1 serves for energies of
other states. Loads and extra quadratics come as they are of the energy; inside all is halved.
"""

# Warp takes annotations that are values, which no checker reads.
# mypy: disable-error-code="valid-type, name-defined, misc"

from functools import cache
from types import SimpleNamespace
from typing import no_type_check

import warp as wp

from smilfit.solvers.kernel.warp_border import (
    add_border_slopes,
    border_rise,
    damp_border,
    factorise_border,
    solve_border,
)
from smilfit.solvers.kernel.warp_elimination import advance, back, eliminate, forward, gather
from smilfit.solvers.kernel.warp_points import observe
from smilfit.solvers.kernel.warp_tree import load, pose, priors, store
from smilfit.solvers.kernel.warp_types import (
    FIXED,
    OPTIONS,
    Chain,
    Extra,
    Factor,
    Fit,
    Observed,
    Scalar,
    Work,
    chain_types,
    own_row,
    pivot_row,
    side_row,
    square_row,
    transl_row,
    wide_row,
)

# Parts of a solution: from the loads to the border and back; and what the damping takes of it.
FORWARD, BACK, DAMPING = (wp.constant(i) for i in (1, 2, 4))


@no_type_check
@wp.func
def add_joint_quadratic(c: Chain, w: Work, slot: int, frame: int, e: Extra):
    """Add what torch knows of the joints' twists, and of their masses for the damping."""
    jn = c.n_joints
    half = type(c.ftol)(0.5)
    for j in range(c.n_joints):
        g = e.joint_gradient
        w.vecs[slot, j] = w.vecs[slot, j] + half * wp.vector(g[frame, j, 0], g[frame, j, 1], g[frame, j, 2])
        w.vecs[slot, jn + j] = w.vecs[slot, jn + j] + half * wp.vector(
            g[frame, j, 3], g[frame, j, 4], g[frame, j, 5]
        )
        rotation = w.mats[slot, j]
        mixed = w.mats[slot, jn + j]
        shift = w.mats[slot, 2 * jn + j]
        zero = half * type(c.ftol)(0.0)
        second = type(c.ftol)(0.0)
        mass = type(c.ftol)(0.0)
        for a in range(3):
            second += half * half * e.joint_hessian[frame, j, a, a]
            mass += half * e.joint_hessian[frame, j, 3 + a, 3 + a] / type(c.ftol)(3.0)
            for b in range(3):
                rotation[a, b] = rotation[a, b] + half * e.joint_hessian[frame, j, a, b]
                mixed[a, b] = mixed[a, b] + half * e.joint_hessian[frame, j, a, 3 + b]
                shift[a, b] = shift[a, b] + half * e.joint_hessian[frame, j, 3 + a, 3 + b]
        w.mats[slot, j] = rotation
        w.mats[slot, jn + j] = mixed
        w.mats[slot, 2 * jn + j] = shift
        w.nums[slot, j] = w.nums[slot, j] + wp.max(mass, zero)
        w.nums[slot, jn + j] = w.nums[slot, jn + j] + wp.max(second, zero)


@no_type_check
@wp.func
def add_border_quadratic(c: Chain, w: Work, slot: int, frame: int, e: Extra):
    """Add what torch knows of the border."""
    half = type(c.ftol)(0.5)
    for k in range(c.n_chunks):
        if e.border_gradient.shape[0] > 0:
            w.lanes[slot, side_row(), k] = w.lanes[slot, side_row(), k] + half * e.border_gradient[frame, k]
        if e.border_hessian.shape[0] > 0:
            for i in range(c.n_border):
                row = square_row() + i
                w.lanes[slot, row, k] = w.lanes[slot, row, k] + half * e.border_hessian[frame, i, k]
    if e.border_cross.shape[0] > 0:
        for j in range(c.n_joints):
            for n in range(c.chunk_start[j], c.chunk_start[j + 1]):
                for a in range(6):
                    at = wide_row(0, n) + a
                    w.pool[slot, at] = w.pool[slot, at] + half * e.border_cross[frame, j, a, c.chunk[n]]


@no_type_check
@wp.func
def write_gradient(c: Chain, w: Work, slot: int, frame: int, f: Factor):
    """Return the gradient as loads; that of the joints' own turns is known after the elimination."""
    two = type(c.ftol)(2.0)
    for j in range(c.n_joints):
        f.moment[frame, j] = two * w.vecs[slot, j]
        f.force[frame, j] = two * w.vecs[slot, c.n_joints + j]
    for k in range(c.n_chunks):
        if c.n_border > 0:
            f.border[frame, k] = two * w.lanes[slot, side_row(), k]


@no_type_check
@wp.func
def factorise_frame(c: Chain, observed: Observed, fit: Fit, f: Factor, e: Extra, w: Work, frame: int):
    """Linearise and factorise a frame; a frame whose energy is not finite gets none."""
    load(c, fit, w, frame, frame, 0)
    pose(c, w, frame, frame, 0)
    energy = observe(c, observed, w, frame, frame, 0, f.widening) + priors(c, w, frame, 0)
    fit.energy[frame] = energy
    if wp.isfinite(energy):
        gather(c, w, frame, 0)
        if e.joint_gradient.shape[0] > 0:
            add_joint_quadratic(c, w, frame, frame, e)
        if c.n_border > 0:
            add_border_slopes(c, w, frame, 0)
            add_border_quadratic(c, w, frame, frame, e)
        write_gradient(c, w, frame, frame, f)
        eliminate(c, w, frame, 0, f.mu[frame])
        for j in range(c.n_joints):
            f.torque[frame, j] = type(c.ftol)(2.0) * w.vecs[frame, own_row(c) + j]
        if f.shared == 1:
            # The damping of a border of all frames is no single frame's.
            for k in range(c.n_chunks):
                w.lanes[frame, pivot_row(), k] = c.scale_mask[k] * type(c.ftol)(0.0)
        elif c.n_border > 0:
            damp_border(c, w, frame, f.mu[frame])
            factorise_border(c, w, frame)


@no_type_check
@wp.func
def solve_forward(c: Chain, f: Factor, w: Work, frame: int):
    """Bring the loads to the border; one of all frames is solved for outside."""
    half = type(c.ftol)(-0.5)
    for j in range(c.n_joints):
        w.vecs[frame, j] = half * f.moment[frame, j]
        w.vecs[frame, c.n_joints + j] = half * f.force[frame, j]
        w.vecs[frame, own_row(c) + j] = half * f.torque[frame, j]
    if c.n_border > 0:
        for k in range(c.n_chunks):
            w.lanes[frame, side_row(), k] = half * f.border[frame, k]
    predicted = forward(c, w, frame, 0, half * f.transl[frame])
    if c.n_border > 0:
        if f.shared == 1:
            for k in range(c.n_chunks):
                f.side[frame, k] = w.lanes[frame, side_row(), k]
        else:
            predicted += solve_border(c, w, frame)
    f.predicted[frame] = predicted


@no_type_check
@wp.func
def solve_back(c: Chain, f: Factor, w: Work, frame: int, longest: Scalar):
    """Follow the border's step to the joints; the predicted reduction is that of whole steps alone."""
    if c.n_border > 0:
        if f.shared == 1:
            if wp.isfinite(longest):
                f.predicted[frame] = f.predicted[frame] - border_rise(c, w, frame, f, frame)
            for k in range(c.n_chunks):
                w.lanes[frame, side_row(), k] = f.border[frame, k]
        else:
            for k in range(c.n_chunks):
                f.border[frame, k] = w.lanes[frame, side_row(), k]
    f.predicted[frame] = f.predicted[frame] + back(c, w, frame, 0, f.mu[frame], longest)
    for j in range(c.n_joints):
        f.turns[frame, j] = w.vecs[frame, j]
        f.angular[frame, j] = w.vecs[frame, 3 * c.n_joints + j]
        f.velocity[frame, j] = w.vecs[frame, 4 * c.n_joints + j]
    f.shift[frame] = w.vecs[frame, transl_row(c, 2)]


@no_type_check
@wp.func
def damping_power(c: Chain, f: Factor, w: Work, frame: int):
    """Compute `m^T D m` of the damping D and a motion m, which stands where the answer does."""
    taken = f.mu[frame] * w.nums[frame, 0] * wp.dot(f.shift[frame], f.shift[frame])
    for j in range(c.n_joints):
        if c.roles[j] != FIXED:
            rotation = f.turns[frame, j]
            taken += w.nums[frame, 2 * c.n_joints + j] * wp.dot(rotation, rotation)
    for k in range(c.n_chunks):
        if c.n_border > 0:
            z = f.border[frame, k]
            taken += wp.dot(z, wp.cw_mul(w.lanes[frame, pivot_row(), k], z))
    return taken


@no_type_check
def _step_types(t):
    """Make what the kernels take: `Factor` holds loads, answers and gradients, `Extra` what torch computed."""

    @wp.struct
    class Factor:
        shared: int
        widening: t.scalar
        mu: wp.array(dtype=t.scalar)
        active: wp.array(dtype=wp.int32)
        predicted: wp.array(dtype=t.scalar)
        force: wp.array2d(dtype=t.vec3)
        moment: wp.array2d(dtype=t.vec3)
        torque: wp.array2d(dtype=t.vec3)
        transl: wp.array(dtype=t.vec3)
        shift: wp.array(dtype=t.vec3)  # the root's, which answers
        border: wp.array2d(dtype=t.wide)
        side: wp.array2d(dtype=t.wide)
        turns: wp.array2d(dtype=t.vec3)
        angular: wp.array2d(dtype=t.vec3)
        velocity: wp.array2d(dtype=t.vec3)

    @wp.struct
    class Extra:
        joint_gradient: wp.array3d(dtype=t.scalar)
        joint_hessian: wp.array4d(dtype=t.scalar)
        border_cross: wp.array4d(dtype=t.wide)
        border_gradient: wp.array2d(dtype=t.wide)
        border_hessian: wp.array3d(dtype=t.wide)

    return Factor, Extra


@no_type_check
@cache
def step_kernels(scalar):
    """Make the structs and kernels of one float type; thread and frame are one."""
    t = chain_types(scalar)
    Factor, Extra = _step_types(t)

    @wp.kernel(enable_backward=False, module='unique', module_options=OPTIONS)
    def energies(
        c: t.Chain, observed: t.Observed, fit: t.Fit, f: Factor, w: t.Work, n_slots: int, first: int
    ):
        frame = wp.tid() + first
        load(c, fit, w, frame, frame, 1)
        pose(c, w, frame, frame, 1)
        fit.energy[frame] = observe(c, observed, w, frame, frame, 1, f.widening) + priors(c, w, frame, 1)

    @wp.kernel(enable_backward=False, module='unique', module_options=OPTIONS)
    def factorise(
        c: t.Chain,
        observed: t.Observed,
        fit: t.Fit,
        f: Factor,
        e: Extra,
        w: t.Work,
        n_slots: int,
        first: int,
    ):
        frame = wp.tid() + first
        if f.active[frame] != 0:
            factorise_frame(c, observed, fit, f, e, w, frame)

    @wp.kernel(enable_backward=False, module='unique', module_options=OPTIONS)
    def solve(c: t.Chain, f: Factor, part: int, longest: t.scalar, w: t.Work, n_slots: int, first: int):
        frame = wp.tid() + first
        if f.active[frame] != 0:
            if (part & FORWARD) != 0:
                solve_forward(c, f, w, frame)
            if (part & BACK) != 0:
                solve_back(c, f, w, frame, longest)
            if part == DAMPING:
                f.predicted[frame] = damping_power(c, f, w, frame)

    @wp.kernel(enable_backward=False, module='unique', module_options=OPTIONS)
    def follow(c: t.Chain, fit: t.Fit, f: Factor, w: t.Work, n_slots: int, first: int):
        frame = wp.tid() + first
        load(c, fit, w, frame, frame, 1)
        pose(c, w, frame, frame, 1)
        for j in range(c.n_joints):
            w.vecs[frame, j] = f.turns[frame, j]
        w.vecs[frame, transl_row(c, 2)] = f.shift[frame]
        if c.n_border > 0:
            for k in range(c.n_chunks):
                w.lanes[frame, side_row(), k] = f.border[frame, k]
        advance(c, w, frame, 1)
        store(c, fit, w, frame, frame, 0)

    return SimpleNamespace(
        Factor=Factor, Extra=Extra, energies=energies, factorise=factorise, solve=solve, follow=follow
    )
