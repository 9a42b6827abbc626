"""Checks of skinning weights, shape directions, their covariance, and what these do to joint scales."""

from collections.abc import Iterator

import numpy as np

from smilfit.body_models.checks import WEIGHT_SUM_TOLERANCE
from smilfit.body_models.files.stored_model import StoredModel
from smilfit.rigs.checking.findings import (
    ERROR,
    NOTE,
    WARNING,
    Finding,
    counted,
    named_joints,
    share,
    vertex_places,
)
from smilfit.rigs.checking.limit_checks import free_axes
from smilfit.rigs.defaults import mean_betas, shape_sd
from smilfit.rigs.read_rig import listed

# Standard deviations within which shapes are drawn and shown.
SHAPE_SD = 3.0
# Of the model's size, at three standard deviations: below the first a direction moves nothing, above the second too
# much.
_NOTHING, _TOO_MUCH = 1e-5, 1.0
_SAME_DIRECTION = 0.999


def shape_directions(model: StoredModel) -> Iterator[Finding]:
    """Find directions that move nothing, move more than the animal's size, or repeat another."""
    data = model.data
    if data.shapedirs is None:
        return
    sd, size = shape_sd(data), model.size
    moved = SHAPE_SD * sd * np.linalg.norm(data.shapedirs, axis=1).max(0)
    idle = moved < _NOTHING * size
    for name in ('scaledirs', 'transdirs'):
        drives = getattr(data, name)
        idle &= True if drives is None else ~drives.any((1, 2))
    if idle.any():
        what = f'{counted(int(idle.sum()), "shape direction")} moving nothing'
        advice = 'Take them out: data say nothing of their coefficients.'
        where = f'beta {listed(np.flatnonzero(idle).tolist())}'
        yield Finding('shape directions', WARNING, where, what, advice, int(idle.sum()))
    wild = np.flatnonzero(moved > _TOO_MUCH * size)
    if len(wild):
        worst = share(float(moved.max()), size)
        what = f'{SHAPE_SD:g} standard deviations move a vertex by up to {worst}'
        vertex = np.linalg.norm(data.shapedirs[..., wild[0]], axis=1).argmax()
        where = f'beta {listed(wild.tolist())}, {vertex_places(data, np.array([vertex]))}'
        advice = 'Are the covariance and the directions of one scaling?'
        yield Finding('shape directions', WARNING, where, what, advice, len(wild))
    flat = data.shapedirs.reshape(-1, data.n_betas)
    flat = flat / np.maximum(np.linalg.norm(flat, axis=0), 1e-300)
    alike = np.argwhere(np.triu(np.abs(flat.T @ flat), 1) > _SAME_DIRECTION)
    if len(alike):
        what = 'these shape directions are the same'
        where = listed([f'beta {a} and {b}' for a, b in alike.tolist()])
        advice = 'Data tell their sum alone: keep one.'
        yield Finding('shape directions', WARNING, where, what, advice, len(alike))


def shape_covariance(model: StoredModel) -> Iterator[Finding]:
    """Find a covariance that is none, or that is missing."""
    data = model.data
    if data.shapedirs is None:
        return
    if data.shape_cov is None:
        what = 'no covariance of the shape coefficients is stated; a standard deviation of 1 is taken'
        sd = SHAPE_SD * np.linalg.norm(data.shapedirs, axis=1).max(0).max()
        what += f', of which {SHAPE_SD:g} move a vertex by up to {share(float(sd), model.size)}'
        yield Finding('shape covariance', NOTE, '', what, 'State one where specimens are known.')
        return
    covariance = data.shape_cov
    off = float(np.abs(covariance - covariance.T).max())
    if off > 1e-3 * np.abs(covariance).max():
        what = f'the covariance is not symmetric: entries differ by up to {off:.3g}'
        yield Finding('shape covariance', ERROR, '', what, 'Compute it anew.')
    least = np.linalg.eigvalsh(0.5 * (covariance + covariance.T))[0]
    if least < -1e-6 * np.abs(covariance).max():
        what = f'the covariance has a negative variance, {least:.3g}'
        yield Finding('shape covariance', ERROR, '', what, 'Compute it anew.')
    fixed = np.flatnonzero(np.diag(covariance) <= 0)
    if len(fixed):
        what = 'the covariance gives these coefficients no variance'
        where = f'beta {listed(fixed.tolist())}'
        yield Finding('shape covariance', WARNING, where, what, 'Take them out.', len(fixed))
    if data.shape_mean is not None and not len(fixed):
        away = np.abs(data.shape_mean) / shape_sd(data)
        far = np.flatnonzero(away > SHAPE_SD)
        if len(far):
            what = f'the mean shape is up to {away.max():.1f} standard deviations from the template'
            where = f'beta {listed(far.tolist())}'
            yield Finding('shape covariance', WARNING, where, what, 'Is it of this space?', len(far))


def joint_scales(model: StoredModel) -> Iterator[Finding]:
    """Find shape directions that turn a joint's scale `1 + scaledirs . beta` negative within three deviations."""
    data = model.data
    # Logarithms of scales cannot turn scales negative.
    if data.scaledirs is None or data.shapedirs is None or data.log_scale_directions:
        return
    sd = shape_sd(data)
    at_mean = 1 + np.einsum('s,sjc->jc', mean_betas(data), data.scaledirs)
    for s in range(data.n_betas):
        change = sd[s] * data.scaledirs[s]
        # Deviations, up or down, at which the first joint's scale is zero.
        with np.errstate(divide='ignore', invalid='ignore'):
            zero_at = np.where(change == 0, np.inf, at_mean / np.abs(change))
        joint, axis = np.unravel_index(int(np.argmin(zero_at)), zero_at.shape)
        if zero_at[joint, axis] > SHAPE_SD:
            continue
        sign = -1 if change[joint, axis] > 0 else 1
        scales = {n: float((at_mean + sign * n * change).min()) for n in (1, 2, 3)}
        text = ', '.join(f'{value:.2f} at {sign * n:+d} sd' for n, value in scales.items())
        joints = np.flatnonzero((at_mean + sign * SHAPE_SD * change < 0).any(1))
        what = f'joint scales go negative: the least is {text}; zero at {sign * zero_at[joint, axis]:+.2f} sd'
        where = f'beta {s}, {named_joints(data, joints)}'
        advice = (
            'Bodies of such shapes are cut off at a scale above zero: make scale directions of logarithms.'
        )
        figures = {f'least_at_{n}_sd': value for n, value in scales.items()}
        yield Finding('joint scales', WARNING, where, what, advice, len(joints), figures)


def weight_sums(model: StoredModel) -> Iterator[Finding]:
    """Find vertices whose weights do not sum to one, or that have none."""
    data = model.data
    sums = np.bincount(data.weights.rows, data.weights.values, data.n_vertices)
    bare = np.flatnonzero(np.bincount(data.weights.rows, data.weights.values != 0, data.n_vertices) == 0)
    if len(bare):
        where, what = vertex_places(data, bare), f'{counted(len(bare), "vertex")} without a skinning weight'
        yield Finding('skin weights', ERROR, where, what, 'Weight them in the authoring tool.', len(bare))
    off = np.abs(sums - 1)
    off[bare] = 0
    wrong = np.flatnonzero(off > WEIGHT_SUM_TOLERANCE)
    if len(wrong):
        span = f'{sums[wrong].min():.4g} to {sums[wrong].max():.4g}'
        what = f'the weights of {counted(len(wrong), "vertex")} sum to {span}, not 1'
        figures = {'worst_sum': float(sums[off.argmax()])}
        where = vertex_places(data, wrong[np.argsort(-off[wrong])])
        yield Finding(
            'skin weights', ERROR, where, what, '`smilfit model clean` normalises them.', len(wrong), figures
        )


def negative_weights(model: StoredModel) -> Iterator[Finding]:
    """Find weights below zero, which pull the skin the wrong way."""
    data = model.data
    rows = np.unique(data.weights.rows[data.weights.values < 0])
    if len(rows):
        what = (
            f'{counted(len(rows), "vertex")} with weights below zero, down to {data.weights.values.min():.3g}'
        )
        where, advice = vertex_places(data, rows), 'Clean the weights in the authoring tool.'
        yield Finding('skin weights', WARNING, where, what, advice, len(rows))


def joints_without_influence(model: StoredModel) -> Iterator[Finding]:
    """Find joints that move no vertex: ends of chains, helpers, and whole branches that nothing hangs on."""
    data = model.data
    strength = np.bincount(data.weights.cols, np.abs(data.weights.values), data.n_joints)
    below = strength.copy()
    for j in range(data.n_joints - 1, 0, -1):
        if 0 <= data.parents[j] < j:
            below[data.parents[j]] += below[j]
    idle = np.flatnonzero(below == 0)
    helpers = np.flatnonzero((strength == 0) & (below > 0))
    if len(idle):
        what = f'{counted(len(idle), "joint")} without a vertex to move, nor any below: rotations that cannot be seen'
        where = named_joints(data, idle)
        free = idle[free_axes(data)[idle] > 0]
        which = 'them' if len(free) == len(idle) else f'the {len(free)} free ones'
        advice = f'Lock {which} by limits, or weight them.'
        if not len(free):
            what, advice = f'{what}; their limits lock them, so that fits leave them at rest', ''
        yield Finding('influence', NOTE, where, what, advice, len(idle))
    if len(helpers):
        what = f'{counted(len(helpers), "joint")} without a vertex to move, only joints below that have some'
        where = named_joints(data, helpers)
        yield Finding('influence', NOTE, where, what, '', len(helpers))
