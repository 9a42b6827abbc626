"""A multi-camera recording annotated with SLEAP and calibrated with anipose."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from smilfit.files import folder_name
from smilfit.io.calibration import read_calibration
from smilfit.io.points3d import read_points3d, read_reprojections
from smilfit.io.recordings.camera_labels import CameraLabels
from smilfit.io.recordings.recorded_session import CameraFiles, RecordedSession, SessionPlace
from smilfit.io.recordings.session_folder import (
    CALIBRATION_FILE,
    cameras_of,
    find_labels,
    find_sessions,
    find_video,
    inputs_of,
    match_cameras,
)
from smilfit.io.recordings.sleap_labels import read_labels
from smilfit.io.truth import read_true_params, truth_file
from smilfit.registry import SESSIONS
from smilfit.structures import BodyParams, Cameras


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
