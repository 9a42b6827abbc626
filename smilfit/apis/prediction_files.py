"""Predictions as other programs open them: joint angles, SLEAP labels, meshes, an animation."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from smilfit import exports
from smilfit.apis.inference_recordings import Recording
from smilfit.apis.predictions import Predictions
from smilfit.engine import TrainedRegressor
from smilfit.exports import ExportedFit
from smilfit.files import folder_name
from smilfit.io import write_tracks
from smilfit.structures import Cameras, FitResult

logger = logging.getLogger('smilfit')


@dataclass(frozen=True)
class PredictedRecording:
    """A recording with what was predicted of it, ready to be written."""

    recording: Recording
    trained: TrainedRegressor
    predictions: Predictions
    fit: FitResult
    fps: float

    @property
    def lenses(self) -> Cameras | None:
        """The cameras by whose lenses keypoints are bent; None where images have none, or each its own."""
        return self.recording.cameras if self.recording.undistorted else None

    @property
    def frame_rate(self) -> float:
        """Predicted frames per second of the recording."""
        steps = np.diff(self.predictions.frames)
        return self.fps / float(np.median(steps)) if len(steps) else self.fps

    @property
    def keypoint_names(self) -> tuple[str, ...]:
        """Names of the K keypoints."""
        return tuple(self.trained.model.keypoint_names)


def write_angles(path: Path, made: PredictedRecording) -> None:
    """Write every joint's rotation in its parent's frame, degrees, with place and size."""
    exports.write_angles(path, _exported(made))


def write_labels(folder: Path, made: PredictedRecording) -> None:
    """Write predicted keypoints, px of the recorded images, as SLEAP labels: a file a camera."""
    write_tracks_of(folder, {'track_0': made})


def write_tracks_of(folder: Path, animals: Mapping[str, PredictedRecording]) -> None:
    """Write the same of several animals of one recording, each with a track of its own, by its name."""
    made = next(iter(animals.values()))
    folder.mkdir(parents=True, exist_ok=True)
    for c, name in enumerate(made.recording.camera_names):
        tracks = {track: _labels_of(one.predictions, c) for track, one in animals.items()}
        if not any(np.isfinite(xy).any() for xy, _ in tracks.values()):
            logger.warning('%s: camera %s has no predicted keypoint; no labels are written.', folder, name)
            continue
        path = folder / f'{folder_name(name)}.slp'
        write_tracks(path, tracks, made.keypoint_names, made.recording.video_of(name))


def _labels_of(predictions: Predictions, camera: int) -> tuple[np.ndarray, np.ndarray]:
    """Give points and scores by frame number: frames between the predicted ones have none."""
    confidence = predictions.confidence2d[:, camera]
    xy = np.where(confidence[..., None] > 0, predictions.keypoints2d[:, camera], np.nan)
    count = int(predictions.frames[-1]) + 1
    spread, score = np.full((count, *xy.shape[1:]), np.nan), np.zeros((count, xy.shape[1]))
    spread[predictions.frames], score[predictions.frames] = xy, confidence
    return spread, score


def write_meshes(folder: Path, made: PredictedRecording, kind: str, every: int) -> None:
    """Write the mesh of every n-th predicted frame, world unit."""
    exports.write_meshes(folder, _exported(made), kind, every)


def write_animation(path: Path, made: PredictedRecording) -> None:
    """Write the motion of the predicted frames as an animated glTF, of the mean shape."""
    exports.write_animation(path, _exported(made))


def _exported(made: PredictedRecording) -> ExportedFit:
    found = made.predictions
    fit = replace(made.fit, body=made.trained.body)
    return ExportedFit(made.recording.name, fit, found.frames, found.valid, made.fps)
