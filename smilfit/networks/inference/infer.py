"""A trained regressor on raw recordings: videos, images or stored crops become parameters and all that shows them."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch

from smilfit.apis.compute import PROCESS_TIMEOUT, chosen_device, torch_threads
from smilfit.apis.infer_options import (
    OWN,
    SLEAP,
    WHOLE,
    FrameOptions,
    InferenceOutputs,
    InferOptions,
    SourceOptions,
)
from smilfit.apis.options import with_options
from smilfit.apis.output_paths import check_not_an_input, check_output_folder
from smilfit.apis.predictions import PREDICTIONS
from smilfit.apis.progress import ignore
from smilfit.datasets import DatasetFile, open_dataset
from smilfit.datasets.boxes import BoxFile, BoxFinder, LabelBoxes
from smilfit.datasets.crops import BBOX_MARGIN
from smilfit.datasets.image_session import FOCAL_PER_SIDE
from smilfit.files import OutputLock, folder_name, real_folder
from smilfit.io import read_calibration
from smilfit.io.recordings.image_folder import ImageFolder, images_by_size, images_in
from smilfit.io.recordings.session_folder import CALIBRATION_FILE, find_labels
from smilfit.io.recordings.sleap_labels import read_labels
from smilfit.io.recordings.synchronised_videos import SynchronisedVideos, chosen_views, find_videos
from smilfit.io.recordings.videos import VIDEO_SUFFIXES
from smilfit.networks.engine import TrainedRegressor, load_trained_regressor
from smilfit.networks.inference.animals import AnimalCount
from smilfit.networks.inference.frames import CropOptions
from smilfit.networks.inference.recordings import (
    RecordedVideos,
    Recording,
    StoredRecording,
    guessed_camera,
)
from smilfit.networks.inference.run import InferenceRun, InferenceWork
from smilfit.networks.statistics import DatasetNames
from smilfit.networks.tasks.onnx_network import use_exported
from smilfit.registry import BOX_FINDERS, UnknownNameError, build, did_you_mean
from smilfit.solvers import DistributedProcesses, Processes
from smilfit.solvers.process_group import process_group
from smilfit.structures import Cameras

logger = logging.getLogger('smilfit')

STORE_SUFFIXES = ('.h5', '.hdf5')
_ONLY_CROPS = (
    'boxes: this model was trained on crops around the animal and %s; whole frames are taken, in which it may be '
    'small. Give --boxes sleap, a table of boxes, or a detector.'
)
_FINDS_NONE = 'finds none by itself'
_NEVER_LOOKED = 'never looked for it in whole images (preprocess --crop-mode default teaches that)'
# Cameras nearer than this share of the rig's extent, and turned by less (Frobenius), are one.
_SAME_PLACE, _SAME_TURN = 1e-3, 1e-3
# Where neither checkpoint nor caller says how large a crop is.
_USUAL_SIDE = 224


def open_recordings(
    source: str | Path | None, options: SourceOptions, names: DatasetNames, finds_boxes: bool
) -> list[Recording]:
    """Open a source.

    Args:
        source: a session's folder, a video, a folder of images, or a dataset file; None where videos are named.
        options: what is read of it.
        names: what the checkpoint says of the training's data.
        finds_boxes: whether the model finds the animal by itself.

    Returns:
        One recording; of a dataset file one a session, of uncalibrated images one a size.

    Raises:
        FileNotFoundError: something that is named is not there.
        ValueError: files that contradict each other, or no calibration for several cameras.
        UnknownNameError: a camera, session or box finder that does not exist, with the near names.
    """
    path = None if source is None else Path(source).expanduser()
    if path is not None and path.suffix.lower() in STORE_SUFFIXES:
        return _stored(path, options, names)
    videos = dict(options.videos or {})
    if path is not None and path.is_file() and path.suffix.lower() in VIDEO_SUFFIXES:
        videos.setdefault('camera', path)
    elif path is not None and not path.exists():
        raise FileNotFoundError(
            f'{path}: the source must be a session folder, a video, a folder of images or a dataset file (.h5); '
            'there is nothing.'
        )
    if path is not None and path.is_dir() and not videos and images_in(path):
        return _images(path, options, names, finds_boxes)
    if path is not None and path.is_dir() and not videos:
        videos = _videos_of(path, options.views)
    cameras = _calibration(path, options)
    _tell_of_twins(cameras, videos)
    if cameras is not None and len(videos) == len(cameras) == 1 and 'camera' in videos:
        videos = {cameras.names[0]: videos['camera']}
    _check_calibrated(videos, cameras)
    views = chosen_views(tuple(videos), options.views or None, '--views')
    reader = SynchronisedVideos({name: videos[name] for name in views}, cameras, options.common)
    name = folder_name((path if path is not None else next(iter(reader.files))).resolve().stem)
    return [_recorded(name, reader, options, names, finds_boxes)]


def _videos_of(folder: Path, views: Sequence[str]) -> dict[str, Path]:
    try:
        return find_videos(folder, views)
    except FileNotFoundError as error:
        inner = [child.name for child in sorted(folder.iterdir()) if child.is_dir() and images_in(child)]
        if not inner:
            raise
        raise FileNotFoundError(
            f'{error} Images are in {", ".join(inner[:3])}: name one such folder.'
        ) from None


def _tell_of_twins(cameras: Cameras | None, videos: Mapping[str, Any]) -> None:
    """Warn of two cameras that stand at one place and look the same way: one has the other's calibration."""
    if cameras is None or cameras.R.ndim > 3:
        return
    centres, R = cameras.centres(), cameras.R
    apart = torch.cdist(centres, centres)
    turned = (R.unsqueeze(1) - R.unsqueeze(0)).flatten(2).norm(dim=-1)
    alike = (apart <= _SAME_PLACE * apart.max()) & (turned <= _SAME_TURN)
    for i, j in alike.triu(1).nonzero().tolist():
        first, second = cameras.names[i], cameras.names[j]
        if first in videos and second in videos:
            logger.warning(
                'cameras %s and %s stand at the same place and look the same way by the calibration: one has the '
                "other's. Calibrate again, or leave the wrong one out by --views.",
                *(first, second),
            )


def _images(path: Path, options: SourceOptions, names: DatasetNames, finds_boxes: bool) -> list[Recording]:
    cameras = _calibration(path, options)
    camera = options.views[0] if options.views else (cameras.names[0] if cameras is not None else 'camera')
    if cameras is not None:
        chosen_views(cameras.names, (camera,), '--views')
    name = folder_name(path.resolve().name)
    groups = images_by_size(path) if cameras is None else {}
    if len(groups) < 2:
        return [_recorded(name, ImageFolder(path, camera, cameras), options, names, finds_boxes)]
    # One camera cannot have made them: each size has one of its own.
    logger.warning(
        '%s: its images are of %d sizes; those of each size are a recording of their own.', name, len(groups)
    )
    return [
        _recorded(
            f'{name}_{width}x{height}', ImageFolder(path, camera, None, files), options, names, finds_boxes
        )
        for (width, height), files in groups.items()
    ]


def _recorded(
    name: str,
    reader: SynchronisedVideos | ImageFolder,
    options: SourceOptions,
    names: DatasetNames,
    finds_boxes: bool,
) -> Recording:
    cameras = reader.cameras
    if cameras is None:
        (camera,) = reader.camera_names
        cameras = guessed_camera(camera, reader.sizes[camera], options.fov_deg)
        guess = f'a focal length of {FOCAL_PER_SIDE:g} times the longer side, as in preprocessing (--fov),'
        taken = guess if options.fov_deg is None else f'an angle of view of {options.fov_deg:g} degrees'
        logger.warning(
            '%s: the camera is not calibrated; %s is taken. Places and sizes are as good as that.',
            name,
            taken,
        )
    boxes = _boxes(reader, cameras, options, names, finds_boxes)
    mode = names.crop_mode if names.crop_mode in ('default', 'centred') else ''
    undistort = True if names.undistorted is None else names.undistorted
    side = options.side or names.target_resolution or _USUAL_SIDE
    return RecordedVideos(name, reader, cameras.to(torch.float64), CropOptions(side, mode, undistort), boxes)


def _stored(path: Path, options: SourceOptions, names: DatasetNames) -> list[Recording]:
    dataset = open_dataset(path)
    dataset.require_images('inference')
    _check_same_animal(dataset, names)
    for name in options.sessions:
        if name not in dataset.session_names:
            raise UnknownNameError(
                f'--sessions: no session {name!r}. {did_you_mean(name, dataset.session_names)}'
            )
    recordings: list[Recording] = []
    for session in options.sessions or dataset.session_names:
        own = dataset.cameras(session).names
        views = chosen_views(own, options.views or None, f'--views, session {session}')
        recordings.append(StoredRecording(dataset, session, views))
    return recordings


def _check_same_animal(dataset: DatasetFile, names: DatasetNames) -> None:
    """Refuse the images of another animal: a network finds its own body in whatever it is shown.

    Raises:
        ValueError: the file is of another body model, and of other keypoints.
    """
    trained, stored = names.body_model_hash, dataset.body_model_hash
    shared = set(names.keypoint_names) & set(dataset.keypoint_names)
    if None in (trained, stored) or trained == stored:
        return
    result, wanted = (Path(file or '').name for file in (dataset.body_model_file, names.body_model_file))
    if 2 * len(shared) < len(names.keypoint_names):
        raise ValueError(
            f'{dataset.path}: its images must show the animal that the model was trained on, {wanted}; they are of '
            f'{result} and have {len(shared)} of its {len(names.keypoint_names)} keypoints. Take another checkpoint, '
            'or give the videos.'
        )
    logger.warning(
        '%s: was made with another body model (%s) than the one that is predicted (%s).',
        dataset.path,
        result,
        wanted,
    )


def _calibration(path: Path | None, options: SourceOptions) -> Cameras | None:
    if options.calibration is not None:
        return read_calibration(options.calibration, options.unit)
    beside = None if path is None or not path.is_dir() else path / CALIBRATION_FILE
    return read_calibration(beside, options.unit) if beside is not None and beside.is_file() else None


def _check_calibrated(videos: Mapping[str, Path], cameras: Cameras | None) -> None:
    if cameras is None:
        if len(videos) > 1:
            raise ValueError(
                f'cameras: several videos ({", ".join(videos)}) must be calibrated; there is no calibration. Give '
                'one by --calibration FILE.toml.'
            )
        return
    for name in videos:
        if name not in cameras.names:
            raise UnknownNameError(
                f'--videos: no camera {name!r} in the calibration. {did_you_mean(name, cameras.names)}'
            )


def _boxes(
    reader: SynchronisedVideos | ImageFolder,
    cameras: Cameras,
    options: SourceOptions,
    names: DatasetNames,
    finds_boxes: bool,
) -> BoxFinder | None:
    """Choose where boxes come from; None is the whole frame."""
    wanted = options.boxes
    if not isinstance(wanted, (str, Path)):
        return wanted
    if wanted == WHOLE:
        return None
    if wanted == SLEAP:
        return _label_boxes(reader, cameras, names)
    if wanted == OWN:
        if names.crop_mode == 'bbox_crop':
            logger.warning(_ONLY_CROPS, _NEVER_LOOKED if finds_boxes else _FINDS_NONE)
        return None
    if Path(wanted).suffix.lower() == '.csv':
        return BoxFile(wanted, reader.camera_names)
    if BOX_FINDERS.get(str(wanted)) is None:
        options_known = [OWN, SLEAP, WHOLE, *BOX_FINDERS.module_dict]
        raise UnknownNameError(
            f'--boxes: must be own, sleap, whole, a .csv file or a registered box finder; got {str(wanted)!r}. '
            f'{did_you_mean(str(wanted), options_known)} A detector of your own needs --import FILE.'
        )
    return build({'type': str(wanted)}, BOX_FINDERS)


def _label_boxes(
    reader: SynchronisedVideos | ImageFolder, cameras: Cameras, names: DatasetNames
) -> LabelBoxes:
    """Read the labels that lie beside the videos."""
    if isinstance(reader, ImageFolder):
        raise ValueError('--boxes sleap: labels must lie beside videos; the source is a folder of images.')
    result = {}
    for name, path in reader.paths.items():
        labels = read_labels(find_labels(path.parent))
        nodes = [i for i, node in enumerate(labels.node_names) if node in names.keypoint_names]
        xy = labels.xy[:, nodes or range(len(labels.node_names))]
        score = labels.score[:, nodes or range(len(labels.node_names))]
        kept = (score >= labels.usual_threshold) & np.isfinite(xy).all(-1)
        ideal, valid = cameras.select([name]).undistort(
            torch.from_numpy(np.where(kept[..., None], xy, 0.0)).reshape(1, -1, 2)
        )
        kept &= valid.numpy().reshape(kept.shape)
        result[name] = np.where(kept[..., None], ideal.numpy().reshape(xy.shape), np.nan)
    margin = names.bbox_margin or BBOX_MARGIN
    return LabelBoxes(result, margin, undistorted=True)


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
        if options.network is not None:
            use_exported(trained, options.network)
        recordings = open_recordings(
            source, sources, trained.names, bool(getattr(trained.model, 'finds_boxes', False))
        )
        report = options.progress if options.progress is not None and processes.rank == 0 else ignore
        work = InferenceWork(
            trained,
            options.network,
            frames,
            outputs or InferenceOutputs(),
            processes,
            options.fps,
            options.overwrite,
            report,
        )
        runs = _run_all(work, recordings, Path(out), count, options.cameras or {})
    return [run for run in runs if run is not None] if processes.rank == 0 else None


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
            if hasattr(trained.model, 'use_cameras'):
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
    return out if count == 1 else real_folder(out, folder_name(recording.name))
