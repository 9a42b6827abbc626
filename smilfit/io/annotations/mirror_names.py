"""Which keypoints a mirror exchanges, by their names."""

import re
from collections.abc import Iterator, Sequence

_RIGHT_OF = {'left': 'right', 'Left': 'Right', 'LEFT': 'RIGHT', 'l': 'r', 'L': 'R'}
# Capitals together, a word with or without a capital, or what lies between words.
_WORDS = re.compile(r'[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^A-Za-z]+')

# Longer names are no keypoint's.
_LONGEST = 200


def mirror_pairs(names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Pair (left, right) names that differ in one word for a side: left_ear, LeftEar, L_Ear, LEar, l_1_co_l."""
    known, taken, pairs = set(names), set(), {}
    for name in names:
        if not isinstance(name, str) or len(name) > _LONGEST:
            continue
        right = next((r for r in _mirrored(name) if r in known and r not in taken), None)
        if right is not None:
            pairs[name] = right
            taken.add(right)
    return tuple(pairs.items())


def _mirrored(name: str) -> Iterator[str]:
    """Give the name with one of its words for left changed to right."""
    words = _WORDS.findall(name)
    for i, word in enumerate(words):
        if word in _RIGHT_OF:
            yield ''.join([*words[:i], _RIGHT_OF[word], *words[i + 1 :]])
