"""The recording that a stored session was made of."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from smilfit.datasets import DatasetFile
from smilfit.io import RecordedSession, SleapSession
from smilfit.io.calibration import CALIBRATION_FILE
from smilfit.registry import SESSIONS

logger = logging.getLogger('smilfit')

# Arguments of a recording that name a file or a folder.
_PATHS = ('calibration', 'videos')


def open_recording(
    dataset: DatasetFile, session: str, images_only: bool = False, cameras: Sequence[str] | None = None
) -> RecordedSession:
    """Open a stored session's own videos, of the stored cameras alone.

    Args:
        dataset: an open dataset file.
        session: one of its sessions.
        images_only: as of `RecordedSession`.
        cameras: those to open; all that were stored if None.

    Raises:
        FileNotFoundError: it is not there any more; names the places where it was looked for.
        ValueError: it has fewer frames than were stored; and what its kind of session refuses.
    """
    stated, names = dataset.source(session), dataset.cameras(session).names
    if not stated:
        raise FileNotFoundError('its file was imported and names no recording')
    names = names if cameras is None else tuple(cameras)
    source, how = Path(stated), dataset.recording(session)
    if not (source.exists() if how else (source / CALIBRATION_FILE).is_file()):
        tried = ', '.join(dataset.source_places(session)[:3])
        raise FileNotFoundError(
            f'its recording {source} is not there; looked for at {tried}. Put it beside the dataset file'
        )
    kind, arguments = _how(how)
    recorded = kind(
        source,
        only_cameras=names,
        confidence_threshold=0.0,
        with_3d=False,
        partial_labels=True,
        trim=True,
        judge=False,
        images_only=images_only,
        **arguments,
    )
    last = int(max(dataset.frame_indices(session), default=0))
    if last >= recorded.n_frames:
        raise ValueError(
            f'the videos of {source} must have frame {last}; they have {recorded.n_frames} frames'
        )
    return recorded


def _how(recording: Mapping[str, object]) -> tuple[type[RecordedSession], dict[str, Any]]:
    """Return the class and arguments that a file states; a file of before is of SLEAP's folders."""
    if not recording:
        return SleapSession, {}
    name, stated = recording.get('kind'), recording.get('arguments')
    kind = SESSIONS.get(name) if isinstance(name, str) else None
    if kind is None or not issubclass(kind, RecordedSession) or not isinstance(stated, dict):
        raise ValueError(f'its recording must be of a kind that is known here; got {name!r}')
    plain: dict[str, Any] = {n: value for n, value in stated.items() if isinstance(value, str | int)}
    for argument in _PATHS:
        if argument in plain and not Path(str(plain[argument])).exists():
            logger.info('%s is not there any more; it is looked for among the files.', plain.pop(argument))
    return kind, plain
