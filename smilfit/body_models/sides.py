"""Left and right by name: which point of a body is the other side's."""

import re
from collections.abc import Sequence

from smilfit.body_models.data import BodyModelData

_OTHER_SIDE = {'left': 'right', 'l': 'r', 'right': 'left', 'r': 'l'}
_SIDE = re.compile(r'(?<![a-z])[lr](?![a-z])|left|right', re.IGNORECASE)


def names_of_other_side(name: str, only_left: bool = False) -> tuple[str, ...]:
    """Return what the point of the other side may be called: `ear_L` -> `ear_R`; none for a name without a side.

    Args:
        name: of a joint or keypoint.
        only_left: give none for a name of the right side.
    """
    result = []
    for match in _SIDE.finditer(name):
        side = match.group()
        if only_left and side[0] in 'rR':
            continue
        other = _OTHER_SIDE[side.lower()]
        other = other.upper() if side.isupper() else other.capitalize() if side[0].isupper() else other
        result.append(name[: match.start()] + other + name[match.end() :])
    return tuple(result)


def mirrored_order(names: Sequence[str], data: BodyModelData | None = None) -> tuple[int, ...]:
    """Return for every point the number of the one that takes its place in a mirror; points of the midline
    keep theirs.

    The body model's own pairs of joints come first, then names: `ear_L` and `ear_R`.

    Args:
        names: of keypoints and joints.
        data: the body model.

    Raises:
        ValueError: a point of one side whose other side is not among the names.
    """
    pairs = {} if data is None else {a: b for pair in data.joint_symmetry for a, b in (pair, pair[::-1])}
    known = {name: i for i, name in enumerate(names)}
    order = []
    for i, name in enumerate(names):
        others = (pairs[name],) if name in pairs else names_of_other_side(name)
        valid = [other for other in others if other in known]
        if others and not valid:
            raise ValueError(
                f'keypoints: one that lies on one side must have its other side; {name!r} has none of '
                f'{", ".join(map(repr, others))} among {", ".join(names)}. Add it, or train without mirrored images.'
            )
        order.append(known[valid[0]] if valid else i)
    for i, j in enumerate(order):
        if order[j] != i:
            raise ValueError(
                f'keypoints: left and right must belong to each other; {names[i]!r} leads to {names[j]!r}, '
                f'which leads to {names[order[j]]!r}. Correct the symmetry in the file of the body model.'
            )
    return tuple(order)
