"""Write the one-file body model, `*.smil.json`: text that a person can read and edit.

The layout is described by `schema/smil.schema.json`. Everything that belongs to a joint is found under the
joint's name; vertices are numbered from 0. Numbers are written so that they read back to the same float64.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from smilfit.body_models.checks import check_body_model
from smilfit.body_models.data import BodyModelData, Landmark, SparseMatrix, keypoint_record
from smilfit.body_models.files.smil_json_reader import FORMAT, FORMAT_VERSION, SCHEMA, read_smil_json
from smilfit.files import write_text

__all__ = ['FORMAT', 'FORMAT_VERSION', 'SCHEMA', 'read_smil_json', 'write_smil_json']


def write_smil_json(data: BodyModelData, path: str | Path) -> Path:
    """Write a body model; the file appears whole or not at all.

    Raises:
        ValueError: the model breaks a rule.
    """
    path = Path(path)
    check_body_model(data, str(path))
    document = smil_document(data)
    lines = [f'{json.dumps(key)}: {_pretty(value)}' for key, value in document.items()]
    return write_text(path, '{\n' + ',\n'.join(lines) + '\n}\n')


def smil_document(data: BodyModelData) -> dict[str, Any]:
    """Return what a file of a body model holds, as JSON has it."""
    names = data.joint_names
    joints = []
    for j, name in enumerate(names):
        joint = {
            'name': name,
            'parent': None if j == 0 else names[data.parents[j]],
            'position': data.joints[j].tolist(),
        }
        if data.joint_limits is not None:
            joint['limits_rad'] = data.joint_limits[j].tolist()
        if data.joint_limits_from:
            joint['limits_from'] = data.joint_limits_from[j]
        if data.joint_axes is not None and not np.array_equal(data.joint_axes[j], np.eye(3)):
            joint['axes'] = data.joint_axes[j].T.tolist()
        joints.append(joint)
    document: dict[str, Any] = {'format': FORMAT, 'format_version': FORMAT_VERSION}
    document |= {key: getattr(data, key) for key in ('name', 'version', 'licence', 'unit', 'up_axis')}
    document |= {
        'forward_axis': data.forward_axis,
        'joint_scale_mode': data.joint_scale_mode,
        'joints': joints,
    }
    document['joint_groups'] = {group: list(members) for group, members in data.joint_groups.items()}
    if data.keypoint_groups:
        document['keypoint_groups'] = {g: list(members) for g, members in data.keypoint_groups.items()}
    plane = data.symmetry_plane_vertices
    document['symmetry'] = {
        'joint_pairs': [list(pair) for pair in data.joint_symmetry],
        'plane_vertices': None if plane is None else plane.tolist(),
    }
    document['keypoint_sets'] = {
        set_name: {keypoint: keypoint_record(definition) for keypoint, definition in definitions.items()}
        for set_name, definitions in data.keypoint_sets.items()
    }
    if data.landmarks:
        document['landmarks'] = landmarks_out(data.landmarks)
    if data.part_sizes:
        document['part_sizes'] = {
            name: {'joints': list(part.joints), 'sd': part.sd, 'limit': part.limit}
            for name, part in data.part_sizes.items()
        }
    document['shape'] = _shape_out(data)
    if data.expressiondirs is not None:
        document['expression'] = {'directions': [d.tolist() for d in np.moveaxis(data.expressiondirs, -1, 0)]}
    if data.pose_prior_precision is not None:
        mean = np.zeros(3 * (data.n_joints - 1)) if data.pose_prior_mean is None else data.pose_prior_mean
        document['pose_prior'] = {'mean': mean.tolist(), 'precision': data.pose_prior_precision.tolist()}
    if data.pose_spaces:
        document['pose_spaces'] = {
            name: {
                'joints': list(space.joints),
                'mean': space.mean.tolist(),
                'components': space.components.tolist(),
            }
            for name, space in data.pose_spaces.items()
        }
    document['vertices'] = data.v_template.tolist()
    document['faces'] = data.faces.tolist()
    document['skin_weights'] = _sparse_out(data.weights, names, by='cols')
    if data.joint_regressor is not None:
        document['joint_regressor'] = _sparse_out(data.joint_regressor, names, by='rows')
    if data.posedirs is not None:
        document['pose_directions'] = data.posedirs.tolist()
    return document


def landmarks_out(landmarks: Mapping[str, Landmark]) -> dict[str, dict[str, Any]]:
    """Write landmarks as `smil_json_parts.landmarks` reads them."""
    return {name: mark.record() for name, mark in landmarks.items()}


def _shape_out(data: BodyModelData) -> dict[str, Any] | None:
    if data.shapedirs is None:
        return None
    shape: dict[str, Any] = {
        'mean': None if data.shape_mean is None else data.shape_mean.tolist(),
        'covariance': None if data.shape_cov is None else data.shape_cov.tolist(),
    }
    if data.log_scale_directions:
        shape['joint_scale_form'] = 'log'
    if data.shape_mixture is not None:
        shape['mixture'] = data.shape_mixture.record()
    directions = []
    for s in range(data.n_betas):
        direction: dict[str, Any] = {'vertices': data.shapedirs[..., s].tolist()}
        for key, array in (('joint_scales', data.scaledirs), ('joint_offsets', data.transdirs)):
            if array is not None:
                direction[key] = {n: row.tolist() for n, row in zip(data.joint_names, array[s]) if row.any()}
        directions.append(direction)
    return shape | {'directions': directions}


def _sparse_out(matrix: SparseMatrix, names: tuple[str, ...], by: str) -> dict[str, Any]:
    joint, vertex = (matrix.rows, matrix.cols) if by == 'rows' else (matrix.cols, matrix.rows)
    out = {}
    for j, name in enumerate(names):
        mine = np.flatnonzero(joint == j)
        mine = mine[np.argsort(vertex[mine])]
        out[name] = {'vertices': vertex[mine].tolist(), 'weights': matrix.values[mine].tolist()}
    return out


def _pretty(value: object) -> str:
    """Write small things on one line, a long list or dict one item a line."""
    flat = json.dumps(value, allow_nan=False, ensure_ascii=False)
    if len(flat) < 100 or not isinstance(value, (list, dict)):
        return flat
    if isinstance(value, dict):
        return (
            '{\n'
            + ',\n'.join(f'{json.dumps(k, ensure_ascii=False)}: {_pretty(v)}' for k, v in value.items())
            + '\n}'
        )
    if not any(isinstance(item, (list, dict)) for item in value):
        return flat
    return '[\n' + ',\n'.join(_pretty(item) for item in value) + '\n]'
