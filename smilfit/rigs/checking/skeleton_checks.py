"""Checks of the joints: their tree, their names, bones without length, and where joints stand in the body."""

from collections import Counter
from collections.abc import Iterator

import numpy as np
import torch

from smilfit.body_models.files.smal_file import STALE_JOINT_SHARE
from smilfit.body_models.files.stored_model import StoredModel
from smilfit.geometry.surface_search import closest_on_triangles
from smilfit.rigs.checking.findings import ERROR, NOTE, WARNING, Finding, counted, named_joints, share
from smilfit.rigs.checking.limit_checks import free_axes
from smilfit.rigs.read_rig import listed

# Of the model's size; a joint this near its parent is at its place.
_SAME_PLACE = 1e-6
# Turns of the surface around a point: one inside a closed mesh, none outside; open meshes lie between.
_INSIDE_TURNS = 0.35
# Of the model's size; ends of chains may lie a little off the skin.
_OUTSIDE = 0.03
_SUM_TOLERANCE = 1e-3


def tree(model: StoredModel) -> Iterator[Finding]:
    """Find joints in a loop, more roots than one, and children before their parents."""
    data = model.data
    parents, count = data.parents, data.n_joints
    outside = np.flatnonzero(parents >= count)
    if len(outside):
        where = named_joints(data, outside)
        yield Finding('tree', ERROR, where, 'the parent is no joint', 'Name one.', len(outside))
    loops = [j for j in range(count) if _in_loop(parents, j)]
    if loops:
        what, advice = 'the joints hang on each other', 'Give one of them a parent outside the loop.'
        yield Finding('tree', ERROR, named_joints(data, loops), what, advice, len(loops))
    roots = np.flatnonzero(parents < 0)
    if len(roots) != 1:
        what = f'there must be one root; got {len(roots)}'
        where = named_joints(data, roots) or 'joints'
        yield Finding('tree', ERROR, where, what, 'Put one joint above all others.', len(roots))
    late = np.flatnonzero(parents >= np.arange(count))
    if len(late) and not loops and not len(outside):
        what, advice = 'the joint comes before its parent', 'Sort joints from the root outwards.'
        yield Finding('tree', ERROR, named_joints(data, late), what, advice, len(late))


def joint_names(model: StoredModel) -> Iterator[Finding]:
    """Find names that several joints have, and joints without one."""
    names = model.data.joint_names
    several = [name for name, count in Counter(names).items() if count > 1]
    alike = [n for n, count in Counter(name.strip().lower() for name in set(names)).items() if count > 1]
    for shared, severity, what in (
        (several, ERROR, 'several joints have this name'),
        (alike, WARNING, 'names of joints differ in case or spaces alone'),
    ):
        if shared:
            yield Finding('joint names', severity, listed(shared), what, 'Rename them.', len(shared))
    empty = [j for j, name in enumerate(names) if not name.strip()]
    if empty:
        where = f'joints {listed(empty)}'
        yield Finding('joint names', ERROR, where, 'a joint has no name', 'Name it.', len(empty))


def bones_without_length(model: StoredModel) -> Iterator[Finding]:
    """Find joints at the very place of their parents: two rotations of which data can tell only the product."""
    data = model.data
    child = np.flatnonzero((data.parents >= 0) & (data.parents < data.n_joints))
    length = np.linalg.norm(data.joints[child] - data.joints[data.parents[child]], axis=1)
    free = free_axes(data)
    # A hinge above another, about another axis, is half of one joint: no two of their turns look the same.
    own, above = free[child], free[data.parents[child]]
    alike = (own > 0) & (above > 0) & (own + above > 3)
    short = child[(length <= _SAME_PLACE * model.size) & alike]
    if len(short):
        what = "a joint stands at its parent's place: data tell the two rotations' product alone"
        where = named_joints(data, short)
        yield Finding('bones', NOTE, where, what, 'Lock one of the two by limits.', len(short))


def _in_loop(parents: np.ndarray, joint: int) -> bool:
    """Whether the way up from a joint comes back to it."""
    at = int(parents[joint])
    for _ in range(len(parents)):
        if at == joint:
            return True
        if not 0 <= at < len(parents):
            return False
        at = int(parents[at])
    return False


def joints_outside(model: StoredModel) -> Iterator[Finding]:
    """Find joints that carry skin outside of the mesh, away from its surface."""
    data = model.data
    if not len(data.faces):
        return
    corners = data.v_template[data.faces]
    # A joint without skin, such as one on the ground between the feet, may be anywhere.
    carrying = np.unique(data.weights.cols[data.weights.values > 0])
    windings = np.abs([winding(joint, corners) for joint in data.joints[carrying]])
    outside = carrying[windings < _INSIDE_TURNS]
    away = np.array([distance(data.joints[j], corners) for j in outside])
    far = away > _OUTSIDE * model.size
    if far.any():
        outside, away = outside[far], away[far]
        where, worst = named_joints(data, outside[np.argsort(-away)]), float(away.max())
        off = share(worst, model.size)
        what = f'{counted(len(outside), "joint")} outside of the mesh, up to {off} off the surface'
        advice = 'Move them into the body, or compute them from the skin.'
        figures = {'farthest': worst}
        yield Finding('joints outside', WARNING, where, what, advice, len(outside), figures)


def stored_joints(model: StoredModel) -> Iterator[Finding]:
    """Find stored rest joints that the regressor contradicts; it decides in pickles, they do in `.smil.json`."""
    data = model.data
    if model.joints is None or data.joint_regressor is None:
        return
    off = np.linalg.norm(model.joints - data.joint_regressor @ data.v_template, axis=1)
    worst = float(off.max())
    if worst <= STALE_JOINT_SHARE * model.size:
        return
    order = np.argsort(-off)
    where = listed([f'{data.joint_names[j]} {off[j]:.3g}' for j in order[: int((off > 0.5 * worst).sum())]])
    what = (
        f'the stored joints contradict the regressor: mean {off.mean():.3f}, max {share(worst, model.size)}'
        ' from joint_regressor @ v_template'
    )
    advice = '`smilfit model clean --joints regressor` takes the regressed ones.'
    figures = {'mean': float(off.mean()), 'max': worst}
    yield Finding('stored joints', WARNING, where, what, advice, int((off > 0).sum()), figures)


def regressor_rows(model: StoredModel) -> Iterator[Finding]:
    """Find rows of the joint regressor that do not sum to one: such a joint does not move with the body."""
    data = model.data
    if data.joint_regressor is None:
        return
    sums = np.bincount(data.joint_regressor.rows, data.joint_regressor.values, data.n_joints)
    wrong = np.flatnonzero(np.abs(sums - 1) > _SUM_TOLERANCE)
    if len(wrong):
        where = listed([f'{data.joint_names[j]} {sums[j]:.4g}' for j in wrong])
        what = f'rows of the joint regressor sum to {sums[wrong].min():.4g} to {sums[wrong].max():.4g}, not 1'
        advice = 'Such joints do not follow a moved mesh: compute the regressor anew.'
        yield Finding('joint regressor', WARNING, where, what, advice, len(wrong))
    negative = np.unique(data.joint_regressor.rows[data.joint_regressor.values < 0])
    if len(negative):
        what = 'the joint regressor has weights below zero'
        yield Finding('joint regressor', NOTE, named_joints(data, negative), what, '', len(negative))


def winding(point: np.ndarray, corners: np.ndarray) -> float:
    """Count how often a surface (F, 3, 3) goes round a point: solid angles of triangles (van Oosterom, Strackee)."""
    a, b, c = (corners[:, k] - point for k in range(3))
    la, lb, lc = (np.linalg.norm(x, axis=1) for x in (a, b, c))
    above = np.einsum('fi,fi->f', a, np.cross(b, c))
    below = la * lb * lc + (a * b).sum(1) * lc + (b * c).sum(1) * la + (c * a).sum(1) * lb
    return float(np.arctan2(above, below).sum() / (2 * np.pi))


def distance(point: np.ndarray, corners: np.ndarray) -> float:
    """Measure how far a point lies from the nearest of some triangles (F, 3, 3)."""
    triangles = torch.from_numpy(np.ascontiguousarray(corners, np.float64))
    shares = closest_on_triangles(torch.from_numpy(np.tile(point, (len(corners), 1))), triangles)
    nearest = (shares.unsqueeze(-1) * triangles).sum(1).numpy()
    return float(np.linalg.norm(nearest - point, axis=1).min())
