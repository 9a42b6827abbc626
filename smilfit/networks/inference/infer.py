"""Predict a body in every frame of a recording."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

from smilfit.apis.compute import PROCESS_TIMEOUT, chosen_device, torch_threads
from smilfit.apis.infer_options import (
    PREDICTIONS,
    FrameOptions,
    InferenceOutputs,
    InferOptions,
    SourceOptions,
)
from smilfit.apis.options import with_options
from smilfit.apis.output_paths import check_not_an_input, check_output_folder
from smilfit.apis.progress import ignore
from smilfit.files import OutputLock, folder_name, real_folder
from smilfit.networks.calibration import Calibration
from smilfit.networks.engine.trained_model import TrainedRegressor, load_trained_regressor
from smilfit.networks.inference.inference_work import InferenceRun, InferenceWork
from smilfit.networks.inference.recorded_animals import AnimalCount
from smilfit.networks.inference.recordings import Recording
from smilfit.networks.inference.sources import open_recordings
from smilfit.networks.regressors.keypoint_regressor import KeypointRegressor
from smilfit.networks.tasks.onnx_network import use_exported
from smilfit.registry import UnknownNameError, did_you_mean
from smilfit.solvers import DistributedProcesses, Processes
from smilfit.solvers.processes import process_group

logger = logging.getLogger('smilfit')

NOT_CALIBRATED = 'the training had no validation, by which confidences become chances'
NONE_RIGHT = 'in the validation of the training too few frames were right'


@with_options(InferOptions)
def infer(
    checkpoint: str | Path,
    source: str | Path | None,
    out: str | Path,
    *,
    options: InferOptions,
    sources: SourceOptions | None = None,
    frames: FrameOptions | None = None,
    outputs: InferenceOutputs | None = None,
) -> list[InferenceRun] | None:
    """Predict a body in every frame of a recording and write what shows it.

    What is there already is not made again; a run that was stopped goes on after its last whole block.

    Args:
        checkpoint: of a training.
        source: a session's folder, a video, a folder of images or a dataset file; None where `sources` names videos.
        out: folder for the results; where a dataset file has several sessions, each has a folder in it.
        sources: what is read of the source, and where boxes come from.
        frames: which frames.
        outputs: what is written.

    Returns:
        What came out, a recording each, in the first process; None in the others.

    Raises:
        FileNotFoundError: something that is named is not there.
        ValueError: files that contradict each other, or no frame that could be predicted.
        UnknownNameError: a camera, session or box finder that does not exist, with the near names.
    """
    check_output_folder(out, '--out')
    check_not_an_input(out, (source,), '--out')
    count = None if options.animals is None else AnimalCount.of(options.animals)
    sources, frames = sources or SourceOptions(), frames or FrameOptions()
    check_not_an_input(Path(out) / PREDICTIONS, (checkpoint, *(sources.videos or {}).values()), '--out')
    alone = options.launcher == 'none'
    with (
        nullcontext() if options.threads is None else torch_threads(options.threads),
        process_group(options.launcher, 'cpu', PROCESS_TIMEOUT),
    ):
        processes = Processes() if alone else DistributedProcesses()
        device = chosen_device(options.device, alone)
        trained = load_trained_regressor(checkpoint, options.config, options.body_model, device)
        if options.least_confidence is None:
            _warn_of_no_least(trained)
        if options.network is not None:
            use_exported(trained, options.network)
        recordings = open_recordings(source, sources, trained.names, trained.model.finds_boxes)
        report = options.progress if options.progress is not None and processes.rank == 0 else ignore
        work = InferenceWork(
            trained,
            options.network,
            frames,
            outputs or InferenceOutputs(),
            processes,
            options.fps,
            options.overwrite,
            options.least_confidence,
            report,
        )
        runs = _run_all(work, recordings, Path(out), count, options.cameras or {})
    return [run for run in runs if run is not None] if processes.rank == 0 else None


def _warn_of_no_least(trained: TrainedRegressor) -> None:
    """Report that no frame will be left out, where a network that states confidences has no least one."""
    record = trained.model.statistics.calibration
    if (
        not isinstance(trained.model, KeypointRegressor)
        or max(Calibration.of_record(str(trained.path), record).least, default=0) > 0
    ):
        return
    logger.warning(
        '%s: no frame is left out for a low confidence (--least-confidence): %s.',
        *(trained.path, NONE_RIGHT if record else NOT_CALIBRATED),
    )


def _run_all(
    work: InferenceWork,
    recordings: Sequence[Recording],
    out: Path,
    count: AnimalCount | None,
    renamed: Mapping[str, str],
) -> list[InferenceRun | None]:
    """Run recordings one by one, all of whose cameras the model knows, in a folder that is locked meanwhile."""
    trained = work.trained
    called = [check_camera_names(r.camera_names, trained, renamed) for r in recordings]
    runs: list[InferenceRun | None] = []
    with OutputLock.of_folder(out) if work.processes.rank == 0 else nullcontext():
        for recording, names in zip(recordings, called):
            trained.model.use_cameras(names)
            folder = _folder(out, recording, len(recordings))
            if count is None:
                runs.append(work.run(recording, folder))
            else:
                runs += work.run_animals(recording, folder, count)
    return runs


def check_camera_names(
    names: Sequence[str], trained: TrainedRegressor, renamed: Mapping[str, str]
) -> tuple[str, ...]:
    """Return the names by which a model knows the recording's cameras.

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
    known = trained.model.camera_names
    called = tuple(renamed.get(name, name) for name in names)
    for name in called:
        if known is not None and name not in known:
            raise UnknownNameError(
                f'cameras: this model must know every camera by name; it does not know {name!r}. '
                f'{did_you_mean(name, known)} Say which one it is by --cameras {name}=NAME, or leave it out by '
                '--views.'
            )
    return called


def _folder(out: Path, recording: Recording, count: int) -> Path:
    return out if count == 1 else real_folder(out, folder_name(recording.name))
