"""Poses as Neurodata Without Borders files (`ndx-pose`), written by pynwb (it comes with sleap-io), read by h5py."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Float

from smilfit.files import BadFileError, replacing, shorten
from smilfit.io.hdf5_files import open_hdf5, read_numbers
from smilfit.io.points.recorded import RecordedPoints, recorded_points

_CONTAINER, _SERIES = 'PoseEstimation', 'PoseEstimationSeries'
# Frames a second that differ by this share are one rate.
_SAME_RATE = 0.02
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


def _series(track: PoseTrack, names: Sequence[str], timestamps_s: np.ndarray, scorer: str) -> list[object]:
    """Return a series a point; all share the first one's timestamps."""
    import ndx_pose

    result: list[object] = []
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


def read_nwb_points(path: Path) -> RecordedPoints:
    """Read the poses in space of a file: each `PoseEstimation` is an animal, each of its series a keypoint.

    Series of one container must share their times; frames are numbered from the first.

    Raises:
        BadFileError: no pose in space, series of other lengths or times.
    """
    with open_hdf5(path, 'an NWB file') as file:
        result = {name: _read_series(path, group) for name, group in _of_type(file, _CONTAINER)}
    result = {name: series for name, series in result.items() if series}
    if not result:
        raise BadFileError(
            f'{path}: an NWB file must hold a {_CONTAINER} (ndx-pose) with points of three coordinates; it has none.'
        )
    names = list(dict.fromkeys(keypoint for series in result.values() for keypoint in series))
    length = {len(s[0]) for series in result.values() for s in series.values()}
    if len(length) != 1:
        raise BadFileError(
            f'{path}: series of keypoints must be equally long; got {sorted(length)[:5]} samples.'
        )
    (count,) = length
    xyz, scores = (
        np.full((count, len(result), len(names), 3), np.nan),
        np.zeros((count, len(result), len(names))),
    )
    rates, units = set(), set()
    for a, series in enumerate(result.values()):
        for keypoint, (data, confidence, rate, unit) in series.items():
            k = names.index(keypoint)
            xyz[:, a, k], scores[:, a, k] = data, confidence
            rates.add(rate)
            units.add(unit)
    known = [rate for rate in rates if rate]
    fps = known[0] if known and max(known) - min(known) <= _SAME_RATE * max(known) else None
    unit = units.pop() if len(units) == 1 else None
    animals = tuple(result) if len(result) > 1 else ('',)
    return recorded_points(
        path, names, xyz, scores, None, animals, fps=fps, unit=_SHORT.get(str(unit).lower())
    )


_SHORT = {
    **dict.fromkeys(('mm', 'millimeter', 'millimeters', 'millimetre', 'millimetres'), 'mm'),
    **dict.fromkeys(('cm', 'centimeter', 'centimeters', 'centimetre', 'centimetres'), 'cm'),
    **dict.fromkeys(('m', 'meter', 'meters', 'metre', 'metres'), 'm'),
}


def _of_type(group: h5py.Group, kind: str) -> list[tuple[str, h5py.Group]]:
    """Find the groups of a type anywhere in the file, by name; no group is entered twice."""
    result, waiting, visited = [], [group], set()
    while waiting:
        here = waiting.pop()
        for name in here:
            item = here[name]
            if not isinstance(item, h5py.Group):
                continue
            address = h5py.h5o.get_info(item.id).addr
            if address in visited:
                continue
            visited.add(address)
            if _text(item.attrs.get('neurodata_type')) == kind:
                result.append((name, item))
            else:
                waiting.append(item)
    return sorted(result, key=lambda pair: pair[0])


def _read_series(
    path: Path, container: h5py.Group
) -> dict[str, tuple[np.ndarray, np.ndarray, float | None, str | None]]:
    """Read a container's series in space: points, confidence, rate and unit by keypoint."""
    series = {}
    for name, group in _of_type(container, _SERIES):
        data = read_numbers(group['data'], path)
        if data.ndim != 2 or data.shape[1] != 3:
            continue
        confidence = np.ones(len(data))
        if 'confidence' in group:
            confidence = read_numbers(group['confidence'], path)
            if confidence.shape != (len(data),):
                raise BadFileError(
                    f'{path}: confidence of {shorten(name)} must be as long as its data; it is not.'
                )
        series[name] = (data, confidence, _rate(path, group), _text(group['data'].attrs.get('unit')))
    return series


def _rate(path: Path, group: h5py.Group) -> float | None:
    if 'starting_time' in group:
        return float(group['starting_time'].attrs.get('rate', 0)) or None
    if 'timestamps' in group:
        times = read_numbers(group['timestamps'], path)
        step = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
        return 1 / step if step > 0 else None
    return None


def _text(value: object) -> str | None:
    return value.decode() if isinstance(value, bytes) else None if value is None else str(value)
