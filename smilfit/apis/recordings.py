"""The recording that a stored session was made of."""

import logging
from pathlib import Path
from typing import Any

from smilfit.io import SleapSession
from smilfit.io.session_folder import CALIBRATION_FILE

logger = logging.getLogger('smilfit')


def open_recording(dataset: Any, session: str) -> SleapSession | None:
    """Open a session's own videos, of the stored cameras alone; None where they are not there any more."""
    source, names = Path(dataset.source(session)), dataset.cameras(session).names
    if not (source / CALIBRATION_FILE).is_file():
        return None
    others = [c.name for c in source.iterdir() if c.is_dir() and c.name not in names]
    return SleapSession(source, exclude_cameras=tuple(others), confidence_threshold=0.0, with_3d=False)
