"""The work of one call of inference: its model and options, applied to recordings one by one."""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from smilfit.apis.fitting.verdict_file import VERDICT, read_verdict
from smilfit.apis.infer_options import PREDICTIONS, FrameOptions, InferenceOutputs
from smilfit.apis.progress import Progress, ProgressCallback
from smilfit.evaluation.verdict import Verdict
from smilfit.files import BadFileError, MadeOf, OutputFolder, read_npz, reading, real_folder, replacing
from smilfit.io.recordings.videos import USUAL_FPS
from smilfit.networks.engine.trained_model import TrainedRegressor
from smilfit.networks.inference.frame_predictor import FramePredictor
from smilfit.networks.inference.prediction_files import PredictedRecording
from smilfit.networks.inference.prediction_outputs import OutputWriter, report_of
from smilfit.networks.inference.predictions import Predictions, read_predictions, without_unsure
from smilfit.networks.inference.recorded_animals import (
    AUTO,
    AnimalCount,
    AnimalsFolder,
    AnimalsPredictor,
    parted,
)
from smilfit.networks.inference.recordings import Recording, file_state
from smilfit.solvers import Processes
from smilfit.structures import FitOrigin
from smilfit.version import __version__

logger = logging.getLogger('smilfit')

BLOCKS = 'blocks'


class BlockFiles:
    """Keeps blocks of one run in a folder.

    Args:
        folder: holds the blocks of one run alone.
        fingerprint: names everything that predictions depend on; a block of another one is made again.
        rows: of predictions a frame.
    """

    def __init__(self, folder: Path, fingerprint: str, rows: int = 1) -> None:
        self.folder, self.fingerprint, self.rows = folder, fingerprint, rows

    def write(self, index: int, predictions: Predictions) -> None:
        """Write a block; it appears whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        arrays = predictions.arrays()
        size = sum(a.nbytes for a in arrays.values())
        with replacing(self._path(index), size) as temporary, temporary.open('wb') as file:
            np.savez(file, allow_pickle=False, fingerprint=np.array(self.fingerprint), **arrays)

    def read(self, index: int, frames: Sequence[int]) -> Predictions | None:
        """Read a block; None where there is none, one of other frames or another run, or a damaged one."""
        path = self._path(index)
        if not path.is_file():
            return None
        try:
            with reading(path, 'a block of predictions'):
                arrays = read_npz(path)
                if str(arrays.pop('fingerprint')) != self.fingerprint:
                    return None
                result = Predictions.of_arrays(arrays)
        except BadFileError as error:
            logger.warning('%s The block is made again.', error)
            return None
        return result if result.frames.tolist() == [f for f in frames for _ in range(self.rows)] else None

    def clear(self) -> None:
        """Delete the blocks: they were joined."""
        for path in (*self.folder.glob('*.npz'), *self.folder.glob('.*.npz')):
            path.unlink()
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _path(self, index: int) -> Path:
        return self.folder / f'{index:06d}.npz'


def blocks_of(frames: Sequence[int], size: int) -> list[list[int]]:
    """Divide frames into blocks of a size."""
    return [list(frames[first : first + size]) for first in range(0, len(frames), size)]


def fingerprint_of(record: Mapping[str, object]) -> str:
    """Return one short name for everything that predictions depend on."""
    return hashlib.sha256(json.dumps(record, sort_keys=True, default=str).encode()).hexdigest()[:32]


def predict_blocks(
    recording: Recording,
    predictor: FramePredictor,
    blocks: Sequence[Sequence[int]],
    files: BlockFiles,
    processes: Processes,
    progress: ProgressCallback,
) -> Predictions | None:
    """Predict the blocks that are not there yet, this process its share; the first process joins all.

    The videos are decoded once, in order, for all blocks that a process makes.

    Returns:
        All predictions in the first process; None in the others.
    """
    share = range(len(blocks))[processes.share(len(blocks))]
    wanted = [i for i in share if files.read(i, blocks[i]) is None]
    done = sum(len(blocks[i]) for i in share) - sum(len(blocks[i]) for i in wanted)
    total = sum(len(blocks[i]) for i in share)
    if done:
        logger.info('%s: %d of %d frames are predicted already.', recording.name, done, total)
    task = f'{recording.name}: predicting' + (f' (1 of {processes.count})' if processes.count > 1 else '')
    progress(Progress(task, done, total))
    if wanted:
        # One pass over the videos for all blocks.
        frames = recording.prepared([number for i in wanted for number in blocks[i]])
        for i in wanted:
            parts = []
            for batch in predictor(islice(frames, len(blocks[i]))):
                parts.append(batch)
                done += len(batch) // files.rows
                progress(Progress(task, done, total))
            files.write(i, Predictions.cat(parts))
    # None joins what another still predicts.
    processes.sum(torch.zeros(()))
    if processes.rank != 0:
        return None
    result = []
    for index, block in enumerate(blocks):
        part = files.read(index, block)
        if part is None:
            raise RuntimeError(
                f'{files.folder}: block {index} must be there; it is not. Do all processes see this folder? Give the '
                'same command again.'
            )
        result.append(part)
    return Predictions.cat(result)


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
    report: dict[str, object] = field(default_factory=dict)
    identities: dict[str, object] = field(default_factory=dict)

    @property
    def file(self) -> Path:
        """The predictions' file."""
        return self.folder / PREDICTIONS


@dataclass(frozen=True)
class InferenceWork:
    """One call's model and options, applied to its recordings one by one.

    Attributes:
        network: an ONNX file that runs in the network's place, None for none.
        fps: of recordings, instead of what they state.
        overwrite: predict again what is there already.
        least: confidence of a frame that is predicted; None for the checkpoint's.
        progress: called by the first process.
        corrected: changes the predictions of one animal before they are kept; None keeps them.
    """

    trained: TrainedRegressor
    network: str | Path | None
    frames: FrameOptions
    outputs: InferenceOutputs
    processes: Processes
    fps: float | None
    overwrite: bool
    least: float | None
    progress: ProgressCallback
    corrected: Callable[[Recording, Predictions], Predictions] | None = None

    def run(self, recording: Recording, folder: Path) -> InferenceRun | None:
        """Predict one animal into a folder; the first process has what came out."""
        numbers = self.frames.chosen(recording)
        made_of = self._made_of(recording, numbers)
        outputs = OutputFolder(folder)
        # The first process has the word: folders may look different from another machine.
        holds = self.processes.rank == 0 and not self.overwrite and outputs.holds('predictions', made_of)
        if not self._agreed(holds):
            self._predict(recording, numbers, outputs, made_of)
        if self.processes.rank != 0:
            return None
        return self._written(recording, recording.name, outputs, self.outputs, self._rate(recording))[0]

    def run_animals(self, recording: Recording, folder: Path, count: AnimalCount) -> list[InferenceRun]:
        """Predict several animals, each into a folder of its own below `folder`; what shows all lies in this."""
        numbers, rate = self.frames.chosen(recording), self._rate(recording)
        made_of = self._made_of(recording, numbers)
        # Who is who depends on how long an animal may be unseen.
        made_of = MadeOf(made_of.inputs, {**made_of.options, 'animals': count.number or AUTO, 'fps': rate})
        together = AnimalsFolder(folder)
        holds = self.processes.rank == 0 and not self.overwrite and together.holds(made_of)
        if not self._agreed(holds):
            self._predict_animals(recording, numbers, together, made_of, count, rate)
        if self.processes.rank != 0:
            return []
        own = replace(self.outputs, labels=False, video='', view_videos=False, video_views=())
        folders = together.animals()
        written = [
            self._written(recording, f'{recording.name}/{name}', outputs, own, rate)
            for name, outputs in folders.items()
        ]
        sums = {name: outputs.checksum('predictions') for name, outputs in folders.items()}
        changed = {'smoothing_s': self.outputs.smoothing_s, 'refine': str(self.outputs.refine)}
        together.show([shown for _, shown in written], self.outputs, {'predictions': sums, **changed})
        return [replace(run, identities=together.report(i)) for i, (run, _) in enumerate(written)]

    def _written(
        self, recording: Recording, name: str, outputs: OutputFolder, wanted: InferenceOutputs, rate: float
    ) -> tuple[InferenceRun, PredictedRecording]:
        """Write what shows the predictions in a folder."""
        predictions, fit = read_predictions(outputs.folder / PREDICTIONS, self.trained.body)
        made = PredictedRecording(recording, self.trained, predictions, fit, rate)
        inputs = {'predictions': outputs.checksum('predictions'), 'smilfit': __version__}
        shown = OutputWriter(outputs, wanted, inputs).write(made)
        judged = VERDICT in outputs.files('refined')
        verdict = read_verdict(outputs.folder)[0] if judged else None
        return InferenceRun(name, outputs.folder, predictions, verdict, fit.report), shown

    def _predict(
        self, recording: Recording, numbers: Sequence[int], outputs: OutputFolder, made_of: MadeOf
    ) -> None:
        predictor = FramePredictor(
            self.trained, recording.cameras, recording.undistorted, self.frames.batch_size
        )
        files, result = self._rows(recording, numbers, outputs.folder, made_of, predictor)
        if result is not None:
            AnimalsFolder(outputs.folder).drop()
            result = result if self.corrected is None else self.corrected(recording, result)
            least = predictor.calibration.least_of(result.view_mask) if self.least is None else self.least
            self._keep(recording, without_unsure(result, least), outputs, made_of)
            files.clear()

    def _predict_animals(
        self,
        recording: Recording,
        numbers: Sequence[int],
        together: AnimalsFolder,
        made_of: MadeOf,
        count: AnimalCount,
        rate: float,
    ) -> None:
        """Predict all animals of all frames, tell them apart, and keep each."""
        predictor = AnimalsPredictor(
            self.trained,
            recording.cameras,
            recording.undistorted,
            self.frames.batch_size,
            most=count.most,
        )
        files, result = self._rows(recording, numbers, together.outputs.folder, made_of, predictor)
        if result is None:
            return
        extent = float(self.trained.model.statistics.scene_unit)
        in_space = len(recording.camera_names) > 1
        animals = parted(result, predictor.rows, count, extent, rate / self.frames.every, in_space)
        for place, one in enumerate(animals.predictions):
            self._keep(recording, one, together.animal(place), made_of)
        report = animals.report | {'left_out_in_frames': predictor.left_out}
        together.keep(made_of, report, len(animals.predictions))
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
        files = BlockFiles(real_folder(folder, BLOCKS), fingerprint_of(made_of.record()), predictor.rows)
        if self.overwrite and self.processes.rank == 0:
            files.clear()
        # A process must not begin before the old blocks are gone.
        self._agreed(True)
        blocks = blocks_of(numbers, self.frames.block_size)
        return files, predict_blocks(recording, predictor, blocks, files, self.processes, self.progress)

    def _keep(
        self, recording: Recording, predictions: Predictions, outputs: OutputFolder, made_of: MadeOf
    ) -> None:
        report = report_of(made_of, predictions, self.trained) | {'recording': recording.name}
        reference = self.trained.names.body_model
        origin = FitOrigin(
            recording.name,
            body_model_file=str(self.trained.body_model_file),
            body_model=None if reference is None else reference.relative_to_folder(outputs.folder),
            fps=self.fps or recording.fps,
            unit=self.trained.names.unit,
            videos={name: recording.video_of(name) for name in recording.camera_names},
        )
        fps = self.fps or recording.fps or USUAL_FPS
        made = PredictedRecording.of(recording, self.trained, predictions.filled(), fps, report, origin)
        with outputs.make('predictions', made_of) as staging:
            made.save(staging / PREDICTIONS)

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
            'least_confidence': self.least,
        }
        return MadeOf(inputs, options)

    def _rate(self, recording: Recording) -> float:
        if not (self.fps or recording.fps):
            logger.warning(
                '%s: frames per second are not stated; %g are taken (--fps).', recording.name, USUAL_FPS
            )
        return self.fps or recording.fps or USUAL_FPS

    def _agreed(self, mine: bool) -> bool:
        """Take the first process's word."""
        return bool(self.processes.gather(torch.tensor([mine]))[0])
