"""Limits of joints: where they are from, the usual ones, and the axes that they are stated along."""

import math
from collections.abc import Iterable

import numpy as np
from jaxtyping import Float
from torch import Tensor

from smilfit.body_models.data import BodyModelData
from smilfit.body_models.part_sizes import midline_joints

# Stated by the file of the rig; seen in its clips; written by a user; taken because nothing was stated; a joint that
# moves nothing.
FILE, CLIPS, USER, DEFAULT, LOCKED = 'file', 'clips', 'user', 'default', 'locked'
LIMIT_ORIGINS = {
    FILE: 'by the file it came from',
    CLIPS: 'by the ranges of its clips, 15 degrees wider',
    USER: 'by a user',
    DEFAULT: 'default (90 degrees in limbs, 45 on the midline)',
    LOCKED: 'locked, since they move nothing',
}


def origins_in_words(origins: Iterable[str]) -> str:
    """Count joints by where their limits are from, such as `40 by the file it came from, 3 by a user`."""
    given = list(origins)
    counts = {origin: given.count(origin) for origin in LIMIT_ORIGINS}
    return ', '.join(f'{n} {LIMIT_ORIGINS[origin]}' for origin, n in counts.items() if n)


# Turns away from the rest pose about any axis, rad. Hips and shoulders of running mammals sweep some 60 degrees to
# either side of standing and their other limb joints no more than 90; a single joint of a spine or a tail bends less.
LIMB_RAD = math.pi / 2
MIDLINE_RAD = math.pi / 4


def default_joint_limits(data: BodyModelData) -> Float[np.ndarray, 'J 3 2']:
    """Return limits from the rest pose and the tree: 90 degrees in limbs, 45 on the midline, to either side.

    The midline is what has no joint of the other side above it; a model without sides is all limbs.
    """
    midline = midline_joints(data)
    most = np.array([MIDLINE_RAD if name in midline else LIMB_RAD for name in data.joint_names])
    return most[:, None, None] * np.array([-1.0, 1.0]) * np.ones((1, 3, 1))


def default_joints(data: BodyModelData) -> list[bool]:
    """Return for each joint whether nobody stated its limits: the model has none, or marks them as default."""
    if data.joint_limits is None:
        return [True] * data.n_joints
    return [origin == DEFAULT for origin in data.joint_limits_from] or [False] * data.n_joints


def own_components(
    axis_angle: Float[Tensor, '*n J 3'], axes: Float[Tensor, 'J 3 3'] | None
) -> Float[Tensor, '*n J 3']:
    """Return the components of rotation vectors along their joints' own axes; None stands for the model's.

    Args:
        axis_angle: of J joints, in the model's axes.
        axes: of the same joints, as columns.
    """
    if axes is None:
        return axis_angle
    return (axes.to(axis_angle).mT @ axis_angle.unsqueeze(-1)).squeeze(-1)


def from_own_components(
    components: Float[Tensor, '*n J 3'], axes: Float[Tensor, 'J 3 3'] | None
) -> Float[Tensor, '*n J 3']:
    """Return rotation vectors of components along their joints' own axes: the way back from `own_components`."""
    if axes is None:
        return components
    return (axes.to(components) @ components.unsqueeze(-1)).squeeze(-1)
