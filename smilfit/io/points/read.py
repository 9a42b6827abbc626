"""One door to all files of points in space."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from smilfit.files import BadFileError, reading, shorten
from smilfit.files.budget import MOST_ARRAY_BYTES, check_budget, read_text
from smilfit.io.hdf5_files import open_hdf5, read_table
from smilfit.io.mat_files import read_mat
from smilfit.io.points.recorded import MOST_NAMES, RecordedPoints, RecordedViews, recorded_points
from smilfit.io.points.tables import read_point_csv, read_point_npz
from smilfit.io.recordings.session_folder import find_labels
from smilfit.io.recordings.sleap_labels import read_labels, read_track_names
from smilfit.structures import Cameras


def read_dannce(
    path: Path, variables: Mapping[str, Any], image_size: tuple[int, int] | None = None
) -> RecordedPoints:
    """Read labels (`labelData`, `params`, `camnames`) or predictions (`pred`, perhaps `sampleID` and `p_max`).

    Label3D stores cameras for row vectors, `x_cam = X r + t` and `x_px = x_cam K`, with three radial and two
    tangential coefficients of the usual lens; only frames with a label are read. Of predictions there are neither.

    Args:
        path: the file, for messages.
        variables: of the file.
        image_size: width and height, px, which Label3D does not store; guessed from the labels if None.

    Raises:
        BadFileError: neither, or one that contradicts itself.
    """
    if 'labelData' in variables:
        return _labels(path, variables, image_size)
    if 'pred' in variables:
        return _predictions(path, variables)
    raise BadFileError(
        f'{path}: a DANNCE file must hold labelData (Label3D) or pred (predictions); got '
        f'{shorten(", ".join(variables))}. Is it another file?'
    )


def _predictions(path: Path, variables: Mapping[str, Any]) -> RecordedPoints:
    pred = np.asarray(variables['pred'], np.float64)
    # (N, 3, K), or (N, animals, 3, K) of several.
    if pred.ndim == 3:
        pred = pred[:, None]
    if pred.ndim != 4 or pred.shape[2] != 3:
        raise BadFileError(
            f'{path}: pred must be (frames, 3, keypoints), or (frames, animals, 3, keypoints); got {pred.shape}.'
        )
    xyz = pred.transpose(0, 1, 3, 2)
    scores = variables.get('p_max')
    if scores is not None:
        scores = np.asarray(scores, np.float64)
        scores = scores.reshape(xyz.shape[:3]) if scores.size == np.prod(xyz.shape[:3]) else None
    animals = ('',) if xyz.shape[1] == 1 else tuple(f'animal_{a}' for a in range(xyz.shape[1]))
    # What was not predicted is 0 in all coordinates.
    xyz = np.where((xyz == 0).all(-1, keepdims=True), np.nan, xyz)
    return recorded_points(path, None, xyz, scores, _samples(variables, len(xyz)), animals)


def _samples(variables: Mapping[str, Any], count: int) -> np.ndarray | None:
    """Return the samples' numbers where they can number frames: `sampleID` is a time in ms in some projects."""
    numbers = np.asarray(variables.get('sampleID', ())).ravel()
    return numbers if numbers.size == count and (np.diff(numbers) > 0).all() else None


def _labels(path: Path, variables: Mapping[str, Any], image_size: tuple[int, int] | None) -> RecordedPoints:
    labels, params = _listed(variables['labelData']), _listed(variables.get('params', []))
    if not labels:
        raise BadFileError(
            f'{path}: labelData must hold labels; it is empty, as in files that only calibrate. Give the labelled '
            'one, or the predictions (save_data_AVG.mat).'
        )
    n_frames = len(np.atleast_2d(labels[0]['data_3d']))
    flat = np.asarray(labels[0]['data_3d'], np.float64).reshape(n_frames, -1)
    if flat.shape[1] % 3 or any(
        np.asarray(label['data_2d']).size != n_frames * flat.shape[1] // 3 * 2 for label in labels
    ):
        raise BadFileError(
            f'{path}: data_3d and data_2d of labelData must have 3 and 2 columns a keypoint; they have not.'
        )
    xyz = flat.reshape(n_frames, -1, 3)
    xyz = np.where(np.isfinite(xyz).all(-1, keepdims=True), xyz, np.nan)
    frames = np.asarray(labels[0]['data_frame'], np.float64).ravel()
    order = np.argsort(frames, kind='stable')
    xy = np.stack([np.asarray(label['data_2d'], np.float64).reshape(n_frames, -1, 2) for label in labels], 1)
    xy = np.where(np.isfinite(xy).all(-1, keepdims=True), xy, np.nan)
    views = None
    if params:
        if len(params) != len(labels):
            raise BadFileError(
                f'{path}: params must be as many as labelData; got {len(params)} and {len(labels)}.'
            )
        names = _listed(variables.get('camnames', [])) or [f'Camera{i + 1}' for i in range(len(params))]
        views = RecordedViews(_cameras(path, params, names, xy, image_size), xy[order])
    result = recorded_points(path, None, xyz[order][:, None], frames=frames[order], views=views)
    if not result.confidence.any():
        raise BadFileError(
            f'{path}: a keypoint must be labelled in 3D; none is. Triangulate in Label3D and save again.'
        )
    return result


def _cameras(
    path: Path, params: list[Any], names: list[Any], xy: np.ndarray, image_size: tuple[int, int] | None
) -> Cameras:
    K = np.stack([np.asarray(p['K'], np.float64).reshape(3, 3).T for p in params])
    radial = [np.r_[np.ravel(p['RDistort']), 0.0, 0.0, 0.0][:3] for p in params]
    tangential = [np.r_[np.ravel(p['TDistort']), 0.0, 0.0][:2] for p in params]
    dist = [np.r_[k[:2], p, k[2]] for k, p in zip(radial, tangential)]
    size = np.asarray(image_size or (0.0, 0.0), np.float64)
    if image_size is None:
        # The principal point lies about the middle; labels lie in the image.
        size = np.maximum(2 * K[:, :2, 2].max(0), np.nanmax(xy, (0, 1, 2)) + 1).round()
    cameras = Cameras(
        names=tuple(str(name) for name in names),
        K=torch.from_numpy(K),
        R=torch.from_numpy(np.stack([np.asarray(p['r'], np.float64).reshape(3, 3).T for p in params])),
        t=torch.from_numpy(np.stack([np.asarray(p['t'], np.float64).ravel() for p in params])),
        size=torch.from_numpy(np.tile(size, (len(params), 1))),
        dist=torch.from_numpy(np.stack(dist)),
    )
    cameras.check(f'{path}')
    return cameras


def _listed(value: Any) -> list[Any]:
    """Return a cell's content; of one element MATLAB saves a struct, a text or an empty array alike."""
    if isinstance(value, (dict, str)):
        return [value] if value else []
    return list(value) if isinstance(value, (list, tuple)) else []


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
        result = {name: _series(path, group) for name, group in _of_type(file, _CONTAINER)}
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
    result, waiting, seen = [], [group], set()
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
                result.append((name, item))
            else:
                waiting.append(item)
    return sorted(result, key=lambda pair: pair[0])


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


_MOST_BYTES = 1 << 20


def read_skeleton(path: str | Path) -> tuple[str, ...]:
    """Read keypoints' names: a text file with a name a line, a Label3D skeleton (.mat), or SLEAP labels (.slp, .h5).

    Raises:
        BadFileError: a file without names, or of another kind.
    """
    path = Path(path)
    if path.suffix.lower() == '.mat':
        names = read_mat(path).get('joint_names', [])
        names = [names] if isinstance(names, str) else list(names)
    elif path.suffix.lower() in ('.slp', '.h5', '.hdf5'):
        names = list(read_labels(path).node_names)
    else:
        names = [
            line.split(',')[0].strip() for line in read_text(path, 'a skeleton', _MOST_BYTES).splitlines()
        ]
        names = [name for name in names if name]
    wrong = not names or len(names) > MOST_NAMES or not all(isinstance(n, str) and n for n in names)
    if wrong or len(set(names)) != len(names):
        raise BadFileError(
            f'{path}: a skeleton must name its keypoints, each once (a line each, or joint_names of a .mat file); '
            f'got {shorten(names)}.'
        )
    return tuple(names)


def names_beside(path: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Find keypoints and tracks of a `points3d.h5` in the labels of the cameras' folders beside it; none without.

    Tracks are given where all cameras have the same in one order.
    """
    names: tuple[str, ...] = ()
    tracks: list[tuple[str, ...]] = []
    for folder in sorted(p for p in path.parent.iterdir() if p.is_dir() and not p.name.startswith('.')):
        try:
            labels = find_labels(folder)
        except ValueError:
            # A folder of something else.
            continue
        names = names or read_labels(labels).node_names
        tracks.append(read_track_names(labels))
    return names, tracks[0] if tracks and len(set(tracks)) == 1 else ()


_WHAT = 'points in space'


def read_recorded_points(
    path: str | Path,
    skeleton: Sequence[str] | None = None,
    image_size: tuple[int, int] | None = None,
) -> RecordedPoints:
    """Read points that another tool placed, by the kind of file that its name ends with.

    | file | kind |
    |---|---|
    | `.h5` | `points3d.h5` of sleap-anipose (`tracks`) |
    | `.csv` | anipose's 3D poses; a wide or a tidy table |
    | `.mat` | DANNCE: Label3D's labels with cameras, predictions |
    | `.nwb` | ndx-pose |
    | `.npz` | `xyz`, `names`, `confidence` |

    Args:
        path: the file.
        skeleton: names of the keypoints where the file has none; those of a `points3d.h5` are found in the labels
            beside it.
        image_size: width and height of the cameras' images, px, for files that have cameras but do not say.

    Raises:
        FileNotFoundError: no such file.
        BadFileError: another kind of file, a damaged one, or one that names no keypoint without a skeleton.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if not path.is_file():
        raise FileNotFoundError(f'{path}: points must be a file; there is none. Check the path.')
    with reading(path, _WHAT):
        if kind in ('.h5', '.hdf5'):
            result = _tracks(path)
        elif kind == '.csv':
            result = read_point_csv(path)
        elif kind == '.mat':
            result = read_dannce(path, read_mat(path), image_size)
        elif kind == '.nwb':
            result = read_nwb_points(path)
        elif kind == '.npz':
            result = read_point_npz(path)
        else:
            raise BadFileError(
                f'{path}: points must be a .h5 (points3d.h5), .csv, .mat (DANNCE), .nwb (ndx-pose) or .npz file; got '
                f'{kind or "no ending"!r}.'
            )
    if skeleton is not None:
        return result.named(skeleton)
    if result.names is None:
        raise BadFileError(
            f'{path}: its {result.xyz.shape[2]} keypoints must have names; the file has none. Give the skeleton that '
            'was labelled by --skeleton FILE (a name a line, a .mat with joint_names, a .slp).'
        )
    return result


def _tracks(path: Path) -> RecordedPoints:
    with open_hdf5(path, _WHAT) as file:
        if 'tracks' not in file:
            raise BadFileError(
                f'{path}: points3d.h5 must hold tracks; it has {sorted(file)[:8]}. Is it another file?'
            )
        table = file['tracks']
        check_budget(path, 'tracks', 8 * (getattr(table, 'size', 0) or 0), MOST_ARRAY_BYTES)
        tracks = np.asarray(read_table(table, path), np.float64)
    if tracks.ndim != 4 or tracks.shape[-1] != 3:
        raise BadFileError(f'{path}: tracks must be (frames, animals, nodes, 3); got {tracks.shape}.')
    names, animals = names_beside(path)
    if len(animals) != tracks.shape[1]:
        animals = ('',) if tracks.shape[1] == 1 else tuple(f'track_{a}' for a in range(tracks.shape[1]))
    if tracks.shape[1] == 1:
        animals = ('',)
    return recorded_points(path, names if len(names) == tracks.shape[2] else None, tracks, animals=animals)
