"""The measurements that any model has: body length, limbs, bones, a girth, surface and volume."""

import numpy as np

from smilfit.body_models import BodyModelData
from smilfit.body_models.part_sizes import limb_pairs, midline_joints
from smilfit.measurements.definition_file import joints_between
from smilfit.measurements.definitions import BodyVolume, Chain, Distance, Girth, Measurement, SurfaceArea
from smilfit.measurements.geometry import VERTEX

BODY_LENGTH = 'body_length'


def default_measurements(data: BodyModelData) -> tuple[Measurement, ...]:
    """Derive measurements from a model's tree, sides and joint groups.

    Body length runs along the midline's joints from the skin at its front end through the root to that at its hind
    end, or to where a tail begins; where no midline is known, between the two joints that lie farthest apart. A limb
    goes from where it hangs on the midline to its farthest end; joint groups that are a chain are measured, too.
    Bones are named by the joint at their end.
    """
    found: list[Measurement] = [_body_length(data)]
    limbs: dict[tuple[str, ...], str] = {}
    for name, joints in data.joint_groups.items():
        if len(joints) > 2 and _is_chain(data, joints):
            limbs.setdefault(tuple(joints), f'chain_{name}')
    for pair in limb_pairs(data):
        for top in pair:
            chain = _to_farthest(data, top)
            if len(chain) > 2:
                limbs.setdefault(chain, f'limb_{top}')
    taken: set[str] = set()
    for chain, name in limbs.items():
        if name not in taken:
            taken.add(name)
            found.append(Chain(name, chain))
    bones = [(j, p) for j, p in enumerate(data.parents.tolist()) if p >= 0]
    for j, parent in bones:
        ends = data.joint_names[parent], data.joint_names[j]
        found.append(Distance(f'bone_{ends[1]}', ends))
    if len(data.faces):
        trunk = _trunk_bone(data)
        if trunk is not None:
            found.append(Girth('trunk_girth', trunk))
        found += [SurfaceArea('surface_area'), BodyVolume('volume')]
    return tuple(found)


def _body_length(data: BodyModelData) -> Measurement:
    midline = [name for name in midline_joints(data) if 'tail' not in name.lower()]
    chain = _longest(data, midline)
    if len(chain) > 1:
        behind = [
            name
            for name in midline_joints(data)
            if 'tail' in name.lower() and _parent(data, name) in (chain[0], chain[-1])
        ]
        before, after = _skin_end(data, chain[0], chain[1]), _skin_end(data, chain[-1], chain[-2])
        if behind and _parent(data, behind[0]) == chain[0]:
            before = (behind[0],)
        elif behind:
            after = (behind[0],)
        return Chain(BODY_LENGTH, (*before, *chain, *after))
    apart = np.linalg.norm(data.joints[:, None] - data.joints[None], axis=-1)
    a, b = np.unravel_index(int(apart.argmax()), apart.shape)
    return Distance(BODY_LENGTH, (data.joint_names[a], data.joint_names[b]))


def _skin_end(data: BodyModelData, end: str, inner: str) -> tuple[str, ...]:
    """Name the skin of a body's last joint that reaches farthest beyond it; nothing where it has none."""
    j, k = data.joint_names.index(end), data.joint_names.index(inner)
    own = np.flatnonzero(data.weights.to_dense().argmax(1) == j)
    beyond = (data.v_template[own] - data.joints[j]) @ (data.joints[j] - data.joints[k])
    return (f'{VERTEX}{own[beyond.argmax()]}',) if len(own) and beyond.max() > 0 else ()


def _longest(data: BodyModelData, names: list[str]) -> tuple[str, ...]:
    """Give the longest way through the tree between two of some joints."""
    best: tuple[str, ...] = ()
    length = 0.0
    for i, first in enumerate(names):
        for last in names[i + 1 :]:
            chain = joints_between(data, first, last, data.name)
            own = _length(data, chain)
            if own > length and set(chain) <= set(names):
                best, length = chain, own
    return best


def _length(data: BodyModelData, chain: tuple[str, ...]) -> float:
    places = data.joints[[data.joint_names.index(name) for name in chain]]
    return float(np.linalg.norm(np.diff(places, axis=0), axis=1).sum())


def _parent(data: BodyModelData, name: str) -> str:
    parent = int(data.parents[data.joint_names.index(name)])
    return data.joint_names[parent] if parent >= 0 else ''


def _is_chain(data: BodyModelData, joints: tuple[str, ...]) -> bool:
    return all(_parent(data, below) == above for above, below in zip(joints, joints[1:]))


def _to_farthest(data: BodyModelData, top: str) -> tuple[str, ...]:
    """Give the longest chain from a joint down to an end of the tree."""
    below = {top}
    chains: dict[str, tuple[str, ...]] = {top: (top,)}
    for name in data.joint_names:
        parent = _parent(data, name)
        if parent in below and name not in below:
            below.add(name)
            chains[name] = (*chains[parent], name)
    return max(chains.values(), key=lambda chain: _length(data, chain))


def _trunk_bone(data: BodyModelData) -> tuple[str, str] | None:
    """Give the longest bone of the midline, before a tail."""
    midline = [name for name in midline_joints(data) if 'tail' not in name.lower()]
    bones = [(_parent(data, name), name) for name in midline if _parent(data, name) in midline]
    return max(bones, key=lambda bone: _length(data, bone)) if bones else None
