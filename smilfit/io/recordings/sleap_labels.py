"""SLEAP's files for sleap-io, looked through first: tables fit each other and the memory, no video is opened."""

import json
import logging
import tempfile
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING

import h5py
import numpy as np

from smilfit.files import BadFileError, charge, reading, shorten, write_bytes
from smilfit.files.budget import MOST_ARRAY_BYTES, check_budget
from smilfit.files.names import is_file
from smilfit.io.hdf5_files import open_hdf5, read_numbers, read_table
from smilfit.io.keypoint_names import check_keypoint_names
from smilfit.io.points3d import reject_half_points
from smilfit.io.recordings.camera_labels import CameraLabels
from smilfit.registry import UnknownNameError, did_you_mean

if TYPE_CHECKING:
    import sleap_io


_WHAT = 'SLEAP labels'
_POINTS = ('points', 'pred_points')
# About what sleap-io takes for a frame, an instance, or a text.
_ROW_BYTES = 600
# A path has fewer.
_MOST_PARTS = 100


def load_slp(path: Path) -> 'sleap_io.Labels':
    """Read a `.slp` file as sleap-io's Labels, no video opened.

    Raises:
        FileNotFoundError: no such file.
        BadFileError: no such labels, or tables that contradict each other or are too large.
    """
    import sleap_io

    with open_hdf5(path, _WHAT) as file:
        _check_tables(path, file)
    return _guarded(path, lambda: sleap_io.load_slp(str(path), open_videos=False))


def load_analysis(path: Path) -> 'sleap_io.Labels':
    """Read an analysis file as sleap-io's Labels, no video opened (sleap-io by itself would open what is named).

    Raises:
        FileNotFoundError: no such file.
        BadFileError: no such labels, or too large ones.
    """
    import sleap_io

    with open_hdf5(path, _WHAT) as file:
        for name in ('tracks', 'node_names'):
            if name not in file:
                raise BadFileError(
                    f'{path}: the file must be SLEAP labels (.slp) or an "Analysis HDF5" export; {name} is missing. '
                    'Export it from SLEAP again.'
                )
        _check_sizes(path, file)
        video = sleap_io.Video(filename=_text(file, 'video_path'), open_backend=False)
        known = json.loads(file.attrs.get('video_backend_metadata', '{}'))
        video.backend_metadata = known if isinstance(known, dict) else {}
    return _guarded(path, lambda: sleap_io.load_analysis_h5(str(path), video=video))


def _guarded(path: Path, load: Callable[[], 'sleap_io.Labels']) -> 'sleap_io.Labels':
    with reading(path, _WHAT):
        try:
            return load()
        except (OSError, KeyError, ValueError, IndexError, TypeError, AttributeError) as error:
            raise BadFileError(
                f'{path}: the file must be SLEAP labels (.slp) or an "Analysis HDF5" export; reading failed with: '
                f'{type(error).__name__}: {shorten(error)}. Export it from SLEAP again.'
            ) from None


def _text(file: h5py.File, name: str) -> str:
    value = file[name][()] if name in file else b''
    return value.decode('utf-8', 'replace') if isinstance(value, bytes) else str(value)


def _check_sizes(path: Path, file: h5py.File) -> None:
    """Hold every table against the limit, images of a package aside, which are read one by one."""

    def check(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset) and item.shape is not None and not name.endswith('/video'):
            wanted = item.size * max(item.dtype.itemsize, 1)
            check_budget(path, shorten(name), wanted, MOST_ARRAY_BYTES)
            # sleap-io makes an object of each row, and one array of all points.
            rows = 0 if name in _POINTS else item.size if name not in ('tracks', 'occupancy_matrix') else 0
            charge(shorten(name), n_bytes=2 * wanted + _ROW_BYTES * rows, n_objects=rows)

    file.visititems(check)


def _check_tables(path: Path, file: h5py.File) -> None:
    """Check that rows of frames name rows of instances, and those rows of points, about once each."""
    for name in ('frames', 'instances', 'videos_json', 'metadata'):
        if name not in file:
            raise BadFileError(
                f'{path}: the file must be SLEAP labels; the table {name} is missing. Save it from SLEAP again.'
            )
    _check_sizes(path, file)
    frames, instances = (read_table(file[name], path) for name in ('frames', 'instances'))
    _check_ranges(path, 'instances of frames', _columns(path, frames, 3), len(instances))
    points = sum(len(file[name]) for name in ('points', 'pred_points') if name in file)
    _check_ranges(path, 'points of instances', _columns(path, instances, 7), points)


def _columns(path: Path, table: np.ndarray, first: int) -> tuple[np.ndarray, np.ndarray]:
    """Return two columns of a table: of records, as SLEAP writes, or of plain numbers."""
    fields = table.dtype.names
    if len(fields or ()) < first + 2 and (table.ndim != 2 or table.shape[1] < first + 2):
        if table.size == 0:
            return np.zeros(0), np.zeros(0)
        raise BadFileError(
            f'{path}: rows of SLEAP labels must have {first + 2} columns or more; got {len(fields or ())}. Save it '
            'from SLEAP again.'
        )
    pair = (table[fields[i]] if fields else table[:, i] for i in (first, first + 1))
    start, end = (column.astype(np.float64) for column in pair)
    return start, end


def _check_ranges(path: Path, what: str, ranges: tuple[np.ndarray, np.ndarray], count: int) -> None:
    start, end = ranges
    if not ((start >= 0) & (end >= start)).all():
        raise BadFileError(
            f'{path}: {what} must be from a row to a later one; some are negative or the other way round. Save it '
            'from SLEAP again.'
        )
    named = float((end.clip(0, count) - start.clip(0, count)).sum())
    # Rows that are named twice would be read again and again.
    check_budget(path, what, int(named), count, 'rows')


def read_node_orders(path: str | Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Read the names of a .slp file's nodes, by their number and in the order of the skeleton (of the labels).

    Software has taken one for the other.

    Raises:
        FileNotFoundError: no such file.
        BadFileError: no .slp file, or one without a skeleton.
    """
    path = Path(path)
    with open_hdf5(path, _WHAT) as file, reading(path, _WHAT):
        try:
            text = file['metadata'].attrs['json']
            stated = json.loads(bytes(text).decode() if not isinstance(text, str) else text)
            numbered = tuple(str(node['name']) for node in stated['nodes'])
            places = [int(node['id']) for node in stated['skeletons'][0]['nodes']]
            if not places or sorted(places) != list(range(len(numbered))):
                raise ValueError('its skeleton does not have each node once')
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise BadFileError(
                f'{path}: a .slp file must list its nodes and one skeleton of all of them; it does not ({error}). '
                'Save it from SLEAP again.'
            ) from error
    return numbered, tuple(numbered[place] for place in places)


def find_video_file(labels: Path, folder: Path | None, name: str) -> Path:
    """Find a file that another machine named: in the folder given, as it is written, or beside the labels."""
    written = PureWindowsPath(name) if '\\' in name or name[1:2] == ':' else PurePosixPath(name)
    if folder is not None:
        parts = [part for part in written.parts if part != '..']
        tails = (Path(*parts[-n:]) for n in range(min(len(parts), _MOST_PARTS), 0, -1))
        within = [folder / tail for tail in tails if not tail.is_absolute() and not tail.drive]
        return next((path for path in within if is_file(path)), folder / written.name)
    candidates = (Path(name), labels.parent / written.name)
    return next((path for path in candidates if is_file(path)), candidates[-1])


logger = logging.getLogger('smilfit')


def read_labels(path: str | Path, track: str | None = None) -> CameraLabels:
    """Read a `.slp` or an analysis `.h5` file and keep one animal.

    With tracks, the track of a name is kept, or the one with the most points. Without, one instance a frame: a
    person's before a predicted one, then the one of the highest score.

    Raises:
        ValueError: no labels, several skeletons or videos, or a point with one NaN coordinate of two.
        KeyError: no such track, with the near ones.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'{path}: the labels must exist; there is no such file.')
    with reading(path, 'SLEAP labels'):
        read = _read_slp if path.suffix.lower() == '.slp' else _read_analysis
        labels = read(path, track)
        check_keypoint_names(path, labels.node_names)
        reject_half_points(str(path), labels.xy, labels.node_names)
        return labels


def read_track_names(path: str | Path) -> tuple[str, ...]:
    """Name the tracks of a `.slp` or an analysis `.h5` file, in its order; none where instances have no track."""
    path = Path(path)
    with reading(path, 'SLEAP labels'):
        if path.suffix.lower() == '.slp':
            return tuple(slp_tracks(load_slp(path)))
        with open_hdf5(path, 'SLEAP labels') as file:
            return _analysis_tracks(path, file)


def write_slp(
    path: str | Path,
    xy: np.ndarray,
    node_names: Sequence[str],
    video_path: str | Path,
    scores: np.ndarray | None = None,
) -> Path:
    """Write one animal's labels as `.slp`; see `write_tracks`."""
    return write_tracks(path, {'track_0': (xy, scores)}, node_names, video_path)


def write_tracks(
    path: str | Path,
    tracks: Mapping[str, tuple[np.ndarray, np.ndarray | None]],
    node_names: Sequence[str],
    video_path: str | Path,
) -> Path:
    """Write several animals' labels as `.slp`, each with a track of its own.

    Args:
        path: the file.
        tracks: by name: points (frames, nodes, 2) px, NaN where missing, and scores (frames, nodes) of predicted
            ones; None for a person's.
        node_names: as many as nodes.
        video_path: the video that the labels belong to.
    """
    import sleap_io

    path = Path(path)
    skeleton = sleap_io.Skeleton(list(node_names))
    video = sleap_io.Video(filename=str(video_path), open_backend=False)
    names = [sleap_io.Track(name) for name in tracks]
    frames: dict[int, sleap_io.LabeledFrame] = {}
    for track, (xy, scores) in zip(names, tracks.values()):
        for index, points in enumerate(np.asarray(xy, dtype=np.float64)):
            if np.isnan(points).all():
                continue
            if scores is None:
                instance = sleap_io.Instance.from_numpy(points, skeleton=skeleton, track=track)
            else:
                score = np.asarray(scores[index], dtype=np.float64)
                instance = sleap_io.PredictedInstance.from_numpy(
                    points, skeleton=skeleton, point_scores=score, score=float(np.nanmean(score)), track=track
                )
            frame = frames.setdefault(index, sleap_io.LabeledFrame(video=video, frame_idx=index))
            frame.instances.append(instance)
    ordered = [frames[index] for index in sorted(frames)]
    labels = sleap_io.Labels(labeled_frames=ordered, videos=[video], skeletons=[skeleton], tracks=names)
    # HDF5 that runs out of room in the middle of a file prints tracebacks of its own, or ends the process: it writes
    # where temporary files are, and a whole file goes to its place.
    with tempfile.TemporaryDirectory() as folder:
        staged = Path(folder) / path.name
        sleap_io.save_slp(labels, str(staged), embed=False, verbose=False)
        return write_bytes(path, staged.read_bytes())


def _read_slp(path: Path, track: str | None) -> CameraLabels:
    labels = load_slp(path)
    for thing, result in (('skeleton', labels.skeletons), ('video', labels.videos)):
        if len(result) != 1:
            raise ValueError(f'{path}: labels must have one {thing}; got {len(result)}.')
    if not any(frame.instances for frame in labels):
        raise ValueError(f'{path}: labels must have instances; got none. Was the right file exported?')
    shape = labels.videos[0].backend_metadata.get('shape')
    names = tuple(labels.skeleton.node_names)
    return labels_of_frames(path, list(labels), names, slp_tracks(labels), track, stated_length(shape))


def labels_of_frames(
    path: Path,
    frames: Sequence['sleap_io.LabeledFrame'],
    names: tuple[str, ...],
    tracks: Mapping[str, Hashable],
    track: str | None,
    stated: int | None,
    animal_of: Callable[['sleap_io.Instance'], Hashable | None] | None = None,
) -> CameraLabels:
    """Return one animal's labels of sleap-io's labelled frames of one video.

    Args:
        path: the file, for messages.
        frames: those of the video.
        names: the nodes.
        tracks: all of the file by name, each with what `animal_of` gives of its instances.
        track: the one to keep; the one with the most points if None.
        stated: how many frames the video has by the file.
        animal_of: says which track an instance is of, None if of none; as `slp_tracks` has it if None.

    Raises:
        ValueError: no instance of the track, or frames numbered below 0.
        KeyError: no such track, with the near ones.
    """
    _check_track(path, track, tracks)
    wanted = None if track is None else tracks[track]
    chosen, skipped = _choose_instances(frames, wanted, animal_of or _track_key)
    if not chosen:
        raise ValueError(f'{path}: the track {track!r} must have instances; it has none. Leave it out.')
    # A track may end before the labels do: its animal has left.
    n_frames = (max(chosen) if track is None else max(int(f.frame_idx) for f in frames if f.instances)) + 1
    if min(chosen) < 0:
        raise BadFileError(
            f'{path}: frames must be numbered from 0; got {min(chosen)}. Save it from SLEAP again.'
        )
    check_budget(path, f'labels up to frame {n_frames - 1}', 24 * n_frames * len(names), MOST_ARRAY_BYTES)
    xy = np.full((n_frames, len(names), 2), np.nan)
    score = np.full((n_frames, len(names)), np.nan)
    for index, instance in chosen.items():
        points = instance.points
        # A point that is marked invisible is no observation; half a point is an error even then.
        complete = np.isfinite(points['xy']).all(-1)
        xy[index] = np.where((complete & ~points['visible'])[:, None], np.nan, points['xy'])
        if 'score' in points.dtype.names:
            score[index] = points['score']
    labelled = np.zeros(n_frames, dtype=bool)
    labelled[list(chosen)] = True
    high = int((score > 1).sum())
    centres = _instance_centres(frames, n_frames)
    return CameraLabels(
        *(path, names, xy, filled_scores(score), labelled, stated, skipped, high, centres, tuple(tracks))
    )


def stated_length(shape: object) -> int | None:
    """Return the number of frames of a video's stated shape; None where it states none."""
    stated = shape[0] if isinstance(shape, list | tuple) and shape else None
    return stated if isinstance(stated, int) else None


def slp_tracks(labels: 'sleap_io.Labels') -> dict[str, int]:
    """Name the tracks, each with what tells its instances."""
    return {str(track.name): id(track) for track in labels.tracks}


def _check_track(path: Path, name: str | None, known: Collection[str]) -> None:
    """Refuse a track that is asked for and not there."""
    if name is not None and name not in known:
        raise UnknownNameError(f'{path}: no track {name!r}. {did_you_mean(name, known)}')


def _instance_centres(frames: Sequence['sleap_io.LabeledFrame'], n_frames: int) -> np.ndarray:
    """Return the mean of each instance's points, of frames up to a number; a corrected prediction does not count."""
    by_frame: dict[int, list[np.ndarray]] = {}
    for frame in frames:
        corrected = {id(getattr(instance, 'from_predicted', None)) for instance in frame.instances}
        for instance in frame.instances:
            points = instance.points
            valid = np.isfinite(points['xy']).all(-1) & points['visible']
            if valid.any() and id(instance) not in corrected:
                by_frame.setdefault(int(frame.frame_idx), []).append(points['xy'][valid].mean(0))
    most = max((len(result) for result in by_frame.values()), default=0)
    centres = np.full((n_frames, most, 2), np.nan)
    for index, result in by_frame.items():
        if index < n_frames:
            centres[index, : len(result)] = result
    return centres


def _choose_instances(
    frames: Sequence['sleap_io.LabeledFrame'],
    wanted: Hashable | None,
    animal_of: Callable[['sleap_io.Instance'], Hashable | None],
) -> tuple[dict[int, 'sleap_io.Instance'], int]:
    """Keep one instance a frame, of a track where one is given; by frame, and the count of those left out."""
    by_track: dict[Hashable, int] = {}
    for frame in frames:
        for instance in frame.instances:
            if (track := animal_of(instance)) is not None:
                by_track[track] = by_track.get(track, 0) + instance.n_visible
    best = max(by_track, key=by_track.__getitem__) if by_track else None
    best = best if wanted is None else wanted
    chosen: dict[int, sleap_io.Instance] = {}
    total = 0
    for frame in frames:
        candidates = [i for i in frame.instances if best is None or animal_of(i) == best]
        total += len(frame.instances)
        if candidates:
            chosen[int(frame.frame_idx)] = max(candidates, key=_preference)
    return chosen, total - len(chosen)


def track_of(instance: 'sleap_io.Instance') -> 'sleap_io.Track | None':
    """Return sleap-io's track of an instance; a person's correction without one has that of its prediction."""
    source = getattr(instance, 'from_predicted', None)
    return instance.track if instance.track is not None or source is None else source.track


def _track_key(instance: 'sleap_io.Instance') -> int | None:
    track = track_of(instance)
    return None if track is None else id(track)


def _preference(instance: 'sleap_io.Instance') -> tuple[bool, float]:
    score = getattr(instance, 'score', None)
    return score is None, 0.0 if score is None else float(np.nan_to_num(score))


def _analysis_tracks(path: Path, file: h5py.File) -> tuple[str, ...]:
    """Name the tracks of an analysis file; by their number where it does not."""
    if 'track_names' in file:
        names = _texts(path, file['track_names'])
        if len(names) == file['tracks'].shape[0]:
            return names
    return tuple(f'track_{i}' for i in range(file['tracks'].shape[0]))


def _texts(path: Path, table: h5py.Dataset) -> tuple[str, ...]:
    items = read_table(table, path)
    return tuple(n.decode('utf-8', 'replace') if isinstance(n, bytes) else str(n) for n in items)


def _read_analysis(path: Path, track: str | None) -> CameraLabels:
    with open_hdf5(path, 'SLEAP labels') as file:
        if 'tracks' not in file or 'node_names' not in file:
            raise BadFileError(
                f'{path}: an analysis file must have tracks and node_names; got {[shorten(n) for n in file][:20]}. '
                'Export it from SLEAP as "Analysis HDF5".'
            )
        tracks = read_numbers(file['tracks'], path)
        names = _texts(path, file['node_names'])
        scores = read_numbers(file['point_scores'], path) if 'point_scores' in file else None
        track_names = _analysis_tracks(path, file)
    if tracks.ndim != 4 or tracks.shape[1:3] != (2, len(names)):
        raise ValueError(
            f'{path}: tracks must be (tracks, 2, {len(names)} nodes, frames); got {tracks.shape}. Export it from '
            'SLEAP as "Analysis HDF5".'
        )
    present = np.isfinite(tracks).any(1)
    if not present.any():
        raise ValueError(f'{path}: labels must have points; got none.')
    _check_track(path, track, track_names)
    best = int(present.sum((1, 2)).argmax()) if track is None else track_names.index(track)
    in_frame = present.any(1)
    count = present.sum(1)
    centres = np.where(present[:, None], tracks, 0.0).sum(2) / np.maximum(count, 1)[:, None]
    centres = np.where(count[:, None] > 0, centres, np.nan).transpose(2, 0, 1)
    if scores is None or scores.shape != present.shape:
        score = np.full(present.shape[1:], np.nan).T
    else:
        score = scores[best].T
    return CameraLabels(
        path,
        names,
        tracks[best].transpose(2, 1, 0),
        filled_scores(score),
        in_frame[best],
        None,
        int(in_frame.sum() - in_frame[best].sum()),
        int((score > 1).sum()),
        centres,
        track_names,
    )


def filled_scores(score: np.ndarray) -> np.ndarray:
    """Return confidences: 1 of points without a score, which a person set, and of peaks that exceed 1 by a little."""
    return np.clip(np.where(np.isnan(score), 1.0, score), 0.0, 1.0)


def report_high_peaks(where: str | Path, count: int) -> None:
    """Report that scores above 1 are taken as 1: a confidence map's peak may exceed it."""
    if count:
        logger.info('%s: %d scores exceed 1 and are taken as 1, as peaks of confidence maps.', where, count)
