"""Skinning weights: sums, signs, vertices and joints without any."""

import numpy as np

from smilfit.body_models.checks import WEIGHT_SUM_TOLERANCE
from smilfit.body_models.stored_model import StoredModel
from smilfit.rigs.checking.finding import ERROR, NOTE, WARNING, Finding, counted, listed, vertex_places
from smilfit.rigs.checking.joint_limits import free_axes

NORMALISE = '`smilfit model clean` normalises them.'


def weight_sums(model: StoredModel) -> list[Finding]:
    """Find vertices whose weights do not sum to one, or that have none."""
    data, found = model.data, []
    sums = np.bincount(data.weights.rows, data.weights.values, data.n_vertices)
    bare = np.flatnonzero(np.bincount(data.weights.rows, data.weights.values != 0, data.n_vertices) == 0)
    if len(bare):
        where, what = vertex_places(data, bare), f'{counted(len(bare), "vertex")} without a skinning weight'
        found.append(
            Finding('skin weights', ERROR, where, what, 'Weight them in the authoring tool.', len(bare))
        )
    off = np.abs(sums - 1)
    off[bare] = 0
    wrong = np.flatnonzero(off > WEIGHT_SUM_TOLERANCE)
    if len(wrong):
        span = f'{sums[wrong].min():.4g} to {sums[wrong].max():.4g}'
        what = f'the weights of {counted(len(wrong), "vertex")} sum to {span}, not 1'
        figures = {'worst_sum': float(sums[off.argmax()])}
        where = vertex_places(data, wrong[np.argsort(-off[wrong])])
        found.append(Finding('skin weights', ERROR, where, what, NORMALISE, len(wrong), figures))
    return found


def negative_weights(model: StoredModel) -> list[Finding]:
    """Find weights below zero, which pull the skin the wrong way."""
    data = model.data
    rows = np.unique(data.weights.rows[data.weights.values < 0])
    if not len(rows):
        return []
    what = f'{counted(len(rows), "vertex")} with weights below zero, down to {data.weights.values.min():.3g}'
    where = vertex_places(data, rows)
    return [
        Finding('skin weights', WARNING, where, what, 'Clean the weights in the authoring tool.', len(rows))
    ]


def joints_without_influence(model: StoredModel) -> list[Finding]:
    """Find joints that move no vertex: ends of chains, helpers, and whole branches that nothing hangs on."""
    data = model.data
    strength = np.bincount(data.weights.cols, np.abs(data.weights.values), data.n_joints)
    below = strength.copy()
    for j in range(data.n_joints - 1, 0, -1):
        if 0 <= data.parents[j] < j:
            below[data.parents[j]] += below[j]
    idle = np.flatnonzero(below == 0)
    helpers = np.flatnonzero((strength == 0) & (below > 0))
    found = []
    if len(idle):
        what = f'{counted(len(idle), "joint")} without a vertex to move, nor any below: rotations that cannot be seen'
        where = listed([data.joint_names[j] for j in idle])
        free = idle[free_axes(data)[idle] > 0]
        which = 'them' if len(free) == len(idle) else f'the {len(free)} free ones'
        advice = f'Lock {which} by limits, or weight them.'
        if not len(free):
            what, advice = f'{what}; their limits lock them, so that fits leave them at rest', ''
        found.append(Finding('influence', NOTE, where, what, advice, len(idle)))
    if len(helpers):
        what = f'{counted(len(helpers), "joint")} without a vertex to move, only joints below that have some'
        where = listed([data.joint_names[j] for j in helpers])
        found.append(Finding('influence', NOTE, where, what, '', len(helpers)))
    return found
