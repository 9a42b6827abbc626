"""Where a rig faces: what its format says of all rigs, beside what the names of its joints say of this one."""

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
            f'turned: export it anew with {up} up, or write "up_axis": "{named_up}" and "forward_axis": '
            f'"{named_forward}" into the model.'
        )
        return Facing(forward, '', suspected)
    if named_forward == forward or named_forward[1] == up[1]:
        return Facing(forward)
    note = (
        f'by the names of its joints the animal looks along {named_forward}, not {forward} as its format has it: '
        f'forward is {named_forward}'
    )
    return Facing(named_forward, note)


def _opposite(axis: str) -> str:
    return ('-' if axis[0] == '+' else '+') + axis[1]
