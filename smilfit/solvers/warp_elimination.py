"""One damped Gauss-Newton step of a tree by articulated elimination, from the leaves to the root, in O(J).

Unknowns are the joints' rotations w_j (world frame, `R_j <- exp(G_parent^T w_j) R_j`), the root's translation, and
a border z of shape coefficients and the logarithm of the scale. A joint moves by its twist (omega, v) about its own
place: omega_j = omega_parent + w_j and v_j = v_parent + omega_parent x d_j + E_j z with the bone d_j. The cost below
a joint is a quadratic in its twist, with the articulated inertia [[A, B], [B^T, C]]. Minimised over w_j under the
damping and prior L it stays one, with A' = A - A (A + L)^-1 A = L (A + L)^-1 A: no small difference of large
numbers. Twists about a common origin lose half of float32's digits at the end of a long tail; these do not.

(Featherstone, Rigid Body Dynamics Algorithms, 2008, ch. 7, for the recursion.)
"""

from functools import cache
from types import SimpleNamespace
from typing import no_type_check

import warp as wp

from smilfit.solvers.warp_border import passing_functions, root_functions
from smilfit.solvers.warp_inertia import inertia_functions
from smilfit.solvers.warp_rows import row_functions
from smilfit.solvers.warp_small import small_functions
from smilfit.solvers.warp_turn import turn_functions
from smilfit.solvers.warp_types import chain_types

# Damping that never goes away, as a share of the body's second moment: a bone of no length asks for no turn.
FLOOR = wp.constant(1e-9)


@no_type_check
@cache
def elimination_functions(scalar, width):
    """Make `eliminate` for one float type and width of the border."""
    t, rows, small = chain_types(scalar, width), row_functions(scalar, width), small_functions(scalar, width)
    vec3, mat33, Chain, Work = t.vec3, t.mat33, t.Chain, t.Work
    turns, inertia = turn_functions(scalar, width), inertia_functions(scalar, width)
    passing, root = passing_functions(scalar, width), root_functions(scalar, width)
    Joint = turns.Joint

    @wp.func
    def hand_on(c: Chain, w: Work, slot: int, j: int, p: int, d: vec3, joint: Joint):
        """Add what is left of a joint to its parent, at d from it."""
        jn = c.n_joints
        mass = w.nums[slot, j]
        moment = w.vecs[slot, 2 * jn + j]
        second = w.nums[slot, jn + j] + scalar(2.0) * wp.dot(d, moment) + mass * wp.dot(d, d)
        inertia.carry(c, w, slot, p, d, joint.turn, joint.mixed, joint.shift)
        w.vecs[slot, p] = w.vecs[slot, p] + joint.torque + wp.cross(d, joint.force)
        w.vecs[slot, jn + p] = w.vecs[slot, jn + p] + joint.force
        w.vecs[slot, 2 * jn + p] = w.vecs[slot, 2 * jn + p] + moment + mass * d
        w.nums[slot, p] = w.nums[slot, p] + mass
        w.nums[slot, jn + p] = w.nums[slot, jn + p] + second

    @wp.func
    def eliminate(c: Chain, w: Work, slot: int, side: int, mu: scalar) -> scalar:
        """Reduce a state's quadratic to the root and the border; return the decrease it promises so far."""
        inertia.gather(c, w, slot, side)
        jn = c.n_joints
        place = rows.place_row(c, side)
        promised = scalar(0.0)
        floor = scalar(FLOOR) * w.nums[slot, rows.scale_row(c, side) + 2]
        size = wp.exp(w.nums[slot, rows.scale_row(c, side)])
        for up in range(jn):
            j = jn - 1 - up
            joint = turns.eliminate_turn(c, w, slot, side, j, mu, floor)
            promised += joint.promised
            p = c.parents[j]
            above = w.vecs[slot, rows.transl_row(c, side)]
            if j > 0:
                above = w.vecs[slot, place + p]
            d = w.vecs[slot, place + j] - above
            if c.n_border > 0:
                passing.pass_border(c, w, slot, side, j, p, d, size, joint)
            if j > 0:
                hand_on(c, w, slot, j, p, d, joint)
            else:
                w.mats[slot, 2 * jn] = joint.shift
                w.vecs[slot, jn] = joint.force
        # A root that stays has no compliance.
        inverse = mat33(scalar(0.0))
        if c.fit_transl == 1:
            stiff = mu * w.nums[slot, 0]
            inverse = small.inverse_spd(w.mats[slot, 2 * jn] + wp.diag(vec3(stiff, stiff, stiff)))
        return promised + root.eliminate_root(c, w, slot, inverse)

    return SimpleNamespace(eliminate=eliminate)
