"""Poses as Neurodata Without Borders files, by its extension `ndx-pose`; both come with sleap-io."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from smilfit.files import replacing

# Where nobody says when a recording began.
UNKNOWN_START = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class PoseTrack:
    """Points of T frames over time, of one camera or in space.

    Args:
        name: of the container.
        description: what was seen.
        points: (T, K, 2) or (T, K, 3), NaN where missing.
        confidence: of each.
        unit: of the points.
        reference_frame: where 0 is and what the axes are.
        video: the recorded file, of points in images.
        size_px: width and height of the images.
    """

    name: str
    description: str
    points: Float[np.ndarray, 'T K d']
    confidence: Float[np.ndarray, 'T K']
    unit: str
    reference_frame: str
    video: str | None = None
    size_px: tuple[int, int] | None = None


def write_nwb(
    path: str | Path,
    tracks: Sequence[PoseTrack],
    names: Sequence[str],
    edges: Sequence[tuple[int, int]],
    timestamps_s: Float[np.ndarray, ' T'],
    about: Mapping[str, str],
    start: datetime | None = None,
) -> Path:
    """Write a file whose module `behavior` holds a `PoseEstimation` a track.

    Args:
        path: the file.
        tracks: of the same K points.
        names: theirs.
        edges: pairs of them.
        timestamps_s: seconds since the start.
        about: `identifier`, `description`, `scorer`, `software`, `version`.
        start: when the recording began; 1970 if it is not known.
    """
    import ndx_pose
    from pynwb import NWBHDF5IO, NWBFile

    path = Path(path)
    file = NWBFile(
        session_description=about['description'],
        identifier=about['identifier'],
        session_start_time=start or UNKNOWN_START,
        notes=None if start else 'When the recording began is not known: the time of start is a filler.',
    )
    skeleton = ndx_pose.Skeleton(
        name='skeleton',
        nodes=list(names),
        edges=np.array(edges, np.uint8).reshape(-1, 2) if len(edges) else None,
    )
    module = file.create_processing_module('behavior', 'poses of an animal')
    module.add(ndx_pose.Skeletons(skeletons=[skeleton]))
    for track in tracks:
        module.add(
            ndx_pose.PoseEstimation(
                name=track.name,
                description=_described(track),
                pose_estimation_series=_series(track, names, timestamps_s, about['scorer']),
                scorer=about['scorer'],
                source_software=about['software'],
                source_software_version=about['version'],
                skeleton=skeleton,
            )
        )
    with replacing(path) as temporary, NWBHDF5IO(str(temporary), 'w') as io:
        io.write(file)
    return path


def _described(track: PoseTrack) -> str:
    # Arguments for these have changed between versions of ndx-pose.
    size = '' if track.size_px is None else f'; images of {track.size_px[0]} x {track.size_px[1]} px'
    return f'{track.description}{size}' + ('' if track.video is None else f'; video {track.video}')


def _series(track: PoseTrack, names: Sequence[str], timestamps_s: np.ndarray, scorer: str) -> list[Any]:
    """Return a series a point; all share the first one's timestamps."""
    import ndx_pose

    result: list[Any] = []
    for k, name in enumerate(names):
        result.append(
            ndx_pose.PoseEstimationSeries(
                name=name.replace('/', '_'),
                description=f'{name}, {track.description}',
                data=np.ascontiguousarray(track.points[:, k]),
                unit=track.unit,
                reference_frame=track.reference_frame,
                timestamps=result[0] if result else timestamps_s,
                confidence=np.ascontiguousarray(track.confidence[:, k]),
                confidence_definition=f'{scorer}: 1 where the frame was fitted, 0 where it was not',
            )
        )
    return result
