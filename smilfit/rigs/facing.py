"""Where a rig faces: what its format says of all rigs, beside what the names of its joints say of this one."""

from dataclasses import replace
from typing import NamedTuple

from smilfit.body_models.data import BodyModelData
from smilfit.io.lookup_proposals import axes_by_names


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
    told = tuple(
        f'{way} is {new}; was {old or "not stated"}' for way, (old, new) in stated.items() if new != old
    )
    return replace(data, up_axis=new_up, forward_axis=new_forward), told


def _opposite(axis: str) -> str:
    return ('-' if axis[0] == '+' else '+') + axis[1]
