"""Joint limits: that cannot be, that leave out the rest pose, that differ between sides."""

import math

import numpy as np

from smilfit.body_models.data import BodyModelData
from smilfit.body_models.stored_model import StoredModel
from smilfit.rigs.checking.finding import ERROR, NOTE, WARNING, Finding, listed
from smilfit.rigs.checking.mirror import joint_pairs, mirror_axis

# Sides whose limits differ by less are the same, rad: half a degree.
_SAME_RAD = math.radians(0.5)
# An axis-angle component beyond this stands for a turn that another stands for as well.
_FULL_TURN = 2 * math.pi + 1e-3


def impossible_limits(model: StoredModel) -> list[Finding]:
    """Find limits whose least is above their greatest, beyond a full turn, or without the rest pose."""
    data, found = model.data, []
    if data.joint_limits is None:
        what = 'the file states no joint limits: fits take 90 degrees in limbs and 45 on the midline'
        return [Finding('joint limits', NOTE, '', what, 'Set some in `smilfit model view`.')]
    low, high = data.joint_limits[..., 0], data.joint_limits[..., 1]
    crossed = low > high
    if crossed.any():
        names = _named(data, crossed)
        what, advice = 'the least angle is above the greatest', 'Swap the two numbers.'
        found.append(Finding('joint limits', ERROR, names, what, advice, int(crossed.sum())))
    wide = (np.maximum(-low, high) > _FULL_TURN) & ~crossed
    if wide.any():
        names = _named(data, wide)
        what = f'limits reach {np.degrees(np.maximum(-low, high)[wide].max()):.0f} degrees; limits are in rad'
        advice = 'Were they written in degrees?'
        found.append(Finding('joint limits', WARNING, names, what, advice, int(wide.sum())))
    restless = ((low > 1e-6) | (high < -1e-6)) & ~crossed
    if restless.any():
        names = _named(data, restless)
        what, advice = 'the rest pose is outside of the limits', 'Fits start there: widen them to hold 0.'
        found.append(Finding('joint limits', WARNING, names, what, advice, int(restless.sum())))
    return found


def asymmetric_limits(model: StoredModel) -> list[Finding]:
    """Find pairs of joints whose limits are not each other's mirror image."""
    data = model.data
    pairs = joint_pairs(data)
    axis = mirror_axis(data, pairs)
    if data.joint_limits is None or axis is None:
        return []
    uneven = []
    for left, right in pairs:
        off = np.abs(mirrored_limits(data.joint_limits[left], axis) - data.joint_limits[right]).max()
        if off > _SAME_RAD:
            uneven.append((float(off), f'{data.joint_names[left]} / {data.joint_names[right]}'))
    if not uneven:
        return []
    uneven.sort(reverse=True)
    worst = math.degrees(uneven[0][0])
    what = f'limits differ between the sides by up to {worst:.1f} degrees'
    advice = '`smilfit model clean --symmetrise-limits` gives both sides the wider ones.'
    figures = {'worst_deg': worst}
    names = listed([name for _, name in uneven])
    return [Finding('joint limits', WARNING, names, what, advice, len(uneven), figures)]


def mirrored_limits(limits: np.ndarray, axis: int) -> np.ndarray:
    """Give the limits (3, 2) that the joint of the other side has, mirrored along an axis.

    A rotation vector mirrored along an axis keeps that component and changes the signs of the others.
    """
    mirrored = -limits[:, ::-1]
    mirrored[axis] = limits[axis]
    return mirrored


def _named(data: BodyModelData, axes: np.ndarray) -> str:
    """Name joints (J, 3) with the axes that are meant."""
    joints = np.flatnonzero(axes.any(1))
    return listed([f'{data.joint_names[j]} {"".join(np.array(list("xyz"))[axes[j]])}' for j in joints])
