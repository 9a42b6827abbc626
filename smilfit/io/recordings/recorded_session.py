"""What all recordings by several cameras have in common, whatever tool labelled them."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from smilfit.body_models import BodyModelData
from smilfit.body_models.data import Landmark
from smilfit.io.camera_warning import warn_of_cameras
from smilfit.io.landmark_rows import read_landmarks
from smilfit.io.lookup import names_by_lookup
from smilfit.io.recordings.camera_labels import CameraLabels
from smilfit.io.recordings.session_checks import (
    check_labels_fit,
    check_sizes,
    common_length,
    reject_cut,
    same_nodes,
    same_rate,
)
from smilfit.io.recordings.videos import Damage, iterate_videos, probe_video
from smilfit.io.sequence_names import sequence_name
from smilfit.structures import AnimalCentres, BodyParams, CameraReport, Cameras, Keypoints2d, Keypoints3d

logger = logging.getLogger('smilfit')


@dataclass(frozen=True)
class SessionPlace:
    """Where a session lies, before it is read.

    `kind` is its class's name in `SESSIONS`, `arguments` what the class takes beside the folder (texts and numbers,
    so that a file can keep them), `cameras` all that it takes for cameras, calibrated or with labels. `inputs` are
    the files and folders that are read of it.
    """

    kind: str
    folder: Path
    cameras: tuple[str, ...]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[Path, ...] = ()


@dataclass(frozen=True)
class CameraFiles:
    """A camera's labels and its video."""

    labels: Path
    video: Path


class RecordedSession(ABC):
    """A calibrated recording with one animal's labels.

    Everything is checked when the object is made; images are decoded later, by `frames`. What was left
    out is counted in `report`. A subclass says where the cameras, labels, videos and 3D points are.

    Args:
        folder: where it is.
        joint_lookup: csv (columns `model,data`) that renames annotated keypoints to a body model's; what it
            does not map is left out. Where its rows describe landmarks, `landmarks` gives them.
        exclude_cameras: cameras to leave out, files and all.
        confidence_threshold: labels of a smaller score count as missing. None takes what the labels' kind of score
            asks for: 0.2 for SLEAP's peaks (0 for its files with 'proofread' in the name), 0.6 for likelihoods.
        with_3d: read the 3D points that lie there.
        unit: world unit of calibration and 3D points, where the calibration does not state it.
        partial_labels: accept labels of every frame up to one before the video's end.
        track: the animal by the name of its track, which it has in all cameras that see it; the one with the most
            points in each camera if None.
        trim: where videos or labels differ in length by more than a few frames, use what all have.
        only_cameras: the cameras to take, as another way of saying which to exclude.
        name: how the session is called; as its folder (and trial) if None.
        images_only: open it for its `frames` alone: no labels are read, and the videos' own counts are believed.
        judge: report in the log cameras that contradict each other by these labels.
        other_names: the track's name by camera, of those that call it otherwise.

    Raises:
        ValueError: files that contradict each other or themselves; the message names the file.
        KeyError: names that do not exist, with the near ones.
    """

    # The name of the format that `find` reads, as a command line says it.
    format: ClassVar[str] = ''
    # What the cameras were judged to be by these labels, where they were.
    _camera_report: CameraReport | None = None

    def __init__(
        self,
        folder: str | Path,
        joint_lookup: str | Path | None = None,
        exclude_cameras: Sequence[str] | str = (),
        confidence_threshold: float | None = None,
        with_3d: bool = True,
        unit: str | None = None,
        partial_labels: bool = False,
        track: str | None = None,
        trim: bool = False,
        only_cameras: Sequence[str] | None = None,
        name: str | None = None,
        judge: bool = True,
        images_only: bool = False,
        other_names: Mapping[str, str] | None = None,
    ) -> None:
        self.track, self.folder = track, Path(folder)
        self._other_names = dict(other_names or {})
        exclude = (exclude_cameras,) if isinstance(exclude_cameras, str) else tuple(exclude_cameras)
        if confidence_threshold is not None and not 0.0 <= confidence_threshold <= 1.0:
            raise ValueError(
                f'{type(self).__name__}: confidence_threshold must be in [0, 1]; got {confidence_threshold}.'
            )
        place = self._place()
        if only_cameras is not None:
            exclude += tuple(camera for camera in place.cameras if camera not in only_cameras)
        self.place = place
        cameras = self._read_cameras(unit)
        files = self._find_files(cameras, exclude)
        own = self._own_name() if name is None else name
        self.name = own if track is None else sequence_name(own, track)
        self.camera_names = tuple(files)
        self.unit = unit if cameras is None else cameras.unit
        self.damage: dict[str, Damage] = {}
        self.report: dict[str, Any] = {'excluded_cameras': list(exclude)}
        labels = {} if images_only else self._read_all_labels(files)
        self._tracks = {name: label.tracks for name, label in labels.items()}
        self._node_names = same_nodes(labels) if labels else ()
        self._lookup_file = joint_lookup
        self._lookup = {} if images_only else self._read_lookup(joint_lookup)
        self._videos = {name: probe_video(file.video, not images_only) for name, file in files.items()}
        if not trim:
            for video in self._videos.values():
                reject_cut(video)
        self.n_frames = common_length(self.folder, self._videos, trim)
        self.fps = same_rate(self._videos)
        self.cameras = None if cameras is None else self._cameras_of_images(cameras.select(self.camera_names))
        check_sizes(self._videos, self.cameras)
        for name, label in labels.items():
            check_labels_fit(label, self._videos[name], partial_labels, trim)
        # What each camera's labels are held against where nobody asks otherwise.
        self.confidence_thresholds = {name: label.usual_threshold for name, label in labels.items()}
        if confidence_threshold is not None:
            thresholds = dict.fromkeys(labels, confidence_threshold)
        else:
            thresholds = self.confidence_thresholds
        if images_only:
            shape = (self.n_frames, len(files), 0)
            self._xy, self._confidence, self._centres, self._xyz = (
                np.zeros((*shape, 2)),
                np.zeros(shape),
                [],
                None,
            )
            return
        self._xy, self._confidence = self._points(labels, thresholds)
        self._centres = [label.centres for label in labels.values()]
        self._reject_blind_cameras(thresholds)
        self._xyz = self._read_points3d() if with_3d else None
        if judge:
            self._camera_report = warn_of_cameras(str(self.folder), self.keypoints2d())

    @classmethod
    @abstractmethod
    def find(cls, root: str | Path, **search: Any) -> list[SessionPlace]:
        """Find the sessions in a folder (or file), sorted; what `search` names says how.

        Raises:
            FileNotFoundError: no such folder.
        """

    @abstractmethod
    def _place(self) -> SessionPlace:
        """Return where the session is, or refuse a folder that holds none."""

    @abstractmethod
    def _own_name(self) -> str:
        """Name the session by its folder."""

    @abstractmethod
    def _read_cameras(self, unit: str | None) -> Cameras | None:
        """Read the calibrated cameras; None where there is no calibration."""

    @abstractmethod
    def _find_files(self, cameras: Cameras | None, exclude: Sequence[str]) -> dict[str, CameraFiles]:
        """Find the files of each camera that is kept."""

    @abstractmethod
    def _read_labels(self, camera: str, files: CameraFiles, track: str | None) -> CameraLabels:
        """Read a camera's labels of one animal."""

    def _read_all_labels(self, files: Mapping[str, CameraFiles]) -> dict[str, CameraLabels]:
        return {
            camera: self._read_labels(camera, result, self.track_in(camera))
            for camera, result in files.items()
        }

    def track_in(self, camera: str) -> str | None:
        """Name the animal's track in a camera's labels; None where it is the one with the most points."""
        return self._other_names.get(camera, self.track)

    def _read_points3d(self) -> np.ndarray | None:
        """Read 3D points (frames, nodes, 3), NaN where missing; None where there are none."""
        return None

    def _cameras_of_images(self, cameras: Cameras) -> Cameras:
        return cameras

    @property
    def tracks(self) -> dict[str, tuple[str, ...]]:
        """Names of all animals' tracks by camera, in the order of the files; empty where instances have none."""
        return dict(self._tracks)

    @property
    def keypoint_names(self) -> tuple[str, ...]:
        """Names of the keypoints: the model's with a lookup, in its order, else the annotator's."""
        return tuple(self._lookup)

    def keypoints2d(self, names: Sequence[str] | None = None) -> Keypoints2d:
        """Return the labels of all frames, px of the original images, with the cameras.

        Raises:
            KeyError: an unknown name, with the near ones.
        """
        nodes = self._nodes()
        keypoints = Keypoints2d(
            xy=torch.from_numpy(self._xy[:, :, nodes]),
            confidence=torch.from_numpy(self._confidence[:, :, nodes]),
            names=self.keypoint_names,
            cameras=self.cameras,
        ).judged(self._camera_report)
        return keypoints if names is None else keypoints.select(names)

    def keypoints3d(self, names: Sequence[str] | None = None) -> Keypoints3d | None:
        """Return the 3D points, confidence 1 where there is one; None where the session has none.

        Raises:
            KeyError: an unknown name, with the near ones.
        """
        if self._xyz is None:
            return None
        xyz = self._xyz[:, self._nodes()]
        keypoints = Keypoints3d(
            xyz=torch.from_numpy(xyz),
            confidence=torch.from_numpy(np.isfinite(xyz).all(-1).astype(np.float64)),
            names=self.keypoint_names,
            unit=self.unit,
        )
        return keypoints if names is None else keypoints.select(names)

    def with_labels_of(
        self, sessions: Sequence['RecordedSession'], index: np.ndarray, notes: Mapping[str, Any]
    ) -> 'RecordedSession':
        """Return this session with other animals' labels of the same recording.

        Args:
            sessions: of all animals.
            index: (frames, cameras) whose labels are taken.
            notes: what the report says of it.
        """
        frames, cameras = np.ogrid[: self.n_frames, : len(self.camera_names)]
        changed = copy(self)
        changed._xy = np.stack([other._xy for other in sessions])[index, frames, cameras]
        changed._confidence = np.stack([other._confidence for other in sessions])[index, frames, cameras]
        changed.report, changed._camera_report = {**self.report, **notes}, None
        return changed

    def centres2d(self) -> AnimalCentres | None:
        """Return the centres of all labelled animals, means of their points; None where one alone is labelled.

        A view shows all of them if as many are labelled in it as in any frame of any camera.
        """
        most = max((0 if xy is None else xy.shape[1] for xy in self._centres), default=0)
        if most < 2:
            return None
        xy = np.full((self.n_frames, len(self._centres), most, 1, 2), np.nan)
        for c, centres in enumerate(self._centres):
            if centres is not None:
                valid = centres[: self.n_frames]
                xy[: len(valid), c, : centres.shape[1], 0] = valid
        return AnimalCentres.of_keypoints([xy[:, :, a] for a in range(most)])

    def landmarks(self, body: BodyModelData) -> dict[str, Landmark]:
        """Return the landmarks that the lookup describes on a body, for `body.with_landmarks`.

        Raises:
            ValueError: a row that breaks a rule, with its line.
            KeyError: a joint that the model has not, with the near ones.
        """
        return {} if self._lookup_file is None else read_landmarks(self._lookup_file, body)

    @property
    def true_params(self) -> BodyParams | None:
        """The parameters of every frame, world unit, where the session states them; None elsewhere."""
        return None

    def frames(
        self, indices: Iterable[int] | None = None, bgr: bool = False
    ) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """Decode images, every video once and in order, one image a camera in memory.

        Args:
            indices: strictly increasing frame numbers; all frames where None.
            bgr: as of `iterate_videos`.

        Yields:
            (index, {camera: RGB uint8 (H, W, 3)}).
        """
        return iterate_videos(self.video_paths, self._checked(indices), bgr)

    def frames_that_decode(self, indices: Iterable[int]) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """Decode images as `frames` does, without those that do not decode; `damage` and `report` name them."""
        yield from iterate_videos(self.video_paths, self._checked(indices), damage=self.damage)
        for name, result in self.damage.items():
            self.report.setdefault(name, {}).update(
                frames_that_do_not_decode=len(result.lost), frames_mended_by_the_decoder=len(result.mended)
            )

    def _checked(self, indices: Iterable[int] | None) -> Sequence[int]:
        numbers = range(self.n_frames) if indices is None else [int(i) for i in indices]
        if len(numbers) and max(numbers) >= self.n_frames:
            raise ValueError(f'{self.folder}: frames must be below {self.n_frames}; got {max(numbers)}.')
        return numbers

    @property
    def video_paths(self) -> dict[str, Path]:
        """The video of each camera."""
        return {name: video.path for name, video in self._videos.items()}

    def _nodes(self) -> list[int]:
        return [self._node_names.index(node) for node in self._lookup.values()]

    def _read_lookup(self, path: str | Path | None) -> dict[str, str]:
        lookup = names_by_lookup(path, self._node_names)
        if path is None:
            return lookup
        unused = sorted(set(self._node_names) - set(lookup.values()))
        self.report['unmapped_labels'] = unused
        if unused:
            logger.info('%s: the lookup leaves out %s.', self.folder, ', '.join(unused))
        return lookup

    def _points(
        self, labels: Mapping[str, CameraLabels], thresholds: Mapping[str, float]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return points (frames, cameras, nodes, 2) px and confidences (frames, cameras, nodes)."""
        return self._stack(labels, thresholds)

    def _stack(
        self, labels: Mapping[str, CameraLabels], thresholds: Mapping[str, float]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Bring the cameras' labels to one length and node order; count what is missing and why."""
        shape = (self.n_frames, len(labels), len(self._node_names))
        xy, confidence = np.full((*shape, 2), np.nan), np.zeros(shape)
        for c, (name, label) in enumerate(labels.items()):
            points, score = label.xy[: self.n_frames], label.score[: self.n_frames]
            valid = np.isfinite(points).all(-1)
            kept = valid & (score >= thresholds[name]) & (score > 0)
            xy[: len(points), c] = np.where(kept[..., None], points, np.nan)
            confidence[: len(points), c] = np.where(kept, score, 0.0)
            self.report[name] = {
                'labels': label.path.name,
                'points': int(kept.sum()),
                'points_missing': int(self.n_frames * len(label.node_names) - valid.sum()),
                'scores_above_1': label.scores_above_1,
                'frames_without_labels': int(self.n_frames - label.labelled[: self.n_frames].sum()),
                'instances_of_others': label.skipped_instances,
            }
            if label.scores_missing:
                self.report[name]['scores_missing'] = label.scores_missing
            if label.weighted_by != 'score':
                self.report[name]['weighted_by'] = label.weighted_by
            if thresholds[name] > 0:
                self.report[name]['points_below_threshold'] = int((valid & ~kept).sum())
            logger.debug('%s, camera %s: %s', self.folder, name, self.report[name])
        return xy, confidence

    def _same_length_as_videos(self, path: Path, points: np.ndarray, advice: str) -> np.ndarray:
        """Cut points to the videos' frames; refuse fewer than these, or many more."""
        longest = max(video.n_frames for video in self._videos.values())
        if not self.n_frames <= len(points) <= longest:
            raise ValueError(
                f"{path}: frames must be as many as the videos' {self.n_frames}; got {len(points)}.{advice}"
            )
        return points[: self.n_frames]

    def _reject_blind_cameras(self, thresholds: Mapping[str, float]) -> None:
        counts = (self._confidence[:, :, self._nodes()] > 0).sum((0, 2))
        blind = [name for name, count in zip(self.camera_names, counts) if count == 0]
        if blind:
            raise ValueError(
                f'{self.folder}: every camera must have a valid keypoint; {", ".join(blind)} has none at '
                f'confidence_threshold {thresholds[blind[0]]:g}. Lower it, or leave the camera out with '
                'exclude_cameras.'
            )
