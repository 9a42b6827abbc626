"""Checks of left and right: pairs of joints and of legs, and whether both sides are mirror images."""

from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np

from smilfit.body_models.data import BodyModelData
from smilfit.body_models.files.stored_model import StoredModel
from smilfit.rigs.checking.findings import ERROR, NOTE, WARNING, Finding, counted, share, vertex_places
from smilfit.rigs.read_rig import listed
from smilfit.rigs.symmetry import joint_pairs, mirror_axis, mirror_centre, mirror_distances, pairs_by_name

# Insects, spiders and crabs have so many pairs of legs or more; a leg has at least three joints and is at least so
# long, a share of the skeleton's size.
_PAIRS, _JOINTS, _LENGTH = 3, 3, 0.2
# Of the model's size, of what should be each other's image.
_OFF = 0.05
_OFF_PLANE = 0.01


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


def _listed_pairs(data: BodyModelData, pairs: Iterable[tuple[int, int]]) -> str:
    return listed([f'{data.joint_names[a]} / {data.joint_names[b]}' for a, b in pairs])


def stated_symmetry(model: StoredModel) -> Iterator[Finding]:
    """Find symmetry that is missing although names show it, or that names joints that are not there or twice."""
    data, names = model.data, model.data.joint_names
    by_name = pairs_by_name(data)
    if not data.joint_symmetry:
        if by_name:
            what = f'no symmetry is stated, but the names tell {counted(len(by_name), "pair")}'
            advice = '`smilfit model clean --symmetry-from-names` writes them down.'
            where = _listed_pairs(data, by_name)
            yield Finding('symmetry', WARNING, where, what, advice, len(by_name))
        return
    counts = Counter(name for pair in data.joint_symmetry for name in pair)
    strange = [name for pair in data.joint_symmetry for name in pair if name not in names]
    if strange:
        what = 'symmetry names joints that are not there'
        yield Finding('symmetry', ERROR, listed(strange), what, 'Rename them.', len(strange))
    several = [name for name, count in counts.items() if count > 1]
    if several:
        what, advice = 'symmetry has joints in several pairs', 'A joint has one other side.'
        yield Finding('symmetry', ERROR, listed(several), what, advice, len(several))
    stated = {frozenset(pair) for pair in data.joint_symmetry}
    missing = [(a, b) for a, b in by_name if frozenset((names[a], names[b])) not in stated]
    if missing:
        what = 'the names of these joints are those of two sides, but symmetry does not pair them'
        advice = 'Add the pairs, or rename the joints.'
        yield Finding('symmetry', WARNING, _listed_pairs(data, missing), what, advice, len(missing))


def symmetry_of_the_tree(model: StoredModel) -> Iterator[Finding]:
    """Find pairs whose parents are neither one joint nor a pair, and pairs that are not each other's image."""
    data = model.data
    pairs = [(a, b) for a, b in joint_pairs(data) if a != b]
    other = dict(pairs) | {b: a for a, b in pairs}
    parents = data.parents.tolist()
    torn = [(a, b) for a, b in pairs if other.get(parents[a], parents[a]) != parents[b]]
    if torn:
        what = 'the two sides hang on different joints that are no pair'
        where = _listed_pairs(data, torn)
        yield Finding('symmetry', WARNING, where, what, 'Correct the pairs or the tree.', len(torn))
    if not pairs:
        return
    axis = mirror_axis(data, pairs)
    if axis is None:
        what = 'no axis mirrors the pairs of joints into each other'
        advice = 'Mirrored training images and symmetric sizes need one: is the rest pose symmetric?'
        yield Finding('symmetry', WARNING, '', what, advice, len(pairs))
        return
    off = mirror_distances(data, pairs, axis)
    far = np.flatnonzero(off > _OFF * model.size)
    if len(far):
        where = _listed_pairs(data, (pairs[i] for i in far[np.argsort(-off[far])]))
        worst = float(off.max())
        what = (
            f'at rest the sides are not mirror images along {"xyz"[axis]}: up to {share(worst, model.size)}'
        )
        yield Finding('symmetry', NOTE, where, what, '', len(far), {'worst': worst})


def symmetry_plane(model: StoredModel) -> Iterator[Finding]:
    """Find vertices that are stated to lie on the mirror and do not."""
    data = model.data
    plane, pairs = data.symmetry_plane_vertices, joint_pairs(data)
    axis = mirror_axis(data, pairs)
    if plane is None or not len(plane) or axis is None:
        return
    off = np.abs(data.v_template[plane, axis] - mirror_centre(data, pairs, axis))
    far = plane[off > _OFF_PLANE * model.size]
    if len(far):
        what = (
            f'{len(far)} of {len(plane)} vertices of the symmetry plane lie up to '
            f'{share(float(off.max()), model.size)} off the plane that mirrors the joints along {"xyz"[axis]}'
        )
        where = vertex_places(data, far)
        yield Finding('symmetry', WARNING, where, what, 'List those on the plane alone.', len(far))
