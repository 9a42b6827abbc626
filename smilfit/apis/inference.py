"""A trained regressor on raw recordings: videos, images or stored crops become parameters and all that shows them."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from smilfit.apis.animals_folder import AnimalsFolder
from smilfit.apis.compute import chosen_device, torch_threads
from smilfit.apis.fitting import PROCESS_TIMEOUT
from smilfit.apis.inference_animals import AUTO, AnimalCount, AnimalsPredictor, parted
from smilfit.apis.inference_blocks import BLOCKS, BlockFiles, blocks_of, fingerprint_of, predict_blocks
from smilfit.apis.inference_network import FramePredictor
from smilfit.apis.inference_outputs import (
    PREDICTIONS,
    InferenceOutputs,
    OutputWriter,
    report_of,
)
from smilfit.apis.inference_recordings import Recording, file_state
from smilfit.apis.inference_sources import SourceOptions, open_recordings
from smilfit.apis.judging import VERDICT, read_verdict
from smilfit.apis.onnx_network import use_exported
from smilfit.apis.output_paths import check_not_an_input, check_output_folder
from smilfit.apis.prediction_files import PredictedRecording
from smilfit.apis.predictions import Predictions, read_predictions
from smilfit.apis.progress import ProgressCallback, ignore
from smilfit.engine import TrainedRegressor, load_trained_regressor, process_group
from smilfit.evaluation.verdict import Verdict
from smilfit.files import MadeOf, OutputFolder, OutputLock, folder_name, inside
from smilfit.registry import UnknownNameError, did_you_mean
from smilfit.solvers import DistributedProcesses, Processes
from smilfit.version import __version__

logger = logging.getLogger('smilfit')

# Where a recording does not state its rate and nobody says it.
_USUAL_FPS = 25.0


@dataclass(frozen=True)
class FrameOptions:
    """Which frames are predicted, and how many at once.

    Every `every`-th frame from `start` on, `max_frames` of them at most; the network sees `batch_size` at once, and
    `block_size` are kept together, so that a run that was stopped goes on after the last whole block.
    """

    start: int = 0
    every: int = 1
    max_frames: int | None = None
    batch_size: int = 8
    block_size: int = 128

    def chosen(self, recording: Recording) -> list[int]:
        """Choose frames of a recording.

        Raises:
            ValueError: none is left.
        """
        numbers = list(recording.numbers)[self.start :: self.every][: self.max_frames]
        if not numbers:
            raise ValueError(
                f'{recording.name}: a frame at least must be left; of {len(recording.numbers)} none is from '
                f'{self.start} on. Give a smaller --start.'
            )
        return numbers


@dataclass(frozen=True)
class InferenceRun:
    """What came out of one recording, or of one of its animals.

    `verdict` is on its refinement, None where nothing was judged. `identities` tells of one of several animals how
    often it was lost, and where it may have changed places with another.
    """

    name: str
    folder: Path
    predictions: Predictions
    verdict: Verdict | None = None
    report: dict[str, Any] = field(default_factory=dict)
    identities: dict[str, Any] = field(default_factory=dict)

    @property
    def file(self) -> Path:
        """The predictions' file."""
        return self.folder / PREDICTIONS


def infer(
    checkpoint: str | Path,
    source: str | Path | None,
    out: str | Path,
    *,
    config: str | Path | None = None,
    body_model: str | Path | None = None,
    network: str | Path | None = None,
    sources: SourceOptions | None = None,
    frames: FrameOptions | None = None,
    outputs: InferenceOutputs | None = None,
    cameras: Mapping[str, str] | None = None,
    animals: int | str | None = None,
    fps: float | None = None,
    device: str = 'auto',
    threads: int | None = None,
    launcher: str = 'none',
    overwrite: bool = False,
    progress: ProgressCallback | None = None,
) -> list[InferenceRun] | None:
    """Predict a body in every frame of a recording and write what shows it.

    What is there already is not made again; a run that was stopped goes on after its last whole block.

    Args:
        checkpoint: of a training.
        source: a session's folder, a video, a folder of images or a dataset file; None where `sources` names videos.
        out: folder for the results; where a dataset file has several sessions, each has a folder in it.
        config: the training's config, for checkpoints that do not hold it.
        body_model: a body model file or a shipped model's name, instead of the training's.
        network: an ONNX file that `export` wrote of this checkpoint, which onnxruntime runs in the network's place.
        sources: what is read of the source, and where boxes come from.
        frames: which frames.
        outputs: what is written.
        cameras: the recording's name of a camera -> its name in the training, for models that know cameras by name.
        animals: how many animals the recording shows, or 'auto'; None predicts one, as models without a map of
            centres do.
        fps: frames per second of the recording, instead of what it states.
        device: 'cpu', 'cuda', 'cuda:0' (or another number) or 'auto'.
        threads: CPU threads of torch meanwhile; as they are if None.
        launcher: what started the processes that share the frames: 'none', 'pytorch' or 'slurm'.
        overwrite: predict again what is there already.
        progress: called with a `Progress` by the first process.

    Returns:
        What came out, a recording each, in the first process; None in the others.

    Raises:
        FileNotFoundError: something that is named is not there.
        ValueError: files that contradict each other, or no frame that could be predicted.
        UnknownNameError: a camera, session or box finder that does not exist, with the near names.
    """
    check_output_folder(out, '--out')
    count = None if animals is None else AnimalCount.of(animals)
    sources, frames = sources or SourceOptions(), frames or FrameOptions()
    check_not_an_input(Path(out) / PREDICTIONS, (checkpoint, *(sources.videos or {}).values()), '--out')
    alone = launcher == 'none'
    with (
        nullcontext() if threads is None else torch_threads(threads),
        process_group(launcher, 'cpu', PROCESS_TIMEOUT),
    ):
        processes = Processes() if alone else DistributedProcesses()
        trained = load_trained_regressor(checkpoint, config, body_model, chosen_device(device, alone))
        if network is not None:
            use_exported(trained, network)
        recordings = open_recordings(
            source, sources, trained.names, bool(getattr(trained.model, 'finds_boxes', False))
        )
        called = [check_camera_names(r.camera_names, trained, cameras or {}) for r in recordings]
        told = progress if progress is not None and processes.rank == 0 else ignore
        work = _Inference(
            trained, network, frames, outputs or InferenceOutputs(), processes, fps, overwrite, told
        )
        with OutputLock.of_folder(out) if processes.rank == 0 else nullcontext():
            runs = []
            for recording, names in zip(recordings, called):
                if hasattr(trained.model, 'use_cameras'):
                    trained.model.use_cameras(names)
                folder = _folder(Path(out), recording, len(recordings))
                if count is None:
                    runs.append(work.run(recording, folder))
                else:
                    runs += work.run_animals(recording, folder, count)
    return [run for run in runs if run is not None] if processes.rank == 0 else None


def check_camera_names(
    names: Sequence[str], trained: TrainedRegressor, renamed: Mapping[str, str]
) -> tuple[str, ...]:
    """Give the names by which a model knows the recording's cameras.

    Models that see by rays know no camera by name; those that do (`camera_names` of the model) must know all.

    Raises:
        UnknownNameError: a name that the recording, the training or the model does not have, with the near ones.
    """
    for new, old in renamed.items():
        if new not in names:
            raise UnknownNameError(
                f'--cameras {new}={old}: no camera {new!r} recorded. {did_you_mean(new, names)}'
            )
        if old not in trained.names.camera_names:
            raise UnknownNameError(
                f'--cameras {new}={old}: no camera {old!r} in the training. '
                f'{did_you_mean(old, trained.names.camera_names)}'
            )
    known = getattr(trained.model, 'camera_names', None)
    called = tuple(renamed.get(name, name) for name in names)
    for name in called if known is not None else ():
        if name not in known:
            raise UnknownNameError(
                f'cameras: this model must know every camera by name; it does not know {name!r}. '
                f'{did_you_mean(name, known)} Say which one it is by --cameras {name}=NAME, or leave it out by '
                '--views.'
            )
    return called


def _folder(out: Path, recording: Recording, count: int) -> Path:
    return out if count == 1 else inside(out, folder_name(recording.name))


@dataclass(frozen=True)
class _Inference:
    """One call's model and options, applied to its recordings one by one."""

    trained: TrainedRegressor
    network: str | Path | None
    frames: FrameOptions
    outputs: InferenceOutputs
    processes: Processes
    fps: float | None
    overwrite: bool
    progress: ProgressCallback

    def run(self, recording: Recording, folder: Path) -> InferenceRun | None:
        numbers = self.frames.chosen(recording)
        made_of = self._made_of(recording, numbers)
        outputs = OutputFolder(folder)
        # The first process has the word: folders may look different from another machine.
        holds = self.processes.rank == 0 and not self.overwrite and outputs.holds('predictions', made_of)
        if not self._agreed(holds):
            self._predict(recording, numbers, outputs, made_of)
        if self.processes.rank != 0:
            return None
        predictions, fit = read_predictions(folder / PREDICTIONS, self.trained.body)
        made = PredictedRecording(recording, self.trained, predictions, fit, self._rate(recording))
        inputs = {'predictions': outputs.checksum('predictions'), 'smilfit': __version__}
        OutputWriter(outputs, self.outputs, inputs).write(made)
        judged = VERDICT in outputs.files('refined')
        verdict = read_verdict(folder)[0] if judged else None
        return InferenceRun(recording.name, folder, predictions, verdict, fit.report)

    def run_animals(self, recording: Recording, folder: Path, count: AnimalCount) -> list[InferenceRun]:
        """Predict several animals, each into a folder of its own below `folder`; what shows all lies in this."""
        numbers, rate = self.frames.chosen(recording), self._rate(recording)
        made_of = self._made_of(recording, numbers)
        made_of = MadeOf(made_of.inputs, {**made_of.options, 'animals': count.number or AUTO})
        together = AnimalsFolder(folder, recording.name)
        holds = self.processes.rank == 0 and not self.overwrite and together.holds(made_of)
        if not self._agreed(holds):
            lenses = recording.cameras if recording.undistorted else None
            predictor = AnimalsPredictor(self.trained, lenses, self.frames.batch_size, most=count.most)
            files, found = self._rows(recording, numbers, folder, made_of, predictor)
            if found is not None:
                extent = float(self.trained.model.statistics.scene_unit)
                animals = parted(
                    found,
                    predictor.rows,
                    count,
                    extent,
                    rate / self.frames.every,
                    len(recording.camera_names) > 1,
                )
                report = animals.report | {'left_out_in_frames': predictor.left_out}
                for place, one in enumerate(animals.predictions):
                    self._keep(recording, one, together.animal(place), made_of)
                together.keep(made_of, report, len(animals.predictions))
                files.clear()
        if self.processes.rank != 0:
            return []
        runs, shown = [], []
        sums = {}
        for name, outputs in together.animals().items():
            predictions, fit = read_predictions(outputs.folder / PREDICTIONS, self.trained.body)
            made = PredictedRecording(recording, self.trained, predictions, fit, rate)
            inputs = {'predictions': outputs.checksum('predictions'), 'smilfit': __version__}
            sums[name] = inputs['predictions']
            own = replace(self.outputs, labels=False, video='', view_videos=False, video_views=())
            shown.append(OutputWriter(outputs, own, inputs).write(made))
            judged = VERDICT in outputs.files('refined')
            verdict = read_verdict(outputs.folder)[0] if judged else None
            called = f'{recording.name}/{name}'
            runs.append(InferenceRun(called, outputs.folder, predictions, verdict, fit.report))
        changed = {'smoothing_s': self.outputs.smoothing_s, 'refine': str(self.outputs.refine)}
        together.show(shown, self.outputs, {'predictions': sums, **changed})
        return [replace(run, identities=together.report(i)) for i, run in enumerate(runs)]

    def _predict(
        self, recording: Recording, numbers: Sequence[int], outputs: OutputFolder, made_of: MadeOf
    ) -> None:
        lenses = recording.cameras if recording.undistorted else None
        predictor = FramePredictor(self.trained, lenses, self.frames.batch_size)
        files, found = self._rows(recording, numbers, outputs.folder, made_of, predictor)
        if found is not None:
            self._keep(recording, found, outputs, made_of)
            files.clear()

    def _rows(
        self,
        recording: Recording,
        numbers: Sequence[int],
        folder: Path,
        made_of: MadeOf,
        predictor: FramePredictor,
    ) -> tuple[BlockFiles, Predictions | None]:
        """Predict all frames, block by block; the first process has them."""
        files = BlockFiles(folder / BLOCKS, fingerprint_of(made_of.record()), predictor.rows)
        if self.overwrite and self.processes.rank == 0:
            files.clear()
        # A process must not begin before the old blocks are gone.
        self._agreed(True)
        blocks = blocks_of(numbers, self.frames.block_size)
        return files, predict_blocks(recording, predictor, blocks, files, self.processes, self.progress)

    def _keep(self, recording: Recording, found: Predictions, outputs: OutputFolder, made_of: MadeOf) -> None:
        report = report_of(made_of, found, self.trained) | {'recording': recording.name}
        found = found.filled()
        names, unit = self.trained.model.keypoint_names, self.trained.names.unit
        fit = found.as_fit(self.trained.body, names, recording.cameras, unit, report)
        with outputs.make('predictions', made_of) as staging:
            found.save(staging / PREDICTIONS, fit, recording.camera_names)

    def _made_of(self, recording: Recording, numbers: Sequence[int]) -> MadeOf:
        inputs = {
            'checkpoint': file_state(self.trained.path),
            'model': fingerprint_of({'cfg': self.trained.cfg}),
            'body_model': self.trained.body.data.content_hash(),
            'recording': recording.fingerprint(),
            'smilfit': __version__,
        }
        if self.network is not None:
            inputs['network'] = file_state(Path(self.network))
        frames = self.frames
        options = {
            'start': frames.start,
            'every': frames.every,
            'count': len(numbers),
            'block': frames.block_size,
        }
        return MadeOf(inputs, options)

    def _rate(self, recording: Recording) -> float:
        if not (self.fps or recording.fps):
            logger.warning(
                '%s: frames per second are not stated; %g are taken (--fps).', recording.name, _USUAL_FPS
            )
        return self.fps or recording.fps or _USUAL_FPS

    def _agreed(self, mine: bool) -> bool:
        """Take the first process's word."""
        return bool(self.processes.gather(torch.tensor([mine]))[0])
