"""Which body of a MuJoCo model each keypoint of a lab hangs on, as STAC's tables have it (yaml)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from jaxtyping import Float

from smilfit.files import BadFileError, read_text, reading, shorten
from smilfit.registry import UnknownNameError, did_you_mean

WHAT = 'a table of keypoints and bodies'
PAIRS, OFFSETS, KEPT = 'KEYPOINT_MODEL_PAIRS', 'KEYPOINT_INITIAL_OFFSETS', 'SITES_TO_REGULARIZE'
# How far a keypoint may be from where the table begins, a share of the body's length: one whose offset STAC lets go
# where it likes, and one that it holds.
FREE_SD, KEPT_SD = 0.08, 0.02
_MOST_BYTES = 1 << 16


@dataclass(frozen=True)
class BodyKeypoint:
    """A keypoint on a body: where it is expected in the body's frame, and whether it stays near."""

    body: str
    offset: Float[np.ndarray, '3']
    kept: bool


def read_body_keypoints(path: str | Path) -> dict[str, BodyKeypoint]:
    """Read STAC's table: bodies by keypoint, start offsets in the model's unit, and which of them are held.

    Raises:
        FileNotFoundError: no such file.
        BadFileError: no yaml, or another table.
    """
    path = Path(path)
    with reading(path, WHAT):
        try:
            document = yaml.safe_load(read_text(path, WHAT, _MOST_BYTES))
        except yaml.YAMLError as error:
            raise BadFileError(f'{path}: {WHAT} must be yaml; {shorten(error)}. Correct it there.') from error
        pairs = _table(document, path)
        offsets, kept = document.get(OFFSETS) or {}, document.get(KEPT) or []
        unknown = [name for name in (*offsets, *kept) if name not in pairs]
        if unknown:
            raise UnknownNameError(
                f'{path}: {OFFSETS} and {KEPT} must name keypoints of {PAIRS}; {shorten(str(unknown[0]))!r} is none. '
                f'{did_you_mean(str(unknown[0]), pairs)}'
            )
        return {
            name: BodyKeypoint(body, _offset(offsets.get(name, '0 0 0'), name, path), name in kept)
            for name, body in pairs.items()
        }


def _table(document: object, path: Path) -> Mapping[str, str]:
    pairs = document.get(PAIRS) if isinstance(document, dict) else None
    if (
        not isinstance(pairs, dict)
        or not pairs
        or not all(isinstance(x, str) for p in pairs.items() for x in p)
    ):
        got = (
            ', '.join(shorten(str(key), 40) for key in list(document)[:20])
            if isinstance(document, dict)
            else 'none'
        )
        raise BadFileError(
            f'{path}: {WHAT} must have {PAIRS}, a body by keypoint; got the keys {got}. Is it a table of STAC?'
        )
    return pairs


def _offset(value: object, name: str, path: Path) -> np.ndarray:
    words = value.split() if isinstance(value, str) else value
    try:
        offset = np.array([float(word) for word in words] if isinstance(words, list) else [])
    except (TypeError, ValueError):
        offset = np.zeros(0)
    if offset.shape != (3,) or not np.isfinite(offset).all():
        raise BadFileError(
            f'{path}: {OFFSETS}.{shorten(name)} must be 3 finite numbers; got {shorten(str(value))!r}. Correct it.'
        )
    return offset
