"""The tree of joints: loops, roots, order, names, bones without length."""

from collections import Counter

import numpy as np

from smilfit.body_models.stored_model import StoredModel
from smilfit.rigs.checking.finding import ERROR, NOTE, WARNING, Finding, listed
from smilfit.rigs.checking.joint_limits import free_axes

# Of the model's size; a joint this near its parent is at its place.
_SAME_PLACE = 1e-6


def tree(model: StoredModel) -> list[Finding]:
    """Find joints in a loop, more roots than one, and children before their parents."""
    data = model.data
    parents, count = data.parents, data.n_joints
    found = []
    outside = np.flatnonzero(parents >= count)
    if len(outside):
        names = listed([data.joint_names[j] for j in outside])
        found.append(Finding('tree', ERROR, names, 'the parent is no joint', 'Name one.', len(outside)))
    loops = [data.joint_names[j] for j in range(count) if _in_loop(parents, j)]
    if loops:
        advice = 'Give one of them a parent outside the loop.'
        found.append(
            Finding('tree', ERROR, listed(loops), 'the joints hang on each other', advice, len(loops))
        )
    roots = np.flatnonzero(parents < 0)
    if len(roots) != 1:
        what = f'there must be one root; got {len(roots)}'
        where = listed([data.joint_names[j] for j in roots]) or 'joints'
        found.append(Finding('tree', ERROR, where, what, 'Put one joint above all others.', len(roots)))
    late = np.flatnonzero(parents >= np.arange(count))
    if len(late) and not loops and not len(outside):
        names = listed([data.joint_names[j] for j in late])
        what = 'the joint comes before its parent'
        found.append(Finding('tree', ERROR, names, what, 'Sort joints from the root outwards.', len(late)))
    return found


def joint_names(model: StoredModel) -> list[Finding]:
    """Find names that several joints have, and joints without one."""
    names, found = model.data.joint_names, []
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        what = 'several joints have this name'
        found.append(Finding('joint names', ERROR, listed(twice), what, 'Rename them.', len(twice)))
    spelt = [n for n, count in Counter(name.strip().lower() for name in set(names)).items() if count > 1]
    if spelt:
        what = 'names of joints differ in case or spaces alone'
        found.append(Finding('joint names', WARNING, listed(spelt), what, 'Rename them.', len(spelt)))
    empty = [j for j, name in enumerate(names) if not name.strip()]
    if empty:
        where = f'joints {listed(empty)}'
        found.append(Finding('joint names', ERROR, where, 'a joint has no name', 'Name it.', len(empty)))
    return found


def bones_without_length(model: StoredModel) -> list[Finding]:
    """Find joints at the very place of their parents: two rotations of which data can tell only the product."""
    data = model.data
    child = np.flatnonzero((data.parents >= 0) & (data.parents < data.n_joints))
    length = np.linalg.norm(data.joints[child] - data.joints[data.parents[child]], axis=1)
    free = free_axes(data)
    # A hinge above another, about another axis, is half of one joint: no two of their turns look the same.
    own, above = free[child], free[data.parents[child]]
    alike = (own > 0) & (above > 0) & (own + above > 3)
    short = child[(length <= _SAME_PLACE * model.size) & alike]
    if not len(short):
        return []
    what = "a joint stands at its parent's place: data tell the two rotations' product alone"
    names = listed([data.joint_names[j] for j in short])
    return [Finding('bones', NOTE, names, what, 'Lock one of the two by limits.', len(short))]


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
