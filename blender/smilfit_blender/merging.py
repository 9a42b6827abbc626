"""What Blender shows, written into the document that it was made of. Without Blender.

Numbers that Blender shows as the document has them, in single precision, stay as the document has them: of a model
that nobody touched the very same document comes back, digit by digit.
"""

import copy
import math

import numpy as np

from .document import (
    axes_of,
    faces_of,
    limits_of,
    names_of,
    regressed_joints,
    rest_joints,
    size_of,
    slider_unit,
    sliders_of,
    spreads_of,
    vertices_of,
)  # fmt: skip
from .errors import AddonError
from .following import follow_joints, follow_vertices, same_vertices
from .short_names import keypoint_of_group, skin_keypoints

# Of the mesh's size: what moved by less was rounded.
_ROUNDED = 1e-6
# Of the mesh's size: a joint nearer to where the regressor puts it is there; `smilfit model edit` has the same.
_OFF = 1e-5
# Weights and limits (rad) that changed by less were rounded; so were axes, which pass through angles of bones.
_ROUNDED_WEIGHT, _ROUNDED_RAD, _ROUNDED_AXES = 1e-6, 1e-6, 1e-5
# As smilfit wants them.
_SUM_TOLERANCE = 1e-4
_BETA, _EXPRESSION = 'beta_', 'expression_'


def merge(document, shown):
    """Write what is shown into a copy of the document.

    Returns:
        The document; what was changed beside what was asked for, in words; and whether bones are where the joint
        regressor does not put them, so that it must be fitted to them.

    Raises:
        AddonError: what is shown is no body: vertices without weight, joints of one name.
    """
    merged, told = copy.deepcopy(document), list(shown.told)
    tolerance = _ROUNDED * size_of(document)
    renamed = {j.before: j.name for j in shown.joints if j.before is not None}
    _check(shown)
    _merge_skin(merged, document, shown, tolerance)
    _merge_shape(merged, document, shown, tolerance, renamed, told)
    _merge_keypoints(merged, document, shown)
    follow_vertices(merged, document, shown.numbers, told)
    places = _merge_joints(merged, document, shown, tolerance)
    follow_joints(merged, document, [joint.name for joint in shown.joints], renamed, told)
    for key, value in shown.properties.items():
        if value != (document.get(key) or None):
            merged[key] = value
    if merged.get('joint_regressor') is None:
        return merged, told, False
    off = places - regressed_joints(merged, vertices_of(merged))
    # What the file states of joints may always have contradicted its regressor.
    was = rest_joints(document) - regressed_joints(document, vertices_of(document))
    was = dict(zip(names_of(document), was))
    changed = [row - was.get(joint.before, 0.0) for joint, row in zip(shown.joints, off)]
    return merged, told, bool(np.abs(changed).max() > _OFF * size_of(document))


def _check(shown):
    if not len(shown.vertices) or not len(shown.faces):
        raise AddonError('The mesh must have vertices and faces; it has none. Undo what deleted them.')
    names = [joint.name for joint in shown.joints]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise AddonError(
            f'Joints must have names of their own; got {", ".join(twice[:5])} twice. Rename bones.'
        )
    total = np.zeros(len(shown.vertices))
    for vertices, weights in shown.weights:
        np.add.at(total, vertices, weights)
    bare = np.flatnonzero(total <= 0)
    if len(bare):
        raise AddonError(
            f'Every vertex must hang on a bone; {len(bare)} do not, such as vertex {bare[0]}. Give them weights, or '
            'run "Clean weights".'
        )


def kept(old, new, tolerance):
    """Give the new numbers; where they are the old ones but for rounding, the old ones."""
    return np.where(np.abs(new - old) <= tolerance, old, new)


def _merge_skin(merged, document, shown, tolerance):
    old, new = vertices_of(document), shown.vertices.copy()
    known = shown.numbers >= 0
    new[known] = kept(old[shown.numbers[known]], new[known], tolerance)
    merged['vertices'] = new.tolist()
    if not (same_vertices(document, shown.numbers) and np.array_equal(faces_of(document), shown.faces)):
        merged['faces'] = shown.faces.tolist()
    before = {name: _dense(entry, len(old)) for name, entry in document['skin_weights'].items()}
    columns = np.zeros((len(shown.joints), len(new)))
    for j, (joint, (vertices, weights)) in enumerate(zip(shown.joints, shown.weights)):
        columns[j, vertices] = weights
        if joint.before in before:
            columns[j, known] = kept(
                before[joint.before][shown.numbers[known]], columns[j, known], _ROUNDED_WEIGHT
            )
    total = columns.sum(0)
    off = np.abs(total - 1) > _SUM_TOLERANCE
    columns[:, off] /= total[off]
    merged['skin_weights'] = {
        joint.name: _sparse(columns[j], document['skin_weights'].get(joint.before))
        for j, joint in enumerate(shown.joints)
    }


def _dense(entry, count):
    found = np.zeros(count)
    found[np.asarray(entry['vertices'], int)] = entry['weights']
    return found


def _sparse(column, before):
    """Write a column of weights, in the order that the document had where it has the same vertices."""
    vertices = np.flatnonzero(column)
    if before is not None and sorted(before['vertices']) == vertices.tolist():
        vertices = np.asarray(before['vertices'], int)
    return {'vertices': vertices.tolist(), 'weights': column[vertices].tolist()}


def _merge_shape(merged, document, shown, tolerance, renamed, told):
    """Take shape keys as directions: those of the document, without those that are gone, then new ones."""
    old = {name: moved for name, moved, _ in sliders_of(document)}
    shape = document.get('shape') or {}
    spreads, directions, numbers = spreads_of(document), [], []
    known = shown.numbers >= 0

    def of_key(name, factor, before):
        moved = shown.moved[name] / factor
        if before is not None:
            before = np.asarray(before, np.float64).reshape(-1, 3)
            moved[known] = kept(before[shown.numbers[known]], moved[known], tolerance / factor)
        return moved.tolist()

    for s, direction in enumerate(shape.get('directions', ())):
        name = f'{_BETA}{s}'
        if name in shown.moved:
            numbers.append(s)
            directions.append(
                dict(direction, vertices=of_key(name, slider_unit(*spreads[s]), direction['vertices']))
            )
    added = [name for name in shown.moved if name not in old]
    for name in added:
        direction = {'vertices': of_key(name, 1.0, None)}
        # Every direction has joint scales and offsets, or none has.
        direction |= {
            key: {} for key in ('joint_scales', 'joint_offsets') if directions and key in directions[0]
        }
        directions.append(direction)
    for direction in directions:
        for key in ('joint_scales', 'joint_offsets'):
            if key in direction:
                direction[key] = {renamed[n]: row for n, row in direction[key].items() if n in renamed}
    if added or len(numbers) < len(spreads):
        merged['shape'] = _other_shape(shape, numbers, len(added), told)
    if directions:
        merged['shape']['directions'] = directions
    elif shape:
        merged['shape'] = None
    if merged.get('expression'):
        names = [name for name in old if name.startswith(_EXPRESSION) and name in shown.moved]
        olds = document['expression']['directions']
        merged['expression'] = {
            'directions': [of_key(n, 1.0, olds[int(n.removeprefix(_EXPRESSION))]) for n in names]
        }
        if not names:
            del merged['expression']


def _other_shape(shape, numbers, n_added, told):
    """Give mean and covariance of the directions that stayed and of new ones, which are 0 and 1."""
    shape, count = copy.deepcopy(shape), len(numbers) + n_added
    was = len(shape.get('directions', ()))
    mean = np.zeros(was) if shape.get('mean') is None else np.asarray(shape['mean'], float)
    covariance = np.eye(was) if shape.get('covariance') is None else np.asarray(shape['covariance'], float)
    means, covariances = np.zeros(count), np.eye(count)
    means[: len(numbers)] = mean[numbers]
    covariances[: len(numbers), : len(numbers)] = covariance[np.ix_(numbers, numbers)] if numbers else 0
    told.append(f'the shape space has {count} coefficients now; it had {was}')
    if shape.pop('mixture', None) is not None:
        told.append('the kinds of animals in the shape space were left out: they were of other coefficients')
    return shape | {'mean': means.tolist(), 'covariance': covariances.tolist()}


def _merge_keypoints(merged, document, shown):
    """Take vertex groups as keypoints of the skin; those that are joints, or that no group can hold, stay."""
    sets, were = merged.get('keypoint_sets') or {}, skin_keypoints(document)
    known = shown.numbers >= 0
    for group, (set_name, point, _, _) in were.items():
        if group not in shown.keypoints:
            del sets[set_name][point]
    for group, (vertices, weights) in shown.keypoints.items():
        set_name, point = were[group][:2] if group in were else keypoint_of_group(group)
        column = np.zeros(len(shown.vertices))
        column[vertices] = weights
        before = sets.get(set_name, {}).get(point)
        if before is not None and group in were:
            old = _dense(before, len(document['vertices']))
            column[known] = kept(old[shown.numbers[known]], column[known], _ROUNDED_WEIGHT)
            sets[set_name][point] = _sparse(column, before)
        else:
            sets.setdefault(set_name, {})[point] = _sparse(column / column.sum(), None)
    merged['keypoint_sets'] = sets


def _merge_joints(merged, document, shown, tolerance):
    index = {name: j for j, name in enumerate(names_of(document))}
    places, axes, limits = rest_joints(document), axes_of(document), limits_of(document)
    limited = limits is not None or any(joint.limits is not None for joint in shown.joints)
    free = np.tile([-math.pi, math.pi], (3, 1))
    names = [joint.name for joint in shown.joints]
    found, stand = [], []
    for joint in shown.joints:
        j = index.get(joint.before)
        entry = copy.deepcopy(document['joints'][j]) if j is not None else {}
        entry |= {'name': joint.name, 'parent': None if joint.parent < 0 else names[joint.parent]}
        stand.append(joint.place if j is None else kept(places[j], joint.place, tolerance))
        if j is None or not np.array_equal(stand[-1], places[j]):
            entry['position'] = stand[-1].tolist()
        if np.abs(joint.axes - (np.eye(3) if j is None else axes[j])).max() > _ROUNDED_AXES:
            # Of single precision: made a rotation of double precision.
            u, _, v = np.linalg.svd(joint.axes)
            entry['axes'] = (u @ v).T.tolist()
        if limited:
            old = free if limits is None or j is None else limits[j]
            new = _limits(old, joint.limits)
            entry['limits_rad'] = new.tolist()
            if 'limits_from' in entry and not np.array_equal(new, old):
                entry['limits_from'] = 'user'
        found.append(entry)
    merged['joints'] = found
    return np.stack(stand)


def _limits(old, new):
    """Give a joint's limits; what is free in Blender and was free stays as it was written."""
    new = np.tile([-math.pi, math.pi], (3, 1)) if new is None else new
    were_free = (old[:, 0] <= -math.pi + _ROUNDED_RAD) & (old[:, 1] >= math.pi - _ROUNDED_RAD)
    are_free = (new[:, 0] <= -math.pi + _ROUNDED_RAD) & (new[:, 1] >= math.pi - _ROUNDED_RAD)
    return np.where((were_free & are_free)[:, None], old, kept(old, new, _ROUNDED_RAD))
