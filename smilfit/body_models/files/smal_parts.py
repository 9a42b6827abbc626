"""What SMAL's authors publish beside the model file: shape families, a pose prior, the mesh's symmetry, names."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from smilfit.body_models.checks import check_body_model
from smilfit.body_models.data import BodyModelData, KeypointDefinition
from smilfit.body_models.files.model_arrays import as_array, read_pickle, whole_numbers
from smilfit.files import BadFileError
from smilfit.files.numpy_files import read_npz
from smilfit.files.pickles import shown, shown_names
from smilfit.registry import UnknownNameError, did_you_mean


def read_pose_prior(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a pose prior through the allow-list reader.

    `pic` is the lower Cholesky factor of the precision.

    Returns:
        Mean (D,) rad and covariance (D, D) rad^2 of axis-angle poses.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another kind of file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'{path}: the pose prior must be there; it is not. Check the path.')
    raw = read_pickle(path)
    if not isinstance(raw, dict) or 'mean_pose' not in raw or not {'cov', 'pic'} & set(raw):
        result = shown_names(raw) if isinstance(raw, dict) else shown(raw)
        raise ValueError(
            f'{path}: a pose prior must hold mean_pose and cov or pic; got {result}. Is it a pose prior?'
        )
    mean = as_array(raw['mean_pose'], f'{path}: mean_pose').astype(np.float64).ravel()
    key = 'cov' if 'cov' in raw else 'pic'
    square = as_array(raw[key], f'{path}: {key}').astype(np.float64)
    if square.shape != (len(mean), len(mean)):
        raise ValueError(
            f'{path}: {key} must have shape {(len(mean), len(mean))}, as mean_pose has {len(mean)} numbers; got '
            f'{square.shape}. Is it a pose prior?'
        )
    if not (np.isfinite(mean).all() and np.isfinite(square).all()):
        raise ValueError(f'{path}: mean_pose and {key} must be finite; got NaN or inf. Mend the file.')
    return mean, square if key == 'cov' else np.linalg.pinv(square @ square.T, hermitian=True)


N_BETAS = 20


def read_shape_prior(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Read the prior; no pickle inside is opened.

    Returns:
        Mean (20,) and covariance (20, 20) of the shape coefficients.

    Raises:
        FileNotFoundError: no such file.
        BadFileError: another kind of file.
    """
    path = Path(path)
    raw = read_npz(path, ('mean', 'cov'), 'a shape prior')
    if set(raw) != {'mean', 'cov'} or any(array.dtype.kind not in 'iuf' for array in raw.values()):
        raise BadFileError(
            f'{path}: a shape prior must hold the numbers mean (27) and cov (27, 27); got {sorted(raw)}. Is it '
            'unity_betas.npz?'
        )
    mean, cov = raw['mean'].astype(np.float64), raw['cov'].astype(np.float64)
    if mean.ndim != 1 or len(mean) < N_BETAS or cov.shape != (len(mean), len(mean)):
        raise BadFileError(
            f'{path}: mean and cov must have at least {N_BETAS} dimensions, and equally many; got {mean.shape} and '
            f'{cov.shape}. Is it unity_betas.npz?'
        )
    if not (np.isfinite(mean).all() and np.isfinite(cov).all()):
        raise BadFileError(f'{path}: mean and cov must be finite; got NaN or inf. Mend the file.')
    return mean[:N_BETAS], cov[:N_BETAS, :N_BETAS]


RIG = Path(__file__).parent / 'rigs' / 'smal.json'
# A joint that the prior's poses never turned is held as stiffly as this says, not infinitely.
LEAST_SD_RAD = 0.01


def with_smal_parts(
    data: BodyModelData,
    data_file: str | Path | None = None,
    family: str | int | None = None,
    pose_prior_file: str | Path | None = None,
    symmetry_file: str | Path | None = None,
    shape_prior_file: str | Path | None = None,
) -> BodyModelData:
    """Complete what a SMAL model file says.

    Args:
        data: of the model file, all of its shape coefficients or the first of them.
        data_file: `my_smpl_data_00781_4_all.pkl` or its like: means and covariances of the shapes of families.
        family: one of them, by name (cats, dogs, horses, cows, hippos) or index.
        pose_prior_file: `walking_toy_symmetric_pose_prior_with_cov_35parts.pkl` or its like.
        symmetry_file: `symIdx.pkl`: for every vertex the one on the other side.
        shape_prior_file: WLDO's `unity_betas.npz`, instead of a family: mean and covariance of the shapes of dogs.

    Raises:
        KeyError: no such family.
        ValueError: a file that does not fit the model, one of `data_file` and `family` without the other, or a shape
            prior beside them.
    """
    if (data_file is None) != (family is None):
        raise ValueError(
            f'SMAL: data_file and family must be given together; got {data_file} and {family!r}. The data file holds '
            'the shapes of families.'
        )
    if shape_prior_file is not None and family is not None:
        raise ValueError(
            f'SMAL: give either a family or shape_prior_file; got {family!r} and {shape_prior_file}. Both say what '
            'shapes are usual.'
        )
    data = _named(data, json.loads(RIG.read_text(encoding='utf-8')))
    changes: dict[str, Any] = {}
    if data_file is not None and family is not None:
        changes |= _family(Path(data_file), family, data.n_betas)
    if shape_prior_file is not None:
        changes |= _shape_prior(Path(shape_prior_file), data.n_betas)
    if pose_prior_file is not None:
        changes |= _pose_prior(Path(pose_prior_file), data)
    if symmetry_file is not None:
        changes |= _symmetry(Path(symmetry_file), data.n_vertices)
    return check_body_model(replace(data, **changes), data.name)


def _named(data: BodyModelData, rig: Mapping[str, Any]) -> BodyModelData:
    """Name the joints, where the file does not; SMAL of 2017 has the first 33 of them, without ears."""
    names, numbered = rig['joint_names'], tuple(f'joint_{j}' for j in range(data.n_joints))
    if data.joint_names == numbered and data.n_joints in (len(names), len(names) - 2):
        data = replace(data, joint_names=tuple(names[: data.n_joints]))
    known = set(data.joint_names)
    if not known <= set(names):
        return data
    pairs = [(n, 'R' + n[1:]) for n in data.joint_names if n[0] == 'L' and 'R' + n[1:] in known]
    groups = {g: tuple(n for n in members if n in known) for g, members in rig['groups'].items()}
    return replace(
        data,
        joint_symmetry=data.joint_symmetry or tuple(pairs),
        joint_groups=groups | data.joint_groups,
        keypoint_sets=data.keypoint_sets or _keypoints(data, rig),
        up_axis=data.up_axis or rig['up_axis'],
        forward_axis=data.forward_axis or rig['forward_axis'],
    )


def _keypoints(data: BodyModelData, rig: Mapping[str, Any]) -> dict[str, dict[str, KeypointDefinition]]:
    """Return the joints and, for the mesh of the published size, what is named on its surface."""
    result: dict[str, KeypointDefinition] = {n: n for n in data.joint_names}
    for name, where in rig['keypoints'].items():
        if isinstance(where, str):
            result |= {name: where} if where in data.joint_names else {}
        elif data.n_vertices == rig['n_vertices']:
            result[name] = {vertex: 1 / len(where) for vertex in where}
    sets = {'smal': result}
    if data.n_vertices == rig['n_vertices']:
        sets['animer'] = {
            name: {vertex: 1 / len(where) for vertex in where} for name, where in rig['animer'].items()
        }
    return sets


def _family(path: Path, family: str | int, n_betas: int) -> dict[str, np.ndarray]:
    raw = _read_dict(path, ('cluster_means', 'cluster_cov'))
    means, spreads = (as_array(raw[k], f'{path}: {k}') for k in ('cluster_means', 'cluster_cov'))
    names = json.loads(RIG.read_text(encoding='utf-8'))['families']
    if isinstance(family, str) and family not in names:
        raise UnknownNameError(f'SMAL: no family {family!r}. {did_you_mean(family, names)}')
    index = names.index(family) if isinstance(family, str) else family
    if means.ndim != 2 or spreads.shape != (*means.shape, means.shape[1]) or not 0 <= index < len(means):
        raise ValueError(
            f'{path}: cluster_means (F, S) and cluster_cov (F, S, S) must hold the family {family!r}; got '
            f'{means.shape} and {spreads.shape}. Is it the data file of this model?'
        )
    if means.shape[1] < n_betas:
        raise ValueError(
            f'{path}: cluster_means must have the {n_betas} shape coefficients of the model; got {means.shape[1]}. '
            f'Load the model with num_betas={means.shape[1]}.'
        )
    mean, spread = means[index, :n_betas], spreads[index, :n_betas, :n_betas]
    return {'shape_mean': mean.astype(np.float64), 'shape_cov': spread.astype(np.float64)}


def _shape_prior(path: Path, n_betas: int) -> dict[str, np.ndarray]:
    mean, cov = read_shape_prior(path)
    known = len(mean)
    if n_betas > known:
        raise ValueError(
            f'{path}: mean must have the {n_betas} shape coefficients of the model; got {known}. Load the model with '
            f'num_betas={known}.'
        )
    return {'shape_mean': mean[:n_betas], 'shape_cov': cov[:n_betas, :n_betas]}


def _pose_prior(path: Path, data: BodyModelData) -> dict[str, np.ndarray]:
    mean, covariance = read_pose_prior(path)
    wanted = 3 * (data.n_joints - 1)
    if len(mean) not in (wanted, wanted + 3):
        raise ValueError(
            f'{path}: the pose prior must have 3 (J - 1) = {wanted} dimensions for {data.name}, or {wanted + 3} with '
            f'the root; got {len(mean)}. Take the prior of this model.'
        )
    # The root comes first, and how an animal faces the world is no pose.
    mean, covariance = mean[-wanted:], covariance[-wanted:, -wanted:]
    try:
        precision = np.linalg.inv(covariance + LEAST_SD_RAD**2 * np.eye(wanted))
    except np.linalg.LinAlgError as error:
        raise ValueError(f'{path}: the covariance must be invertible; got: {error}. Fit it anew.') from None
    return {'pose_prior_mean': mean, 'pose_prior_precision': 0.5 * (precision + precision.T)}


def _symmetry(path: Path, n_vertices: int) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise FileNotFoundError(f'{path}: the symmetry file must be there; it is not. Check the path.')
    other = whole_numbers(read_pickle(path), f'{path}').ravel()
    every = np.arange(n_vertices)
    if other.shape != every.shape or not np.array_equal(np.sort(other), every):
        raise ValueError(
            f'{path}: symmetry must name the other side of each of {n_vertices} vertices, each once; got '
            f'{len(other)} numbers. Is it the file of this model?'
        )
    return {'symmetry_plane_vertices': np.flatnonzero(other == every)}


def _read_dict(path: Path, keys: tuple[str, ...]) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f'{path}: the data file must be there; it is not. Check the path.')
    raw = read_pickle(path)
    missing = [k for k in keys if not isinstance(raw, dict) or k not in raw]
    if missing:
        result = shown_names(raw) if isinstance(raw, dict) else shown(raw)
        raise ValueError(f'{path}: must hold {", ".join(keys)}; got {result}. Is it the data file of SMAL?')
    return raw
