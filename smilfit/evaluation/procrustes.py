"""The best similarity between two point sets, on numpy arrays."""

import numpy as np
import torch
from jaxtyping import Float

from smilfit.geometry.alignment import procrustes


def align_similarity(
    source: Float[np.ndarray, 'B K 3'], target: Float[np.ndarray, 'B K 3'], weights: Float[np.ndarray, 'B K']
) -> Float[np.ndarray, 'B K 3']:
    """Move each frame's source onto its target by rotation, translation and scale.

    Least squares over the weighted points, never by a mirror image. Points of weight 0 are moved along.
    """
    points, goal, weight = (torch.tensor(x, dtype=torch.float64) for x in (source, target, weights))
    return procrustes(points, goal, weight).apply(points).numpy()
