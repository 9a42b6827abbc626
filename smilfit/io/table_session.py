"""Recordings labelled by pose tables of DeepLabCut's layout: DeepLabCut, Lightning Pose, anipose."""

import logging
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from smilfit.files import folder_name
from smilfit.io.annotations.pose_tables import read_pose_table
from smilfit.io.annotations.sequence_names import sequence_name
from smilfit.io.calibration import read_calibration
from smilfit.io.camera_labels import CameraLabels
from smilfit.io.recorded_session import CameraFiles, RecordedSession, SessionPlace
from smilfit.io.table_labels import labels_of_table, part_names
from smilfit.registry import UnknownNameError, did_you_mean
from smilfit.structures import Cameras

logger = logging.getLogger('smilfit')


@dataclass(frozen=True)
class Trial:
    """One recording of a project: its cameras' files, of calibrated cameras, and what else belongs to it."""

    name: str
    calibration: Path
    files: Mapping[str, CameraFiles]
    points3d: Path | None = None


@dataclass(frozen=True)
class Search:
    """How files of a project are found where it does not say: see `TableSession`."""

    calibration: Path | None = None
    cam_regex: str | None = None
    scorer: str | None = None
    videos: Path | None = None

    @classmethod
    def of(
        cls,
        calibration: str | Path | None,
        cam_regex: str | None,
        scorer: str | None,
        videos: str | Path | None,
    ) -> 'Search':
        """Take what a caller says."""
        places = [None if place is None else Path(place) for place in (calibration, videos)]
        return cls(places[0], cam_regex, scorer, places[1])

    def arguments(self) -> dict[str, str]:
        """Give what is stated, by name, wherever it is asked from."""
        paths = {'calibration': self.calibration, 'videos': self.videos}
        texts = {'cam_regex': self.cam_regex, 'scorer': self.scorer}
        found = {name: str(path.resolve()) for name, path in paths.items() if path is not None}
        return found | {name: text for name, text in texts.items() if text is not None}


class TableSession(RecordedSession):
    """A trial of a project whose poses lie in tables.

    Calibrated cameras without a table and a video are left out, and told.

    Args:
        folder: where the trial's files are found from.
        joint_lookup: as of `RecordedSession`.
        exclude_cameras: cameras to leave out, files and all.
        trial: which one; the only one if None.
        calibration: an anipose `calibration.toml`; found in the project if None.
        cam_regex: pattern in the files' names whose first group is the camera's name; names are found by themselves,
            or by the project's own pattern, if None.
        scorer: take only tables with this in their path, where there are those of several networks.
        videos: the folder of the videos; found in the project if None.
        further: as of `RecordedSession`.
    """

    def __init__(
        self,
        folder: str | Path,
        joint_lookup: str | Path | None = None,
        exclude_cameras: Sequence[str] | str = (),
        *,
        trial: str | None = None,
        calibration: str | Path | None = None,
        cam_regex: str | None = None,
        scorer: str | None = None,
        videos: str | Path | None = None,
        **further: Any,
    ) -> None:
        self.folder, self._asked = Path(folder), trial
        self._search = Search.of(calibration, cam_regex, scorer, videos)
        super().__init__(folder, joint_lookup, exclude_cameras, **further)

    @classmethod
    def find(
        cls,
        root: str | Path,
        calibration: str | Path | None = None,
        cam_regex: str | None = None,
        scorer: str | None = None,
        videos: str | Path | None = None,
        **search: Any,
    ) -> list[SessionPlace]:
        """Find the calibrated trials of a project, or of a part of it, sorted by path and name.

        Args:
            root: the project, a session of it, or a folder between.
            calibration: the calibration of all; each one's own if None.
            cam_regex: pattern in the files' names.
            scorer: take only tables with this in their path.
            videos: the folder of the videos.

        Raises:
            FileNotFoundError: no such folder.
        """
        root = Path(root)
        if not root.is_dir():
            raise FileNotFoundError(f'{root}: sessions must be in a folder; there is no such folder.')
        where = Search.of(calibration, cam_regex, scorer, videos)
        found = [
            (folder, trial) for folder in cls.folders(root) for trial in cls.trials(folder, where).values()
        ]
        own = [(folder.resolve().name, trial.name) for folder, trial in found]
        places = []
        for folder, trial in found:
            place = place_of(cls.__name__, folder, trial, where)
            if own.count((folder.resolve().name, trial.name)) > 1:
                # Days of several animals are called the same.
                name = sequence_name(*folder.relative_to(root).parts, *([trial.name] if trial.name else []))
                place = replace(place, arguments={**place.arguments, 'name': name})
            places.append(place)
        return places

    @classmethod
    @abstractmethod
    def folders(cls, root: Path) -> Iterable[Path]:
        """Give the folders of a project in which trials are looked for, sorted."""

    @classmethod
    @abstractmethod
    def trials(cls, folder: Path, search: 'Search') -> dict[str, Trial]:
        """Find the recordings of a folder by name, each by two calibrated cameras at least."""

    @cached_property
    def trial(self) -> Trial:
        """The recording.

        Raises:
            FileNotFoundError: no such folder, or no calibrated recording in it.
            ValueError: there are several, and none was named.
            KeyError: none of this name, with the near ones.
        """
        if not self.folder.is_dir():
            raise FileNotFoundError(f'{self.folder}: a session must be a folder; there is no such folder.')
        found = self.trials(self.folder, self._search)
        if not found:
            raise FileNotFoundError(
                f'{self.folder}: there must be a calibration.toml, and tables of poses and videos of two of its '
                'cameras; found none.'
            )
        if self._asked is not None and self._asked not in found:
            raise UnknownNameError(
                f'{self.folder}: no trial {self._asked!r}. {did_you_mean(self._asked, found)}'
            )
        if self._asked is None and len(found) > 1:
            raise ValueError(
                f'{self.folder}: one trial must be named; there are {", ".join(found)}. Give trial=.'
            )
        return found[next(iter(found)) if self._asked is None else self._asked]

    def _place(self) -> SessionPlace:
        return place_of(type(self).__name__, self.folder, self.trial, self._search)

    def _own_name(self) -> str:
        own = folder_name(self.folder.resolve().name)
        return sequence_name(own, self.trial.name) if self.trial.name else own

    def _read_cameras(self, unit: str | None) -> Cameras | None:
        return read_calibration(self.trial.calibration, unit)

    def _find_files(self, cameras: Cameras | None, exclude: Sequence[str]) -> dict[str, CameraFiles]:
        names = () if cameras is None else cameras.names
        for name in exclude:
            if name not in names:
                raise UnknownNameError(
                    f'{self.folder}: no camera {name!r} to exclude. {did_you_mean(name, names)}'
                )
        wanted = [name for name in names if name not in exclude]
        without = [name for name in wanted if name not in self.trial.files]
        if without:
            logger.warning(
                '%s: %s of %s has no table or no video and is left out.',
                self._own_name(),
                ', '.join(without),
                self.trial.calibration,
            )
        kept = {name: self.trial.files[name] for name in wanted if name in self.trial.files}
        if not kept:
            raise ValueError(f'{self.folder}: one camera at least must be left; got none.')
        return kept

    def _read_labels(self, camera: str, files: CameraFiles, track: str | None) -> CameraLabels:
        table = read_pose_table(files.labels)
        return labels_of_table(table, part_names([table]), track)

    def _read_all_labels(self, files: Mapping[str, CameraFiles]) -> dict[str, CameraLabels]:
        # Networks of different cameras may know different body parts.
        tables = {camera: read_pose_table(found.labels) for camera, found in files.items()}
        names = part_names(list(tables.values()))
        return {
            camera: labels_of_table(table, names, self.track_in(camera)) for camera, table in tables.items()
        }


def place_of(kind: str, folder: Path, trial: Trial, search: Search) -> SessionPlace:
    """Say where a trial lies."""
    cameras = read_calibration(trial.calibration).names
    files = [path for found in trial.files.values() for path in (found.labels, found.video)]
    extra = [] if trial.points3d is None else [trial.points3d]
    arguments = {'trial': trial.name, **search.arguments()}
    return SessionPlace(kind, folder, cameras, arguments, (trial.calibration, *files, *extra))
