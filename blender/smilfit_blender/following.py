"""What names vertices by number and joints by name follows where these came, went or were renamed."""

import numpy as np

from .short_names import skin_keypoints


def same_vertices(document, numbers):
    """Say whether vertices are those of the document, in its order."""
    return np.array_equal(numbers, np.arange(len(document['vertices'])))


def follow_vertices(merged, document, numbers, told):
    """Give regressor, symmetry plane, landmarks and keypoints that no group shows the new numbers of their vertices.

    Args:
        merged: the new document; changed.
        document: the old one.
        numbers: (V,) of the document's vertices, -1 of new ones.
        told: gets what was left out, in words.
    """
    if same_vertices(document, numbers):
        return
    now = np.full(len(document['vertices']), -1)
    known = numbers >= 0
    now[numbers[known]] = np.flatnonzero(known)
    told.append(
        f'{int((now < 0).sum())} vertices are gone and {int((~known).sum())} are new: all have new numbers'
    )
    for row in (merged.get('joint_regressor') or {}).values():
        vertices = now[np.asarray(row['vertices'], int)]
        # A row that lost vertices would put its joint elsewhere: it is fitted anew.
        row |= {'vertices': [], 'weights': []} if (vertices < 0).any() else {'vertices': vertices.tolist()}
    symmetry = merged.get('symmetry') or {}
    if symmetry.get('plane_vertices') is not None:
        symmetry['plane_vertices'] = [
            int(v) for v in now[np.asarray(symmetry['plane_vertices'], int)] if v >= 0
        ]
    in_groups = {(set_name, point) for set_name, point, _, _ in skin_keypoints(document).values()}
    for set_name, points in (document.get('keypoint_sets') or {}).items():
        for point, definition in points.items():
            if isinstance(definition, dict) and (set_name, point) not in in_groups:
                _renumber(merged['keypoint_sets'][set_name], point, point, now, told)
    marks = merged.get('landmarks') or {}
    for name in list(marks):
        if isinstance(marks[name]['anchor'], dict):
            _renumber(marks[name], 'anchor', name, now, told)
            if 'anchor' not in marks[name]:
                del marks[name]
    if merged.pop('pose_directions', None) is not None:
        told.append('the pose directions were left out: they were of other vertices')


def _renumber(entries, key, name, now, told):
    vertices = now[np.asarray(entries[key]['vertices'], int)]
    if (vertices < 0).any():
        told.append(f'{name} was left out: its vertices are gone')
        del entries[key]
    else:
        entries[key] = dict(entries[key], vertices=vertices.tolist())


def follow_joints(merged, document, names, renamed, told):
    """Rename joints wherever they are named, and leave out what hung on joints that are gone.

    Args:
        merged: the new document; changed.
        document: the old one.
        names: of the joints now, in order.
        renamed: old name -> new name, of joints that are still there.
        told: gets what was left out, in words.
    """
    regressor = merged.get('joint_regressor')
    if regressor is not None:
        rows = {renamed[n]: row for n, row in regressor.items() if n in renamed}
        merged['joint_regressor'] = {n: rows.get(n, {'vertices': [], 'weights': []}) for n in names}
    before = [joint['name'] for joint in document['joints']]
    if names == before:
        return
    if gone := [name for name in before if name not in renamed]:
        told.append(f'joints that are gone: {", ".join(gone[:8])}; so is what named them')
    symmetry = merged.get('symmetry') or {}
    if symmetry.get('joint_pairs'):
        pairs = symmetry['joint_pairs']
        symmetry['joint_pairs'] = [[renamed[n] for n in pair] for pair in pairs if set(pair) <= set(renamed)]
    groups = merged.get('joint_groups') or {}
    for group, members in groups.items():
        groups[group] = [renamed[n] for n in members if n in renamed]
    for points in (merged.get('keypoint_sets') or {}).values():
        for point in [p for p, definition in points.items() if isinstance(definition, str)]:
            _rename(points, point, renamed)
    marks = merged.get('landmarks') or {}
    for name in list(marks):
        for key in ('bone', 'anchor'):
            if isinstance(marks[name].get(key), str):
                _rename(marks[name], key, renamed)
        if not {'bone', 'anchor'} <= set(marks[name]):
            del marks[name]
    parts = merged.get('part_sizes') or {}
    for name in list(parts):
        parts[name]['joints'] = [renamed[n] for n in parts[name]['joints'] if n in renamed]
        if not parts[name]['joints']:
            del parts[name]
    for space in (merged.get('pose_spaces') or {}).values():
        space['joints'] = [renamed.get(n, n) for n in space['joints']]
    if [renamed.get(name) for name in before] != names:
        for key in ('pose_prior', 'pose_spaces', 'pose_directions'):
            if merged.pop(key, None):
                told.append(f'the {key.replace("_", " ")} was left out: it was of other joints')


def _rename(entries, key, renamed):
    if entries[key] in renamed:
        entries[key] = renamed[entries[key]]
    else:
        del entries[key]
