"""Joint limits of models whose file states none."""

import math

import numpy as np
from jaxtyping import Float

from smilfit.body_models.data import BodyModelData
from smilfit.body_models.limit_origin import DEFAULT
from smilfit.body_models.part_sizes import midline_joints

# Turns away from the rest pose about any axis, rad. Hips and shoulders of running mammals sweep some 60 degrees to
# either side of standing and their other limb joints no more than 90; a single joint of a spine or a tail bends less.
LIMB_RAD = math.pi / 2
MIDLINE_RAD = math.pi / 4


def default_joint_limits(data: BodyModelData) -> Float[np.ndarray, 'J 3 2']:
    """Give limits from the rest pose and the tree: 90 degrees in limbs, 45 on the midline, to either side.

    The midline is what has no joint of the other side above it; a model without sides is all limbs.
    """
    midline = midline_joints(data)
    most = np.array([MIDLINE_RAD if name in midline else LIMB_RAD for name in data.joint_names])
    return most[:, None, None] * np.array([-1.0, 1.0]) * np.ones((1, 3, 1))


def default_joints(data: BodyModelData) -> list[bool]:
    """Say of each joint whether nobody stated its limits: the model has none, or marks them as default."""
    if data.joint_limits is None:
        return [True] * data.n_joints
    return [origin == DEFAULT for origin in data.joint_limits_from] or [False] * data.n_joints
