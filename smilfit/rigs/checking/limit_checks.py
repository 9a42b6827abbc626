"""Joint limits: that cannot be, that leave out the rest pose, that differ between sides."""

import math
from collections.abc import Iterator

import numpy as np

from smilfit.body_models.data import BodyModelData
from smilfit.body_models.files.stored_model import StoredModel
from smilfit.rigs.checking.findings import ERROR, NOTE, WARNING, Finding
from smilfit.rigs.defaults import axes_of_joints
from smilfit.rigs.read_rig import listed
from smilfit.rigs.symmetry import joint_pairs, mirror_axis

# Sides whose limits differ by less are the same, rad: half a degree.
_SAME_RAD = math.radians(0.5)
# Ranges below this leave no turn, rad.
_LOCKED_RAD = 1e-6
# Cosine of the angle between axes that are the same.
_SAME_AXIS = 0.99
# An axis-angle component beyond this stands for a turn that another stands for as well.
_FULL_TURN = 2 * math.pi + 1e-3


def impossible_limits(model: StoredModel) -> Iterator[Finding]:
    """Find limits whose least is above their greatest, beyond a full turn, or without the rest pose."""
    data = model.data
    if data.joint_limits is None:
        what = 'the file states no joint limits: fits take 90 degrees in limbs and 45 on the midline'
        yield Finding('joint limits', NOTE, '', what, 'Set some in `smilfit model view`.')
        return
    low, high = data.joint_limits[..., 0], data.joint_limits[..., 1]
    crossed = low > high
    wide = (np.maximum(-low, high) > _FULL_TURN) & ~crossed
    reach = np.degrees(np.maximum(-low, high)[wide].max(initial=0))
    restless = ((low > 1e-6) | (high < -1e-6)) & ~crossed
    for axes, severity, what, advice in (
        (crossed, ERROR, 'the least angle is above the greatest', 'Swap the two numbers.'),
        (
            wide,
            WARNING,
            f'limits reach {reach:.0f} degrees; limits are in rad',
            'Were they written in degrees?',
        ),
        (
            restless,
            WARNING,
            'the rest pose, in which fits start, is outside of the limits',
            'Right for a joint that is never straight; else widen them to hold 0.',
        ),
    ):
        if axes.any():
            yield Finding('joint limits', severity, _named(data, axes), what, advice, int(axes.sum()))


def free_axes(data: BodyModelData) -> np.ndarray:
    """Count the axes (J,) about which each joint's limits let it turn; 0 where they lock it."""
    if data.joint_limits is None:
        return np.full(data.n_joints, 3)
    count: np.ndarray = (np.ptp(data.joint_limits, axis=-1) > _LOCKED_RAD).sum(1)
    return count


def asymmetric_limits(model: StoredModel) -> Iterator[Finding]:
    """Find pairs of joints whose limits are not each other's mirror image."""
    data = model.data
    pairs = joint_pairs(data)
    axis = mirror_axis(data, pairs)
    if data.joint_limits is None or axis is None:
        return
    uneven: list[tuple[float, str]] = []
    strange: list[str] = []
    for left, right in pairs:
        names = f'{data.joint_names[left]} / {data.joint_names[right]}'
        image = mirrored_limits(data, data.joint_limits[left], (left, right), axis)
        if image is None:
            strange.append(names)
        elif (off := float(np.abs(image - data.joint_limits[right]).max())) > _SAME_RAD:
            uneven.append((off, names))
    if strange:
        what = (
            'the axes of their limits are not mirror images, so the limits of both sides cannot be compared'
        )
        yield Finding('joint limits', NOTE, listed(strange), what, '', len(strange))
    if uneven:
        uneven.sort(reverse=True)
        worst = math.degrees(uneven[0][0])
        what = f'limits differ between the sides by up to {worst:.1f} degrees'
        advice = '`smilfit model clean --symmetrise-limits` gives both sides the wider ones.'
        where = listed([name for _, name in uneven])
        yield Finding('joint limits', WARNING, where, what, advice, len(uneven), {'worst_deg': worst})


def mirrored_limits(
    data: BodyModelData, limits: np.ndarray, pair: tuple[int, int], axis: int
) -> np.ndarray | None:
    """Return the limits (3, 2) of a pair's second joint that mirror some of the first one, along an axis of
    the model.

    A rotation vector mirrored along an axis keeps that component and changes the signs of the others. None where the
    joints' own axes are not each other's images.
    """
    mirror = -np.ones(3)
    mirror[axis] = 1
    own = axes_of_joints(data)
    along = (mirror[:, None] * own[pair[0]] * own[pair[1]]).sum(0)
    if (np.abs(along) < _SAME_AXIS).any():
        return None
    return np.where(along[:, None] > 0, limits, -limits[:, ::-1])


def _named(data: BodyModelData, axes: np.ndarray) -> str:
    """Name joints (J, 3) with the axes that are meant."""
    joints = np.flatnonzero(axes.any(1))
    return listed([f'{data.joint_names[j]} {"".join(np.array(list("xyz"))[axes[j]])}' for j in joints])
