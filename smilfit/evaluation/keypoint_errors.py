"""Distances between predicted and true keypoints, and what is stated about them. Pure numpy.

Everywhere `weights` (or `visible`) says how much a truth counts; a truth of weight 0 never does, whatever its
coordinates. A prediction that is not finite is infinitely wrong: it misses every threshold and is not left
out. Where nothing counts the answer is NaN.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from smilfit.geometry.alignment import procrustes


def align_similarity(
    source: Float[np.ndarray, 'B K 3'], target: Float[np.ndarray, 'B K 3'], weights: Float[np.ndarray, 'B K']
) -> Float[np.ndarray, 'B K 3']:
    """Move each frame's source onto its target by rotation, translation and scale.

    Least squares over the weighted points, never by a mirror image. Points of weight 0 are moved along.
    """
    points, goal, weight = (torch.tensor(x, dtype=torch.float64) for x in (source, target, weights))
    return procrustes(points, goal, weight).apply(points).numpy()


PCK_THRESHOLDS_PX = np.arange(1.0, 51.0)
PERCENTILES = (50, 75, 90, 95, 99)
Weights = Bool[np.ndarray, '*s'] | Float[np.ndarray, '*s']


def distances(
    predicted: Float[np.ndarray, '*s d'], truth: Float[np.ndarray, '*s d'], visible: Bool[np.ndarray, '*s']
) -> Float[np.ndarray, '*s']:
    """Measure Euclidean distances: NaN without a truth, inf where the prediction is not finite."""
    ok = visible & np.isfinite(predicted).all(-1)
    difference = np.where(ok[..., None], predicted, 0.0) - np.where(ok[..., None], truth, 0.0)
    return np.where(
        ok, np.linalg.norm(difference.astype(np.float64), axis=-1), np.where(visible, np.inf, np.nan)
    )


def _counted(errors: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    keep = weights > 0
    kept = errors[keep].astype(np.float64)
    if np.isnan(kept).any():
        raise ValueError(
            'evaluation: errors must be numbers where the weight is above 0; got '
            f'{int(np.isnan(kept).sum())} NaN. Give missing truth the weight 0.'
        )
    return kept, weights[keep].astype(np.float64)


def mean_error(errors: Float[np.ndarray, '*s'], weights: Weights) -> float:
    """Average the errors that count, by weight."""
    kept, weight = _counted(errors, weights)
    return float((kept * weight).sum() / weight.sum()) if len(kept) else float('nan')


def pck(errors_px: Float[np.ndarray, '*s'], weights: Weights, threshold: int | float) -> float:
    """Return the share of keypoints that lie within `threshold` px of the truth (PCK)."""
    kept, weight = _counted(errors_px, weights)
    return float(weight[kept <= threshold].sum() / weight.sum()) if len(kept) else float('nan')


def pck_curve(
    errors_px: Float[np.ndarray, '*s'],
    weights: Weights,
    thresholds_px: Float[np.ndarray, 'T'] = PCK_THRESHOLDS_PX,
) -> Float[np.ndarray, 'T']:
    """Return the PCK at each threshold, 1 to 50 px unless given others."""
    kept, weight = _counted(errors_px, weights)
    if not len(kept):
        return np.full(len(thresholds_px), np.nan)
    order = np.argsort(kept)
    reached = np.concatenate(([0.0], np.cumsum(weight[order])))
    return reached[np.searchsorted(kept[order], thresholds_px, side='right')] / reached[-1]


def percentiles(
    errors: Float[np.ndarray, '*s'], weights: Weights, at: Sequence[int | float] = PERCENTILES
) -> Float[np.ndarray, ' q']:
    """Return percentiles of the errors that count (linear between neighbours); weights only choose."""
    kept, _ = _counted(errors, weights)
    if not len(kept):
        return np.full(len(at), np.nan)
    huge = 1e200  # stands for inf, whose interpolation would be NaN
    result = np.percentile(np.minimum(kept, huge), at)
    return np.where(result > huge * 1e-20, np.inf, result)


def by_group(
    errors: Float[np.ndarray, '*s'], weights: Weights, axis: int
) -> tuple[Float[np.ndarray, 'G'], Float[np.ndarray, 'G'], Int[np.ndarray, 'G']]:
    """Break errors down along one axis (keypoints, cameras).

    Returns:
        Mean, median and count of what counts in each group; NaN and 0 for a group without truth.
    """
    rows = [np.moveaxis(x, axis, 0).reshape(x.shape[axis], -1) for x in (errors, weights)]
    mean = np.array([mean_error(e, w) for e, w in zip(*rows)])
    median = np.array([percentiles(e, w, (50,))[0] for e, w in zip(*rows)])
    return mean, median, (rows[1] > 0).sum(1)


def mpjpe(
    predicted: Float[np.ndarray, 'B K 3'],
    truth: Float[np.ndarray, 'B K 3'],
    weights: Bool[np.ndarray, 'B K'] | Float[np.ndarray, 'B K'],
) -> float:
    """Average the distance over all keypoints that count, in the unit of the points, without alignment."""
    return mean_error(distances(predicted, truth, weights > 0), weights)


def pa_distances(
    predicted: Float[np.ndarray, 'B K 3'], truth: Float[np.ndarray, 'B K 3'], visible: Bool[np.ndarray, 'B K']
) -> Float[np.ndarray, 'B K']:
    """Measure distances after each frame's best similarity; NaN in frames with fewer than 3 true keypoints.

    A keypoint whose prediction is not finite takes no part in the alignment and is infinitely wrong.
    """
    visible = visible & (visible.sum(1) >= 3)[:, None]
    finite = np.isfinite(predicted).all(-1)
    aligned = align_similarity(np.where(finite[..., None], predicted, 0.0), truth, (visible & finite) * 1.0)
    return distances(np.where(finite[..., None], aligned, np.nan), truth, visible)


def pa_mpjpe(
    predicted: Float[np.ndarray, 'B K 3'],
    truth: Float[np.ndarray, 'B K 3'],
    visible: Bool[np.ndarray, 'B K'],
) -> float:
    """Average the distance after each frame's best rotation, translation and scale: the error of the pose."""
    errors = pa_distances(predicted, truth, visible)
    return mean_error(errors, ~np.isnan(errors))
