"""A multi-camera recording annotated with SLEAP and calibrated with anipose."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from smilfit.body_models import BodyModelData
from smilfit.body_models.landmarks import Landmark
from smilfit.files import folder_name
from smilfit.io.annotations.sequence_names import sequence_name
from smilfit.io.calibration import read_calibration
from smilfit.io.landmark_rows import read_landmarks
from smilfit.io.lookup import check_lookup, read_joint_lookup
from smilfit.io.points3d import read_points3d, read_reprojections
from smilfit.io.session_checks import (
    check_labels_fit,
    check_sizes,
    reject_cut,
    same_length,
    same_nodes,
    same_rate,
)
from smilfit.io.session_folder import CALIBRATION_FILE, find_labels, find_video, match_cameras
from smilfit.io.sleap_labels import SleapLabels, read_labels
from smilfit.io.truth import read_true_params, truth_file
from smilfit.io.videos import iterate_videos, probe_video
from smilfit.registry import SESSIONS
from smilfit.structures import AnimalCentres, BodyParams, Cameras, Keypoints2d, Keypoints3d

logger = logging.getLogger('smilfit')


@SESSIONS.register_module()
class SleapSession:
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

    Raises:
        ValueError: files that contradict each other or themselves; the message names the file.
        KeyError: names that do not exist, with the near ones.
    """

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
    ) -> None:
        self.track, self.folder = track, Path(folder)
        if not self.folder.is_dir():
            raise FileNotFoundError(f'{self.folder}: a session must be a folder; there is no such folder.')
        exclude_cameras = (exclude_cameras,) if isinstance(exclude_cameras, str) else tuple(exclude_cameras)
        if confidence_threshold is not None and not 0.0 <= confidence_threshold <= 1.0:
            raise ValueError(
                f'SleapSession: confidence_threshold must be in [0, 1]; got {confidence_threshold}.'
            )
        calibration = self.folder / CALIBRATION_FILE
        cameras = read_calibration(calibration, unit) if calibration.is_file() else None
        folders = match_cameras(self.folder, None if cameras is None else cameras.names, exclude_cameras)
        own = folder_name(self.folder.resolve().name)
        self.name = own if track is None else sequence_name(own, track)
        self.camera_names = tuple(folders)
        self.cameras: Cameras | None = None if cameras is None else cameras.select(self.camera_names)
        self.unit = unit if cameras is None else cameras.unit
        self.report: dict[str, Any] = {'excluded_cameras': list(exclude_cameras)}

        label_files = {name: find_labels(path) for name, path in folders.items()}
        videos = {name: find_video(folders[name], label_files[name]) for name in folders}
        labels = {name: read_labels(path, track) for name, path in label_files.items()}
        self._tracks = tuple(label.tracks for label in labels.values())
        self._node_names = same_nodes(labels)
        self._lookup_file = joint_lookup
        self._lookup = self._read_lookup(joint_lookup)
        self._videos = {name: probe_video(path) for name, path in videos.items()}
        for video in self._videos.values():
            reject_cut(video)
        self.n_frames = same_length(self._videos)
        self.fps = same_rate(self._videos)
        check_sizes(self._videos, self.cameras)
        for name in folders:
            check_labels_fit(labels[name], self._videos[name], partial_labels)
        # What each camera's labels are held against where nobody asks otherwise.
        self.confidence_thresholds = {name: label.usual_threshold for name, label in labels.items()}
        if confidence_threshold is not None:
            thresholds = dict.fromkeys(labels, confidence_threshold)
        else:
            thresholds = self.confidence_thresholds
        self._xy, self._confidence = self._stack(labels, thresholds)
        self._centres = [label.centres for label in labels.values()]
        if use_reprojections:
            self._xy, self._confidence = self._read_reprojections()
        self._reject_blind_cameras(thresholds)
        self._xyz = self._read_points3d() if with_3d else None

    @property
    def keypoint_names(self) -> tuple[str, ...]:
        """Names of the keypoints: the model's with a lookup, in its order, else the annotator's."""
        return tuple(self._lookup)

    @property
    def video_paths(self) -> dict[str, Path]:
        """The video of each camera."""
        return {name: video.path for name, video in self._videos.items()}

    def keypoints2d(self, names: Sequence[str] | None = None) -> Keypoints2d:
        """Give the labels of all frames, px of the original images, with the cameras.

        Raises:
            KeyError: an unknown name, with the near ones.
        """
        nodes = self._nodes()
        seen = Keypoints2d(
            xy=torch.from_numpy(self._xy[:, :, nodes]),
            confidence=torch.from_numpy(self._confidence[:, :, nodes]),
            names=self.keypoint_names,
            cameras=self.cameras,
        )
        return seen if names is None else seen.select(names)

    def keypoints3d(self, names: Sequence[str] | None = None) -> Keypoints3d | None:
        """Give the points of `points3d.h5`, confidence 1 where there is one; None without the file.

        Raises:
            KeyError: an unknown name, with the near ones.
        """
        if self._xyz is None:
            return None
        xyz = self._xyz[:, self._nodes()]
        seen = Keypoints3d(
            xyz=torch.from_numpy(xyz),
            confidence=torch.from_numpy(np.isfinite(xyz).all(-1).astype(np.float64)),
            names=self.keypoint_names,
            unit=self.unit,
        )
        return seen if names is None else seen.select(names)

    def centres2d(self) -> AnimalCentres | None:
        """Give the centres of all labelled animals, means of their points; None where one alone is labelled.

        A view shows all of them if as many are labelled in it as in any frame of any camera.
        """
        most = max((0 if xy is None else xy.shape[1] for xy in self._centres), default=0)
        if most < 2:
            return None
        xy = np.full((self.n_frames, len(self._centres), most, 1, 2), np.nan)
        for c, centres in enumerate(self._centres):
            if centres is not None:
                xy[: len(centres), c, : centres.shape[1], 0] = centres[: self.n_frames]
        return AnimalCentres.of_keypoints([xy[:, :, a] for a in range(most)])

    def landmarks(self, body: BodyModelData) -> dict[str, Landmark]:
        """Give the landmarks that the lookup describes on a body, for `body.with_landmarks`.

        Raises:
            ValueError: a row that breaks a rule, with its line.
            KeyError: a joint that the model has not, with the near ones.
        """
        return {} if self._lookup_file is None else read_landmarks(self._lookup_file, body)

    @property
    def true_params(self) -> BodyParams | None:
        """The parameters of every frame, world unit, where `truth.npz` states them (a made session).

        Of one of several animals it is `truth_<track>.npz`.

        Raises:
            ValueError: a file of other length than the videos, or without the parameters.
        """
        path = self.folder / truth_file(self.track)
        return read_true_params(path, self.n_frames) if path.is_file() else None

    def frames(self, indices: Iterable[int] | None = None) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """Decode images, every video once and in order, one image a camera in memory.

        Args:
            indices: strictly increasing frame numbers; all frames where None.

        Yields:
            (index, {camera: RGB uint8 (H, W, 3)}).
        """
        indices = range(self.n_frames) if indices is None else [int(i) for i in indices]
        if len(indices) and max(indices) >= self.n_frames:
            raise ValueError(f'{self.folder}: frames must be below {self.n_frames}; got {max(indices)}.')
        return iterate_videos({name: video.path for name, video in self._videos.items()}, indices)

    def _nodes(self) -> list[int]:
        return [self._node_names.index(node) for node in self._lookup.values()]

    def _read_lookup(self, path: str | Path | None) -> dict[str, str]:
        if path is None:
            return {name: name for name in self._node_names}
        lookup = read_joint_lookup(path)
        check_lookup(lookup, data_names=self._node_names, where=str(path))
        unused = sorted(set(self._node_names) - set(lookup.values()))
        self.report['unmapped_labels'] = unused
        if unused:
            logger.info('%s: the lookup leaves out %s.', self.folder, ', '.join(unused))
        return lookup

    def _stack(
        self, labels: Mapping[str, SleapLabels], thresholds: Mapping[str, float]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Bring the cameras' labels to one length and node order; count what is missing and why."""
        shape = (self.n_frames, len(labels), len(self._node_names))
        xy, confidence = np.full((*shape, 2), np.nan), np.zeros(shape)
        for c, (name, label) in enumerate(labels.items()):
            order = [label.node_names.index(node) for node in self._node_names]
            there = np.isfinite(label.xy[:, order]).all(-1)
            score = label.score[:, order]
            kept = there & (score >= thresholds[name]) & (score > 0)
            xy[: len(label), c] = np.where(kept[..., None], label.xy[:, order], np.nan)
            confidence[: len(label), c] = np.where(kept, score, 0.0)
            self.report[name] = {
                'labels': label.path.name,
                'points': int(kept.sum()),
                'points_missing': int(self.n_frames * len(order) - there.sum()),
                'scores_above_1': label.scores_above_1,
                'frames_without_labels': int(self.n_frames - label.labelled.sum()),
                'instances_of_others': label.skipped_instances,
            }
            if thresholds[name] > 0:
                self.report[name]['points_below_threshold'] = int((there & ~kept).sum())
            logger.debug('%s, camera %s: %s', self.folder, name, self.report[name])
        return xy, confidence

    def _read_reprojections(self) -> tuple[np.ndarray, np.ndarray]:
        path = self.folder / 'reprojections.h5'
        xy = read_reprojections(path, self.camera_names, self._node_names)
        if len(xy) != self.n_frames:
            raise ValueError(f"{path}: frames must be as many as the videos' {self.n_frames}; got {len(xy)}.")
        return xy, np.isfinite(xy).all(-1).astype(np.float64)

    def _read_points3d(self) -> np.ndarray | None:
        path = self.folder / 'points3d.h5'
        if not path.is_file():
            return None
        xyz = read_points3d(path, self._node_names, *self._place_of_track())
        if len(xyz) != self.n_frames:
            raise ValueError(
                f"{path}: frames must be as many as the videos' {self.n_frames}; got {len(xyz)}. "
                'Leave the file out with with_3d=False.'
            )
        return xyz

    def _place_of_track(self) -> tuple[int, int]:
        """Give the animal's number among the tracks, and how many these are."""
        if self.track is None:
            return 0, 1
        if len(set(self._tracks)) > 1:
            raise ValueError(
                f'{self.folder}: tracks must be the same in all cameras, in one order, for points3d.h5 to be theirs; '
                f'got {" and ".join(str(list(t)) for t in dict.fromkeys(self._tracks))}. Leave the file out with '
                'with_3d=False.'
            )
        return self._tracks[0].index(self.track), len(self._tracks[0])

    def _reject_blind_cameras(self, thresholds: Mapping[str, float]) -> None:
        counts = (self._confidence[:, :, self._nodes()] > 0).sum((0, 2))
        blind = [name for name, count in zip(self.camera_names, counts) if count == 0]
        if blind:
            raise ValueError(
                f'{self.folder}: every camera must have a valid keypoint; {", ".join(blind)} has none at '
                f'confidence_threshold {thresholds[blind[0]]:g}. Lower it, or leave the camera out with '
                'exclude_cameras.'
            )
