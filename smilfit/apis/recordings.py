"""The recording that a stored session was made of."""

from pathlib import Path
from typing import Any

from smilfit.io import SleapSession
from smilfit.io.session_folder import CALIBRATION_FILE, cameras_of


def open_recording(dataset: Any, session: str) -> SleapSession:
    """Open a stored session's own videos, of the stored cameras alone.

    Raises:
        FileNotFoundError: its folder is not there any more.
        ValueError: it has fewer frames than were stored; and what `SleapSession` refuses.
    """
    stated, names = dataset.source(session), dataset.cameras(session).names
    if not stated:
        raise FileNotFoundError('its file was imported and names no recording')
    source = Path(stated)
    if not (source / CALIBRATION_FILE).is_file():
        raise FileNotFoundError(f'its folder {source} is not there; put it beside the dataset file')
    others = [name for name in cameras_of(source) if name not in names]
    recorded = SleapSession(
        source, exclude_cameras=others, confidence_threshold=0.0, with_3d=False, partial_labels=True
    )
    last = int(max(dataset.frame_indices(session), default=0))
    if last >= recorded.n_frames:
        raise ValueError(
            f'the videos of {source} must have frame {last}; they have {recorded.n_frames} frames'
        )
    return recorded
