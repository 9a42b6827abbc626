"""Open a published model file, pickle or npz, and take out what is asked for."""

import logging
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from smilfit.body_models.pickle_reader import read_pickle
from smilfit.files import BadFileError
from smilfit.files.numpy_files import npz_names, read_npz

logger = logging.getLogger('smilfit')

# Present in published files, and without meaning for a forward pass.
KNOWN_UNUSED = {
    'bs_style', 'bs_type', 'J_regressor_prior', 'weights_prior', 'vert_sym_idxs', 'allow_pickle', 'part2num',
    'joint2num', 'ft', 'vt', 'dynamic_lmk_faces_idx', 'dynamic_lmk_bary_coords', 'lmk_faces_idx', 'lmk_bary_coords',
    'hands_coeffsl', 'hands_coeffsr',
}  # fmt: skip

# Arrays of indices; some files keep them as floats.
INDEX_KEYS = {'f', 'kintree_table', 'sym_verts', 'lmk_faces_idx'}


def read_model_arrays(path: str | Path, wanted: Collection[str]) -> dict[str, Any]:
    """Read some keys of a model file; keys that are not wanted and not known are told in the log.

    Args:
        path: a `.pkl` (read by the allow-list unpickler) or a `.npz`, of which nothing else is opened: SMPL-X's
            hold tables of Python objects that are not needed.
        wanted: the keys; one that the file lacks is absent from the result.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a pickle of something else, or an npz whose wanted key holds Python objects.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'{path}: the body model file is not there.')
    if path.suffix == '.npz':
        keys = npz_names(path, 'a body model')
        values = {key: _checked(a, key, path) for key, a in read_npz(path, wanted, 'a body model').items()}
    else:
        raw = read_pickle(path, drop=KNOWN_UNUSED - set(wanted))
        if not isinstance(raw, dict):
            raise ValueError(f'{path}: a body model pickle must hold a dict; got {type(raw).__name__}.')
        keys = set(raw)
        values = {key: raw[key] for key in keys & set(wanted)}
    ignored = sorted(keys - set(wanted) - KNOWN_UNUSED)
    if ignored:
        logger.info('%s: keys without a meaning here were not read: %s', path.name, ', '.join(ignored))
    return values


def _checked(array: np.ndarray, key: str, path: Path) -> np.ndarray:
    """Check that an array holds what its key means: text for names, whole numbers for indices, else numbers."""
    kinds = {'J_names': 'US', 'static_joint_locs': 'biuf'}.get(key, 'iuf')
    if array.dtype.kind not in kinds:
        meant = 'text' if kinds == 'US' else 'numbers'
        raise BadFileError(f'{path}: {key} must hold {meant}; got {array.dtype}. Save it as {meant}.')
    if key in INDEX_KEYS and array.dtype.kind == 'f' and not _is_whole(array):
        raise BadFileError(
            f'{path}: {key} must hold whole numbers; got fractions, NaN or too large ones. Save it as integers.'
        )
    return array


def _is_whole(array: np.ndarray) -> bool:
    # float64 holds every whole number up to 2^53; NaN fails every comparison.
    return bool(((array == np.rint(array)) & (np.abs(array) <= 1 << 53)).all())
