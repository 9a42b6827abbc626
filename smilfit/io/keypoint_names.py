"""Names of keypoints that a file gives: checked, and paired by their sides."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from smilfit.files import BadFileError, shorten

MOST_KEYPOINTS, LONGEST_KEYPOINT_NAME = 5000, 200


def check_keypoint_names(path: str | Path, names: Sequence[str]) -> None:
    """Check the names of keypoints that a file gives.

    Raises:
        BadFileError: too many, one that is no text or too long, or one twice.
    """
    if len(names) > MOST_KEYPOINTS:
        raise BadFileError(
            f'{path}: keypoints must be at most {MOST_KEYPOINTS}; got {len(names)}. Is it the right file?'
        )
    for name in names:
        if not isinstance(name, str) or not 0 < len(name) <= LONGEST_KEYPOINT_NAME:
            raise BadFileError(
                f'{path}: the name of a keypoint must be text of 1 to {LONGEST_KEYPOINT_NAME} characters; got '
                f'{shorten(name)}. Rename it.'
            )
    if len(set(names)) < len(names):
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise BadFileError(f'{path}: keypoints must have different names; got {twice!r} twice. Rename one.')


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
    """Return the name with one of its words for left changed to right."""
    words = _WORDS.findall(name)
    for i, word in enumerate(words):
        if word in _RIGHT_OF:
            yield ''.join([*words[:i], _RIGHT_OF[word], *words[i + 1 :]])
