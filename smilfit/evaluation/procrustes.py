"""The best similarity between two point sets, batched over frames."""

import numpy as np
from jaxtyping import Float


def align_similarity(
    source: Float[np.ndarray, 'B K 3'], target: Float[np.ndarray, 'B K 3'], weights: Float[np.ndarray, 'B K']
) -> Float[np.ndarray, 'B K 3']:
    """Move each frame's source onto its target by rotation, translation and scale (Umeyama 1991).

    Least squares over the weighted points; a mirror image is never used. A source without extent becomes the
    target's centroid. Points of weight 0 are moved along.
    """
    weight = weights[..., None] / np.maximum(weights.sum(1), 1e-300)[:, None, None]
    source = source.astype(np.float64)
    # Coordinates of missing points may be anything, NaN included.
    target = np.where(weights[..., None] > 0, target, 0.0).astype(np.float64)
    source_centre = (weight * source).sum(1, keepdims=True)
    target_centre = (weight * target).sum(1, keepdims=True)
    centred = source - source_centre
    covariance = np.swapaxes(weight * (target - target_centre), 1, 2) @ centred
    left, singular, right = np.linalg.svd(covariance)
    sign = np.ones_like(singular)
    sign[:, 2] = np.where(np.linalg.det(left) * np.linalg.det(right) < 0, -1.0, 1.0)
    rotation = (left * sign[:, None]) @ right
    variance = (weight * centred**2).sum((1, 2))
    # Below this a variance is rounding of the coordinates.
    extent = np.maximum(variance, 0.0) > 1e-24 * np.maximum((weight * source**2).sum((1, 2)), 1e-300)
    scale = np.where(extent, (singular * sign).sum(1) / np.where(extent, variance, 1.0), 0.0)
    return scale[:, None, None] * (centred @ np.swapaxes(rotation, 1, 2)) + target_centre
