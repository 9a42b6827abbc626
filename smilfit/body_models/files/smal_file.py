"""Read the pickles (and npz files) of SMIL, SMAL and SMPL into `BodyModelData`.

Keys are those of smplx's loaders plus SMILify's. Where a file has both joints and a joint regressor, the
regressor decides unless the file says that its joints are static or the regressor is all zeros; joints that are off
it by rounding alone are taken as stored.
"""

import io
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from smilfit.body_models.checks import check_body_model
from smilfit.body_models.data import BodyModelData, SparseMatrix
from smilfit.body_models.files.model_arrays import (
    as_array,
    model_array,
    read_model_arrays,
    required_array,
    truth_value,
    whole_numbers,
)
from smilfit.files import write_bytes
from smilfit.files.pickles import shown, shown_names
from smilfit.files.pickles.writer import pickle_bytes

logger = logging.getLogger('smilfit')

READ = {
    'v_template', 'f', 'weights', 'kintree_table', 'J', 'J_regressor', 'J_names', 'shapedirs', 'posedirs',
    'scaledirs', 'transdirs', 'shape_cov', 'shape_mean_betas', 'sym_verts', 'static_joint_locs', 'joint_limits',
}  # fmt: skip
# A stored joint this far (share of the body's size) from the regressed one is worth a word.
STALE_JOINT_SHARE = 0.01
# One that is off by so little was rounded, and is taken; by less, it is the regressed one in other digits.
ROUNDED_JOINT_SHARE, EXACT_JOINT_SHARE = 1e-4, 2e-7


def read_smal_file(path: str | Path, name: str | None = None, max_betas: int | None = None) -> BodyModelData:
    """Read a SMIL, SMAL or SMPL model file.

    Args:
        path: a `.pkl` (read by the allow-list reader) or a `.npz` without objects.
        name: the model's name; the file's stem if None.
        max_betas: keep only the first shape coefficients.

    Raises:
        ValueError: a key is missing or breaks a rule; the message names file and key.
    """
    path = Path(path)
    return body_from_arrays(read_model_arrays(path, READ), path, name, max_betas)


def body_from_arrays(
    raw: Mapping[str, object], path: Path, name: str | None = None, max_betas: int | None = None
) -> BodyModelData:
    """Make a body model of a file's contents; as `read_smal_file`.

    Args:
        raw: the file's values by key, for models whose files hold more than this reader knows.
        path: for messages.
        name: the model's name; the file's stem if None.
        max_betas: keep only the first shape coefficients.
    """
    return check_body_model(stored_body(raw, path, name, max_betas), str(path))


def stored_body(
    raw: Mapping[str, object], path: Path, name: str | None = None, max_betas: int | None = None
) -> BodyModelData:
    """Make a body model of a file's contents that may break rules, for whoever looks for its faults.

    Args:
        raw: as of `body_from_arrays`.
        path: for messages.
        name: the model's name; the file's stem if None.
        max_betas: keep only the first shape coefficients.
    """
    for key in ('v_template', 'f', 'weights', 'kintree_table'):
        if key not in raw:
            raise ValueError(
                f'{path}: a body model must have the key {key!r}; got {shown_names(raw)}. Is it a model file?'
            )
    v_template = required_array(raw, 'v_template', path, (2,))
    parents = _parents(raw['kintree_table'], path)
    shapedirs = _shape_directions(model_array(raw, 'shapedirs', path, (2, 3)), max_betas)
    n_betas = 0 if shapedirs is None else shapedirs.shape[2]
    regressor = None
    if not truth_value(raw, 'static_joint_locs', path):
        regressor = _regressor(model_array(raw, 'J_regressor', path, (2,)), len(v_template), path)
    joints = _rest_joints(path, model_array(raw, 'J', path, (2,)), regressor, v_template)
    faces = model_array(raw, 'f', path, (2,), whole=True)
    return BodyModelData(
        name=name or path.stem,
        v_template=v_template,
        faces=np.zeros((0, 3), np.int64) if faces is None else faces,
        joint_names=_joint_names(raw.get('J_names'), len(parents), path),
        parents=parents,
        weights=SparseMatrix.from_dense(required_array(raw, 'weights', path, (2,))),
        joints=joints,
        joint_regressor=regressor,
        shapedirs=shapedirs,
        shape_mean=_first(model_array(raw, 'shape_mean_betas', path, (1,)), n_betas),
        shape_cov=_first(model_array(raw, 'shape_cov', path, (2,)), n_betas, n_betas),
        scaledirs=_first(model_array(raw, 'scaledirs', path, (3,)), n_betas),
        transdirs=_first(model_array(raw, 'transdirs', path, (3,)), n_betas),
        posedirs=_pose_directions(model_array(raw, 'posedirs', path, (2, 3))),
        joint_limits=model_array(raw, 'joint_limits', path, (3,)),
        symmetry_plane_vertices=_symmetry_plane(raw, path),
    )


def _parents(table: object, path: Path) -> np.ndarray:
    """Return the first row of a tree's table, whose root has no parent."""
    where = f'{path}: kintree_table'
    table = as_array(table, where)
    if table.ndim != 2 or table.size == 0:
        raise ValueError(
            f'{where} must have 2 rows of J numbers; got shape {table.shape}. Is it a model file?'
        )
    parents = table[0]
    if parents.dtype.kind == 'u':
        # -1 as an unsigned number, which may be too large for a signed one.
        parents = np.minimum(parents, len(parents))
    parents = whole_numbers(parents, where)
    parents[(parents < 0) | (parents >= len(parents))] = -1
    return parents


def _symmetry_plane(raw: Mapping[str, object], path: Path) -> np.ndarray | None:
    if 'sym_verts' not in raw:
        return None
    plane = model_array(raw, 'sym_verts', path, (1,), whole=True)
    return np.zeros(0, np.int64) if plane is None else plane


def _first(array: np.ndarray | None, *counts: int) -> np.ndarray | None:
    return None if array is None or 0 in counts else array[tuple(slice(n) for n in counts)]


def _shape_directions(array: np.ndarray | None, max_betas: int | None) -> np.ndarray | None:
    if array is None:
        return None
    # A model without shape keys is written as (V, 3) zeros.
    if array.ndim == 2:
        return array[..., None] if array.any() else None
    return array if max_betas is None else array[..., :max_betas]


def _pose_directions(array: np.ndarray | None) -> np.ndarray | None:
    if array is None or not array.any():
        return None
    return array.reshape(-1, array.shape[-1]).T if array.ndim == 3 else array


def _regressor(array: np.ndarray | None, n_vertices: int, path: Path) -> SparseMatrix | None:
    if array is None or not array.any():
        return None
    if array.shape[1] != n_vertices:
        raise ValueError(
            f'{path}: J_regressor must have a column for each of {n_vertices} vertices; got shape {array.shape}. '
            'Is it the file of one model?'
        )
    return SparseMatrix.from_dense(array)


def _rest_joints(
    path: Path, stored: np.ndarray | None, regressor: SparseMatrix | None, v_template: np.ndarray
) -> np.ndarray:
    if regressor is None:
        if stored is None:
            raise ValueError(
                f'{path}: static joints must be stored as "J"; got neither J nor a joint regressor.'
            )
        return stored
    joints = regressor @ v_template
    if stored is not None and stored.shape == joints.shape:
        size = np.ptp(v_template, axis=0).max()
        worst = np.abs(stored - joints).max()
        if EXACT_JOINT_SHARE * size < worst <= ROUNDED_JOINT_SHARE * size:
            return stored
        if worst > STALE_JOINT_SHARE * size:
            logger.warning(
                '%s: the stored joints are up to %.3g (%.1f %% of the body) from J_regressor @ v_template; '
                'the regressor is used.', path.name, worst, 100 * worst / size,
            )  # fmt: skip
    return joints


def _joint_names(names: object, count: int, path: Path) -> tuple[str, ...]:
    numbered = tuple(f'joint_{j}' for j in range(count))
    if names is None:
        return numbered
    if isinstance(names, np.ndarray):
        names = names.ravel().tolist()
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, (str, bytes)) for name in names):
        raise ValueError(
            f'{path}: J_names must be a list of texts; got {shown(names)}. Leave it out or mend it.'
        )
    if len(names) != count:
        logger.warning(
            '%s: J_names has %d names for %d joints, which are numbered instead.',
            path.name,
            len(names),
            count,
        )
        return numbered
    return tuple(name.decode('utf-8', 'replace') if isinstance(name, bytes) else name for name in names)


# Joints of SMPL: its own loaders ask for pose directions, so a model of that many gets zeros where it has none.
_SMPL_JOINTS = 24


def write_smal_file(data: BodyModelData, path: str | Path) -> tuple[str, ...]:
    """Write a `.pkl` or `.npz`; the file appears whole or not at all.

    Returns:
        What the format cannot hold and the file therefore lacks, in words.

    Raises:
        ValueError: another ending, or a model that breaks a rule.
    """
    path = Path(path)
    if path.suffix not in ('.pkl', '.npz'):
        raise ValueError(f'{path}: a SMAL model is written as .pkl or .npz; got {path.suffix!r}.')
    check_body_model(data, str(path))
    values = smal_values(data)
    if path.suffix == '.pkl':
        write_bytes(path, pickle_bytes(values))
    else:
        buffer = io.BytesIO()
        arrays: dict[str, Any] = {key: np.asarray(value) for key, value in values.items()}
        np.savez_compressed(buffer, **arrays)
        write_bytes(path, buffer.getvalue())
    return lost_in_smal(data)


def smal_values(data: BodyModelData) -> dict[str, Any]:
    """Return a model's values by the keys of SMIL, SMAL and SMPL."""
    vertices, joints = data.n_vertices, data.n_joints
    static = data.joint_regressor is None
    # What is absent is an empty array or list, as SMILify writes and expects it.
    empty = np.zeros((vertices, 3, 9 * (joints - 1)), np.float32) if joints == _SMPL_JOINTS else np.zeros(0)
    posedirs = empty if data.posedirs is None else data.posedirs.T.reshape(vertices, 3, -1)
    values: dict[str, Any] = {
        'v_template': data.v_template,
        'f': data.faces.astype(np.int32),
        'weights': data.weights.to_dense(),
        'kintree_table': np.stack((data.parents, np.arange(joints))).astype(np.int32),
        'J': data.joints,
        'J_regressor': np.zeros((joints, vertices))
        if data.joint_regressor is None
        else data.joint_regressor.to_dense(),
        'J_names': list(data.joint_names),
        'shapedirs': np.zeros((vertices, 3, 0)) if data.shapedirs is None else data.shapedirs,
        'posedirs': posedirs,
        # Readers take them to add to scales, not to their logarithms.
        'scaledirs': [] if data.scaledirs is None or data.log_scale_directions else data.scaledirs,
        'transdirs': [] if data.transdirs is None else data.transdirs,
        'static_joint_locs': static,
        'bs_style': 'lbs',
        'bs_type': 'lrotmin',
    }
    optional = {
        'shape_cov': data.shape_cov,
        'shape_mean_betas': data.shape_mean,
        # Readers take limits to be along the model's axes.
        'joint_limits': None if data.joint_axes is not None else data.joint_limits,
        'sym_verts': data.symmetry_plane_vertices,
    }
    return values | {key: value for key, value in optional.items() if value is not None}


def lost_in_smal(data: BodyModelData) -> tuple[str, ...]:
    """Describe in words what of a model neither the pickle nor the npz can hold."""
    keypoints = sum(map(len, data.keypoint_sets.values()))
    present = {
        'joint scales of shape directions, which are logarithms': data.log_scale_directions,
        f'the unit ({data.unit})': data.unit,
        f'the axes (up {data.up_axis}, forward {data.forward_axis})': data.up_axis or data.forward_axis,
        f'the licence ({data.licence})': data.licence,
        f'the version ({data.version})': data.version,
        'where limits are from': data.joint_limits_from,
        f'{len(data.joint_symmetry)} pairs of joints of two sides': data.joint_symmetry,
        f'{len(data.joint_groups) + len(data.keypoint_groups)} groups': data.joint_groups
        or data.keypoint_groups,
        f'{keypoints} keypoints in {len(data.keypoint_sets)} sets': data.keypoint_sets,
        f'{len(data.landmarks)} landmarks': data.landmarks,
        f'{len(data.part_sizes)} parts with sizes': data.part_sizes,
        f'{len(data.pose_spaces)} pose spaces': data.pose_spaces,
        'the pose prior': data.pose_prior_precision is not None,
        'the mixture of shapes': data.shape_mixture is not None,
        f'{data.n_expression} expression directions': data.n_expression,
        'that children inherit scales of joints': data.joint_scale_mode == 'inherited',
        "the joint limits, which are along joints' own axes": data.joint_axes is not None,
    }
    lost = [words for words, valid in present.items() if valid]
    if data.joint_regressor is not None:
        off = float(np.abs(data.joints - data.joint_regressor @ data.v_template).max())
        if off > ROUNDED_JOINT_SHARE * data.rest_size:
            lost.append(
                f'rest joints that contradict the regressor by up to {off:.3g}: readers take the regressed ones'
            )
        elif off > EXACT_JOINT_SHARE * data.rest_size:
            lost.append(
                f'for other programs, the last digits of rest joints: they take the regressed ones, {off:.1e} off'
            )
    return tuple(lost)
