"""A multi-camera recording annotated with SLEAP and calibrated with anipose."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from smilfit.files import folder_name, reading
from smilfit.io.calibration import CALIBRATION_FILE, read_calibration
from smilfit.io.points3d import read_points3d, read_reprojections
from smilfit.io.recordings.camera_labels import CameraLabels
from smilfit.io.recordings.recorded_session import CameraFiles, RecordedSession, SessionPlace
from smilfit.io.recordings.sleap_labels import read_labels
from smilfit.io.recordings.videos import VIDEO_SUFFIXES
from smilfit.io.truth import read_true_params, truth_file
from smilfit.registry import SESSIONS, UnknownNameError, did_you_mean
from smilfit.structures import BodyParams, Cameras

# What lies beside the cameras' folders.
_FILES = (CALIBRATION_FILE, 'points3d.h5', 'reprojections.h5')


def find_sessions(root: str | Path) -> list[Path]:
    """Find the sessions in a folder, sorted by path; the folder itself may be the only one.

    A session is a folder with `calibration.toml`, or one whose subfolders hold labels. Folders inside a
    session are not searched, nor are hidden ones.

    Raises:
        FileNotFoundError: no such folder, or no session in it.
    """
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f'{root}: sessions must be in a folder; there is no such folder.')
    result = list(_walk(root, set()))
    if not result:
        raise FileNotFoundError(
            f'{root}: a session must be a folder with {CALIBRATION_FILE} or with camera folders that hold '
            '.slp or analysis .h5 files; found none.'
        )
    return result


def _walk(folder: Path, visited: set[Path]) -> Iterable[Path]:
    # Links may lead back to where the walk has been.
    real = folder.resolve()
    if real in visited:
        return
    visited.add(real)
    children = _subfolders(folder)
    if (folder / CALIBRATION_FILE).is_file() or any(_labels_in(child) for child in children):
        yield folder
        return
    for child in children:
        yield from _walk(child, visited)


def match_cameras(folder: Path, calibrated: Sequence[str] | None, exclude: Sequence[str]) -> dict[str, Path]:
    """Pair camera names with their folders, in the calibration's order, without the excluded ones.

    A folder belongs to the calibrated camera of the same name, else of the same name in other case. Without
    a calibration every subfolder with labels is a camera, sorted by name.

    Raises:
        KeyError: an excluded camera that does not exist.
        ValueError: cameras without folder, folders without camera, no camera left.
    """
    folders = {child.name: child for child in _subfolders(folder)}
    with_labels = [name for name, path in folders.items() if _labels_in(path)]
    names = sorted(with_labels) if calibrated is None else list(calibrated)
    pairs = _pair(names, list(folders))
    for name in exclude:
        if name not in names and name not in with_labels:
            raise UnknownNameError(f'{folder}: no camera {name!r} to exclude. {did_you_mean(name, names)}')
    left_out = set(exclude) | {pairs[name] for name in exclude if name in pairs}
    wanted = [name for name in names if name not in left_out]
    no_folder = [name for name in wanted if name not in pairs]
    no_camera = [name for name in with_labels if name not in left_out and name not in pairs.values()]
    if no_folder or no_camera:
        raise ValueError(
            f'{folder}: cameras of {CALIBRATION_FILE} and camera folders must be the same; '
            f'cameras without a folder: {", ".join(no_folder) or "none"}; '
            f'folders without a camera: {", ".join(no_camera) or "none"}. '
            'Rename the folders, or leave cameras out with exclude_cameras.'
        )
    if not wanted:
        raise ValueError(f'{folder}: one camera at least must be left; got none.')
    return {name: folders[pairs[name]] for name in wanted}


def cameras_of(folder: Path) -> tuple[str, ...]:
    """Name all that `match_cameras` takes for cameras: the calibrated ones, and folders with labels."""
    calibration = folder / CALIBRATION_FILE
    names = read_calibration(calibration).names if calibration.is_file() else ()
    with_labels = (child.name for child in _subfolders(folder) if _labels_in(child))
    return tuple(dict.fromkeys((*names, *with_labels)))


def inputs_of(folder: Path) -> tuple[Path, ...]:
    """Return what is read of a session: its cameras' folders, and the files beside these.

    A dataset file in a camera's folder would be taken for its labels the next time.
    """
    return (*(folder / name for name in _FILES), *(path for path in folder.iterdir() if path.is_dir()))


def _pair(cameras: list[str], folders: list[str]) -> dict[str, str]:
    pairs = {name: name for name in cameras if name in folders}
    for name in cameras:
        if name in pairs:
            continue
        same = [f for f in folders if f.lower() == name.lower() and f not in pairs.values()]
        if len(same) == 1:
            pairs[name] = same[0]
    return pairs


def find_labels(folder: Path) -> Path:
    """Find a camera's labels: a `.slp` before an analysis `.h5`, and 'proofread' in the name before others.

    Raises:
        ValueError: none, or several that this rule does not tell apart.
    """
    candidates = _labels_in(folder)
    for rule in (
        lambda path: path.suffix.lower() == '.slp',
        lambda path: 'proofread' in path.stem.lower(),
    ):
        candidates = [path for path in candidates if rule(path)] or candidates
    return _only(folder, candidates, 'labels (.slp or analysis .h5)')


def find_video(folder: Path, labels: Path) -> Path:
    """Find a camera's video: the only one, else the one whose name begins the labels' name.

    Raises:
        ValueError: none, or several that this rule does not tell apart.
    """
    candidates = [path for path in _files(folder) if path.suffix.lower() in VIDEO_SUFFIXES]
    if len(candidates) > 1:
        candidates = [path for path in candidates if labels.stem.startswith(path.stem)] or candidates
    return _only(folder, candidates, f'video ({", ".join(VIDEO_SUFFIXES)})')


def _only(folder: Path, candidates: list[Path], what: str) -> Path:
    if len(candidates) != 1:
        got = ', '.join(path.name for path in candidates) or 'none'
        advice = 'Move the others away.' if candidates else 'Put it there.'
        raise ValueError(f'{folder}: a camera folder must hold one {what}; got {got}. {advice}')
    return candidates[0]


def _labels_in(folder: Path) -> list[Path]:
    files = _files(folder)
    slp = [path for path in files if path.suffix.lower() == '.slp']
    return slp + [path for path in files if path.suffix.lower() in ('.h5', '.hdf5') and _is_analysis(path)]


def _is_analysis(path: Path) -> bool:
    if not h5py.is_hdf5(path):
        # A damaged analysis file must not vanish: reading it gives the error.
        return 'analysis' in path.name.lower()
    with reading(path, 'SLEAP labels'), h5py.File(path, 'r') as file:
        return 'tracks' in file and 'node_names' in file


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith('.'))


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith('.'))


@SESSIONS.register_module()
class SleapSession(RecordedSession):
    """Read a session folder: one subfolder a camera with labels and video, `calibration.toml`, `points3d.h5`.

    Everything is checked when the object is made; images are decoded later, by `frames`. What was left
    out is counted in `report`.

    Args:
        folder: the session.
        joint_lookup: csv (columns `model,data`) that renames annotated keypoints to a body model's; what it
            does not map is left out. Where its rows describe landmarks, `landmarks` gives them.
        exclude_cameras: cameras to leave out, files and all.
        confidence_threshold: labels of a smaller score count as missing. None takes SLEAP's own threshold of peaks,
            0.2, and files with 'proofread' in the name whole. A person's labels have score 1.
        use_reprojections: take 2D points from `reprojections.h5` (confidence 1) and not from the labels.
        with_3d: read `points3d.h5` where it is there.
        unit: world unit of calibration and 3D points, where the calibration does not state it.
        partial_labels: accept labels of every frame up to one before the video's end.
        track: the animal by the name of its track, which it has in all cameras that see it; the one with the most
            points in each camera if None.
        further: `trim`, `only_cameras` and `name`, as of `RecordedSession`.

    Raises:
        ValueError: files that contradict each other or themselves; the message names the file.
        KeyError: names that do not exist, with the near ones.
    """

    format = 'sleap'

    def __init__(
        self,
        folder: str | Path,
        joint_lookup: str | Path | None = None,
        exclude_cameras: Sequence[str] | str = (),
        confidence_threshold: float | None = None,
        use_reprojections: bool = False,
        with_3d: bool = True,
        unit: str | None = None,
        partial_labels: bool = False,
        track: str | None = None,
        **further: Any,
    ) -> None:
        self._use_reprojections = use_reprojections
        super().__init__(
            folder,
            joint_lookup,
            exclude_cameras,
            confidence_threshold,
            with_3d,
            unit,
            partial_labels,
            track,
            **further,
        )

    @classmethod
    def find(cls, root: str | Path, **search: Any) -> list[SessionPlace]:
        """Find the sessions in a folder; see `find_sessions`. There is nothing to `search` by.

        Raises:
            FileNotFoundError: no such folder, or no session in it.
        """
        return [
            SessionPlace(cls.__name__, folder, cameras_of(folder), inputs=inputs_of(folder))
            for folder in find_sessions(root)
        ]

    def _place(self) -> SessionPlace:
        if not self.folder.is_dir():
            raise FileNotFoundError(f'{self.folder}: a session must be a folder; there is no such folder.')
        return SessionPlace(type(self).__name__, self.folder, cameras_of(self.folder))

    def _own_name(self) -> str:
        return folder_name(self.folder.resolve().name)

    def _read_cameras(self, unit: str | None) -> Cameras | None:
        calibration = self.folder / CALIBRATION_FILE
        return read_calibration(calibration, unit) if calibration.is_file() else None

    def _find_files(self, cameras: Cameras | None, exclude: Sequence[str]) -> dict[str, CameraFiles]:
        folders = match_cameras(self.folder, None if cameras is None else cameras.names, exclude)
        labels = {name: find_labels(path) for name, path in folders.items()}
        return {name: CameraFiles(labels[name], find_video(folders[name], labels[name])) for name in folders}

    def _read_labels(self, camera: str, files: CameraFiles, track: str | None) -> CameraLabels:
        return read_labels(files.labels, track)

    @property
    def true_params(self) -> BodyParams | None:
        """The parameters of every frame, world unit, where `truth.npz` states them (a made session).

        Of one of several animals it is `truth_<track>.npz`.

        Raises:
            ValueError: a file of other length than the videos, or without the parameters.
        """
        path = self.folder / truth_file(self.track)
        return read_true_params(path, self.n_frames) if path.is_file() else None

    def _points(
        self, labels: Mapping[str, CameraLabels], thresholds: Mapping[str, float]
    ) -> tuple[np.ndarray, np.ndarray]:
        stacked = self._stack(labels, thresholds)
        if not self._use_reprojections:
            return stacked
        path = self.folder / 'reprojections.h5'
        xy = read_reprojections(path, self.camera_names, self._node_names)
        xy = self._same_length_as_videos(path, xy, '')
        return xy, np.isfinite(xy).all(-1).astype(np.float64)

    def _read_points3d(self) -> np.ndarray | None:
        path = self.folder / 'points3d.h5'
        if not path.is_file():
            return None
        xyz = read_points3d(path, self._node_names, *self._place_of_track())
        return self._same_length_as_videos(path, xyz, ' Leave the file out with with_3d=False.')

    def _place_of_track(self) -> tuple[int, int]:
        """Return the animal's number among the tracks, and how many these are."""
        if self.track is None:
            return 0, 1
        tracks: Mapping[str, tuple[str, ...]] = self._tracks
        if len(set(tracks.values())) > 1:
            raise ValueError(
                f'{self.folder}: tracks must be the same in all cameras, in one order, for points3d.h5 to be theirs; '
                f'got {" and ".join(str(list(t)) for t in dict.fromkeys(tracks.values()))}. Leave the file out with '
                'with_3d=False.'
            )
        first = next(iter(tracks.values()))
        return first.index(self.track), len(first)
