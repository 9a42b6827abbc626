"""Read the one-file body model, `*.smil.json`; `smil_json` says what it is.

Everything that belongs to a joint is found under the joint's name; vertices are numbered from 0.
"""

from pathlib import Path
from typing import Any

import numpy as np

from smilfit.body_models.checks import check_body_model
from smilfit.body_models.data import BodyModelData
from smilfit.body_models.files.json_values import JsonValues
from smilfit.body_models.files.smil_json_parts import (
    expression_directions,
    joint_number,
    keypoint_sets,
    landmarks,
    part_sizes,
    pose_spaces,
    shape_space,
    sparse_matrix,
    vector,
)
from smilfit.body_models.joint_limits import LIMIT_ORIGINS, USER
from smilfit.files import BadFileError, reading, shorten
from smilfit.files.text_files import parse_strict_json, read_strict_json
from smilfit.registry import reject_unknown

FORMAT = 'smil'
FORMAT_VERSION = 1
SCHEMA = Path(__file__).parent / 'schema' / 'smil.schema.json'
WHAT = 'a body model'
ADVICE = f'Correct the file; {SCHEMA.name} says what it must hold.'
# Of a model with pose directions; text takes three times the numbers' bytes.
MOST_BYTES = 1 << 30

_TOP = (
    'format', 'format_version', 'name', 'version', 'licence', 'unit', 'up_axis', 'forward_axis', 'joint_scale_mode',
    'joints', 'joint_groups', 'keypoint_groups', 'symmetry', 'keypoint_sets', 'landmarks', 'part_sizes', 'shape',
    'expression', 'pose_prior', 'pose_spaces', 'vertices', 'faces', 'skin_weights', 'joint_regressor',
    'pose_directions',
)  # fmt: skip


def read_smil_json(path: str | Path) -> BodyModelData:
    """Read a body model.

    Raises:
        BadFileError: not JSON (with the line), not this format, of a newer version, a key that is missing, stands
            twice or holds something else than it must, or a rule of the model broken.
        KeyError: an unknown key (with the near ones).
    """
    data = read_stored_smil_json(path)
    with reading(path, WHAT, ADVICE):
        return check_body_model(data, str(path))


def read_stored_smil_json(path: str | Path) -> BodyModelData:
    """Read a body model that may break rules of bodies, for whoever looks for faults; else as `read_smil_json`."""
    path = Path(path)
    return _checked_document(read_strict_json(path, WHAT, MOST_BYTES), path)


def smil_json_of_text(text: str, path: Path) -> BodyModelData:
    """Read a body model that stands inside another file, `path`, as `read_smil_json` reads its own."""
    data = _checked_document(parse_strict_json(text, path, WHAT), path)
    with reading(path, WHAT, ADVICE):
        return check_body_model(data, str(path))


def _checked_document(document: dict[str, Any], path: Path) -> BodyModelData:
    values = JsonValues(path, ADVICE)
    if document.get('format') != FORMAT:
        raise BadFileError(
            f'{path}: "format" must be {FORMAT!r}; got {shorten(document.get("format"))}. Is it a body model file?'
        )
    version = document.get('format_version', 0)
    if not isinstance(version, int) or isinstance(version, bool):
        values.refuse('format_version', 'be a whole number', version)
    if version > FORMAT_VERSION:
        raise BadFileError(
            f'{path}: format_version must be at most {FORMAT_VERSION}; got {shorten(version)}. It was written by a '
            'newer smilfit: update.'
        )
    reject_unknown(str(path), 'key', map(shorten, document), _TOP)
    for key in ('joints', 'vertices', 'faces', 'skin_weights'):
        if key not in document:
            raise BadFileError(f'{path}: the key {key!r} must be there; got {len(document)} others. {ADVICE}')
    with reading(path, WHAT, ADVICE):
        return body_of_document(document, values)


def body_of_document(document: dict[str, Any], values: JsonValues) -> BodyModelData:
    """Make a body model of a file's content, whatever rules of bodies it breaks."""
    joints = [
        values.record(j, f'joints[{i}]', ('name', 'parent', 'position'))
        for i, j in enumerate(_joints(document, values))
    ]
    index = _index(joints, values)
    vertices = _triples(values.numbers(document['vertices'], 'vertices', (1, 2)), 'vertices', values)
    prior = values.record(document.get('pose_prior'), 'pose_prior')
    symmetry = values.record(document.get('symmetry'), 'symmetry')
    plane, regressor = symmetry.get('plane_vertices'), document.get('joint_regressor')
    return BodyModelData(
        name=values.text(document.get('name'), 'name') or values.path.name.removesuffix('.smil.json'),
        v_template=vertices,
        faces=_triples(values.whole(document['faces'], 'faces', (1, 2)), 'faces', values),
        joint_names=tuple(index),
        parents=_parents(joints, index, values),
        weights=sparse_matrix(document['skin_weights'], 'skin_weights', index, len(vertices), values),
        joints=np.stack(
            [vector(j['position'], f'joints[{i}].position', values) for i, j in enumerate(joints)]
        ),
        joint_regressor=None
        if regressor is None
        else sparse_matrix(regressor, 'joint_regressor', index, len(vertices), values),
        expressiondirs=expression_directions(document, values),
        posedirs=values.optional(document.get('pose_directions'), 'pose_directions', 2),
        joint_scale_mode=values.text(document.get('joint_scale_mode', 'local'), 'joint_scale_mode') or '',
        joint_limits=_limits(joints, values),
        joint_axes=_axes(joints, values),
        joint_limits_from=_limits_from(joints, values),
        joint_symmetry=_pairs(symmetry.get('joint_pairs'), values),
        symmetry_plane_vertices=None if plane is None else values.whole(plane, 'symmetry.plane_vertices'),
        joint_groups=_groups(document, 'joint_groups', values),
        keypoint_groups=_groups(document, 'keypoint_groups', values),
        keypoint_sets=keypoint_sets(document.get('keypoint_sets'), values),
        landmarks=landmarks(document.get('landmarks'), values),
        part_sizes=part_sizes(document.get('part_sizes'), values),
        pose_spaces=pose_spaces(document.get('pose_spaces'), values),
        pose_prior_mean=values.optional(prior.get('mean'), 'pose_prior.mean', 1),
        pose_prior_precision=values.optional(prior.get('precision'), 'pose_prior.precision', 2),
        **shape_space(document.get('shape'), index, values),
        unit=values.text(document.get('unit'), 'unit'),
        up_axis=values.text(document.get('up_axis'), 'up_axis'),
        forward_axis=values.text(document.get('forward_axis'), 'forward_axis'),
        licence=values.text(document.get('licence'), 'licence'),
        version=values.text(document.get('version'), 'version'),
    )


def _joints(document: dict[str, Any], values: JsonValues) -> list[Any]:
    joints = values.items(document['joints'], 'joints')
    if not joints:
        values.refuse('joints', 'hold a joint', 'none')
    return joints


def _index(joints: list[dict[str, Any]], values: JsonValues) -> dict[str, int]:
    index: dict[str, int] = {}
    for i, joint in enumerate(joints):
        name = values.name(joint['name'], f'joints[{i}].name')
        if name in index:
            values.refuse('joint names', 'differ', f'{name!r} twice')
        index[name] = i
    return index


def _parents(joints: list[dict[str, Any]], index: dict[str, int], values: JsonValues) -> np.ndarray:
    result = []
    for i, joint in enumerate(joints):
        place = f'joints[{i}].parent'
        parent = joint['parent']
        result.append(
            -1 if parent is None else joint_number(index, values.name(parent, place), place, values)
        )
    return np.asarray(result, dtype=np.int64)


def _limits(joints: list[dict[str, Any]], values: JsonValues) -> np.ndarray | None:
    given = ['limits_rad' in joint for joint in joints]
    if not any(given):
        return None
    if not all(given):
        values.refuse(
            'joints', 'all have limits_rad, or none', 'some; write [-3.1416, 3.1416] for an axis that is free'
        )
    result = [values.numbers(j['limits_rad'], f'joints[{i}].limits_rad', (2,)) for i, j in enumerate(joints)]
    for i, limits in enumerate(result):
        if limits.shape != (3, 2):
            values.refuse(f'joints[{i}].limits_rad', 'be 3 pairs', f'shape {limits.shape}')
    return np.stack(result)


def _limits_from(joints: list[dict[str, Any]], values: JsonValues) -> tuple[str, ...]:
    """Read where limits are from; a joint that does not say it, beside some that do, has its user's."""
    if not any('limits_from' in joint for joint in joints):
        return ()
    result = [
        values.name(j.get('limits_from', USER), f'joints[{i}].limits_from') for i, j in enumerate(joints)
    ]
    for i, origin in enumerate(result):
        if origin not in LIMIT_ORIGINS:
            values.refuse(f'joints[{i}].limits_from', f'be one of {", ".join(LIMIT_ORIGINS)}', origin)
    return tuple(result)


def _axes(joints: list[dict[str, Any]], values: JsonValues) -> np.ndarray | None:
    """Read the joints' own axes, one a row in the file; a joint without any has the model's."""
    if not any('axes' in joint for joint in joints):
        return None
    result = np.tile(np.eye(3), (len(joints), 1, 1))
    for i, joint in enumerate(joints):
        if 'axes' in joint:
            axes = values.numbers(joint['axes'], f'joints[{i}].axes', (2,))
            if axes.shape != (3, 3):
                values.refuse(f'joints[{i}].axes', 'be 3 axes of 3 numbers', f'shape {axes.shape}')
            result[i] = axes.T
    return result


def _pairs(value: object, values: JsonValues) -> tuple[tuple[str, str], ...]:
    pairs = [
        values.names(pair, f'symmetry.joint_pairs[{i}]')
        for i, pair in enumerate(values.items(value, 'symmetry.joint_pairs'))
    ]
    for i, pair in enumerate(pairs):
        if len(pair) != 2:
            values.refuse(f'symmetry.joint_pairs[{i}]', 'be two joints', len(pair))
    return tuple((a, b) for a, b in pairs)


def _groups(document: dict[str, Any], key: str, values: JsonValues) -> dict[str, tuple[str, ...]]:
    table = values.record(document.get(key), key)
    return {group: values.names(members, f'{key}.{group}') for group, members in table.items()}


def _triples(array: np.ndarray, place: str, values: JsonValues) -> np.ndarray:
    if array.size % 3 or (array.ndim == 2 and array.size and array.shape[1] != 3):
        values.refuse(place, 'be rows of 3 numbers', f'shape {array.shape}')
    return array.reshape(-1, 3)
