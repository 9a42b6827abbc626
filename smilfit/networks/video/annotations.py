"""Labels of some frames of a recording, from whatever tool, in the order of a network's keypoints."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from smilfit.io.pose_tables import is_pose_table, read_pose_table
from smilfit.io.recordings.camera_labels import CameraLabels
from smilfit.io.recordings.sleap_labels import read_labels
from smilfit.io.recordings.sleap_session import find_labels
from smilfit.io.recordings.table_session import labels_of_table, part_names
from smilfit.networks.video.adaptation import FEWEST, FrameLabels
from smilfit.registry import UnknownNameError, did_you_mean

_SUFFIXES = ('.slp', '.h5', '.csv')


def read_annotations(
    annotations: str | Path,
    cameras: Sequence[str],
    names: Sequence[str],
    n_frames: int,
    fps: float,
    renamed: Mapping[str, str],
) -> dict[str, FrameLabels]:
    """Read labels by camera.

    Args:
        annotations: SLEAP's labels or a pose table (DeepLabCut, Lightning Pose) of the one camera; of several a
            folder with a file, or a folder, of each camera's name.
        cameras: of the recording.
        names: the network's keypoints.
        n_frames: of the recording.
        fps: of the recording.
        renamed: labels' names and the network's.

    Raises:
        FileNotFoundError: no labels.
        UnknownNameError: a renamed keypoint that does not exist.
        ValueError: no camera with a labelled frame, labels past the end of the video, or no keypoint of the network.
    """
    files = _files(Path(annotations).expanduser(), cameras)
    result = {}
    for camera, path in files.items():
        labels = _read(path)
        if len(labels) > n_frames:
            raise ValueError(
                f'{path}: labelled frames must be of the video, which has {n_frames}; the last one is '
                f'{len(labels) - 1}. Are these the labels of another video?'
            )
        result[camera] = _ordered(labels, names, n_frames, fps, renamed)
    if not any(len(labels.frames) for labels in result.values()):
        raise ValueError(
            f'{annotations}: at least one frame must have {FEWEST} labelled keypoints of the network; none has. '
            'Label a few frames, spread over the recording.'
        )
    return result


def _files(annotations: Path, cameras: Sequence[str]) -> dict[str, Path]:
    if annotations.is_file():
        if len(cameras) > 1:
            raise ValueError(
                f'{annotations}: labels of several cameras ({", ".join(cameras)}) must lie in a folder, a file a '
                'camera, named like it; got one file. Give the folder, or one camera by --views.'
            )
        return {cameras[0]: annotations}
    if not annotations.is_dir():
        raise FileNotFoundError(f'{annotations}: the labels must exist; there is nothing.')
    result = {}
    for camera in cameras:
        if (annotations / camera).is_dir():
            result[camera] = find_labels(annotations / camera)
            continue
        files = [annotations / f'{camera}{suffix}' for suffix in _SUFFIXES]
        result.update((camera, path) for path in files if path.is_file())
    if not result:
        raise FileNotFoundError(
            f'{annotations}: the folder must hold a file of labels ({", ".join(_SUFFIXES)}), or a folder, of the '
            f'name of a camera ({", ".join(cameras)}); it has none. Give the labels of one camera as a file.'
        )
    return result


def _read(path: Path) -> CameraLabels:
    if path.suffix.lower() == '.slp' or not is_pose_table(path):
        return read_labels(path)
    table = read_pose_table(path)
    return labels_of_table(table, part_names([table]))


def _ordered(
    labels: CameraLabels, names: Sequence[str], n_frames: int, fps: float, renamed: Mapping[str, str]
) -> FrameLabels:
    for name, own in renamed.items():
        if name not in labels.node_names:
            raise UnknownNameError(
                f'--keypoints {name}={own}: no keypoint {name!r} is labelled. '
                f'{did_you_mean(name, labels.node_names)}'
            )
        if own not in names:
            raise UnknownNameError(
                f'--keypoints {name}={own}: no keypoint {own!r} of the network. {did_you_mean(own, names)}'
            )
    called = [renamed.get(name, name) for name in labels.node_names]
    shared = [name for name in names if name in called]
    if len(shared) < FEWEST:
        raise ValueError(
            f'{labels.path}: labelled keypoints must be those of the network ({", ".join(names)}); '
            f'{len(shared)} of {", ".join(labels.node_names)} are. Name the others by --keypoints LABEL=NETWORK.'
        )
    columns, rows = [names.index(name) for name in shared], [called.index(name) for name in shared]
    xy, known = np.zeros((n_frames, len(names), 2)), np.zeros((n_frames, len(names)), np.bool_)
    valid = np.isfinite(labels.xy).all(-1) & (labels.score >= labels.usual_threshold)
    known[: len(labels), columns] = valid[:, rows]
    xy[: len(labels), columns] = np.nan_to_num(labels.xy[:, rows])
    return FrameLabels(xy, known, np.arange(n_frames) / fps)
