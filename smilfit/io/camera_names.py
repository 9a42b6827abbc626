"""Which camera a file is of, and of which trial, by its name."""

import re
from collections.abc import Sequence

from smilfit.files import BadFileError, shorten

# Patterns of a file are matched to names of up to 255 characters: what is beyond this may never end.
_LONGEST_PATTERN, _MOST_REPEATS = 100, 3
_REPEATS, _REPEATED_GROUP = re.compile(r'[*+{]'), re.compile(r'\)\s*[*+{]')
_EDGES = ' _-.+'


def check_pattern(where: str, pattern: object, trusted: bool = False) -> str:
    """Return a pattern whose first group is a camera's name.

    Args:
        where: who gave it, for messages.
        pattern: what was given.
        trusted: it stands in no file, so that it may take as long as it likes.

    Raises:
        BadFileError: it is no pattern, or one that could take forever to match.
    """
    if not isinstance(pattern, str) or not (trusted or _ends_soon(pattern)):
        raise BadFileError(
            f'{where}: cam_regex of config.toml must be text of at most {_LONGEST_PATTERN} characters with at most '
            f'{_MOST_REPEATS} repeats, none of a group; got {shorten(pattern)}. Give another one by cam_regex=.'
        )
    try:
        re.compile(pattern)
    except re.error as error:
        raise BadFileError(
            f'{where}: cam_regex must be a pattern; got {shorten(pattern)!r}: {error}. Correct it.'
        ) from None
    return pattern


def _ends_soon(pattern: str) -> bool:
    """Check whether a pattern is too short and plain to take long."""
    short = len(pattern) <= _LONGEST_PATTERN and len(_REPEATS.findall(pattern)) <= _MOST_REPEATS
    return short and not _REPEATED_GROUP.search(pattern)


def split_by_pattern(stem: str, pattern: str) -> tuple[str, str] | None:
    """Return trial and camera of a name: the pattern's first group, and what is left without the match, as anipose
    does.

    None where the pattern is not in the name.
    """
    match = re.search(pattern, stem)
    if match is None or not match.groups() or match.group(1) is None:
        return None
    return re.sub(pattern, '', stem).strip(), match.group(1).strip()


def split_by_names(stem: str, cameras: Sequence[str]) -> tuple[str, str] | None:
    """Return trial and camera of a name that holds one of the cameras' names.

    A camera's name counts as a word of its own (`session0_view1`, `day 2.Cam-A`), in any case; else at the end of the
    file's name (`trial2camA`). Of several the longest counts, of equally long ones the last. None where there is
    none.
    """
    result: list[tuple[bool, int, int, str]] = []
    for camera in cameras:
        name = re.escape(camera)
        words = list(re.finditer(rf'(?<![^\W_]){name}(?![^\W_])', stem, re.IGNORECASE))
        ends = [] if words else list(re.finditer(rf'{name}$', stem, re.IGNORECASE))
        result += [(bool(words), len(camera), match.start(), camera) for match in words + ends]
    if not result:
        return None
    _, length, start, camera = max(result)
    left, right = stem[:start].rstrip(_EDGES), stem[start + length :].lstrip(_EDGES)
    return '_'.join(part for part in (left, right) if part), camera
