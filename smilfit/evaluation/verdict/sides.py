"""Which names are of the left and of the right side of one and the same thing."""

import re
from collections.abc import Sequence

from smilfit.body_models import BodyModelData

# A side's letter or word between separators, or at the end or the beginning; a number may follow the letter.
_SIDE = re.compile(r'(?<![A-Za-z])(left|right|l|r)(?=[^A-Za-z]|$)', re.IGNORECASE)
_OTHER = {'left': 'right', 'right': 'left', 'l': 'r', 'r': 'l'}


def side_pairs(data: BodyModelData, names: Sequence[str]) -> list[tuple[int, int]]:
    """Find pairs of joints or keypoints, as places among `names`.

    The model's `joint_symmetry` has the first word; other names make a pair where one becomes the other by
    exchanging one side's letter or word, such as `paw_L` and `paw_R`.
    """
    place = {name: k for k, name in enumerate(names)}
    stated = dict(data.joint_symmetry)
    pairs = {}
    for name in names:
        for other in (stated.get(name), *_mirrored(name)):
            if other in place and other != name:
                first, second = sorted((place[name], place[other]))
                pairs[first] = second
                break
    return sorted(pairs.items())


def _mirrored(name: str) -> list[str]:
    """Return the name with each of its sides' words exchanged, one at a time, the last one first."""
    result = []
    for match in reversed(list(_SIDE.finditer(name))):
        word = match.group()
        other = _OTHER[word.lower()]
        other = other.upper() if word.isupper() else other.capitalize() if word[0].isupper() else other
        result.append(name[: match.start()] + other + name[match.end() :])
    return result
