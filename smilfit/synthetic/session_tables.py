"""What lies in and beside made sessions: cameras, points, truth, names of keypoints, each session's shape."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from smilfit.body_models import BodyModelData
from smilfit.files import write_text
from smilfit.io import write_calibration, write_points3d, write_truth
from smilfit.structures import BodyParams, Cameras


def annotator_name(name: str) -> str:
    """Give the name that an annotator gives a keypoint of the model: sides in words."""
    return name.replace('_L', '_left').replace('_R', '_right')


def write_joint_lookup(path: str | Path, keypoint_names: Sequence[str], joint_names: Iterable[str]) -> Path:
    """Write `joint_lookup.csv`: the model's keypoints with the annotator's names, then unlabelled joints."""
    rows = [(name, annotator_name(name)) for name in keypoint_names]
    rows += [(name, '') for name in joint_names if name not in keypoint_names]
    return _write_table(Path(path), ('model', 'data'), rows)


def write_exact_lookup(path: str | Path, data_names: Mapping[str, str], joint_names: Iterable[str]) -> Path:
    """Write `joint_lookup.csv` of labels that are exactly where the model says: joints are labelled themselves.

    Args:
        path: the file.
        data_names: model keypoint -> annotated keypoint.
        joint_names: of the model.
    """
    joints = set(joint_names)
    rows = [(name, data, '0' if name in joints else '') for name, data in data_names.items()]
    return _write_table(Path(path), ('model', 'data', 'offset_sd'), rows)


def write_known(
    folder: Path,
    data: BodyModelData,
    params: BodyParams,
    rig: Cameras,
    joints: np.ndarray,
    keypoints: np.ndarray,
    names: Sequence[str],
    placed: np.ndarray,
) -> None:
    """Write what is known of a session: `calibration.toml`, `points3d.h5` and `truth.npz`.

    Args:
        folder: the session's.
        data: the body model.
        params: of every frame, world unit.
        rig: unbatched cameras.
        joints: (frames, J, 3), world unit.
        keypoints: (frames, K, 3), world unit.
        names: of the keypoints.
        placed: (frames, K), which keypoints `points3d.h5` has.
    """
    write_calibration(folder / 'calibration.toml', rig)
    write_points3d(folder / 'points3d.h5', np.where(placed[..., None], keypoints, np.nan))
    truth = folder / 'truth.npz'
    write_truth(truth, params, joints, keypoints, data.joint_names, names, data.content_hash())


def add_shape_betas(path: str | Path, session: str, betas: np.ndarray) -> Path:
    """Add a session's true shape to `shape_betas.csv`, or replace it there."""
    path = Path(path)
    rows = {}
    if path.is_file():
        with path.open(newline='', encoding='utf-8') as file:
            rows = {row[0]: row[1:] for row in list(csv.reader(file))[1:]}
    rows[session] = [repr(float(b)) for b in betas]
    header = ('label', *(f'PC{i + 1}' for i in range(len(betas))))
    return _write_table(path, header, ((label, *values) for label, values in sorted(rows.items())))


def _write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Path:
    text = io.StringIO(newline='')
    writer = csv.writer(text)
    writer.writerow(header)
    writer.writerows(rows)
    return write_text(path, text.getvalue())
