"""What is known exactly about a made session: `truth.npz` beside the calibration."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from smilfit.files import BadFileError, folder_name, reading, replacing
from smilfit.files.numpy_files import read_npz
from smilfit.structures import PARAMETERS, BodyParams, parameter_names

TRUTH_FILE = 'truth.npz'


def truth_file(track: str | None = None) -> str:
    """Name the file of the truth, of one of several animals by its track."""
    return TRUTH_FILE if track is None else f'truth_{folder_name(track)}.npz'


def write_truth(
    path: str | Path,
    params: BodyParams,
    joints: np.ndarray,
    keypoints3d: np.ndarray,
    joint_names: Sequence[str],
    keypoint_names: Sequence[str],
    body_model_hash: str,
) -> Path:
    """Write true parameters, joints (frames, J, 3) and keypoints (frames, K, 3), world unit; no pickle inside."""
    path = Path(path)
    arrays: dict[str, Any] = {name: value.detach().cpu().numpy() for name, value in params.as_dict().items()}
    arrays |= {
        'joints': np.asarray(joints),
        'keypoints3d': np.asarray(keypoints3d),
        'joint_names': np.array(joint_names, dtype=np.str_),
        'keypoint_names': np.array(keypoint_names, dtype=np.str_),
        'body_model_hash': np.array(body_model_hash, dtype=np.str_),
    }
    with replacing(path) as temporary, temporary.open('wb') as file:
        np.savez_compressed(file, **arrays)
    return path


def read_true_params(path: str | Path, n_frames: int) -> BodyParams:
    """Read the true parameters of every frame.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is not whole, a field is missing, or the frames are not as many as the session's.
    """
    path = Path(path)
    arrays = read_npz(path, parameter_names(of='body'), 'the truth of a session')
    required = parameter_names(of='body', optional=False)
    missing = [name for name in required if name not in arrays]
    if missing:
        raise BadFileError(
            f'{path}: true parameters must have {", ".join(required)}; {", ".join(missing)} missing. Make the '
            'session anew.'
        )
    for name, array in arrays.items():
        ranks = PARAMETERS[name].ranks
        if array.dtype.kind != 'f' or array.ndim not in ranks or not np.isfinite(array).all():
            raise BadFileError(
                f'{path}: {name} must be finite numbers of {ranks[0]} dimensions; got {array.dtype} of '
                f'{array.shape}, or NaN. Make the session anew.'
            )
        if len(array) != n_frames:
            raise BadFileError(
                f"{path}: true parameters must be as many as the videos' frames, {n_frames}; {name} has "
                f'{len(array)}. Make the session anew.'
            )
    with reading(path, 'the truth of a session'):
        return BodyParams.of({name: torch.from_numpy(array) for name, array in arrays.items()})
