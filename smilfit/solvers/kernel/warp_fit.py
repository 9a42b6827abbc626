"""The whole fit of a frame in one kernel, and the kernel that measures what a state looks like."""

# Warp takes annotations that are values, which no checker reads.
# mypy: disable-error-code="valid-type, name-defined, misc"

from functools import cache
from types import SimpleNamespace
from typing import no_type_check

import warp as wp

from smilfit.solvers.kernel.warp_border import (
    add_border_slopes,
    damp_border,
    factorise_border,
    solve_border,
)
from smilfit.solvers.kernel.warp_elimination import advance, back, eliminate, forward, gather
from smilfit.solvers.kernel.warp_points import count_observations, observe, point_place, project
from smilfit.solvers.kernel.warp_rotations import rotation_vector
from smilfit.solvers.kernel.warp_tree import load, pose, priors, store
from smilfit.solvers.kernel.warp_types import (
    OPTIONS,
    Chain,
    Fit,
    Observed,
    Scalar,
    Work,
    chain_types,
    place_row,
    scale_row,
)


@no_type_check
@cache
def measure_kernel(scalar):
    """Make the struct of the answers and the kernel of one float type; thread and frame are one."""
    t = chain_types(scalar)

    @wp.struct
    class Measured:
        joints: wp.array2d(dtype=t.vec3)
        points: wp.array2d(dtype=t.vec3)
        pixels: wp.array3d(dtype=t.vec2)
        turns: wp.array2d(dtype=t.vec3)

    @wp.kernel(enable_backward=False, module='unique', module_options=OPTIONS)
    def measure(
        c: t.Chain, observed: t.Observed, fit: t.Fit, m: Measured, w: t.Work, n_slots: int, first: int
    ):
        frame = wp.tid() + first
        load(c, fit, w, frame, frame, 0)
        pose(c, w, frame, frame, 0)
        for j in range(c.n_joints):
            m.joints[frame, j] = w.vecs[frame, place_row(c, 0) + j]
            m.turns[frame, j] = rotation_vector(w.quats[frame, j])
        size = wp.exp(w.nums[frame, scale_row(c, 0)])
        for k in range(c.n_points):
            x = point_place(c, w, frame, frame, 0, k, size)
            m.points[frame, k] = x
            for camera in range(c.n_cameras):
                image, _u, _v = project(c, observed, frame, camera, x)
                m.pixels[frame, camera, k] = image

    return SimpleNamespace(Measured=Measured, kernel=measure)


# What the next evaluation of a frame is for.
MEASURE, TRY, FINISH, STOP = (wp.constant(i) for i in range(4))


@no_type_check
@wp.func
def widening(c: Chain, iteration: int):
    """Return the factor on robust sigmas in an iteration."""
    if iteration < c.n_graduation:
        return c.graduation[iteration]
    return type(c.ftol)(1.0)


@no_type_check
@wp.func
def propose(c: Chain, w: Work, slot: int, side: int, mu: Scalar):
    """Put the damped step's state on the other side; return the predicted reduction."""
    gather(c, w, slot, side)
    eliminate(c, w, slot, side, mu)
    if c.n_border > 0:
        add_border_slopes(c, w, slot, side)
        damp_border(c, w, slot, mu)
        factorise_border(c, w, slot)
    zero = type(mu)(0.0)
    predicted = forward(c, w, slot, side, wp.vector(zero, zero, zero))
    if c.n_border > 0:
        predicted += solve_border(c, w, slot)
    predicted += back(c, w, slot, side, mu, c.policy.longest_rotation)
    advance(c, w, slot, side)
    return predicted


@no_type_check
@wp.func
def next_damping(c: Chain, accept: bool, mu: Scalar, growth: Scalar, quality: Scalar):
    """Return the next step's damping; `damping.next_damping` is its twin."""
    one, two = type(mu)(1.0), type(mu)(2.0)
    result = wp.max(mu, c.policy.least_rejected) * growth
    if accept:
        q = two * wp.clamp(quality, type(mu)(0.0), one) - one
        result = mu * wp.max(one - q * q * q, c.policy.best)
    return wp.clamp(result, c.policy.least, c.policy.most)


@no_type_check
@wp.func
def has_converged(
    c: Chain, accept: bool, mu: Scalar, energy: Scalar, reduction: Scalar, predicted: Scalar
) -> bool:
    """Check whether a frame has converged; `damping.ended` is its twin."""
    if accept:
        one = type(mu)(1.0)
        quality = wp.clamp(reduction / wp.max(predicted, type(mu)(1e-30)), one, c.policy.loosest)
        kept = (quality - one) * (quality - one)
        left = wp.max(wp.max(reduction, predicted - reduction), reduction * kept / (one - kept))
        return left <= c.ftol * energy and mu < c.policy.max_converged
    return predicted <= c.policy.rounding * energy


@no_type_check
@wp.func
def fit_frame(c: Chain, observed: Observed, fit: Fit, w: Work, slot: int, frame: int):
    """Fit one frame. Every part stands here once: it is inlined, and its compilation is waited for."""
    load(c, fit, w, slot, frame, 0)
    task = wp.int32(MEASURE)
    side = wp.int32(0)
    iteration = wp.int32(0)
    converged = wp.int32(0)
    energy = type(c.ftol)(0.0)
    predicted = type(c.ftol)(0.0)
    mu = type(c.ftol)(c.policy.start)
    growth = type(c.ftol)(c.policy.rejected)
    wide = widening(c, 0)
    if count_observations(c, observed, frame) == 0:
        task = FINISH
        wide = type(c.ftol)(1.0)
    while task != STOP:
        at = side
        if task == TRY:
            predicted = propose(c, w, slot, side, mu)
            at = 1 - side
        pose(c, w, slot, frame, at)
        value = observe(c, observed, w, slot, frame, at, wide) + priors(c, w, slot, at)
        ends = bool(False)  # noqa: UP018 (a variable of the kernel, no constant)
        before = wide
        if task == TRY:
            reduction = energy - value
            # A tried state that is not finite fails the comparison.
            accept = reduction >= type(c.ftol)(0.0)
            if iteration >= c.n_graduation and has_converged(c, accept, mu, energy, reduction, predicted):
                converged = 1
            mu = next_damping(c, accept, mu, growth, reduction / wp.max(predicted, type(c.ftol)(1e-30)))
            iteration += 1
            wide = widening(c, iteration)
            ends = converged == 1 or iteration >= c.n_iter
            if accept:
                growth = c.policy.rejected
                side = 1 - side
                energy = value
            else:
                growth = growth * type(c.ftol)(2.0)
                ends = ends or (iteration > c.n_graduation and mu >= c.policy.most)
        else:
            energy = value
            if iteration == 0:
                fit.start_energy[frame] = value
            ends = task == FINISH or iteration >= c.n_iter or not wp.isfinite(value)
            if task == FINISH:
                before = type(c.ftol)(1.0)
        if ends:
            wide = type(c.ftol)(1.0)
        if wide != before:
            task = wp.where(ends, FINISH, MEASURE)
        else:
            task = wp.where(ends, STOP, TRY)
    if iteration > 0:
        store(c, fit, w, slot, frame, side)
    fit.energy[frame] = energy
    fit.converged[frame] = converged
    fit.iterations[frame] = iteration


@no_type_check
@cache
def fit_kernel(scalar):
    """Make the kernel of one float type."""
    t = chain_types(scalar)

    @wp.kernel(enable_backward=False, module='unique', module_options=OPTIONS)
    def fit_frames(c: t.Chain, observed: t.Observed, fit: t.Fit, w: t.Work, n_slots: int, first: int):
        slot = wp.tid() + first
        frame = wp.int32(slot)
        while frame < c.n_frames:
            fit_frame(c, observed, fit, w, slot, frame)
            frame += n_slots

    return fit_frames
