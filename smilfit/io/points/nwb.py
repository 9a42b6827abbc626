"""ndx-pose in NWB: `PoseEstimation` containers of `PoseEstimationSeries`, read by h5py alone."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from smilfit.files import BadFileError, shorten
from smilfit.io.hdf5_files import open_hdf5, read_table
from smilfit.io.points.recorded import RecordedPoints, recorded_points

_CONTAINER, _SERIES = 'PoseEstimation', 'PoseEstimationSeries'
# Frames a second that differ by this share are one rate.
_SAME_RATE = 0.02


def read_nwb_points(path: Path) -> RecordedPoints:
    """Read the poses in space of a file: each `PoseEstimation` is an animal, each of its series a keypoint.

    Series of one container must share their times; frames are numbered from the first.

    Raises:
        BadFileError: no pose in space, series of other lengths or times.
    """
    with open_hdf5(path, 'an NWB file') as file:
        found = {name: _series(path, group) for name, group in _of_type(file, _CONTAINER)}
    found = {name: series for name, series in found.items() if series}
    if not found:
        raise BadFileError(
            f'{path}: an NWB file must hold a {_CONTAINER} (ndx-pose) with points of three coordinates; it has none.'
        )
    names = list(dict.fromkeys(keypoint for series in found.values() for keypoint in series))
    length = {len(s[0]) for series in found.values() for s in series.values()}
    if len(length) != 1:
        raise BadFileError(
            f'{path}: series of keypoints must be equally long; got {sorted(length)[:5]} samples.'
        )
    (count,) = length
    xyz, scores = (
        np.full((count, len(found), len(names), 3), np.nan),
        np.zeros((count, len(found), len(names))),
    )
    rates, units = set(), set()
    for a, series in enumerate(found.values()):
        for keypoint, (data, confidence, rate, unit) in series.items():
            k = names.index(keypoint)
            xyz[:, a, k], scores[:, a, k] = data, confidence
            rates.add(rate)
            units.add(unit)
    known = [rate for rate in rates if rate]
    fps = known[0] if known and max(known) - min(known) <= _SAME_RATE * max(known) else None
    unit = units.pop() if len(units) == 1 else None
    animals = tuple(found) if len(found) > 1 else ('',)
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
    found, waiting, seen = [], [group], set()
    while waiting:
        here = waiting.pop()
        for name in here:
            item = here[name]
            if not isinstance(item, h5py.Group):
                continue
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:
                continue
            seen.add(address)
            if _text(item.attrs.get('neurodata_type')) == kind:
                found.append((name, item))
            else:
                waiting.append(item)
    return sorted(found, key=lambda pair: pair[0])


def _series(
    path: Path, container: h5py.Group
) -> dict[str, tuple[np.ndarray, np.ndarray, float | None, str | None]]:
    """Read a container's series in space: points, confidence, rate and unit by keypoint."""
    series = {}
    for name, group in _of_type(container, _SERIES):
        data = np.asarray(read_table(group['data'], path), np.float64)
        if data.ndim != 2 or data.shape[1] != 3:
            continue
        confidence = np.ones(len(data))
        if 'confidence' in group:
            confidence = np.asarray(read_table(group['confidence'], path), np.float64)
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
        times = np.asarray(read_table(group['timestamps'], path), np.float64)
        step = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
        return 1 / step if step > 0 else None
    return None


def _text(value: Any) -> str | None:
    return value.decode() if isinstance(value, bytes) else None if value is None else str(value)
