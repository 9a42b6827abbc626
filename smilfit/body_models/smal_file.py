"""Read the pickles (and npz files) of SMIL, SMAL and SMPL into `BodyModelData`.

Keys are those of smplx's loaders plus SMILify's. Where a file has both joints and a joint regressor, the
regressor decides unless the file says that its joints are static or the regressor is all zeros.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from smilfit.body_models.checks import check_body_model
from smilfit.body_models.data import BodyModelData, SparseMatrix
from smilfit.body_models.model_arrays import read_model_arrays
from smilfit.body_models.pickle_reader import StandIn, as_array

logger = logging.getLogger('smilfit')

READ = {
    'v_template', 'f', 'weights', 'kintree_table', 'J', 'J_regressor', 'J_names', 'shapedirs', 'posedirs',
    'scaledirs', 'transdirs', 'shape_cov', 'shape_mean_betas', 'sym_verts', 'static_joint_locs', 'joint_limits',
}  # fmt: skip
# A stored joint this far (share of the body's size) from the regressed one is worth a word.
STALE_JOINT_SHARE = 0.01


def read_smal_file(path: str | Path, name: str | None = None, max_betas: int | None = None) -> BodyModelData:
    """Read a SMIL, SMAL or SMPL model file.

    Args:
        path: a `.pkl` (read by the allow-list unpickler) or a `.npz` without objects.
        name: the model's name; the file's stem if None.
        max_betas: keep only the first shape coefficients.

    Raises:
        ValueError: a key is missing or breaks a rule; the message names file and key.
    """
    path = Path(path)
    return body_from_arrays(read_model_arrays(path, READ), path, name, max_betas)


def body_from_arrays(
    raw: Mapping[str, Any], path: Path, name: str | None = None, max_betas: int | None = None
) -> BodyModelData:
    """Make a body model of a file's contents; as `read_smal_file`.

    Args:
        raw: the file's values by key, for models whose files hold more than this reader knows.
        path: for messages.
        name: the model's name; the file's stem if None.
        max_betas: keep only the first shape coefficients.
    """
    for key in ('v_template', 'f', 'weights', 'kintree_table'):
        if key not in raw:
            raise ValueError(
                f'{path}: a body model must have the key {key!r}; got {sorted(raw)}. Is it a model file?'
            )
    arrays = {
        key: as_array(value, f'{path}: {key}')
        for key, value in raw.items()
        if key in READ and not isinstance(value, (bool, str)) and key != 'J_names'
    }
    v_template = arrays['v_template'].astype(np.float64)
    parents = arrays['kintree_table'][0].astype(np.int64)
    # The root's parent is -1, in some files as an unsigned number.
    parents[(parents < 0) | (parents >= len(parents))] = -1
    shapedirs = _shape_directions(arrays.get('shapedirs'), max_betas)
    n_betas = 0 if shapedirs is None else shapedirs.shape[2]
    regressor = _regressor(arrays.get('J_regressor'), bool(raw.get('static_joint_locs', False)))
    joints = _rest_joints(path, arrays.get('J'), regressor, v_template)
    return check_body_model(
        BodyModelData(
            name=name or path.stem,
            v_template=v_template,
            faces=arrays['f'].astype(np.int64),
            joint_names=_joint_names(raw.get('J_names'), len(parents)),
            parents=parents,
            weights=SparseMatrix.from_dense(arrays['weights'].astype(np.float64)),
            joints=joints,
            joint_regressor=regressor,
            shapedirs=shapedirs,
            shape_mean=_first(arrays.get('shape_mean_betas'), n_betas),
            shape_cov=_first(arrays.get('shape_cov'), n_betas, n_betas),
            scaledirs=_first(arrays.get('scaledirs'), n_betas),
            transdirs=_first(arrays.get('transdirs'), n_betas),
            posedirs=_pose_directions(arrays.get('posedirs')),
            joint_limits=_optional(arrays.get('joint_limits')),
            symmetry_plane_vertices=arrays['sym_verts'].astype(np.int64) if 'sym_verts' in arrays else None,
        ),
        str(path),
    )


def _optional(array: np.ndarray | None) -> np.ndarray | None:
    return None if array is None or array.size == 0 else array.astype(np.float64)


def _first(array: np.ndarray | None, *counts: int) -> np.ndarray | None:
    array = _optional(array)
    return None if array is None or 0 in counts else array[tuple(slice(n) for n in counts)]


def _shape_directions(array: np.ndarray | None, max_betas: int | None) -> np.ndarray | None:
    array = _optional(array)
    if array is None:
        return None
    # A model without shape keys is written as (V, 3) zeros.
    if array.ndim == 2:
        return array[..., None] if array.any() else None
    return array if max_betas is None else array[..., :max_betas]


def _pose_directions(array: np.ndarray | None) -> np.ndarray | None:
    array = _optional(array)
    if array is None or not array.any():
        return None
    return array.reshape(-1, array.shape[-1]).T if array.ndim == 3 else array


def _regressor(array: np.ndarray | None, static: bool) -> SparseMatrix | None:
    if array is None or static or not array.any():
        return None
    return SparseMatrix.from_dense(array.astype(np.float64))


def _rest_joints(
    path: Path, stored: np.ndarray | None, regressor: SparseMatrix | None, v_template: np.ndarray
) -> np.ndarray:
    if regressor is None:
        if stored is None:
            raise ValueError(
                f'{path}: static joints must be stored as "J"; got neither J nor a joint regressor.'
            )
        return stored.astype(np.float64)
    joints = regressor @ v_template
    if stored is not None and stored.shape == joints.shape:
        size = np.ptp(v_template, axis=0).max()
        worst = np.abs(stored - joints).max()
        if worst > STALE_JOINT_SHARE * size:
            logger.warning(
                '%s: the stored joints are up to %.3g (%.1f %% of the body) from J_regressor @ v_template; '
                'the regressor is used.', path.name, worst, 100 * worst / size,
            )  # fmt: skip
    return joints


def _joint_names(names: Any, count: int) -> tuple[str, ...]:
    if names is None or isinstance(names, StandIn) or len(names) != count:
        return tuple(f'joint_{j}' for j in range(count))
    return tuple(str(n) for n in names)
