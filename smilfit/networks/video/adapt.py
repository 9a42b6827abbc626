"""Adapt a trained network to one recording of which some frames are labelled, and follow its keypoints through it."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from smilfit.apis.adapt_options import AdaptOptions
from smilfit.apis.compute import chosen_device, torch_threads
from smilfit.apis.infer_options import REFINE_CONFIG, FrameOptions, InferenceOutputs, SourceOptions
from smilfit.apis.options import with_options
from smilfit.apis.output_paths import check_not_an_input, check_output_folder
from smilfit.apis.progress import ProgressCallback, ignore, steps
from smilfit.body_models.sides import mirrored_order
from smilfit.datasets.crops import apply_affine
from smilfit.drawing.marks import ANNOTATED, FITTED, put_label, scale_of
from smilfit.drawing.video import write_image, write_video
from smilfit.evaluation.verdict import Verdict
from smilfit.evaluation.verdict.judge import worst
from smilfit.files import MadeOf, OutputFolder, OutputLock, folder_name, write_text
from smilfit.io import ImageMask, write_tracks
from smilfit.io.recordings.videos import USUAL_FPS
from smilfit.networks.calibration import Calibration
from smilfit.networks.engine.checkpoint_loader import read_checkpoint
from smilfit.networks.engine.trained_model import TrainedRegressor, load_trained_regressor
from smilfit.networks.inference.inference_work import InferenceRun, InferenceWork
from smilfit.networks.inference.predictions import Predictions, with_confidences
from smilfit.networks.inference.recordings import RecordedVideos, Recording, file_state
from smilfit.networks.inference.sources import open_recordings
from smilfit.networks.regressors.keypoint_regressor import KeypointRegressor
from smilfit.networks.video.adaptation import (
    AdaptationOptions,
    FrameLabels,
    TrainingCuts,
    adapted,
    cut_frames,
    weights_of,
)
from smilfit.networks.video.annotations import read_annotations
from smilfit.networks.video.held_out import HeldOut, folds, judged_labels, sides_exchanged
from smilfit.networks.video.propagated_masks import propagate_masks
from smilfit.networks.video.tracking import (
    FlowOfRecording,
    Frames,
    Sights,
    TrackedKeypoints,
    carried_over,
    look_over,
    tracked,
)
from smilfit.registrants.segmentation import MaskFiles
from smilfit.registry import MODELS, build
from smilfit.solvers import Processes
from smilfit.version import __version__

logger = logging.getLogger('smilfit')

ADAPTED, LABELS_VERDICT = 'adapted.pth', 'adaptation.json'
PATHS, COMPARISON, MASKS = 'paths', 'comparison', 'masks'
# Images that are kept for training; of longer recordings, frames with carried labels are drawn.
_MOST_CUTS = 512
# A network that is judged learns for a third of the steps.
_SHARE_OF_A_FOLD = 3


@dataclass(frozen=True)
class AdaptationRun:
    """What came out: files, and the verdicts on the labels (None where none were left out) and on the body."""

    checkpoint: Path
    labels: Verdict | None
    inference: InferenceRun

    @property
    def word(self) -> str:
        """Return the worse of both words."""
        verdicts = (self.labels, self.inference.verdict)
        return worst([v.word for v in verdicts if v is not None])


@dataclass(frozen=True)
class Camera:
    """One camera of a recording: its frames, labels, flow, and the labels carried along it."""

    name: str
    frames: Frames
    labels: FrameLabels
    flow: FlowOfRecording


@with_options(AdaptOptions)
def adapt(
    checkpoint: str | Path,
    source: str | Path | None,
    annotations: str | Path,
    out: str | Path,
    *,
    options: AdaptOptions,
    sources: SourceOptions | None = None,
    outputs: InferenceOutputs | None = None,
) -> AdaptationRun:
    """Train a network further on some labelled frames of a recording, predict all of it, and judge both.

    Labels are carried to other frames along optical flow, and count there for less. Each keypoint then follows a path
    through what the adapted network sees, the flow and the labels; where several cameras agree on its place in space,
    that is offered, too. The body is fitted to the paths.

    Args:
        checkpoint: of a training of a `KeypointRegressor`.
        source: a session's folder, a video or a folder of images; None where `sources` names videos.
        annotations: labels of some frames; see `read_annotations`.
        out: folder for what `infer` writes, `adapted.pth`, which `infer` takes, `adaptation.json` with the verdict on
            the labels, and `paths` with SLEAP labels of the keypoints' paths.
        sources: what is read of the source.
        outputs: what is written beside.

    Raises:
        FileNotFoundError: something that is named is not there.
        TypeError: a network of another kind.
        ValueError: files that contradict each other, or no labelled frame.
    """
    check_output_folder(out, '--out')
    check_not_an_input(out, (source, annotations, options.masks), '--out')
    if options.masks is not None:
        check_not_an_input(Path(out) / MASKS, (options.masks,), '--out')
    sources, report = sources or SourceOptions(), options.progress or ignore
    with nullcontext() if options.threads is None else torch_threads(options.threads):
        trained = load_trained_regressor(
            checkpoint, None, options.body_model, chosen_device(options.device, True)
        )
        if not isinstance(trained.model, KeypointRegressor):
            raise TypeError(
                f'{checkpoint}: adapting must be of a KeypointRegressor, which sees keypoints in images; this is '
                f'{type(trained.model).__name__}. Take a training of configs/train/keypoint_unet.py.'
            )
        recordings = open_recordings(source, sources, trained.names, trained.model.finds_boxes)
        recording = recordings[0]
        if len(recordings) > 1 or not isinstance(recording, RecordedVideos):
            raise ValueError(
                f'{source}: adapting needs videos, or a folder of images of one size. Give a session, or --videos.'
            )
        with OutputLock.of_folder(out):
            return _Work(trained, recording, Path(annotations), Path(out), options, report).run(outputs)


class _Work:
    """One call's work on one recording."""

    def __init__(
        self,
        trained: TrainedRegressor,
        recording: RecordedVideos,
        annotations: Path,
        out: Path,
        options: AdaptOptions,
        report: ProgressCallback,
    ) -> None:
        self.trained, self.recording, self.options, self.report = trained, recording, options, report
        self.model: KeypointRegressor = trained.model
        self.out, self.outputs = out, OutputFolder(out, '.adaptation.json')
        self.training = AdaptationOptions(options.steps, lr=options.lr, seed=options.seed)
        n, fps = len(recording.numbers), recording.fps or USUAL_FPS
        names = self.model.keypoint_names
        labels = read_annotations(annotations, recording.camera_names, names, n, fps, options.keypoints or {})
        estimator = build({'type': options.flow}, MODELS)
        self.cameras = []
        for name, own in labels.items():
            if len(own.frames):
                frames = partial(_frames_of, recording, name)
                self.cameras.append(Camera(name, frames, own, FlowOfRecording(frames, n, estimator)))
        self.mask_files = None if options.masks is None else MaskFiles(options.masks)
        self.made_of = MadeOf(
            {
                'checkpoint': file_state(trained.path),
                'body_model': trained.body.data.content_hash(),
                'recording': recording.fingerprint(),
                'labels': {c.name: c.labels.xy[c.labels.known].tolist() for c in self.cameras},
                'smilfit': __version__,
            },
            {**asdict(self.training), 'held_out': options.held_out, 'flow': options.flow},
        )
        counts = ', '.join(f'{c.name}: {len(c.labels.frames)}' for c in self.cameras)
        logger.info('%s: labelled frames (%s) of %d.', recording.name, counts, n)

    def run(self, outputs: InferenceOutputs | None) -> AdaptationRun:
        """Adapt, judge the labels, predict and refine; what is there of equal inputs is not made again."""
        again = self.options.overwrite or not self.outputs.holds('adapted', self.made_of)
        if again:
            with self.outputs.make('adapted', self.made_of) as staging:
                self._adapt(staging)
        verdict = _read_verdict(self.out / LABELS_VERDICT)
        path = self.out / ADAPTED
        device = next(self.model.parameters()).device
        trained = load_trained_regressor(path, None, self.options.body_model, device)
        wanted = outputs or InferenceOutputs(refine=REFINE_CONFIG)
        work = InferenceWork(
            *(trained, None, FrameOptions(), wanted, Processes(), None),
            overwrite=again or (self.options.comparison and not self.outputs.holds(COMPARISON, self.made_of)),
            least=0.0,
            progress=self.report,
            corrected=partial(self._corrected, trained),
        )
        run = work.run(self.recording, self.out)
        assert run is not None
        if self.mask_files is not None:
            self._masks(self.mask_files)
        return AdaptationRun(path, verdict, run)

    def _adapt(self, folder: Path) -> None:
        """Train on all labels and write the checkpoint; by turns without some, and write the verdict."""
        cuts, verdict = self._cuts(), None
        own = TrainingCuts.cat([c.of(None) for c in cuts])
        count = min(len(folds(c.labels.frames)) for c in self.cameras) if self.options.held_out else 0
        if self.options.held_out and not count:
            logger.warning(
                '%s: labels are not judged: a camera has one labelled frame, and none can be left out.',
                self.recording.name,
            )
        if count:
            parts = [one for fold in range(count) for one in self._fold(cuts, fold, count)]
            sides = np.sum([self._sides(camera) for camera in self.cameras], 0)
            verdict = judged_labels(parts, *sides.tolist())
        result = self._trained(own, self.training, 'adapting')
        _save(self.trained, result, folder / ADAPTED)
        write_text(
            folder / LABELS_VERDICT, json.dumps(None if verdict is None else verdict.as_dict(), indent=1)
        )

    def _trained(self, cuts: TrainingCuts, options: AdaptationOptions, task: str) -> KeypointRegressor:
        with steps(f'{self.recording.name}: {task}', options.steps, self.report) as step:
            return adapted(self.model, cuts, options, step)

    def _cuts(self) -> list['_CameraCuts']:
        most = _MOST_CUTS // len(self.cameras)
        result = []
        for camera in self.cameras:
            carried = carried_over(camera.labels, camera.flow)
            weight = weights_of(camera.labels.known, carried.weight)
            weight = _drawn(weight, camera.labels, most, self.options.seed)
            rows = np.flatnonzero((weight > 0).any(1)).tolist()
            images = zip(rows, camera.frames(rows))
            result.append(
                _CameraCuts(camera, *cut_frames(images, carried.xy, weight, self.model.vision.side))
            )
        return result

    def _fold(self, cuts: Sequence['_CameraCuts'], fold: int, count: int) -> list[HeldOut]:
        """Predict labels that a network has not learned from."""
        options = replace(self.training, steps=max(1, self.training.steps // _SHARE_OF_A_FOLD))
        left = [c.camera.labels.without(folds(c.camera.labels.frames)[fold]) for c in cuts]
        known = TrainingCuts.cat([c.of(labels) for c, labels in zip(cuts, left)])
        model = self._trained(known, options, f'judging labels, {fold + 1} of {count}')
        result = []
        for one, labels in zip(cuts, left):
            camera = one.camera
            path = tracked(look_over(model, camera.frames, labels), labels, camera.flow)
            frames = folds(camera.labels.frames)[fold]
            result.append(HeldOut.of(camera.labels, frames, path.xy))
        return result

    def _sides(self, camera: Camera) -> tuple[int, int]:
        """Count labelled frames whose sides the network that came sees the other way round, and those that tell."""
        labels, rows = camera.labels, camera.labels.frames
        some = labels.at(rows)
        sights = look_over(
            self.model, lambda chosen: camera.frames(rows[list(chosen)].tolist()), some, smooth=False
        )
        swap = mirrored_order(self.model.keypoint_names, self.trained.body.data)
        size = labels.size_px
        return sides_exchanged(sights.modes[:, :, 0] / size, some.xy / size, some.known, swap)

    def _corrected(self, trained: TrainedRegressor, recording: Recording, result: Predictions) -> Predictions:
        """Put the keypoints' paths in the place of what the network saw in each frame by itself."""
        model = trained.model
        assert isinstance(model, KeypointRegressor)
        places = _from_space(recording, result) if len(recording.camera_names) > 1 else None
        further = {n: v.copy() for n, v in result.further.items()}
        paths, sights = {}, {}
        for camera in self.cameras:
            c = recording.camera_names.index(camera.name)
            task = f'{recording.name}: {camera.name}, following keypoints'
            with steps(task, 2 * len(result), self.report) as step:
                own = sights[camera.name] = look_over(model, camera.frames, camera.labels, step)
            if places is not None:
                own = own.with_further(places[0][:, c], places[1])
            path = paths[camera.name] = tracked(own, camera.labels, camera.flow)
            some = np.isfinite(path.xy).all(-1)
            further['seen2d'][:, c] = np.where(some[..., None], path.xy, 0.0)
            further['seen2d_confidence'][:, c] = path.confidence * some * ~path.hidden
        with self.outputs.make(PATHS, self.made_of) as staging:
            for name, path in paths.items():
                _write_path(staging / PATHS, name, path, model.keypoint_names, recording)
        if self.options.comparison:
            with self.outputs.make(COMPARISON, self.made_of) as staging:
                for camera in self.cameras:
                    self._compare(staging / COMPARISON, camera, sights[camera.name], paths[camera.name])
        calibration = Calibration.of_record(str(trained.path), model.statistics.calibration)
        return with_confidences(replace(result, further=further), calibration, recording.cameras)

    def _masks(self, source: MaskFiles) -> None:
        """Propagate masks of some frames to the others, and write them as `fit --masks` reads them."""
        inputs = {name: self.made_of.inputs[name] for name in ('recording', 'smilfit')}
        inputs['masks'] = source.fingerprint()
        made_of = MadeOf(inputs, {'flow': self.options.flow, 'seed': self.options.seed})
        if not self.options.overwrite and self.outputs.holds(MASKS, made_of):
            return
        taken = 0
        with self.outputs.make(MASKS, made_of) as staging:
            for camera in self.cameras:
                folder = staging / MASKS / folder_name(camera.name)
                folder.mkdir(parents=True)
                numbers = enumerate(self.recording.numbers)
                files = {row: source.path(camera.name, number) for row, number in numbers}
                given = {row: ImageMask(path).read() for row, path in files.items() if path.is_file()}
                taken += len(given)
                for row, mask in self._masks_of(camera, given):
                    image = np.repeat(255 * mask[..., None].astype(np.uint8), 3, -1)
                    write_image(folder / f'{self.recording.numbers[row]:06d}.png', image)

        count = len(list(source.folder.glob('*/*.png')))
        if taken < count:
            logger.warning(
                '%s: %d of %d masks are used; the others are of no frame of a camera with labels (%s).',
                *(source.folder, taken, count, ', '.join(camera.name for camera in self.cameras)),
            )

    def _masks_of(self, camera: Camera, given: Mapping[int, np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
        """Propagate the masks of a camera, window by window; what a window has too few for is reported."""
        for rows, asked, fields in camera.flow:
            own = {t - rows.start: mask for t, mask in given.items() if rows.start <= t < rows.stop}
            where = f'{camera.name}, frames {asked.start} to {asked.stop - 1}'
            if len(own) < 2:
                logger.warning('%s: %d masks are given; two are needed to propagate them.', where, len(own))
                yield from ((t, mask) for t, mask in given.items() if asked.start <= t < asked.stop)
                continue
            images = camera.frames(range(rows.start, rows.stop))
            result = propagate_masks(images, own, fields, self.options.seed)
            logger.info('%s: %d masks propagated; expected IoU %.2f.', where, len(own), result.expected_iou)
            for t in range(asked.start, asked.stop):
                if result.known[t - rows.start]:
                    yield t, result.masks[t - rows.start]

    def _compare(self, folder: Path, camera: Camera, sights: Sights, path: TrackedKeypoints) -> None:
        """Write a video: keypoints by the network as it came, by the adapted one, and by their paths."""
        before = look_over(self.model, camera.frames, camera.labels)
        folder.mkdir(exist_ok=True)

        def frames() -> Iterator[np.ndarray]:
            for t, image in enumerate(camera.frames(range(len(path.xy)))):
                nowhere = np.zeros(path.hidden.shape[1], np.bool_)
                tiles = [
                    _tile(image, f'as it came  frame {t}', before.modes[t, :, 0], nowhere),
                    _tile(image, 'adapted', sights.modes[t, :, 0], nowhere),
                    _tile(image, 'paths; rings: hidden', path.xy[t], path.hidden[t]),
                ]
                yield np.concatenate(tiles, 1)

        fps = self.recording.fps or USUAL_FPS
        write_video(folder / f'{folder_name(camera.name)}.mp4', frames(), fps, n_frames=len(path.xy))


def _tile(image: np.ndarray, title: str, xy: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    tile, some = image.copy(), np.isfinite(xy).all(-1)
    ANNOTATED.stamp_all(tile, xy[some & ~hidden], scale_of(tile))
    FITTED.stamp_all(tile, xy[some & hidden], scale_of(tile))
    put_label(tile, title)
    return tile


@dataclass(frozen=True)
class _CameraCuts:
    """Cuts of one camera, and where they were cut."""

    camera: Camera
    frames: list[int]
    cuts: TrainingCuts
    affine: np.ndarray

    def of(self, labels: FrameLabels | None) -> TrainingCuts:
        """Return the cuts with other labels' carried places; None keeps them as they are."""
        if labels is None:
            return self.cuts
        carried = carried_over(labels, self.camera.flow)
        weight = weights_of(labels.known, carried.weight)[self.frames]
        return TrainingCuts(
            self.cuts.images, apply_affine(self.affine, np.nan_to_num(carried.xy[self.frames])), weight
        )


def _drawn(weight: np.ndarray, labels: FrameLabels, most: int, seed: int) -> np.ndarray:
    """Keep all labelled frames, and of the others so many as images are kept."""
    others = np.setdiff1d(np.flatnonzero((weight > 0).any(1)), labels.frames)
    more = len(others) - max(most - len(labels.frames), 0)
    if more > 0:
        weight = weight.copy()
        weight[np.random.default_rng(seed).choice(others, more, replace=False)] = 0.0
    return weight


def _frames_of(recording: RecordedVideos, camera: str, rows: Sequence[int]) -> Iterator[np.ndarray]:
    """Decode frames of a camera; in the place of a damaged one comes the one before."""
    image: np.ndarray | None = None
    for frame in recording.reader.frames([recording.numbers[row] for row in rows]):
        image = frame.images.get(camera, image)
        if image is None:
            raise ValueError(
                f'{recording.name}: the first frame of camera {camera} must decode; it does not '
                f'({frame.faults.get(camera)}). Cut the beginning off the video.'
            )
        yield image


def _from_space(recording: Recording, result: Predictions) -> tuple[np.ndarray, np.ndarray]:
    """Project points that views agreed on into all cameras: px (T, C, K, 2), NaN behind, and confidences (T, K)."""
    points, cameras = result.further['points3d'], recording.cameras
    assert cameras is not None
    pixels, _, valid = cameras.to(torch.float64).project(torch.from_numpy(points).double())
    xy = torch.where(valid.unsqueeze(-1), pixels, torch.nan).numpy()
    return xy, result.further['points3d_confidence'].clip(0, 1)


def _save(trained: TrainedRegressor, model: KeypointRegressor, path: Path) -> None:
    """Write a checkpoint like the one that was adapted, without what its training needed to go on."""
    stored = dict(read_checkpoint(trained.path))
    for name in ('optimizer', 'param_schedulers', 'message_hub'):
        stored.pop(name, None)
    stored['state_dict'] = {name: value.cpu() for name, value in model.state_dict().items()}
    torch.save(stored, path)


def _write_path(
    folder: Path, camera: str, path: TrackedKeypoints, names: Sequence[str], recording: Recording
) -> None:
    folder.mkdir(exist_ok=True)
    score = np.where(path.hidden, 0.0, path.confidence)
    if np.isfinite(path.xy).any():
        tracks = {'track_0': (path.xy, np.nan_to_num(score))}
        write_tracks(folder / f'{folder_name(camera)}.slp', tracks, names, recording.video_of(camera))


def _read_verdict(path: Path) -> Verdict | None:
    document = json.loads(path.read_text(encoding='utf-8'))
    return None if document is None else Verdict.from_dict(document)
