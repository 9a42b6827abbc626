"""Take the parts of a one-file body model that belong to joints by name: weights, directions, keypoints, pose spaces.

Every function refuses, by `JsonValues`, what is of another kind than it must be.
"""

from typing import Any

import numpy as np

from smilfit.body_models.data import KeypointDefinition, Landmark, PartSize, PoseSpace, SparseMatrix
from smilfit.body_models.files.json_values import JsonValues
from smilfit.body_models.shape_mixture import ShapeMixture
from smilfit.files import BadFileError, shorten
from smilfit.files.budget import MOST_ARRAY_BYTES, check_budget
from smilfit.registry import did_you_mean, reject_unknown


def shape_space(value: object, index: dict[str, int], values: JsonValues) -> dict[str, Any]:
    """Take the shape directions, their mean, covariance and mixture, and what they do to joints."""
    shape = values.record(value, 'shape')
    directions = [
        values.record(d, f'shape.directions[{s}]', ('vertices',))
        for s, d in enumerate(values.items(shape.get('directions'), 'shape.directions'))
    ]
    return {
        'shapedirs': _stack([d['vertices'] for d in directions], 'shape.directions[{}].vertices', values),
        'shape_mean': values.optional(shape.get('mean'), 'shape.mean', 1),
        'shape_cov': values.optional(shape.get('covariance'), 'shape.covariance', 2),
        'shape_mixture': shape_mixture(shape.get('mixture'), values),
        'scaledirs': _joint_directions(directions, 'joint_scales', index, values),
        'log_scale_directions': _log_scales(shape.get('joint_scale_form', 'linear'), values),
        'transdirs': _joint_directions(directions, 'joint_offsets', index, values),
    }


def _log_scales(value: object, values: JsonValues) -> bool:
    if value not in ('linear', 'log'):
        values.refuse('shape.joint_scale_form', 'be "linear" or "log"', value)
    return value == 'log'


def shape_mixture(value: object, values: JsonValues) -> ShapeMixture | None:
    """Take the kinds of animals; None where there are none."""
    place = 'shape.mixture'
    kinds = [
        values.record(kind, f'{place}[{i}]', ('name', 'weight', 'mean', 'covariance'))
        for i, kind in enumerate(values.items(value, place))
    ]
    if not kinds:
        return None
    means = [values.numbers(kind['mean'], f'{place}[{i}].mean') for i, kind in enumerate(kinds)]
    covs = [
        values.numbers(kind['covariance'], f'{place}[{i}].covariance', (2,)) for i, kind in enumerate(kinds)
    ]
    n_betas = len(means[0])
    for i, (mean, cov) in enumerate(zip(means, covs)):
        if mean.shape != (n_betas,) or cov.shape != (n_betas, n_betas):
            rule = f'have {n_betas} means, as the first, and a covariance of as many rows'
            values.refuse(f'{place}[{i}]', rule, f'{mean.shape} and {cov.shape}')
    return ShapeMixture(
        tuple(values.name(kind['name'], f'{place}[{i}].name') for i, kind in enumerate(kinds)),
        np.array([values.number(kind['weight'], f'{place}[{i}].weight') for i, kind in enumerate(kinds)]),
        np.stack(means),
        np.stack(covs),
    )


def _joint_directions(
    directions: list[dict[str, Any]], key: str, index: dict[str, int], values: JsonValues
) -> np.ndarray | None:
    if not any(key in d for d in directions):
        return None
    check_budget(values.path, f'shape.{key}', len(directions) * len(index) * 24, MOST_ARRAY_BYTES)
    out = np.zeros((len(directions), len(index), 3))
    for s, direction in enumerate(directions):
        place = f'shape.directions[{s}].{key}'
        for name, row in values.record(direction.get(key), place).items():
            out[s, joint_number(index, name, place, values)] = vector(row, place, values)
    return out


def expression_directions(document: dict[str, Any], values: JsonValues) -> np.ndarray | None:
    """Take the expression directions (V, 3, E); None without."""
    expression = values.record(document.get('expression'), 'expression')
    directions = values.items(expression.get('directions'), 'expression.directions')
    return _stack(directions, 'expression.directions[{}]', values)


def _stack(directions: list[Any], place: str, values: JsonValues) -> np.ndarray | None:
    result = [values.numbers(d, place.format(s), (2,)) for s, d in enumerate(directions)]
    for s, direction in enumerate(result):
        if direction.shape != result[0].shape:
            values.refuse(
                place.format(s), f'have shape {result[0].shape}, as the first', str(direction.shape)
            )
    return np.stack(result, -1) if result else None


def pose_spaces(value: object, values: JsonValues) -> dict[str, PoseSpace]:
    """Take named subspaces of poses."""
    result = {}
    for name, space in values.record(value, 'pose_spaces').items():
        place = f'pose_spaces.{name}'
        space = values.record(space, place, ('joints', 'mean', 'components'))
        result[name] = PoseSpace(
            values.names(space['joints'], f'{place}.joints'),
            values.numbers(space['mean'], f'{place}.mean'),
            values.numbers(space['components'], f'{place}.components', (1, 2)),
        )
    return result


def keypoint_sets(value: object, values: JsonValues) -> dict[str, dict[str, KeypointDefinition]]:
    """Take keypoints, each a joint or weighted vertices."""
    return {
        name: {
            keypoint: _keypoint(definition, f'keypoint_sets.{name}.{keypoint}', values)
            for keypoint, definition in values.record(definitions, f'keypoint_sets.{name}').items()
        }
        for name, definitions in values.record(value, 'keypoint_sets').items()
    }


def _keypoint(definition: object, place: str, values: JsonValues) -> KeypointDefinition:
    if isinstance(definition, str):
        return values.name(definition, place)
    vertices, weights = _vertex_weights(definition, place, values)
    if len(np.unique(vertices)) != len(vertices):
        values.refuse(place, 'name a vertex once', 'one twice')
    return dict(zip(vertices.tolist(), weights.tolist()))


def landmarks(value: object, values: JsonValues) -> dict[str, Landmark]:
    """Take landmarks: an anchor, a bone, and what is known of the offset."""
    result = {}
    for name, entry in values.record(value, 'landmarks').items():
        place = f'landmarks.{name}'
        entry = values.record(entry, place, ('anchor', 'bone'))
        reject_unknown(f'{values.path}: {place}', 'key', entry, ('anchor', 'bone', 'offset', 'sd'))
        x, y, z = vector(entry.get('offset', [0.0, 0.0, 0.0]), f'{place}.offset', values).tolist()
        result[name] = Landmark(
            _keypoint(entry['anchor'], f'{place}.anchor', values),
            values.name(entry['bone'], f'{place}.bone'),
            (x, y, z),
            values.number(entry.get('sd', 0.0), f'{place}.sd'),
        )
    return result


def part_sizes(value: object, values: JsonValues) -> dict[str, PartSize]:
    """Take the parts of the body whose sizes a fit may change."""
    result = {}
    for name, entry in values.record(value, 'part_sizes').items():
        place = f'part_sizes.{name}'
        entry = values.record(entry, place, ('joints',))
        reject_unknown(f'{values.path}: {place}', 'key', entry, ('joints', 'sd', 'limit'))
        numbers = {
            key: values.number(entry[key], f'{place}.{key}') for key in ('sd', 'limit') if key in entry
        }
        result[name] = PartSize(values.names(entry['joints'], f'{place}.joints'), **numbers)
    return result


def sparse_matrix(
    value: object, place: str, index: dict[str, int], n_vertices: int, values: JsonValues
) -> SparseMatrix:
    """Take weights by joint: (V, J) of the skin, (J, V) of the joint regressor."""
    joints, vertices, weights = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0)]
    for name, entry in values.record(value, place, ()).items():
        number = joint_number(index, name, place, values)
        mine, shares = _vertex_weights(entry, f'{place}.{name}', values)
        if mine.size and (mine.min() < 0 or mine.max() >= n_vertices):
            outside = int(mine[(mine < 0) | (mine >= n_vertices)][0])
            values.refuse(f'{place}.{name}.vertices', f'be 0 to {n_vertices - 1}', outside)
        joints.append(np.full(len(mine), number))
        vertices.append(mine)
        weights.append(shares)
    joint, vertex, weight = (np.concatenate(part) for part in (joints, vertices, weights))
    if place == 'joint_regressor':
        return SparseMatrix(joint, vertex, weight, (len(index), n_vertices))
    return SparseMatrix(vertex, joint, weight, (n_vertices, len(index)))


def _vertex_weights(value: object, place: str, values: JsonValues) -> tuple[np.ndarray, np.ndarray]:
    entry = values.record(value, place, ('vertices', 'weights'))
    vertices = values.whole(entry['vertices'], f'{place}.vertices')
    weights = values.numbers(entry['weights'], f'{place}.weights')
    if len(vertices) != len(weights):
        values.refuse(place, 'have as many vertices as weights', f'{len(vertices)} and {len(weights)}')
    return vertices, weights


def vector(value: object, place: str, values: JsonValues) -> np.ndarray:
    """Take three numbers."""
    vector = values.numbers(value, place)
    if vector.shape != (3,):
        values.refuse(place, 'be 3 numbers', f'{len(vector)}')
    return vector


def joint_number(index: dict[str, int], name: str, where: str, values: JsonValues) -> int:
    """Find a joint by name."""
    if name not in index:
        label = shorten(name)
        raise BadFileError(f'{values.path}: {where}: no joint {label!r}. {did_you_mean(label, index)}')
    return index[name]
