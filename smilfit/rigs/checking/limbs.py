"""Pairs of legs, by which insects, spiders and crabs are told from what has a spine."""

import numpy as np

from smilfit.body_models.data import BodyModelData
from smilfit.rigs.checking.mirror import joint_pairs

# A leg has at least three joints and is at least so long, a share of the skeleton's size.
_JOINTS, _LENGTH = 3, 0.2
_PAIRS = 3


def legs_of_arthropods(data: BodyModelData) -> list[str]:
    """Name the first joints of legs on the left, where there are three pairs or more; none otherwise."""
    pairs = joint_pairs(data)
    paired = {j for pair in pairs for j in pair}
    size = np.ptp(data.joints, axis=0).max()
    found = []
    for left, _ in pairs:
        if data.parents[left] in paired:
            continue
        below, length = {left}, 0.0
        for j in range(left + 1, data.n_joints):
            if data.parents[j] in below:
                below.add(j)
                length += float(np.linalg.norm(data.joints[j] - data.joints[data.parents[j]]))
        if len(below) >= _JOINTS and length >= _LENGTH * size:
            found.append(data.joint_names[left])
    return found if len(found) >= _PAIRS else []
