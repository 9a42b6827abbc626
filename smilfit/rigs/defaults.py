"""What stands in the place of what a model does not state."""

import numpy as np
from jaxtyping import Float

from smilfit.body_models.data import BodyModelData
from smilfit.body_models.joint_limits import default_joint_limits


def mean_betas(data: BodyModelData) -> Float[np.ndarray, ' S']:
    """Return the mean of the shape coefficients; zeros where none is stated."""
    return np.zeros(data.n_betas) if data.shape_mean is None else data.shape_mean


def shape_covariance(data: BodyModelData) -> Float[np.ndarray, 'S S']:
    """Return the covariance of the shape coefficients; the identity where none is stated."""
    return np.eye(data.n_betas) if data.shape_cov is None else data.shape_cov


def shape_sd(data: BodyModelData) -> Float[np.ndarray, ' S']:
    """Return the standard deviation of every shape coefficient; 1 where none is stated."""
    return np.sqrt(np.diag(shape_covariance(data)).clip(0))


def limits_or_default(data: BodyModelData) -> Float[np.ndarray, 'J 3 2']:
    """Return the joint limits, rad; those that fits take where none are stated."""
    return default_joint_limits(data) if data.joint_limits is None else data.joint_limits


def axes_of_joints(data: BodyModelData) -> Float[np.ndarray, 'J 3 3']:
    """Return each joint's own axes as columns; the model's where none are stated."""
    return np.tile(np.eye(3), (data.n_joints, 1, 1)) if data.joint_axes is None else data.joint_axes
