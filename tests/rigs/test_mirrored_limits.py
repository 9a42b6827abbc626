"""Limits of the other side, where joints have axes of their own."""

from dataclasses import replace

import numpy as np

from smilfit.body_models.files.stored_model import StoredModel
from smilfit.rigs.checking.limit_checks import asymmetric_limits, mirrored_limits
from tests.rigs.test_checking import CLEAN

LIMITS = np.array([[-0.1, 0.4], [-0.3, 0.2], [0.0, 0.6]])
TURNED = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])


def with_axes(left, right):
    return replace(CLEAN, joint_axes=np.stack((np.eye(3), left, right, np.eye(3))))


def mirrored_poses_are_allowed(data, axis=1):
    """Mirror rotation vectors at the corners of one side's limits; say whether they are corners of the other's."""
    flip = -np.ones(3)
    flip[axis] = 1
    wanted = mirrored_limits(data, LIMITS, (1, 2), axis)
    for corner in np.ndindex(2, 2, 2):
        vector = data.joint_axes[1] @ LIMITS[range(3), corner]
        across = data.joint_axes[2].T @ (flip * vector)
        if not ((across >= wanted[:, 0] - 1e-12) & (across <= wanted[:, 1] + 1e-12)).all():
            return False
    return np.allclose(wanted[:, 1] - wanted[:, 0], LIMITS[:, 1] - LIMITS[:, 0])


def test_mirrored_poses_are_within_mirrored_limits_along_any_axes():
    image = np.diag([1.0, -1.0, 1.0]) @ TURNED
    # A hinge of the other side may turn about the image of its axis, or about its opposite.
    for right in (image, -image, TURNED, image * [1, -1, 1]):
        assert mirrored_poses_are_allowed(with_axes(TURNED, right))


def test_axes_that_are_no_images_are_told():
    data = with_axes(TURNED, np.eye(3))
    assert mirrored_limits(data, LIMITS, (1, 2), 1) is None
    (result,) = asymmetric_limits(StoredModel(data))
    assert 'cannot be compared' in result.what
