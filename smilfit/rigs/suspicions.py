"""What is doubtful about an imported rig, in sentences; nothing is changed by it, and an empty one is no doubt."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from smilfit.body_models.data import BodyModelData
from smilfit.io.lookup_proposals import axes_by_names

# From a mite to a blue whale, metres.
_SMALLEST_M, _LARGEST_M = 2e-4, 35.0
# Longer, with tail or across the wings, no animal that a rig is named after is, metres.
_LONGEST_M = {
    'mouse': 0.3, 'rat': 0.7, 'fox': 1.8, 'cat': 1.5, 'dog': 2.5, 'wolf': 2.5, 'rabbit': 1.0, 'squirrel': 1.0,
    'ferret': 1.0, 'monkey': 2.0, 'pig': 3.0, 'sheep': 2.5, 'goat': 2.5, 'deer': 3.0, 'cow': 3.5, 'horse': 3.5,
    'bird': 3.7, 'pigeon': 1.0, 'chicken': 1.0, 'lizard': 3.0, 'frog': 0.5, 'spider': 0.4, 'ant': 0.1, 'fly': 0.1,
    'bee': 0.1, 'locust': 0.3, 'beetle': 0.3, 'cockroach': 0.2, 'insect': 0.6,
}  # fmt: skip
METRES = {'m': 1.0, 'dm': 0.1, 'cm': 0.01, 'mm': 1e-3, 'um': 1e-6, 'in': 0.0254, 'ft': 0.3048}
# Of the mesh's size: where joints have another unit, one is farther than this from the mesh's box, or all are within
# so little of it.
_FAR, _CROWDED = 1.0, 0.02
# More of the vertices without a weight are no slip.
_BARE = 0.5


def suspected_unit(size: float, unit: str | None, name: str = '') -> str:
    """Doubt a unit that is not known, or in which the animal would be of no animal's size, or not of its name's."""
    if unit is None:
        return 'The unit is not known: lengths in mm cannot be given. Say it: --unit m, cm or mm.'
    if unit not in METRES:
        return ''
    kinds = [kind for kind in re.split(r'[^a-z]+', name.lower()) if kind in _LONGEST_M]
    if _SMALLEST_M <= size * METRES[unit] <= _LARGEST_M:
        if not kinds or size * METRES[unit] <= _LONGEST_M[kinds[0]]:
            return ''
        return (
            f'The size is suspected to be wrong: {name} is {size:.4g} {unit} long, and no {kinds[0]} is longer than '
            f'{_LONGEST_M[kinds[0]]:g} m. Rigs are drawn at any size: a fit finds the scale of your animal, lengths '
            'of the model itself are not its. Nothing was scaled.'
        )
    least, most = _SMALLEST_M * 5, _LARGEST_M / 5
    others = [u for u in ('m', 'cm', 'mm') if least <= size * METRES[u] <= most]
    hint = 'Look at its size in the program that it is from.'
    if others:
        hint = f'In {" or ".join(others)} it would be: give --unit {others[0]} if so.'
    return f'The unit is suspected to be wrong: {size:.4g} {unit} is no size of an animal. {hint} Nothing was scaled.'


def suspected_joints(data: BodyModelData, fitted: Sequence[bool]) -> str:
    """Doubt joints that move skin and are far from it, or all in one spot of it: they have another unit or place."""
    low, high = data.v_template.min(0), data.v_template.max(0)
    size = float((high - low).max())
    moving = np.flatnonzero(fitted)
    joints = data.joints[moving]
    off = np.linalg.norm(joints - joints.clip(low, high), axis=1)
    what = ''
    if off.max() > _FAR * size:
        what = (
            f'{data.joint_names[moving[off.argmax()]]} is {off.max() / size:.3g} times its size away from it'
        )
    elif len(joints) > 2 and np.ptp(joints, axis=0).max() < _CROWDED * size:
        what = f'all {len(joints)} are within {np.ptp(joints, axis=0).max() / size:.2g} of its size'
    if not what:
        return ''
    return (
        f'The joints do not fit the mesh: {what}. Are the two in different units, or places? Export both together, '
        'with their scales applied.'
    )


def suspected_weights(n_bare: int, n_vertices: int) -> str:
    """Doubt a skin of which most hangs on no joint."""
    if n_bare <= _BARE * n_vertices:
        return ''
    return (
        f'{n_bare} of {n_vertices} vertices had no skinning weights and hang on the nearest joint, stiff. Was the '
        'mesh bound to its skeleton? Weight it in the program that it is from.'
    )


class Facing(NamedTuple):
    """The axis along which an animal looks, what was done about it, and what is doubtful; empty where nothing is."""

    forward_axis: str | None
    note: str = ''
    suspected: str = ''


def facing(data: BodyModelData) -> Facing:
    """Hold a model's axes, which are those of its file's format, against where head, hips, left and right are.

    A head that lies along another level axis is where the animal looks. One that lies above the hips is that of an
    animal that stands upright, if left and right agree. Where they do not, the file was not turned as its format asks
    for, or what is called left is right.
    """
    up, forward = data.up_axis, data.forward_axis
    named_up, named_forward = axes_by_names(data)
    if up is None or forward is None or named_forward is None:
        return Facing(forward)
    if named_forward == up and named_up in (None, _opposite(forward)):
        return Facing(forward)
    if named_up == _opposite(up):
        suspected = (
            f'By the names of its joints the animal lies on its back: it looks along {named_forward}, and what is '
            'called left is where right would be. Are left and right exchanged in the names?'
        )
        return Facing(forward, '', suspected)
    if named_up not in (None, up):
        suspected = (
            f'By the names of its joints the animal has its back at {named_up} and its head at {named_forward}; its '
            f'format has up at {up} and forward at {forward}. Was it exported without turning its axes? Nothing was '
            f'turned: export it anew with {up} up, or state it by smilfit model edit --up={named_up} '
            f'--forward={named_forward}.'
        )
        return Facing(forward, '', suspected)
    if named_forward == forward or named_forward[1] == up[1]:
        return Facing(forward)
    note = (
        f'by the names of its joints the animal looks along {named_forward}, not {forward} as its format has it: '
        f'forward is {named_forward}'
    )
    return Facing(named_forward, note)


def with_axes(
    data: BodyModelData, up: str | None = None, forward: str | None = None
) -> tuple[BodyModelData, tuple[str, ...]]:
    """State which way a model's back points and it looks, signed axes of its own; nothing is turned.

    Returns:
        The model, and what was changed, in words.

    Raises:
        ValueError: both lie along one axis.
    """
    stated = {
        'up': (data.up_axis, up or data.up_axis),
        'forward': (data.forward_axis, forward or data.forward_axis),
    }
    (_, new_up), (_, new_forward) = stated.values()
    if new_up and new_forward and new_up[1] == new_forward[1]:
        raise ValueError(
            f'{data.name}: up and forward must lie along different axes; got {new_up} and {new_forward}. State both.'
        )
    notes = tuple(
        f'{way} is {new}; was {old or "not stated"}' for way, (old, new) in stated.items() if new != old
    )
    return replace(data, up_axis=new_up, forward_axis=new_forward), notes


def _opposite(axis: str) -> str:
    return ('-' if axis[0] == '+' else '+') + axis[1]
