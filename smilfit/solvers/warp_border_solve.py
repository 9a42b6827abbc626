"""The border's own equations: what is known of shape and scale beforehand, damping, and the solution."""

from functools import cache
from types import SimpleNamespace
from typing import no_type_check

import warp as wp

from smilfit.solvers.warp_rows import row_functions
from smilfit.solvers.warp_types import chain_types

# Least damping of the border as a share of its diagonal: shape and scale can be nearly the same motion.
LEAST = wp.constant(1e-6)


@no_type_check
@cache
def border_terms(scalar, width):
    """Make what adds priors and damping, for one float type and width of the border."""
    t, rows = chain_types(scalar, width), row_functions(scalar, width)
    Chain, Work = t.Chain, t.Work

    @wp.func
    def add_border_priors(c: Chain, w: Work, slot: int, side: int):
        """Add what is known of shape and scale beforehand."""
        square, pulls = rows.square_row(c), rows.side_row(c)
        if c.fit_betas == 1:
            for i in range(c.betas_precision.shape[0]):
                pull = scalar(0.0)
                for k in range(c.betas_precision.shape[0]):
                    pull += c.betas_precision[i, k] * (
                        w.nums[slot, rows.betas_row(c, side) + k] - c.betas_mean[k]
                    )
                    w.thin[slot, square + i, k] = w.thin[slot, square + i, k] + c.betas_precision[i, k]
                w.thin[slot, pulls, i] = w.thin[slot, pulls, i] + pull
        if c.fit_scale == 1:
            i = c.n_border - 1
            pull = c.log_scale_weight * w.nums[slot, rows.scale_row(c, side)]
            w.thin[slot, pulls, i] = w.thin[slot, pulls, i] + pull
            w.thin[slot, square + i, i] = w.thin[slot, square + i, i] + c.log_scale_weight

    @wp.func
    def damp_border(c: Chain, w: Work, slot: int, mu: scalar):
        """Add the damping, a share of the border's own diagonal."""
        square = rows.square_row(c)
        for i in range(c.n_border):
            damping = wp.max(mu, scalar(LEAST)) * wp.max(w.thin[slot, square + i, i], scalar(0.0))
            w.thin[slot, rows.pivot_row(c), i] = damping
            w.thin[slot, square + i, i] = w.thin[slot, square + i, i] + damping

    return SimpleNamespace(add_border_priors=add_border_priors, damp_border=damp_border)


@no_type_check
@cache
def border_solution(scalar, width):
    """Make the solution in place, for one float type and width of the border."""
    t, rows = chain_types(scalar, width), row_functions(scalar, width)
    Chain, Work = t.Chain, t.Work

    @wp.func
    def factorise_row(w: Work, slot: int, top: int, i: int):
        """Replace what stands left of the diagonal by D_k L_ik."""
        for k in range(i):
            left = w.thin[slot, top + i, k]
            for m in range(k):
                left -= w.thin[slot, top + i, m] * w.thin[slot, top + k, m]
            w.thin[slot, top + i, k] = left

    @wp.func
    def solve_border(c: Chain, w: Work, slot: int) -> scalar:
        """Solve the border by L D L^T in place; a dead pivot asks for no step. Return the promised decrease."""
        q = c.n_border
        top, z = rows.square_row(c), rows.side_row(c)
        promised = scalar(0.0)
        for i in range(q):
            y = -w.thin[slot, z, i]
            before = w.thin[slot, top + i, i]
            pivot = before
            factorise_row(w, slot, top, i)
            for k in range(i):
                left = w.thin[slot, top + i, k]
                unit = left * w.thin[slot, top + k, k]
                pivot -= left * unit
                y -= unit * w.thin[slot, z, k]
                w.thin[slot, top + i, k] = unit
            inverse = scalar(0.0)
            if pivot > scalar(LEAST) * scalar(0.1) * before and pivot > scalar(1e-30):
                inverse = scalar(1.0) / pivot
            w.thin[slot, top + i, i] = inverse
            w.thin[slot, z, i] = y
            promised += y * y * inverse
        for down in range(q):
            i = q - 1 - down
            value = w.thin[slot, z, i] * w.thin[slot, top + i, i]
            for k in range(i + 1, q):
                value -= w.thin[slot, top + k, i] * w.thin[slot, z, k]
            w.thin[slot, z, i] = value
        return promised

    return SimpleNamespace(solve_border=solve_border)
