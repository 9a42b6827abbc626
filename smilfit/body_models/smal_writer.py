"""Write body models as SMIL, SMAL and SMPL have them: pickles, and npz files as smplx reads them.

Both hold the same arrays by the same keys. Keys that SMILify added (limits, scale and offset directions, mean and
covariance of shapes, names) are written by its names; smplx passes over them.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np

from smilfit.body_models.checks import check_body_model
from smilfit.body_models.data import BodyModelData
from smilfit.body_models.smal_file import EXACT_JOINT_SHARE, ROUNDED_JOINT_SHARE
from smilfit.files import write_bytes
from smilfit.files.pickles.writer import pickle_bytes

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
    """Give a model's values by the keys of SMIL, SMAL and SMPL."""
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
    """Say in words what of a model neither the pickle nor the npz can hold."""
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
    lost = [words for words, there in present.items() if there]
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
