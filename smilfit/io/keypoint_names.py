"""Names of keypoints that a file gives."""

from collections.abc import Sequence
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
