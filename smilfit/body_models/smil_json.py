"""The one-file body model, `*.smil.json`: text that a person can read and edit.

The layout is described by `schema/smil.schema.json`. Everything that belongs to a joint is found under the
joint's name; vertices are numbered from 0. Numbers are written so that they read back to the same float64.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from smilfit.body_models.checks import check_body_model
from smilfit.body_models.data import BodyModelData, KeypointDefinition, PoseSpace, SparseMatrix
from smilfit.body_models.pickles.arrays import whole_numbers
from smilfit.registry import did_you_mean, reject_unknown

FORMAT = 'smil'
FORMAT_VERSION = 1
SCHEMA = Path(__file__).parent / 'schema' / 'smil.schema.json'

_TOP = (
    'format', 'format_version', 'name', 'version', 'licence', 'unit', 'up_axis', 'forward_axis', 'joint_scale_mode',
    'joints', 'joint_groups', 'keypoint_groups', 'symmetry', 'keypoint_sets', 'shape', 'expression', 'pose_prior',
    'pose_spaces', 'vertices', 'faces', 'skin_weights', 'joint_regressor', 'pose_directions',
)  # fmt: skip


def write_smil_json(data: BodyModelData, path: str | Path) -> Path:
    """Write a body model; the file appears whole or not at all.

    Raises:
        ValueError: the model breaks a rule.
    """
    path = Path(path)
    check_body_model(data, str(path))
    document = _document(data)
    lines = [f'{json.dumps(key)}: {_pretty(value)}' for key, value in document.items()]
    temporary = path.with_name(path.name + '.tmp')
    temporary.write_text('{\n' + ',\n'.join(lines) + '\n}\n', encoding='utf-8')
    temporary.replace(path)
    return path


def read_smil_json(path: str | Path) -> BodyModelData:
    """Read a body model.

    Raises:
        ValueError: not JSON (with the line), not this format, of a newer version, an unknown key (with the
            near ones), or a rule of the model broken.
    """
    path = Path(path)
    try:
        document = json.loads(path.read_text(encoding='utf-8'))
    except json.JSONDecodeError as error:
        raise ValueError(
            f'{path}: must be JSON; got {error.msg} at line {error.lineno}. Mend that line.'
        ) from error
    if not isinstance(document, dict) or document.get('format') != FORMAT:
        raise ValueError(f'{path}: "format" must be {FORMAT!r}; is it a body model file?')
    if document.get('format_version', 0) > FORMAT_VERSION:
        raise ValueError(
            f'{path}: format_version must be at most {FORMAT_VERSION}; got {document["format_version"]}. '
            'It was written by a newer smilfit: update.'
        )
    reject_unknown(str(path), 'key', document, _TOP)
    for key in ('joints', 'vertices', 'faces', 'skin_weights'):
        if key not in document:
            raise ValueError(f'{path}: the key {key!r} must be there; got {sorted(document)}.')
    try:
        data = _data(document, path)
    except KeyError as error:
        raise ValueError(f'{path}: the key {error} is missing. See the schema {SCHEMA.name}.') from error
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from error
    except (TypeError, AttributeError, IndexError, OverflowError) as error:
        raise ValueError(f'{path}: must follow the schema {SCHEMA.name}; got a fault: {error}.') from error
    return check_body_model(data, str(path))


def _document(data: BodyModelData) -> dict[str, Any]:
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
        set_name: {keypoint: _keypoint_out(definition) for keypoint, definition in definitions.items()}
        for set_name, definitions in data.keypoint_sets.items()
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


def _keypoint_out(definition: KeypointDefinition) -> Any:
    if isinstance(definition, str):
        return definition
    return {'vertices': list(definition), 'weights': list(definition.values())}


def _shape_out(data: BodyModelData) -> dict[str, Any] | None:
    if data.shapedirs is None:
        return None
    shape: dict[str, Any] = {
        'mean': None if data.shape_mean is None else data.shape_mean.tolist(),
        'covariance': None if data.shape_cov is None else data.shape_cov.tolist(),
    }
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


def _pretty(value: Any) -> str:
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


def _data(document: dict[str, Any], path: Path) -> BodyModelData:
    joints = document['joints']
    names = tuple(str(joint['name']) for joint in joints)
    index = {name: j for j, name in enumerate(names)}
    parents = [-1 if j['parent'] is None else _lookup(index, j['parent'], 'joints') for j in joints]
    limits = [joint.get('limits_rad') for joint in joints]
    if any(x is None for x in limits) and any(x is not None for x in limits):
        raise ValueError('joints must all have limits_rad, or none; write [-3.1416, 3.1416] for a free axis.')
    vertices = np.asarray(document['vertices'], dtype=np.float64).reshape(-1, 3)
    shape = document.get('shape') or {}
    directions = shape.get('directions') or []
    expression = document.get('expression') or {}
    symmetry = document.get('symmetry') or {}
    prior = document.get('pose_prior') or {}
    regressor = document.get('joint_regressor')
    plane = symmetry.get('plane_vertices')
    return BodyModelData(
        name=str(document.get('name') or path.name.removesuffix('.smil.json')),
        v_template=vertices,
        faces=whole_numbers(document['faces'], 'faces').reshape(-1, 3),
        joint_names=names,
        parents=np.asarray(parents, dtype=np.int64),
        weights=_sparse_in(document['skin_weights'], index, len(vertices), by='cols'),
        joints=np.asarray([j['position'] for j in joints], dtype=np.float64),
        joint_regressor=None if regressor is None else _sparse_in(regressor, index, len(vertices), by='rows'),
        shapedirs=_stack([d['vertices'] for d in directions]),
        shape_mean=_array(shape.get('mean')),
        shape_cov=_array(shape.get('covariance')),
        expressiondirs=_stack(expression.get('directions') or []),
        scaledirs=_joint_directions(directions, 'joint_scales', index),
        transdirs=_joint_directions(directions, 'joint_offsets', index),
        posedirs=_array(document.get('pose_directions')),
        joint_scale_mode=document.get('joint_scale_mode', 'local'),
        joint_limits=None if limits[0] is None else np.asarray(limits, dtype=np.float64),
        joint_symmetry=tuple((a, b) for a, b in symmetry.get('joint_pairs') or ()),
        symmetry_plane_vertices=None if plane is None else whole_numbers(plane, 'plane_vertices'),
        joint_groups=_groups(document.get('joint_groups')),
        keypoint_groups=_groups(document.get('keypoint_groups')),
        keypoint_sets={
            set_name: {k: _keypoint_in(d) for k, d in definitions.items()}
            for set_name, definitions in (document.get('keypoint_sets') or {}).items()
        },
        pose_spaces={
            name: PoseSpace(tuple(space['joints']), _array(space['mean']), _array(space['components']))
            for name, space in (document.get('pose_spaces') or {}).items()
        },
        pose_prior_mean=_array(prior.get('mean')),
        pose_prior_precision=_array(prior.get('precision')),
        **{key: document.get(key) for key in ('unit', 'up_axis', 'forward_axis', 'licence', 'version')},
    )


def _lookup(index: dict[str, int], name: str, where: str) -> int:
    if name not in index:
        raise ValueError(f'{where}: no joint {name!r}. {did_you_mean(name, index)}')
    return index[name]


def _groups(table: dict[str, Any] | None) -> dict[str, tuple[str, ...]]:
    return {group: tuple(members) for group, members in (table or {}).items()}


def _array(value: Any) -> np.ndarray | None:
    return None if value is None else np.asarray(value, dtype=np.float64)


def _stack(directions: list[Any]) -> np.ndarray | None:
    return np.stack([np.asarray(d, dtype=np.float64) for d in directions], -1) if directions else None


def _joint_directions(directions: list[Any], key: str, index: dict[str, int]) -> np.ndarray | None:
    if not any(key in d for d in directions):
        return None
    out = np.zeros((len(directions), len(index), 3))
    for s, direction in enumerate(directions):
        for name, row in direction.get(key, {}).items():
            out[s, _lookup(index, name, f'shape.directions.{s}.{key}')] = row
    return out


def _keypoint_in(definition: Any) -> KeypointDefinition:
    if isinstance(definition, str):
        return definition
    vertices = whole_numbers(definition['vertices'], 'keypoint_sets: vertices').tolist()
    return {v: float(w) for v, w in zip(vertices, definition['weights'], strict=True)}


def _sparse_in(table: dict[str, Any], index: dict[str, int], n_vertices: int, by: str) -> SparseMatrix:
    joint, vertex, values = [], [], []
    for name, entry in table.items():
        if len(entry['vertices']) != len(entry['weights']):
            raise ValueError(f'{name}: "vertices" and "weights" must be equally long.')
        joint += [_lookup(index, name, 'skin_weights' if by == 'cols' else 'joint_regressor')] * len(
            entry['vertices']
        )
        vertex += entry['vertices']
        values += entry['weights']
    rows, cols = (joint, vertex) if by == 'rows' else (vertex, joint)
    shape = (len(index), n_vertices) if by == 'rows' else (n_vertices, len(index))
    what = 'joint_regressor' if by == 'rows' else 'skin_weights'
    rows, cols = whole_numbers(rows, f'{what}: vertices'), whole_numbers(cols, f'{what}: vertices')
    return SparseMatrix(rows, cols, np.asarray(values, dtype=np.float64), shape)
