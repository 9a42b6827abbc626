"""What inference leaves of a recording: parameters, angles, and what other programs open; each made once."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from smilfit.apis.infer_options import InferenceOutputs
from smilfit.apis.inference_drawing import PredictionVideo
from smilfit.apis.judging import write_verdict
from smilfit.apis.prediction_files import (
    PredictedRecording,
    write_angles,
    write_animation,
    write_labels,
    write_meshes,
)
from smilfit.apis.prediction_smoothing import smoothed
from smilfit.apis.predictions import REFINED, SMOOTHED, Predictions
from smilfit.apis.progress import steps
from smilfit.engine import TrainedRegressor
from smilfit.files import MadeOf, OutputFolder, folder_name
from smilfit.io.synchronised_videos import chosen_views
from smilfit.version import __version__
from smilfit.visualization.marks import BODY, Surface

logger = logging.getLogger('smilfit')

ANGLES, LABELS, ANIMATION = 'joint_angles.csv', 'labels', 'animation.glb'


class OutputWriter:
    """Writes what is missing, of other predictions, of other options or damaged; the rest stays.

    Args:
        outputs: the folder of the results.
        options: what is written.
        inputs: what the predictions were made of.
    """

    def __init__(self, outputs: OutputFolder, options: InferenceOutputs, inputs: dict[str, Any]) -> None:
        self.outputs, self.options, self.inputs = outputs, options, inputs

    def write(self, made: PredictedRecording) -> PredictedRecording:
        """Write all parts that are asked for; gives what they show: refined and smoothed, where that is wanted."""
        options = self.options
        views = chosen_video_views(made.recording.camera_names, options.video_views)
        made = self._smoothed(self._refined(made))
        self._part('joint_angles', True, {}, lambda folder: write_angles(folder / ANGLES, made))
        self._part('labels', options.labels, {}, lambda folder: write_labels(folder / LABELS, made))
        faces = len(made.trained.body.faces) > 0
        animation = {'fps': made.fps}
        self._part(
            'animation',
            options.animation and faces,
            animation,
            lambda folder: write_animation(folder / ANIMATION, made),
        )
        meshes = {'format': options.meshes, 'every': options.mesh_every}
        self._part(
            'meshes',
            bool(options.meshes),
            meshes,
            lambda folder: write_meshes(folder / 'meshes', made, options.meshes, options.mesh_every),
        )
        write_videos(self.outputs, self.inputs, options, views, [made])
        return made

    def _refined(self, made: PredictedRecording) -> PredictedRecording:
        """Refine the predictions by a fit, where it is asked for; what an equal one left is read."""
        config = self.options.refine
        if not config:
            self.outputs.drop_stale('refined', {})
            return made
        self.inputs = {**self.inputs, 'refine': str(config)}
        made_of = MadeOf(self.inputs, {})
        if not self.outputs.holds('refined', made_of):
            # Imported late: predicting alone takes none of what fits.
            from smilfit.apis.prediction_refinement import refined

            found = refined(made, config, self.options.progress)
            with self.outputs.make('refined', made_of) as staging:
                found.made.save(staging / REFINED)
                if found.verdict is not None:
                    write_verdict(staging, found.verdict, found.cameras)
        return made.read(self.outputs.folder / REFINED)

    def _smoothed(self, made: PredictedRecording) -> PredictedRecording:
        """Smooth what all else shows, where it is asked for."""
        seconds = self.options.smoothing_s
        self.inputs = {**self.inputs, 'smoothing_s': seconds}
        if not seconds:
            self.outputs.drop_stale('smoothed', {})
            return made
        logger.info(
            '%s: smoothed over time by a Gaussian of %g s; predictions.npz is as predicted.',
            made.recording.name,
            seconds,
        )
        found = smoothed(
            made.predictions, made.trained.body, made.keypoint_names, made.lenses, made.fps, seconds
        )
        made = made.changed(found, smoothing_s=seconds)
        self._part('smoothed', True, {'fps': made.fps}, lambda folder: made.save(folder / SMOOTHED))
        return made

    def _part(self, name: str, wanted: bool, options: dict[str, Any], make: Callable[[Path], Any]) -> None:
        self.outputs.part(name, MadeOf(self.inputs, options), wanted, make)


def write_videos(
    outputs: OutputFolder,
    inputs: dict[str, Any],
    options: InferenceOutputs,
    views: Sequence[str],
    animals: Sequence[PredictedRecording],
    surfaces: Sequence[Surface] = (BODY,),
) -> None:
    """Write a video of all views, and one of each, where they are asked for and not there.

    Args:
        outputs: the folder of the results.
        inputs: what the predictions were made of.
        options: what is written.
        views: cameras.
        animals: of one recording.
        surfaces: each animal's word and colour.
    """
    made = animals[0]
    drawn = {'style': options.video, 'views': views, 'window_px': options.window_px, 'fps': made.fps}

    def draw(groups: Mapping[str, Sequence[str]], folder: Path) -> None:
        predictions = [one.predictions for one in animals]
        video = PredictionVideo(
            made.trained.body, made.recording, predictions, options.video, options.window_px, surfaces
        )
        for name, group in groups.items():
            path = folder / f'{name}.mp4'
            path.parent.mkdir(parents=True, exist_ok=True)
            task = f'{made.recording.name}: {path.name}'
            with steps(task, len(made.predictions), options.progress) as step:
                video.write(path, made.frame_rate, group, step)

    together = {options.video: views}
    each = {f'videos/{folder_name(view)}': (view,) for view in views}
    made_of = MadeOf(inputs, drawn)
    outputs.part('video', made_of, bool(options.video), partial(draw, together))
    outputs.part('view_videos', made_of, bool(options.video) and options.view_videos, partial(draw, each))


def chosen_video_views(names: Sequence[str], wanted: Sequence[str | int]) -> tuple[str, ...]:
    """Choose cameras by name or number."""
    for number in wanted:
        if isinstance(number, int) and number >= len(names):
            raise ValueError(
                f'--view-indices: must be below {len(names)}; got {number}. Cameras are {", ".join(names)}.'
            )
    named = [names[n] if isinstance(n, int) else n for n in wanted]
    return chosen_views(names, named or None, '--video-views')


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
