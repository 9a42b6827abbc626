"""One animal's labels in one camera's video, whatever tool wrote them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

# SLEAP's own `peak_threshold`: its inference takes no lower peak for a point.
PEAK_THRESHOLD = 0.2


@dataclass(frozen=True)
class CameraLabels:
    """One animal's labels in one video.

    `xy` (frames, nodes, 2) px is NaN where missing; `score` (frames, nodes) is 1 where a person set the
    point. Frames run from 0 to the last labelled one. `labelled` (frames,) says which have labels.
    `video_frames` is the video's length where the file states it. `skipped_instances` counts what belonged
    to other animals or tracks, `scores_above_1` those that were taken as 1, `scores_missing` points that have none
    and count as missing. `centres` (frames, animals, 2) px are the means of all animals' points, in no order, NaN
    where there is none. `tracks` names all of the file, in its order. `threshold` is the score that labels must
    reach where nobody asks otherwise; what the file's name says of SLEAP's scores if None. `weighted_by` names what
    the scores are.
    """

    path: Path
    node_names: tuple[str, ...]
    xy: np.ndarray
    score: np.ndarray
    labelled: np.ndarray
    video_frames: int | None = None
    skipped_instances: int = 0
    scores_above_1: int = 0
    centres: np.ndarray | None = None
    tracks: tuple[str, ...] = ()
    scores_missing: int = 0
    threshold: float | None = None
    weighted_by: str = 'score'

    @property
    def usual_threshold(self) -> float:
        """The score below which labels count as missing where nobody asks otherwise; see `usual_threshold`."""
        return usual_threshold(self.path) if self.threshold is None else self.threshold

    def __len__(self) -> int:
        return len(self.xy)


def usual_threshold(path: Path) -> float:
    """Return the score that SLEAP's labels of a file must reach where nobody asks otherwise.

    SLEAP's scores are peaks of confidence maps, no probabilities: good points of a poor view lie between 0.2 and 0.5.
    Labels that somebody looked through (files with 'proofread' in the name, as sleap-anipose asks for) count whole.
    What a person set or corrected has score 1 and passes every threshold.
    """
    return 0.0 if 'proofread' in path.stem.lower() else PEAK_THRESHOLD
