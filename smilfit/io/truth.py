"""What is known exactly about a made session: `truth.npz` beside the calibration."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import torch

from smilfit.structures import BodyParams

TRUTH_FILE = 'truth.npz'


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
    arrays = {name: value.detach().cpu().numpy() for name, value in params.as_dict().items()}
    arrays |= {
        'joints': np.asarray(joints),
        'keypoints3d': np.asarray(keypoints3d),
        'joint_names': np.array(joint_names, dtype=np.str_),
        'keypoint_names': np.array(keypoint_names, dtype=np.str_),
        'body_model_hash': np.array(body_model_hash, dtype=np.str_),
    }
    temporary = path.with_name(path.name + '.tmp')
    with temporary.open('wb') as file:
        np.savez_compressed(file, **arrays)
    temporary.replace(path)
    return path


def read_true_params(path: str | Path, n_frames: int) -> BodyParams:
    """Read the true parameters of every frame.

    Raises:
        ValueError: a field is missing, or the frames are not as many as the session's.
    """
    path = Path(path)
    with np.load(path, allow_pickle=False) as file:
        known = {f.name: torch.from_numpy(file[f.name]) for f in fields(BodyParams) if f.name in file.files}
    required = ('global_orient', 'body_pose', 'betas', 'transl', 'scale')
    missing = [name for name in required if name not in known]
    if missing:
        raise ValueError(
            f'{path}: true parameters must have {", ".join(required)}; {", ".join(missing)} missing.'
        )
    params = BodyParams(**known)
    if params.batch_size != n_frames:
        raise ValueError(
            f"{path}: true parameters must be as many as the videos' frames, {n_frames}; got {params.batch_size}."
        )
    return params
