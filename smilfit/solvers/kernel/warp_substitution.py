"""A factorised tree's answer to loads: from the leaves to the border, and back from it to a step."""

from typing import Any, no_type_check

import warp as wp

from smilfit.solvers.kernel.warp_border import add_loads, by_step, move_border
from smilfit.solvers.kernel.warp_elimination import parent_turn
from smilfit.solvers.kernel.warp_rotations import turned
from smilfit.solvers.kernel.warp_rows import (
    ROOT,
    own_row,
    pivot_row,
    place_row,
    root_row,
    side_row,
    transl_row,
)
from smilfit.solvers.kernel.warp_types import FIXED, MOVES


@no_type_check
@wp.func
def forward(c: Any, w: Any, slot: int, side: int, transl_load: Any):
    """Reduce loads to the border's right-hand side; return load^T factor^-1 load."""
    jn, place = c.n_joints, place_row(c, side)
    value = type(c.ftol)(0.0)
    for up in range(jn):
        j = jn - 1 - up
        torque = w.vecs[slot, j]
        force = w.vecs[slot, jn + j]
        load = w.vecs[slot, own_row(c) + j]
        if c.roles[j] == MOVES:
            load = load + torque
            torque = torque - wp.transpose(w.mats[slot, j]) * load
            force = force - wp.transpose(w.mats[slot, jn + j]) * load
        if c.roles[j] != FIXED:
            answer = w.mats[slot, 2 * jn + j] * load
            value += wp.dot(load, answer)
            w.vecs[slot, j] = answer
        if c.n_border > 0:
            add_loads(c, w, slot, j, 3, force)
            if c.roles[j] == MOVES:
                add_loads(c, w, slot, j, 2, -load)
        if j > 0:
            p = c.parents[j]
            d = w.vecs[slot, place + j] - w.vecs[slot, place + p]
            w.vecs[slot, p] = w.vecs[slot, p] + torque + wp.cross(d, force)
            w.vecs[slot, jn + p] = w.vecs[slot, jn + p] + force
        else:
            load = force + transl_load
            answer = w.mats[slot, root_row(c)] * load
            value += wp.dot(load, answer)
            w.vecs[slot, transl_row(c, 2)] = answer
            if c.n_border > 0:
                add_loads(c, w, slot, 0, ROOT, -load)
    return value


@no_type_check
@wp.func
def back(c: Any, w: Any, slot: int, side: int, mu: Any, longest: Any):
    """Follow the border's step to the root's and all joints' turns; return what the damping takes.

    A joint turns by `longest` at most; those beyond it make up for the rest.
    """
    jn, place = c.n_joints, place_row(c, side)
    shift = -w.vecs[slot, transl_row(c, 2)]
    taken = type(mu)(0.0)
    if c.n_border > 0:
        shift = shift - by_step(c, w, slot, 0, ROOT)
        for i in range(c.n_border):
            z = w.thin[slot, side_row(), i]
            taken += w.thin[slot, pivot_row(), i] * z * z
    w.vecs[slot, transl_row(c, 2)] = shift
    taken += mu * w.nums[slot, 0] * wp.dot(shift, shift)
    zero = type(mu)(0.0)
    for j in range(jn):
        omega = wp.vector(zero, zero, zero)
        v = shift
        if j > 0:
            p = c.parents[j]
            omega = w.vecs[slot, 3 * jn + p]
            v = w.vecs[slot, 4 * jn + p] + wp.cross(omega, w.vecs[slot, place + j] - w.vecs[slot, place + p])
        if c.n_border > 0:
            v = v + by_step(c, w, slot, j, 3)
        rotation = wp.vector(zero, zero, zero)
        if c.roles[j] != FIXED:
            rotation = -w.vecs[slot, j]
            if c.roles[j] == MOVES:
                rotation = rotation - w.mats[slot, j] * omega - w.mats[slot, jn + j] * v
                if c.n_border > 0:
                    rotation = rotation - by_step(c, w, slot, j, 2)
            length = wp.length(rotation)
            if length > longest:
                rotation = rotation * (longest / length)
            taken += w.nums[slot, 2 * jn + j] * wp.dot(rotation, rotation)
        w.vecs[slot, j] = rotation
        w.vecs[slot, 3 * jn + j] = omega + rotation
        w.vecs[slot, 4 * jn + j] = v
    return taken


@no_type_check
@wp.func
def advance(c: Any, w: Any, slot: int, side: int):
    """Put the state after the step on the other side."""
    jn = c.n_joints
    for j in range(jn):
        q = w.quats[slot, side * jn + j]
        if c.roles[j] != FIXED:
            q = turned(q, wp.transpose(parent_turn(c, w, slot, side, j)) * w.vecs[slot, j])
        w.quats[slot, (1 - side) * jn + j] = q
    w.vecs[slot, transl_row(c, 1 - side)] = w.vecs[slot, transl_row(c, side)] + w.vecs[slot, transl_row(c, 2)]
    move_border(c, w, slot, side)
