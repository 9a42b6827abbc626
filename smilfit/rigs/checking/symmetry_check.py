"""Pairs of legs, by which insects, spiders and crabs are told from what has a spine."""

from collections import Counter

import numpy as np

from smilfit.body_models.data import BodyModelData
from smilfit.body_models.files.stored_model import StoredModel
from smilfit.body_models.sides import names_of_other_side
from smilfit.rigs.checking.finding import (
    ERROR,
    NOTE,
    WARNING,
    Finding,
    counted,
    listed,
    share,
    vertex_places,
)

# A mirror is believed whose images lie within this share of the skeleton's size.
_MOST_OFF = 0.2


def joint_pairs(data: BodyModelData) -> list[tuple[int, int]]:
    """Return the pairs of joints of two sides that the model states; by their names where it states none."""
    index = {name: j for j, name in enumerate(data.joint_names)}
    if data.joint_symmetry:
        return [(index[a], index[b]) for a, b in data.joint_symmetry if a in index and b in index]
    return pairs_by_name(data)


def pairs_by_name(data: BodyModelData) -> list[tuple[int, int]]:
    """Return the pairs of joints, equally deep in the tree, whose names say that they are left and right."""
    index = {name: j for j, name in enumerate(data.joint_names)}
    depth: list[int] = []
    for j, parent in enumerate(data.parents.tolist()):
        depth.append(depth[parent] + 1 if 0 <= parent < j else 0)
    result = []
    for name, left in index.items():
        others = (index[other] for other in names_of_other_side(name, only_left=True) if other in index)
        right = next((j for j in others if depth[j] == depth[left]), None)
        if right is not None:
            result.append((left, right))
    return result


def mirror_axis(data: BodyModelData, pairs: list[tuple[int, int]]) -> int | None:
    """Return the axis (0, 1, 2) along which joints of the two sides are each other's image; None without one."""
    if not pairs:
        return None
    off = [mirror_error(data, pairs, axis) for axis in range(3)]
    axis = int(np.argmin(off))
    return axis if off[axis] < _MOST_OFF * np.ptp(data.joints, axis=0).max() else None


def mirror_centre(data: BodyModelData, pairs: list[tuple[int, int]], axis: int) -> float:
    """Return where the mirror stands on its axis: half way between the sides, median over pairs."""
    return float(np.median([data.joints[list(pair), axis].mean() for pair in pairs]))


def mirror_error(data: BodyModelData, pairs: list[tuple[int, int]], axis: int) -> float:
    """Measure how far images of joints lie from the joints of the other side, median over pairs, model unit."""
    left, right = (data.joints[list(side)] for side in zip(*pairs))
    image = left.copy()
    image[:, axis] = 2 * mirror_centre(data, pairs, axis) - left[:, axis]
    return float(np.median(np.linalg.norm(image - right, axis=1)))


# A leg has at least three joints and is at least so long, a share of the skeleton's size.
_JOINTS, _LENGTH = 3, 0.2
_PAIRS = 3


def legs_of_arthropods(data: BodyModelData) -> list[str]:
    """Name the first joints of legs on the left, where there are three pairs or more; none otherwise."""
    pairs = joint_pairs(data)
    paired = {j for pair in pairs for j in pair}
    size = np.ptp(data.joints, axis=0).max()
    result = []
    for left, _ in pairs:
        if data.parents[left] in paired:
            continue
        below, length = {left}, 0.0
        for j in range(left + 1, data.n_joints):
            if data.parents[j] in below:
                below.add(j)
                length += float(np.linalg.norm(data.joints[j] - data.joints[data.parents[j]]))
        if len(below) >= _JOINTS and length >= _LENGTH * size:
            result.append(data.joint_names[left])
    return result if len(result) >= _PAIRS else []


# Of the model's size, of what should be each other's image.
_OFF = 0.05
_OFF_PLANE = 0.01


def stated_symmetry(model: StoredModel) -> list[Finding]:
    """Find symmetry that is missing although names tell it, or that names joints that are not there or twice."""
    data, names = model.data, model.data.joint_names
    by_name = [(names[a], names[b]) for a, b in pairs_by_name(data)]
    if not data.joint_symmetry:
        if not by_name:
            return []
        what = f'no symmetry is stated, but the names tell {counted(len(by_name), "pair")}'
        advice = '`smilfit model clean --symmetry-from-names` writes them down.'
        where = listed([f'{a} / {b}' for a, b in by_name])
        return [Finding('symmetry', WARNING, where, what, advice, len(by_name))]
    result = []
    known = set(names)
    strange = [name for pair in data.joint_symmetry for name in pair if name not in known]
    if strange:
        what = 'symmetry names joints that are not there'
        result.append(Finding('symmetry', ERROR, listed(strange), what, 'Rename them.', len(strange)))
    counts = Counter(name for pair in data.joint_symmetry for name in pair)
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        what = 'symmetry has joints in several pairs'
        result.append(
            Finding('symmetry', ERROR, listed(twice), what, 'A joint has one other side.', len(twice))
        )
    stated = {frozenset(pair) for pair in data.joint_symmetry}
    missing = [pair for pair in by_name if frozenset(pair) not in stated]
    if missing:
        what = 'the names of these joints are those of two sides, but symmetry does not pair them'
        where = listed([f'{a} / {b}' for a, b in missing])
        advice = 'Add the pairs, or rename the joints.'
        result.append(Finding('symmetry', WARNING, where, what, advice, len(missing)))
    return result


def symmetry_of_the_tree(model: StoredModel) -> list[Finding]:
    """Find pairs whose parents are neither one joint nor a pair, and pairs that are not each other's image."""
    data, names, result = model.data, model.data.joint_names, []
    pairs = [(a, b) for a, b in joint_pairs(data) if a != b]
    other = dict(pairs) | {b: a for a, b in pairs}
    parents = data.parents.tolist()
    torn = [(a, b) for a, b in pairs if other.get(parents[a], parents[a]) != parents[b]]
    if torn:
        what = 'the two sides hang on different joints that are no pair'
        where = listed([f'{names[a]} / {names[b]}' for a, b in torn])
        result.append(Finding('symmetry', WARNING, where, what, 'Correct the pairs or the tree.', len(torn)))
    axis = mirror_axis(data, pairs)
    if pairs and axis is None:
        what = 'no axis mirrors the pairs of joints into each other'
        advice = 'Mirrored training images and symmetric sizes need one: is the rest pose symmetric?'
        result.append(Finding('symmetry', WARNING, '', what, advice, len(pairs)))
    if axis is None:
        return result
    centre = mirror_centre(data, pairs, axis)
    left, right = (data.joints[list(side)] for side in zip(*pairs))
    image = left.copy()
    image[:, axis] = 2 * centre - left[:, axis]
    off = np.linalg.norm(image - right, axis=1)
    far = np.flatnonzero(off > _OFF * model.size)
    if len(far):
        order = far[np.argsort(-off[far])]
        where = listed([f'{names[pairs[i][0]]} / {names[pairs[i][1]]}' for i in order])
        worst = share(float(off.max()), model.size)
        what = f'at rest the sides are not mirror images along {"xyz"[axis]}: up to {worst}'
        result.append(Finding('symmetry', NOTE, where, what, '', len(far), {'worst': float(off.max())}))
    return result


def symmetry_plane(model: StoredModel) -> list[Finding]:
    """Find vertices that are said to lie on the mirror and do not."""
    data = model.data
    plane, pairs = data.symmetry_plane_vertices, joint_pairs(data)
    axis = mirror_axis(data, pairs)
    if plane is None or not len(plane) or axis is None:
        return []
    off = np.abs(data.v_template[plane, axis] - mirror_centre(data, pairs, axis))
    far = plane[off > _OFF_PLANE * model.size]
    if not len(far):
        return []
    what = (
        f'{len(far)} of {len(plane)} vertices of the symmetry plane lie up to {share(float(off.max()), model.size)} '
        f'off the plane that mirrors the joints along {"xyz"[axis]}'
    )
    where = vertex_places(data, far)
    return [Finding('symmetry', WARNING, where, what, 'List those on the plane alone.', len(far))]
