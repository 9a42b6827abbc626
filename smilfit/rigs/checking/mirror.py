"""Which joints are each other's other side, and along which axis a model is mirrored."""

import numpy as np

from smilfit.body_models.data import BodyModelData
from smilfit.body_models.sides import names_of_other_side

# A mirror is believed whose images lie within this share of the skeleton's size.
_MOST_OFF = 0.2


def joint_pairs(data: BodyModelData) -> list[tuple[int, int]]:
    """Give the pairs of joints of two sides that the model states; by their names where it states none."""
    index = {name: j for j, name in enumerate(data.joint_names)}
    if data.joint_symmetry:
        return [(index[a], index[b]) for a, b in data.joint_symmetry if a in index and b in index]
    return pairs_by_name(data)


def pairs_by_name(data: BodyModelData) -> list[tuple[int, int]]:
    """Give the pairs of joints, equally deep in the tree, whose names say that they are left and right."""
    index = {name: j for j, name in enumerate(data.joint_names)}
    depth: list[int] = []
    for j, parent in enumerate(data.parents.tolist()):
        depth.append(depth[parent] + 1 if 0 <= parent < j else 0)
    found = []
    for name, left in index.items():
        others = (index[other] for other in names_of_other_side(name, only_left=True) if other in index)
        right = next((j for j in others if depth[j] == depth[left]), None)
        if right is not None:
            found.append((left, right))
    return found


def mirror_axis(data: BodyModelData, pairs: list[tuple[int, int]]) -> int | None:
    """Give the axis (0, 1, 2) along which joints of the two sides are each other's image; None without one."""
    if not pairs:
        return None
    off = [mirror_error(data, pairs, axis) for axis in range(3)]
    axis = int(np.argmin(off))
    return axis if off[axis] < _MOST_OFF * np.ptp(data.joints, axis=0).max() else None


def mirror_centre(data: BodyModelData, pairs: list[tuple[int, int]], axis: int) -> float:
    """Give where the mirror stands on its axis: half way between the sides, median over pairs."""
    return float(np.median([data.joints[list(pair), axis].mean() for pair in pairs]))


def mirror_error(data: BodyModelData, pairs: list[tuple[int, int]], axis: int) -> float:
    """Measure how far images of joints lie from the joints of the other side, median over pairs, model unit."""
    left, right = (data.joints[list(side)] for side in zip(*pairs))
    image = left.copy()
    image[:, axis] = 2 * mirror_centre(data, pairs, axis) - left[:, axis]
    return float(np.median(np.linalg.norm(image - right, axis=1)))
