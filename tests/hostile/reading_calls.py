"""Read a file to its last value, and give a digest of it; for `sandbox.run_cases`."""

import hashlib
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from smilfit.body_models import load_body_model_data
from smilfit.datasets import DatasetFile, MultiViewDataset, open_dataset
from smilfit.smilify import read_smilify as read_smilify_file
from smilfit.smilify import sessions_of
from tests.hostile.small_files import JOINTS

_STATED = (
    'keypoint_names', 'joint_names', 'camera_names', 'session_names', 'n_betas', 'n_samples', 'unit',
    'target_resolution', 'crop_mode', 'undistorted', 'session_of', 'frame_of', 'view_mask_of',
)  # fmt: skip
_OF_A_SESSION = (
    'cameras', 'stored_cameras', 'keypoints2d', 'keypoints3d', 'true_params', 'known_betas', 'labels', 'masks',
)  # fmt: skip


def read_store(path: Path) -> str:
    """Read a dataset file: sessions, records, images, masks and training samples."""
    return _digest_of(open_dataset(path), MultiViewDataset(path, split='all', test_mode=True))


def read_smilify(path: Path) -> str:
    """Read a file in SMILify's layout as its import does: sessions, and each of their images."""
    file, digest = read_smilify_file(path), hashlib.sha256()
    _feed(digest, file.betas)
    for session in sessions_of(file, JOINTS):
        for name in ('name', 'keypoint_names', 'frame_numbers', 'affine', 'has_view', 'cameras'):
            _feed(digest, getattr(session, name))
        _feed(digest, session.keypoints2d())
        _feed(digest, session.keypoints3d())
        for i, c in zip(*np.nonzero(session.has_view)):
            _feed(digest, session.encoded(int(i), int(c)))
            _feed(digest, session.decoded(int(i), int(c)))
    return digest.hexdigest()[:16]


def read_model(path: Path) -> str:
    """Read a body model file; its name, which may be the file's, is no part of the digest."""
    data = replace(load_body_model_data(path), name='')
    digest = hashlib.sha256()
    _feed(digest, data)
    return digest.hexdigest()[:16]


def _digest_of(file: DatasetFile, samples: MultiViewDataset) -> str:
    digest = hashlib.sha256()
    for name in _STATED:
        _feed(digest, getattr(file, name))
    for session in file.session_names:
        for name in _OF_A_SESSION:
            _feed(digest, getattr(file, name)(session))
    for i in range(len(file)):
        _feed(digest, file.record(i))
        for c in np.flatnonzero(file.view_mask_of[i]):
            _feed(digest, file.image(i, int(c)))
            _feed(digest, file.mask(i, int(c)))
    for i in range(len(samples)):
        _feed(digest, samples[i])
    return digest.hexdigest()[:16]


def _feed(digest: Any, value: Any) -> None:
    if isinstance(value, Tensor):
        value = value.numpy()
    if isinstance(value, np.ndarray):
        digest.update(f'{value.dtype}{value.shape}'.encode() + np.ascontiguousarray(value).tobytes())
    elif isinstance(value, dict):
        for key in value:
            digest.update(str(key).encode())
            _feed(digest, value[key])
    elif isinstance(value, (list, tuple)):
        for item in value:
            _feed(digest, item)
    elif is_dataclass(value):
        for field in fields(value):
            digest.update(field.name.encode())
            _feed(digest, getattr(value, field.name))
    else:
        digest.update(repr(value).encode())
