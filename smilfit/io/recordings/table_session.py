"""Recordings labelled by pose tables of DeepLabCut's layout: DeepLabCut, Lightning Pose, anipose."""

import logging
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from smilfit.files import BadFileError, folder_name
from smilfit.files.budget import MOST_ARRAY_BYTES, check_budget
from smilfit.io.annotations.entries import frame_number
from smilfit.io.calibration import read_calibration
from smilfit.io.pose_tables import (
    PoseTable,
    Track,
    body_parts,
    choose_individuals,
    read_pose_table,
    usual_threshold,
)
from smilfit.io.recordings.camera_labels import CameraLabels
from smilfit.io.recordings.recorded_session import CameraFiles, RecordedSession, SessionPlace
from smilfit.io.recordings.session_checks import kept_cameras
from smilfit.io.sequence_names import sequence_name
from smilfit.registry import UnknownNameError, did_you_mean
from smilfit.structures import Cameras

logger = logging.getLogger('smilfit')

# What good labels of a network miss the points by, px. Measured on a real mouse (docs/architecture.md).
LABEL_SD_PX = 3.0


def labels_of_table(
    table: PoseTable, names: Sequence[str], track: str | None = None, label_sd_px: float = LABEL_SD_PX
) -> CameraLabels:
    """Return the labels of one animal, frame by frame.

    A label's score is its likelihood. Where an ensemble states the variance v of a label, the score is
    `s^2 / (s^2 + v)`: the inverse variance of a label that misses by s even where all networks agree, relative to
    such a label. All labels with a variance count, each by this weight.

    Args:
        table: of a video.
        names: the body parts, in order; those that the table lacks are missing.
        track: the individual; the one with the most points if None.
        label_sd_px: s.

    Raises:
        BadFileError: rows that are no frames, or twice the same one.
        KeyError: no such individual, with the near ones.
    """
    individuals, _ = choose_individuals(table, None)
    tracks = {name: table.tracks[name] for name in individuals}
    if track is not None and track not in tracks:
        raise UnknownNameError(f'{table.path}: no individual {track!r}. {did_you_mean(track, tracks)}')
    frames = _frames(table)
    n_frames = int(frames.max()) + 1
    check_budget(
        table.path, f'labels up to frame {n_frames - 1}', 24 * n_frames * len(names), MOST_ARRAY_BYTES
    )
    valid = {name: np.isfinite(own.xy).all(-1) for name, own in tracks.items()}
    chosen = max(tracks, key=lambda name: int(valid[name].sum())) if track is None else track
    xy, score = np.full((n_frames, len(names), 2), np.nan), np.zeros((n_frames, len(names)))
    columns = np.array([list(names).index(name) for name in tracks[chosen].names], dtype=np.int64)
    own, weight = tracks[chosen], _weights(tracks[chosen], label_sd_px)
    xy[np.ix_(frames, columns)] = own.xy
    score[np.ix_(frames, columns)] = own.confidence if weight is None else weight
    labelled = np.zeros(n_frames, dtype=bool)
    labelled[frames] = True
    if table.skipped:
        first = table.skipped[0]
        logger.warning(
            '%s: %d rows are left out; the first is %s: %s',
            table.path,
            len(table.skipped),
            first.where,
            first.reason,
        )
    return CameraLabels(
        path=table.path,
        node_names=tuple(names),
        xy=xy,
        score=score,
        labelled=labelled,
        skipped_instances=sum(int(s.any(-1).sum()) for name, s in valid.items() if name != chosen),
        scores_above_1=table.n_above_1,
        scores_missing=table.n_unscored,
        centres=_centres(tracks, frames, n_frames) if len(tracks) > 1 else None,
        tracks=tuple(name for name in tracks if name),
        threshold=usual_threshold([table]) if weight is None else 0.0,
        weighted_by='score' if weight is None else "the ensemble's variance",
    )


def part_names(tables: Sequence[PoseTable]) -> tuple[str, ...]:
    """Name the body parts of all tables' animals, each once, in the tables' order."""
    return body_parts((table, choose_individuals(table, None)[0]) for table in tables)


def _weights(track: Track, label_sd_px: float) -> np.ndarray | None:
    """Turn variances into weights; where one is unknown the likelihood stands in."""
    if track.variance is None or not np.isfinite(track.variance).any():
        return None
    weight = label_sd_px**2 / (label_sd_px**2 + track.variance)
    return np.where(np.isnan(weight), track.confidence, np.where(track.confidence > 0, weight, 0.0))


def _frames(table: PoseTable) -> np.ndarray:
    numbers = [frame_number(row[0]) if len(row) == 1 else None for row in table.rows]
    if not numbers or None in numbers:
        at = table.where[numbers.index(None)] if numbers else str(Path(table.path))
        raise BadFileError(
            f'{at}: rows of a session must be numbered frames of its video; got '
            f'{"another row" if numbers else "none"}. Labels of single images are read with --single-view.'
        )
    frames = np.array(numbers, dtype=np.int64)
    if len(np.unique(frames)) != len(frames):
        raise BadFileError(
            f'{table.path}: frames must be numbered once each; got one twice. Correct the table.'
        )
    return frames


def _centres(tracks: dict[str, Track], frames: np.ndarray, n_frames: int) -> np.ndarray:
    """Return the mean of each animal's points by frame, NaN where it has none."""
    centres = np.full((n_frames, len(tracks), 2), np.nan)
    for a, track in enumerate(tracks.values()):
        valid = np.isfinite(track.xy).all(-1)
        count = valid.sum(1)
        total = np.where(valid[..., None], track.xy, 0.0).sum(1)
        centres[frames[count > 0], a] = total[count > 0] / count[count > 0, None]
    return centres


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
        """Return what is stated, by name, wherever it is asked from."""
        paths = {'calibration': self.calibration, 'videos': self.videos}
        texts = {'cam_regex': self.cam_regex, 'scorer': self.scorer}
        result = {name: str(path.resolve()) for name, path in paths.items() if path is not None}
        return result | {name: text for name, text in texts.items() if text is not None}


class TableSession(RecordedSession):
    """A trial of a project whose poses lie in tables.

    Calibrated cameras without a table and a video are left out and reported.

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
        result = [
            (folder, trial) for folder in cls.folders(root) for trial in cls.trials(folder, where).values()
        ]
        own = [(folder.resolve().name, trial.name) for folder, trial in result]
        places = []
        for folder, trial in result:
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
        """Return the folders of a project in which trials are looked for, sorted."""

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
        result = self.trials(self.folder, self._search)
        if not result:
            raise FileNotFoundError(
                f'{self.folder}: there must be a calibration.toml, and tables of poses and videos of two of its '
                'cameras; found none.'
            )
        if self._asked is not None and self._asked not in result:
            raise UnknownNameError(
                f'{self.folder}: no trial {self._asked!r}. {did_you_mean(self._asked, result)}'
            )
        if self._asked is None and len(result) > 1:
            raise ValueError(
                f'{self.folder}: one trial must be named; there are {", ".join(result)}. Give trial=.'
            )
        return result[next(iter(result)) if self._asked is None else self._asked]

    def _place(self) -> SessionPlace:
        return place_of(type(self).__name__, self.folder, self.trial, self._search)

    def _own_name(self) -> str:
        own = folder_name(self.folder.resolve().name)
        return sequence_name(own, self.trial.name) if self.trial.name else own

    def _read_cameras(self, unit: str | None) -> Cameras | None:
        return read_calibration(self.trial.calibration, unit)

    def _find_files(self, cameras: Cameras | None, exclude: Sequence[str]) -> dict[str, CameraFiles]:
        wanted = kept_cameras(self.folder, () if cameras is None else cameras.names, exclude)
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
        tables = {camera: read_pose_table(result.labels) for camera, result in files.items()}
        names = part_names(list(tables.values()))
        return {
            camera: labels_of_table(table, names, self.track_in(camera)) for camera, table in tables.items()
        }


def place_of(kind: str, folder: Path, trial: Trial, search: Search) -> SessionPlace:
    """Return where a trial lies."""
    cameras = read_calibration(trial.calibration).names
    files = [path for result in trial.files.values() for path in (result.labels, result.video)]
    extra = [] if trial.points3d is None else [trial.points3d]
    arguments = {'trial': trial.name, **search.arguments()}
    return SessionPlace(kind, folder, cameras, arguments, (trial.calibration, *files, *extra))
