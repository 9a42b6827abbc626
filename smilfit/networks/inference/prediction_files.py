"""Predictions of a recording as a file of a fit, for exporters, and as SLEAP labels."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from smilfit.files import folder_name
from smilfit.io import write_tracks
from smilfit.io.exports import ExportedFit
from smilfit.networks.calibration import Calibration
from smilfit.networks.engine.trained_model import TrainedRegressor
from smilfit.networks.inference.predictions import Predictions, read_predictions
from smilfit.networks.inference.recordings import Recording
from smilfit.structures import Cameras, FitOrigin, FitResult, Keypoints3d
from smilfit.structures.fit_record import FittedModel

logger = logging.getLogger('smilfit')


@dataclass(frozen=True)
class PredictedRecording:
    """A recording with what was predicted of it, ready to be written: `fit` is made of the predictions by `of`."""

    recording: Recording
    trained: TrainedRegressor
    predictions: Predictions
    fit: FitResult
    fps: float

    @classmethod
    def of(
        cls,
        recording: Recording,
        trained: TrainedRegressor,
        predictions: Predictions,
        fps: float,
        report: dict[str, object],
        origin: FitOrigin | None = None,
    ) -> 'PredictedRecording':
        """Make the result of a fit of predictions, from which a fit may start.

        Args:
            report: what was counted.
            origin: which recording it is.
        """
        keypoints = Keypoints3d(
            torch.from_numpy(predictions.keypoints3d),
            torch.from_numpy(predictions.confidence3d),
            trained.model.keypoint_names,
            trained.names.unit,
        )
        fit = FitResult(
            params=predictions.body_params,
            per_frame_loss=torch.zeros(len(predictions)),
            converged=torch.from_numpy(predictions.valid),
            report=report,
            body=trained.body,
            recorded_cameras=recording.cameras,
            keypoints3d=keypoints,
            model=FittedModel.of(trained.body.data),
            origin=origin,
        )
        return cls(recording, trained, predictions, fit, fps)

    def changed(self, predictions: Predictions, **counted: object) -> 'PredictedRecording':
        """Put other predictions in the place of these, with more that was counted."""
        report = self.fit.report | counted
        return self.of(self.recording, self.trained, predictions, self.fps, report, self.fit.origin)

    def read(self, path: Path) -> 'PredictedRecording':
        """Put what `save` wrote in the place of these predictions."""
        predictions, fit = read_predictions(path, self.trained.body)
        return replace(self, predictions=predictions, fit=fit)

    def save(self, path: Path) -> None:
        """Write the file: that of a fit, with what a regressor says more."""
        predictions = self.predictions
        self.fit.save(
            path,
            **{name: getattr(predictions, name) for name in ('frames', 'valid', 'keypoints2d', 'view_mask')},
            reasons=np.array(predictions.reasons, dtype=np.str_),
            joint_names=np.array(self.trained.body.joint_names, dtype=np.str_),
            keypoints2d_confidence=predictions.confidence2d,
            view_names=np.array(list(self.recording.camera_names), dtype=np.str_),
            **{f'view_{name}': getattr(predictions, f'camera_{name}') for name in ('K', 'R', 't')},
            **{f'model_{name}': value for name, value in predictions.further.items()},
        )

    @property
    def calibration(self) -> Calibration:
        """The network's, of its confidences."""
        return Calibration.of_record(str(self.trained.path), self.trained.model.statistics.calibration)

    def exported(self) -> ExportedFit:
        """Return the recording as exporters of fits take it."""
        fit = replace(self.fit, body=self.trained.body)
        return ExportedFit(
            self.recording.name, fit, self.predictions.frames, self.predictions.valid, self.fps
        )

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
        return self.trained.model.keypoint_names


def write_tracks_of(folder: Path, animals: Mapping[str, PredictedRecording]) -> None:
    """Write predicted keypoints, px of the recorded images, as SLEAP labels: a file a camera, a track an animal."""
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
    """Return points and scores by frame number: frames between the predicted ones have none."""
    confidence = predictions.confidence2d[:, camera]
    xy = np.where(confidence[..., None] > 0, predictions.keypoints2d[:, camera], np.nan)
    count = int(predictions.frames[-1]) + 1
    spread, score = np.full((count, *xy.shape[1:]), np.nan), np.zeros((count, xy.shape[1]))
    spread[predictions.frames], score[predictions.frames] = xy, confidence
    return spread, score
