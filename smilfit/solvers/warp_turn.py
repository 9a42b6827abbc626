"""One joint's turn: what holds it, and its elimination from what stands below it."""

from functools import cache
from types import SimpleNamespace
from typing import no_type_check

import warp as wp

from smilfit.solvers.warp_angles import angle_functions
from smilfit.solvers.warp_rows import row_functions
from smilfit.solvers.warp_small import small_functions
from smilfit.solvers.warp_tree import FIXED_JOINT
from smilfit.solvers.warp_types import MOVES, chain_types

MOVING_JOINT = wp.constant(MOVES)


@no_type_check
@cache
def turn_functions(scalar, width):
    """Make the functions and the struct of a joint for one float type and width of the border."""
    t = chain_types(scalar, width)
    vec3, mat33 = t.vec3, t.mat33

    @wp.struct
    class Joint:
        """The quadratic in a joint's twist that is handed to its parent, and how its turn was eliminated."""

        rotates: int
        inverse: mat33  # of the turn's damped curvature
        hold: mat33  # prior, limits and damping of the turn
        mixed_before: mat33
        turn: mat33
        mixed: mat33
        shift: mat33
        torque: vec3
        force: vec3
        promised: scalar

    @wp.struct
    class Resistance:
        """What priors and limits of a turn hold, and how they pull at it."""

        hold: mat33
        pull: vec3

    parent_turn, resistance = _resistance(t, Resistance, scalar, width)
    eliminate_turn = _elimination(t, Joint, resistance, scalar, width)
    return SimpleNamespace(Joint=Joint, parent_turn=parent_turn, eliminate_turn=eliminate_turn)


@no_type_check
def _resistance(t, Resistance, scalar, width):
    rows, angles = row_functions(scalar, width), angle_functions(scalar, width)
    mat33, Chain, Work = t.mat33, t.Chain, t.Work

    @wp.func
    def parent_turn(c: Chain, w: Work, slot: int, side: int, j: int) -> mat33:
        if j == 0:
            return wp.identity(3, scalar)
        return w.mats[slot, rows.world_row(c, side) + c.parents[j]]

    @wp.func
    def resistance(c: Chain, w: Work, slot: int, side: int, j: int) -> Resistance:
        r = Resistance()
        if c.has_priors == 1:
            zero = scalar(0.0)
            weight = c.pose_weight[j]
            if c.has_limits == 1 or weight > zero:
                turn = parent_turn(c, w, slot, side, j)
                theta = w.vecs[slot, rows.angle_row(c, side) + j]
                r.pull = weight * (turn * theta)
                r.hold = weight * angles.angle_curvature(turn * theta)
                if c.has_limits == 1:
                    over = angles.limit_gradient(c, theta, j)
                    if wp.dot(over, over) > zero:
                        axes = angles.limit_axes(c, theta, over, turn)
                        r.hold = r.hold + c.limit_weight * (wp.transpose(axes) * axes)
                        r.pull = r.pull + wp.transpose(axes) * over
        return r

    return parent_turn, resistance


@no_type_check
def _elimination(t, Joint, resistance, scalar, width):
    small = small_functions(scalar, width)
    vec3, Chain, Work = t.vec3, t.Chain, t.Work

    @wp.func
    def eliminate_turn(c: Chain, w: Work, slot: int, side: int, j: int, mu: scalar, floor: scalar) -> Joint:
        """Minimise a joint's quadratic over its own turn; what the way back needs stays in the workspace."""
        jn = c.n_joints
        joint = Joint()
        joint.turn = w.mats[slot, j]
        joint.mixed = w.mats[slot, jn + j]
        joint.shift = w.mats[slot, 2 * jn + j]
        joint.torque = w.vecs[slot, j]
        joint.force = w.vecs[slot, jn + j]
        joint.mixed_before = joint.mixed
        if c.roles[j] != FIXED_JOINT:
            r = resistance(c, w, slot, side, j)
            stiff = mu * (w.nums[slot, jn + j] + wp.trace(r.hold)) + floor
            w.nums[slot, 2 * jn + j] = stiff
            joint.hold = r.hold + wp.diag(vec3(stiff, stiff, stiff))
            if c.roles[j] == MOVING_JOINT:
                joint.rotates = 1
                joint.inverse = small.inverse_spd(joint.turn + joint.hold)
                load = joint.torque + r.pull
                answer = joint.inverse * load
                joint.promised = wp.dot(load, answer)
                keep = joint.inverse * joint.turn
                keep_mixed = joint.inverse * joint.mixed
                w.mats[slot, j] = keep
                w.mats[slot, jn + j] = keep_mixed
                w.vecs[slot, j] = answer
                joint.torque = joint.hold * answer - r.pull
                joint.force = joint.force - wp.transpose(joint.mixed_before) * answer
                joint.shift = joint.shift - wp.transpose(joint.mixed_before) * keep_mixed
                left = joint.hold * keep
                # The exact one is symmetric; rounding is not.
                joint.turn = scalar(0.5) * (left + wp.transpose(left))
                joint.mixed = joint.hold * keep_mixed
            else:
                answer = small.inverse_spd(joint.hold) * r.pull
                joint.promised = wp.dot(r.pull, answer)
                w.vecs[slot, j] = answer
        return joint

    return eliminate_turn
