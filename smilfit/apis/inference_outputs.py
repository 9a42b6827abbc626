"""What inference leaves of a recording: parameters, angles, and what other programs open; each made once."""

import csv
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from smilfit.apis.inference_recordings import Recording
from smilfit.apis.predictions import Predictions
from smilfit.apis.progress import ProgressCallback, ignore
from smilfit.engine import TrainedRegressor
from smilfit.files import MadeOf, OutputFolder
from smilfit.structures import FitResult
from smilfit.version import __version__

logger = logging.getLogger('smilfit')

PREDICTIONS, ANGLES = 'predictions.npz', 'joint_angles.csv'


@dataclass(frozen=True)
class InferenceOutputs:
    """What is written beside the predictions.

    Args:
        progress: called with a `Progress`.
    """

    progress: ProgressCallback = ignore


@dataclass(frozen=True)
class PredictedRecording:
    """A recording with what was predicted of it, ready to be written."""

    recording: Recording
    trained: TrainedRegressor
    predictions: Predictions
    fit: FitResult
    fps: float

    @property
    def keypoint_names(self) -> tuple[str, ...]:
        """Names of the K keypoints."""
        return tuple(self.trained.model.keypoint_names)


class OutputWriter:
    """Writes what is missing, of other predictions, of other options or damaged; the rest stays.

    Args:
        outputs: the folder of the results.
        options: what is written.
        inputs: what the predictions were made of.
    """

    def __init__(self, outputs: OutputFolder, options: InferenceOutputs, inputs: dict[str, Any]) -> None:
        self.outputs, self.options, self.inputs = outputs, options, inputs

    def write(self, made: PredictedRecording) -> None:
        """Write all parts that are asked for."""
        self._part('joint_angles', True, {}, lambda folder: write_angles(folder / ANGLES, made))

    def _part(self, name: str, wanted: bool, options: dict[str, Any], make: Callable[[Path], Any]) -> None:
        made_of = MadeOf(self.inputs, options)
        if not wanted:
            self.outputs.drop_stale(name, self.inputs)
        elif not self.outputs.holds(name, made_of):
            with self.outputs.make(name, made_of) as staging:
                make(staging)


def write_angles(path: Path, made: PredictedRecording) -> None:
    """Write every joint's rotation in its parent's frame, degrees about the axis, x, y and z, with place and size."""
    predictions, unit = made.predictions, made.trained.names.unit or 'unit'
    names = made.trained.body.joint_names
    turns = np.degrees(
        np.concatenate((predictions.params['global_orient'][:, None], predictions.params['body_pose']), 1)
    )
    header = ['frame', 'time_s', 'valid']
    header += [f'{name}_{axis}_deg' for name in names for axis in 'xyz']
    header += [f'transl_{axis}_{unit}' for axis in 'xyz'] + ['scale']
    with path.open('w', newline='', encoding='utf-8') as file:
        table = csv.writer(file)
        table.writerow(header)
        for i, frame in enumerate(predictions.frames.tolist()):
            numbers = [*turns[i].ravel(), *predictions.params['transl'][i], predictions.params['scale'][i]]
            time = f'{frame / made.fps:.6f}' if made.fps else ''
            table.writerow([frame, time, int(predictions.valid[i]), *(f'{v:.6g}' for v in numbers)])


def report_of(made_of: MadeOf, predictions: Predictions, trained: TrainedRegressor) -> dict[str, Any]:
    """Say what was predicted by what, and what was left out."""
    return {
        'model': trained.describe(),
        'smilfit': __version__,
        'frames': len(predictions),
        'frames_predicted': int(predictions.valid.sum()),
        'frames_not_predicted': predictions.reason_counts(),
        'views_missing': {
            'frames_with_fewer_views': int((~predictions.view_mask).any(1).sum()),
            'views': int((~predictions.view_mask).sum()),
        },
        'per_frame_loss': 'not computed: a network has none',
        'options': json.loads(json.dumps(made_of.options, default=str)),
    }
