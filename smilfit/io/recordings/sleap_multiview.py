"""SLEAP's own multi-view projects: one `.slp` with a `RecordingSession`, its cameras and their videos."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from smilfit.files import BadFileError, folder_name, reading, shorten
from smilfit.io.calibration import check_camera, stacked_cameras
from smilfit.io.hdf5_files import open_hdf5
from smilfit.io.keypoint_names import check_keypoint_names
from smilfit.io.points3d import reject_half_points
from smilfit.io.recordings.camera_labels import CameraLabels
from smilfit.io.recordings.recorded_session import CameraFiles, RecordedSession, SessionPlace
from smilfit.io.recordings.session_checks import kept_cameras
from smilfit.io.recordings.sleap_labels import (
    find_video_file,
    labels_of_frames,
    load_slp,
    stated_length,
    track_of,
)
from smilfit.io.sequence_names import sequence_name
from smilfit.registry import SESSIONS
from smilfit.structures import Cameras

if TYPE_CHECKING:
    import sleap_io


# What says which animal an instance is of, from the surest to the least sure.
IDENTITIES, GROUPS, TRACKS = 'identities', 'groups of instances', 'tracks'


@dataclass(frozen=True)
class SlpAnimals:
    """The animals of a session.

    Args:
        names: of those in each camera, in the order in which they appear.
        told_by: what tells them apart.
        found: the animal by the `id` of the instance; an instance that is of nobody known is not among them.
        contradicted: instances by camera that the file's groups give to another animal than their track.
    """

    names: Mapping[str, tuple[str, ...]]
    basis: str
    by_instance: Mapping[int, str]
    contradicted: Mapping[str, int] = field(default_factory=dict)

    def of(self, instance: 'sleap_io.Instance') -> str | None:
        """Name the animal of an instance; None where nothing says."""
        return self.by_instance.get(id(instance))

    def of_group(self, group: 'sleap_io.InstanceGroup') -> str | None:
        """Name the animal of a group of instances: what most of them are."""
        result = Counter(name for i in group.instances if (name := self.of(i)) is not None)
        return result.most_common(1)[0][0] if result else None

    @property
    def shared(self) -> tuple[str, ...]:
        """Name the animals that all cameras see, in the order of the first."""
        first, *others = self.names.values()
        return tuple(name for name in first if all(name in own for own in others))


def animals_of(
    frames: Mapping[str, Sequence['sleap_io.LabeledFrame']], groups: Iterable['sleap_io.InstanceGroup']
) -> SlpAnimals:
    """Return which animal each instance is of.

    `Identity` of a group of instances, else of an instance, is its animal; instances without one are what all others
    of their track are. Without identities, groups say which tracks of different cameras are one animal, by the name
    that it has in the first camera, and an instance is what most of its group are; where groups do not
    join all tracks, each track is an animal by its own name.

    Args:
        frames: sleap-io's labelled frames by camera.
        groups: its groups of instances, of all frames.
    """
    groups = list(groups)
    stated = _stated(frames, groups)
    if stated:
        result = _spread_along_tracks(frames, stated)
        return SlpAnimals(_names(frames, result), IDENTITIES, result)
    own = {id(i): str(track.name) for _, i in _instances(frames) if (track := track_of(i)) is not None}
    tracks = SlpAnimals(_names(frames, own), TRACKS, own)
    same = _joined(tracks.names, frames, own, groups)
    if same is None:
        return tracks
    mapped = {id(i): same[camera][own[id(i)]] for camera, i in _instances(frames) if id(i) in own}
    return _by_groups(frames, groups, mapped)


def _instances(
    frames: Mapping[str, Sequence['sleap_io.LabeledFrame']],
) -> Iterable[tuple[str, 'sleap_io.Instance']]:
    for camera, labelled in frames.items():
        for frame in labelled:
            for instance in frame.instances:
                yield camera, instance


def _names(
    frames: Mapping[str, Sequence['sleap_io.LabeledFrame']], by_instance: Mapping[int, str]
) -> dict[str, tuple[str, ...]]:
    names: dict[str, dict[str, None]] = {camera: {} for camera in frames}
    for camera, instance in _instances(frames):
        if id(instance) in by_instance:
            names[camera].setdefault(by_instance[id(instance)])
    # In one order in all cameras, so that their lists are equal where the animals are.
    return {camera: tuple(sorted(own)) for camera, own in names.items()}


def _stated(
    frames: Mapping[str, Sequence['sleap_io.LabeledFrame']], groups: Sequence['sleap_io.InstanceGroup']
) -> dict[int, str]:
    """Return the identities that the file states; empty where it states none."""
    # Files of sleap-io before 0.9 know none.
    result = {
        id(i): i.identity.name for _, i in _instances(frames) if getattr(i, 'identity', None) is not None
    }
    for group in groups:
        if getattr(group, 'identity', None) is not None:
            result.update({id(instance): group.identity.name for instance in group.instances})
    return {key: str(name) for key, name in result.items() if name}


def _spread_along_tracks(
    frames: Mapping[str, Sequence['sleap_io.LabeledFrame']], stated: Mapping[int, str]
) -> dict[int, str]:
    """Return instances without identity that of their track, where it has one alone and nobody else has it there."""
    by_track: dict[tuple[str, int], set[str]] = {}
    for camera, instance in _instances(frames):
        track = track_of(instance)
        if track is not None and id(instance) in stated:
            by_track.setdefault((camera, id(track)), set()).add(stated[id(instance)])
    result = dict(stated)
    for camera, labelled in frames.items():
        for frame in labelled:
            taken = {stated[id(i)] for i in frame.instances if id(i) in stated}
            for instance in frame.instances:
                names = by_track.get((camera, id(track_of(instance))), set())
                if id(instance) not in result and len(names) == 1 and not names & taken:
                    result[id(instance)] = next(iter(names))
    return result


def _joined(
    names: Mapping[str, tuple[str, ...]],
    frames: Mapping[str, Sequence['sleap_io.LabeledFrame']],
    own: Mapping[int, str],
    groups: Sequence['sleap_io.InstanceGroup'],
) -> dict[str, dict[str, str]] | None:
    """Return each camera's tracks the name of the first camera's that they share most groups with; None if
    unknown."""
    camera_of = {id(instance): camera for camera, instance in _instances(frames)}
    first, *others = names
    votes = {camera: np.zeros((len(names[first]), len(names[camera]))) for camera in others}
    for group in groups:
        valid = {camera_of[id(i)]: own[id(i)] for i in group.instances if id(i) in own}
        if first in valid:
            row = names[first].index(valid[first])
            for camera in set(valid) - {first}:
                votes[camera][row, names[camera].index(valid[camera])] += 1
    joined = {first: {name: name for name in names[first]}}
    for camera, table in votes.items():
        # Imported late: it takes a third of a second.
        from scipy.optimize import linear_sum_assignment

        rows, columns = linear_sum_assignment(table, maximize=True)
        if len(columns) < len(names[camera]) or not (table[rows, columns] > 0).all():
            return None
        joined[camera] = {names[camera][c]: names[first][r] for r, c in zip(rows, columns)}
    return joined


def _by_groups(
    frames: Mapping[str, Sequence['sleap_io.LabeledFrame']],
    groups: Sequence['sleap_io.InstanceGroup'],
    mapped: Mapping[int, str],
) -> SlpAnimals:
    """Return every instance of a group to the animal that most of them are of."""
    result = dict(mapped)
    for group in groups:
        most = Counter(mapped[id(i)] for i in group.instances if id(i) in mapped).most_common(1)
        if most:
            result.update({id(i): most[0][0] for i in group.instances})
    changed = Counter(camera for camera, i in _instances(frames) if result.get(id(i)) != mapped.get(id(i)))
    return SlpAnimals(_names(frames, result), GROUPS, result, changed)


_WHAT = 'SLEAP labels'


@SESSIONS.register_module()
class SleapMultiviewSession(RecordedSession):
    """Read a `RecordingSession` of a `.slp` file: cameras, videos, labels and, where groups have them, 3D points.

    Videos are where the file says, else beside it. The world unit is that of the cameras' metadata (`unit`), or
    given. Several animals are told apart by the file's identities, else by its groups of instances and by tracks
    (`animals_of`); `tracks` names them.

    Args:
        folder: the `.slp` file.
        joint_lookup: as of `RecordedSession`.
        exclude_cameras: cameras to leave out, videos and all.
        number: which of the file's sessions, from 0.
        videos: the folder of the videos; as the file says if None.
        further: as of `RecordedSession`.
    """

    format = 'sleap'

    def __init__(
        self,
        folder: str | Path,
        joint_lookup: str | Path | None = None,
        exclude_cameras: Sequence[str] | str = (),
        *,
        number: int = 0,
        videos: str | Path | None = None,
        **further: Any,
    ) -> None:
        self.folder, self.number = Path(folder), number
        self._video_folder = None if videos is None else Path(videos)
        super().__init__(folder, joint_lookup, exclude_cameras, **further)

    @classmethod
    def find(cls, root: str | Path, videos: str | Path | None = None, **search: Any) -> list[SessionPlace]:
        """Find the sessions of a `.slp` file, or of those in a folder, sorted; empty where there are none."""
        root = Path(root)
        files = [root] if root.is_file() else sorted([*root.glob('*.slp'), *root.glob('*/*.slp')])
        further = {} if videos is None else {'videos': str(Path(videos).resolve())}
        return [
            SessionPlace(cls.__name__, file, names, {'number': number, **further}, (file,))
            for file in files
            if file.suffix.lower() == '.slp' and has_sessions(file)
            for number, names in enumerate(_camera_names(file))
            if len(names) > 1
        ]

    @cached_property
    def _labels(self) -> 'sleap_io.Labels':
        return load_slp(self.folder)

    @cached_property
    def _session(self) -> 'sleap_io.RecordingSession':
        sessions = self._labels.sessions
        if not 0 <= self.number < len(sessions):
            raise ValueError(
                f'{self.folder}: the session must be one of the {len(sessions)} in the file; got {self.number}. '
                'Count from 0.'
            )
        return sessions[self.number]

    @cached_property
    def _frames(self) -> dict[str, list['sleap_io.LabeledFrame']]:
        """Labelled frames by camera."""
        of_video: dict[int, list[sleap_io.LabeledFrame]] = {}
        for frame in self._labels:
            of_video.setdefault(id(frame.video), []).append(frame)
        return {n: of_video.get(id(self._session.get_video(c)), []) for n, c in self._filmed.items()}

    @cached_property
    def _animals(self) -> SlpAnimals:
        """The animals in the cameras that are taken."""
        groups = [g for frame in self._session.frame_groups.values() for g in frame.instance_groups]
        return animals_of({name: self._frames[name] for name in self._taken}, groups)

    @property
    def _filmed(self) -> dict[str, 'sleap_io.Camera']:
        """Cameras that have a video, by name."""
        return {
            _name(i, c): c
            for i, c in enumerate(self._session.camera_group.cameras)
            if self._session.get_video(c) is not None
        }

    def _place(self) -> SessionPlace:
        further = {} if self._video_folder is None else {'videos': str(self._video_folder.resolve())}
        arguments = {'number': self.number, **further}
        return SessionPlace(type(self).__name__, self.folder, tuple(self._filmed), arguments, (self.folder,))

    def _own_name(self) -> str:
        own = folder_name(self.folder.name.split('.')[0])
        return own if len(self._labels.sessions) == 1 else sequence_name(own, f'session_{self.number}')

    def _read_cameras(self, unit: str | None) -> Cameras:
        where = str(self.folder)
        filmed = self._filmed
        with reading(self.folder, 'cameras'):
            tables = [
                check_camera(f'{where}: camera {name!r}', _table(camera, self._size(camera)))
                for name, camera in filmed.items()
            ]
            if not tables:
                raise BadFileError(
                    f'{where}: a session must have cameras with videos; got none. Save it from SLEAP again.'
                )
            return stacked_cameras(tuple(filmed), tables, self._unit(unit))

    def _size(self, camera: 'sleap_io.Camera') -> list[int] | None:
        """Return width and height of a camera's images: as calibrated, else as the video's stated shape."""
        if camera.size is not None:
            return [int(value) for value in camera.size]
        shape = (self._session.get_video(camera).backend_metadata or {}).get('shape')
        return [int(shape[2]), int(shape[1])] if shape and len(shape) == 4 else None

    def _unit(self, unit: str | None) -> str | None:
        groups = (self._session.metadata, self._session.camera_group.metadata)
        stated = next((group['unit'] for group in groups if isinstance(group.get('unit'), str)), None)
        if unit is not None and stated is not None and unit != stated:
            raise ValueError(
                f'{self.folder}: the unit must be one; the file says {shorten(stated)!r}, the caller {unit!r}.'
            )
        return unit if unit is not None else stated

    def _find_files(self, cameras: Cameras | None, exclude: Sequence[str]) -> dict[str, CameraFiles]:
        filmed = self._filmed
        kept = {name: filmed[name] for name in kept_cameras(self.folder, filmed, exclude)}
        if not kept:
            raise ValueError(f'{self.folder}: one camera at least must be left; got none.')
        self._taken = tuple(kept)
        return {name: CameraFiles(self.folder, self._video_of(name, camera)) for name, camera in kept.items()}

    def _video_of(self, name: str, camera: 'sleap_io.Camera') -> Path:
        filename = self._session.get_video(camera).filename
        if not isinstance(filename, str):
            raise BadFileError(
                f'{self.folder}: camera {name!r} must have a video; it has {len(filename)} images. '
                'Make a video of them.'
            )
        return find_video_file(self.folder, self._video_folder, filename)

    def _read_labels(self, camera: str, files: CameraFiles, track: str | None) -> CameraLabels:
        video = self._session.get_video(self._filmed[camera])
        frames, animals = self._frames[camera], self._animals
        if len(self._labels.skeletons) != 1:
            raise BadFileError(
                f'{self.folder}: labels must have one skeleton; got {len(self._labels.skeletons)}. Export one alone.'
            )
        if not any(frame.instances for frame in frames):
            raise ValueError(
                f'{self.folder}: camera {camera!r} must have labels; it has none. Leave it out with exclude_cameras.'
            )
        names = tuple(self._labels.skeletons[0].node_names)
        with reading(self.folder, _WHAT):
            shape = (video.backend_metadata or {}).get('shape')
            tracks = {name: name for name in animals.names[camera]}
            labels = labels_of_frames(
                self.folder,
                frames,
                names,
                tracks,
                track or self._most_visible,
                stated_length(shape),
                animals.of,
            )
            check_keypoint_names(self.folder, names)
            reject_half_points(f'{self.folder}, camera {camera}', labels.xy, names)
        return labels

    @cached_property
    def _most_visible(self) -> str | None:
        """The animal with the most points of those that all cameras see; None where there is none."""
        counts = Counter[str]()
        for frame in (frame for name in self._taken for frame in self._frames[name]):
            for instance in frame.instances:
                counts[self._animals.of(instance) or ''] += instance.n_visible
        return max(self._animals.shared, key=counts.__getitem__, default=None)

    def _read_all_labels(self, files: Mapping[str, CameraFiles]) -> dict[str, CameraLabels]:
        if self._animals.basis != TRACKS:
            self.report['identities'] = {'told_by': self._animals.basis}
        if self._animals.contradicted:
            self.report['identities']['instances_of_other_tracks'] = dict(self._animals.contradicted)
        return super()._read_all_labels(files)

    def _read_points3d(self) -> np.ndarray | None:
        """Read the 3D points of the animal's groups of instances; None where there are none."""
        xyz = np.full((self.n_frames, len(self._node_names), 3), np.nan)
        track = self.track or self._most_visible
        for index, group in self._session.frame_groups.items():
            groups = group.instance_groups
            if track is not None:
                groups = [instances for instances in groups if self._animals.of_group(instances) == track]
            # Nothing tells which of several is the animal where there are neither tracks nor identities.
            for instances in groups if len(groups) == 1 else ():
                points = instances.points
                if points is not None and 0 <= index < self.n_frames:
                    xyz[index] = np.asarray(points, dtype=np.float64)[:, :3]
        return xyz if np.isfinite(xyz).any() else None


def has_sessions(path: Path) -> bool:
    """Whether a `.slp` file holds sessions of several cameras; False of what is no such file."""
    try:
        with open_hdf5(path, _WHAT) as file:
            return 'sessions_json' in file and len(file['sessions_json']) > 0
    except (BadFileError, FileNotFoundError, TypeError):
        # Who reads it reports what is wrong with it.
        return False


def _camera_names(path: Path) -> list[tuple[str, ...]]:
    """Name the filmed cameras of each session."""
    return [
        tuple(
            _name(i, camera)
            for i, camera in enumerate(session.camera_group.cameras)
            if session.get_video(camera) is not None
        )
        for session in load_slp(path).sessions
    ]


def _name(number: int, camera: 'sleap_io.Camera') -> str:
    return str(camera.name) if camera.name else f'cam_{number}'


def _table(camera: 'sleap_io.Camera', size: list[int] | None) -> dict[str, Any]:
    """Return a camera as a calibration file states it, so that both are held to the same rules."""
    table = {
        'matrix': np.asarray(camera.matrix).tolist(),
        'distortions': np.asarray(camera.dist).tolist(),
        'rotation': np.asarray(camera.rvec).tolist(),
        'translation': np.asarray(camera.tvec).tolist(),
    }
    return table if size is None else {'size': size, **table}
