"""What inference leaves of a recording: parameters, angles, and what other programs open; each made once."""

import json
import logging
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from smilfit.apis.fitting.verdict_file import write_verdict
from smilfit.apis.infer_options import REFINED, SMOOTHED, VIDEO_STYLES, InferenceOutputs
from smilfit.apis.progress import counted, ignore, steps
from smilfit.body_models import SMIL
from smilfit.drawing.marks import BODY, FITTED, Surface
from smilfit.drawing.overlays import OverlayPainter, Panel, ShownBody, posed, with_legend
from smilfit.drawing.video import write_video
from smilfit.drawing.windows import View, look, scaling
from smilfit.files import MadeOf, OutputFolder, folder_name
from smilfit.io import exports
from smilfit.io.recordings.synchronised_videos import chosen_views
from smilfit.networks.engine.trained_model import TrainedRegressor
from smilfit.networks.inference.prediction_files import PredictedRecording, write_tracks_of
from smilfit.networks.inference.predictions import Predictions
from smilfit.networks.inference.recordings import Recording, ShownImage
from smilfit.networks.inference.smoothed_predictions import projected, smoothed, view_cameras
from smilfit.registry import reject_unknown
from smilfit.structures import Cameras
from smilfit.version import __version__


class PredictionVideo:
    """Draws predictions over a recording's images, whole frames.

    Args:
        body: the body model.
        recording: gives the images.
        animals: predictions of it, one an animal, of the same frames.
        style: 'overlay', or 'side_by_side' with the bare image on the left.
        side_px: the longer side of a view.
        surfaces: each animal's word and colour.
    """

    def __init__(
        self,
        body: SMIL,
        recording: Recording,
        animals: Sequence[Predictions],
        style: str,
        side_px: int,
        surfaces: Sequence[Surface] = (BODY,),
    ) -> None:
        reject_unknown('--video', 'style', [style], VIDEO_STYLES)
        self.body, self.recording, self.animals, self.surfaces = body, recording, animals, surfaces
        # Of all animals the same: frames, and cameras of the images.
        self.predictions = animals[0]
        self.style, self.side_px = style, side_px
        self.painter = OverlayPainter(body.faces)
        self._cameras = [view_cameras(one, recording.camera_names) for one in animals]
        # Drawn on undistorted images.
        self._pixels = [projected(one, one.keypoints3d, None) for one in animals]
        self._sizes = self._view_sizes()

    def write(self, path: Path, fps: float, views: Sequence[str], step: Callable[[], None]) -> None:
        """Write the video of some views; `step` is called once a frame."""
        drawn = counted(self.frames(views), step)
        write_video(path, drawn, fps, n_frames=len(self.predictions))

    def frames(self, views: Sequence[str]) -> Iterator[np.ndarray]:
        """Draw every frame, RGB."""
        shown = self.recording.shown(self.predictions.frames.tolist())
        animals = zip(*(posed(self.body, one.body_params) for one in self.animals))
        for row, ((_, images), bodies) in enumerate(zip(shown, animals)):
            meshes = [(vertices, self.painter.normals(vertices)) for vertices, _ in bodies]
            tiles = [self._tile(row, view, images.get(view), meshes) for view in views]
            yield with_legend(tiles, [FITTED, *self.surfaces], len(tiles) if len(tiles) <= 2 else None)

    def _tile(
        self,
        row: int,
        view: str,
        shown: ShownImage | None,
        meshes: Sequence[tuple[torch.Tensor, torch.Tensor | None]],
    ) -> np.ndarray:
        width, height = self._sizes[view]
        label = f'{view}  frame {self.predictions.frames[row]}'
        lost = [s.word for s, one in zip(self.surfaces, self.animals) if not one.valid[row]]
        if lost:
            label += f'  {", ".join(lost)} not predicted' if len(self.animals) > 1 else '  not predicted'
        c = self.recording.camera_names.index(view)
        if shown is None:
            image, affine, label = np.zeros((height, width, 3), np.uint8), np.eye(2, 3), f'{label}  no image'
        else:
            to_tile = scaling(shown.image.shape[1::-1], (width, height))
            image = look(shown.image, to_tile, (width, height), shown.lens)
            affine = to_tile[:, :2] @ shown.affine + np.c_[np.zeros((2, 2)), to_tile[:, 2]]
        bodies = [
            ShownBody(meshes[i][0], self._pixels[i][row, c], self.surfaces[i], meshes[i][1])
            for i, one in enumerate(self.animals)
            if shown is not None and one.valid[row] and one.view_mask[row, c]
        ]
        on_image = View(image, self._camera(row, c), affine)
        tile = self.painter.tile(Panel(label, on_image, np.full((0, 2), np.nan), bodies=tuple(bodies)))
        return tile if self.style == 'overlay' else np.concatenate((image, tile), 1)

    def _camera(self, row: int, c: int) -> Cameras:
        # Where an animal was not predicted nobody says what its view was seen by.
        which = next((i for i, one in enumerate(self.animals) if one.valid[row]), 0)
        one = self._cameras[which].select([self._cameras[which].names[c]])
        return replace(one, **{n: getattr(one, n)[row] for n in ('K', 'R', 't', 'size')})

    def _view_sizes(self) -> dict[str, tuple[int, int]]:
        """Return width and height of each view as it is drawn, from the first images that are there."""
        result: dict[str, tuple[int, int]] = {}
        images = self.recording.shown(self.predictions.frames.tolist())
        for _, frame in images:
            for view, shown in frame.items():
                height, width = shown.image.shape[:2]
                scale = self.side_px / max(width, height)
                result.setdefault(view, (max(2, round(width * scale)), max(2, round(height * scale))))
            if len(result) == len(self.recording.camera_names):
                break
        if isinstance(images, Generator):
            images.close()
        return {view: result.get(view, (self.side_px, self.side_px)) for view in self.recording.camera_names}


logger = logging.getLogger('smilfit')

ANGLES, LABELS, ANIMATION = 'joint_angles.csv', 'labels', 'animation.glb'


class OutputWriter:
    """Writes what is missing, of other predictions, of other options or damaged; the rest stays.

    Args:
        outputs: the folder of the results.
        options: what is written.
        inputs: what the predictions were made of.
    """

    def __init__(
        self, outputs: OutputFolder, options: InferenceOutputs, inputs: Mapping[str, object]
    ) -> None:
        self.outputs, self.options, self.inputs = outputs, options, inputs

    def write(self, made: PredictedRecording) -> PredictedRecording:
        """Write all parts that are asked for; gives what they show: refined and smoothed, where that is wanted."""
        options = self.options
        views = chosen_video_views(made.recording.camera_names, options.video_views)
        made = self._smoothed(self._refined(made))
        some = bool(made.predictions.valid.any())
        self._part(
            'joint_angles', some, {}, lambda folder: exports.write_angles(folder / ANGLES, made.exported())
        )
        self._part(
            'labels',
            options.labels and some,
            {},
            lambda folder: write_tracks_of(folder / LABELS, {'track_0': made}),
        )
        faces = some and len(made.trained.body.faces) > 0
        animation = {'fps': made.fps}
        self._part(
            'animation',
            options.animation and faces,
            animation,
            lambda folder: exports.write_animation(folder / ANIMATION, made.exported()),
        )
        meshes = {'format': options.meshes, 'every': options.mesh_every}
        self._part(
            'meshes',
            bool(options.meshes) and some,
            meshes,
            lambda folder: exports.write_meshes(
                folder / 'meshes', made.exported(), options.meshes, options.mesh_every
            ),
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
            from smilfit.networks.inference.refined_recording import refined

            result = refined(made, config, self.options.progress or ignore)
            with self.outputs.make('refined', made_of) as staging:
                result.made.save(staging / REFINED)
                if result.verdict is not None:
                    write_verdict(staging, result.verdict, result.cameras)
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
        result = smoothed(
            made.predictions, made.trained.body, made.keypoint_names, made.lenses, made.fps, seconds
        )
        made = made.changed(result, smoothing_s=seconds)
        self._part('smoothed', True, {'fps': made.fps}, lambda folder: made.save(folder / SMOOTHED))
        return made

    def _part(
        self, name: str, wanted: bool, options: Mapping[str, object], make: Callable[[Path], object]
    ) -> None:
        self.outputs.part(name, MadeOf(self.inputs, dict(options)), wanted, make)


def write_videos(
    outputs: OutputFolder,
    inputs: Mapping[str, object],
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
            with steps(task, len(made.predictions), options.progress or ignore) as step:
                video.write(path, made.frame_rate, group, step)

    together = {options.video: views}
    each = {f'videos/{folder_name(view)}': (view,) for view in views}
    made_of = MadeOf(dict(inputs), drawn)
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


def report_of(made_of: MadeOf, predictions: Predictions, trained: TrainedRegressor) -> dict[str, object]:
    """Return what was predicted by what, and what was left out."""
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
