"""What a source on the command line is: a session, videos, images or a dataset file, with its cameras and boxes."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from smilfit.apis.infer_options import OWN, SLEAP, WHOLE, SourceOptions
from smilfit.datasets import DatasetFile, open_dataset
from smilfit.datasets.boxes import BoxFile, BoxFinder, LabelBoxes
from smilfit.datasets.crops import BBOX_MARGIN
from smilfit.datasets.image_session import FOCAL_PER_SIDE, guessed_intrinsics
from smilfit.files import folder_name
from smilfit.io import read_calibration
from smilfit.io.calibration import CALIBRATION_FILE
from smilfit.io.recordings.image_folder import ImageFolder, images_by_size, images_in
from smilfit.io.recordings.sleap_labels import read_labels
from smilfit.io.recordings.sleap_session import find_labels
from smilfit.io.recordings.synchronised_videos import SynchronisedVideos, chosen_views, find_videos
from smilfit.io.recordings.videos import VIDEO_SUFFIXES, probe_video
from smilfit.networks.inference.frame_cutter import CropOptions
from smilfit.networks.inference.recordings import RecordedVideos, Recording, StoredRecording
from smilfit.networks.training_set import DatasetNames
from smilfit.registry import BOX_FINDERS, UnknownNameError, build, did_you_mean
from smilfit.structures import Cameras

logger = logging.getLogger('smilfit')


def guessed_camera(name: str, size: tuple[int, int], fov_deg: float | None = None) -> Cameras:
    """Make a camera for images of an unknown one, at the world's origin, looking along +z.

    Args:
        name: the camera's name.
        size: width and height, px.
        fov_deg: angle of view of the longer side, degrees; None takes the focal length that preprocessing guesses
            for images, so that a network sees by the lens that it was trained with.
    """
    width, height = size
    focal = None if fov_deg is None else max(size) / 2 / np.tan(np.radians(fov_deg) / 2)
    K = guessed_intrinsics(size, focal)
    return Cameras(
        names=(name,),
        K=K[None],
        R=torch.eye(3, dtype=torch.float64)[None],
        t=torch.zeros(1, 3, dtype=torch.float64),
        size=torch.tensor([[width, height]], dtype=torch.float64),
    )


STORE_SUFFIXES = ('.h5', '.hdf5')

_ONLY_CROPS = (
    'boxes: this model was trained on crops around the animal and %s; whole frames are taken, in which it may be '
    'small. Give --boxes sleap, a table of boxes, or a detector.'
)
_FINDS_NONE = 'finds none by itself'
_NEVER_LOOKED = 'never looked for it in whole images (preprocess --crop-mode default teaches that)'


# Cameras nearer than this share of the rig's extent, and turned by less (Frobenius), are one.
_SAME_PLACE, _SAME_ROTATION = 1e-3, 1e-3


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
    videos = {name: Path(video) for name, video in (options.videos or {}).items()}
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
    _warn_of_twins(cameras, videos)
    if cameras is not None and len(videos) == len(cameras) == 1 and 'camera' in videos:
        videos = {cameras.names[0]: videos['camera']}
    _check_calibrated(videos, cameras)
    views = chosen_views(tuple(videos), options.views or None, '--views')
    videos = {name: videos[name] for name in views}
    if cameras is not None:
        cameras = _of_size(cameras.select(views), videos, options.resize)
    reader = SynchronisedVideos(videos, cameras, options.common)
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


def _warn_of_twins(cameras: Cameras | None, videos: Mapping[str, Path]) -> None:
    """Warn of two cameras that stand at one place and look the same way: one has the other's calibration."""
    if cameras is None or cameras.R.ndim > 3:
        return
    centres, R = cameras.centres(), cameras.R
    distance = torch.cdist(centres, centres)
    rotation = (R.unsqueeze(1) - R.unsqueeze(0)).flatten(2).norm(dim=-1)
    alike = (distance <= _SAME_PLACE * distance.max()) & (rotation <= _SAME_ROTATION)
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
            *(name, taken),
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
        *(dataset.path, result, wanted),
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


def _of_size(cameras: Cameras, videos: Mapping[str, Path], resize: bool) -> Cameras:
    """Return the cameras of videos that may be smaller or larger than what was calibrated, by one factor each.

    Raises:
        ValueError: another size without `resize`, or one that is no scaled image.
    """
    sizes = [probe_video(videos[name], count=False).size for name in cameras.names]
    factors = []
    for name, (width, height), own in zip(cameras.names, cameras.size.tolist(), sizes):
        factor = own[0] / width
        factors.append(factor)
        if own == (round(width), round(height)):
            continue
        what = (
            f'{videos[name]}: images must have the size that camera {name!r} was calibrated with, '
            f'{width:.0f}x{height:.0f} px; got {own[0]}x{own[1]}'
        )
        # Of a scaled image each side is rounded.
        if abs(own[1] - height * factor) > 1 + factor / 2:
            raise ValueError(
                f'{what}, which is not scaled by one factor. Was it cropped or rotated? Calibrate anew, or give the '
                'original video.'
            )
        if not resize:
            raise ValueError(f'{what}, which is {factor:.4g} times that. Scale the cameras by --resize.')
    # Pixel centres are at integers.
    scale = torch.tensor(factors, dtype=cameras.K.dtype)
    affine = torch.zeros(len(sizes), 2, 3, dtype=cameras.K.dtype)
    affine[:, 0, 0] = affine[:, 1, 1] = scale
    affine[:, :, 2] = (scale.unsqueeze(-1) - 1) / 2
    return cameras.transformed(affine, torch.tensor(sizes, dtype=cameras.size.dtype))


def _boxes(
    reader: SynchronisedVideos | ImageFolder,
    cameras: Cameras,
    options: SourceOptions,
    names: DatasetNames,
    finds_boxes: bool,
) -> BoxFinder | None:
    """Choose where boxes come from; None is the whole frame."""
    given = options.boxes
    if given is None or isinstance(given, BoxFinder):
        return given
    wanted = str(given)
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
    if BOX_FINDERS.get(wanted) is None:
        options_known = [OWN, SLEAP, WHOLE, *BOX_FINDERS.module_dict]
        raise UnknownNameError(
            f'--boxes: must be own, sleap, whole, a .csv file or a registered box finder; got {wanted!r}. '
            f'{did_you_mean(wanted, options_known)} A detector of your own needs --import FILE.'
        )
    return build({'type': wanted}, BOX_FINDERS)


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
