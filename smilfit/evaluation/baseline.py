"""The trivial baseline: answers that look at no image. A number is judged by the distance from it."""

import numpy as np
from jaxtyping import Bool, Float

from smilfit.evaluation.keypoint_errors import align_similarity

MEAN_POSE_ROUNDS = 10


def trivial_baseline(
    xyz: Float[np.ndarray, 'B K 3'], visible: Bool[np.ndarray, 'B K'] | None = None
) -> Float[np.ndarray, 'K 3']:
    """Average the training set's keypoints in the world: its mean pose at its mean position.

    Args:
        xyz: the training set's keypoints, world unit.
        visible: where they exist; all of them where None.

    Returns:
        One position a keypoint; NaN for a keypoint that no training frame has.
    """
    visible = np.ones(xyz.shape[:2], bool) if visible is None else visible
    if not visible.any():
        raise ValueError(
            'trivial_baseline: the training set must have 3D keypoints; got none. '
            'Triangulate them when preprocessing, or report without a baseline.'
        )
    total = np.where(visible[..., None], xyz, 0.0).astype(np.float64).sum(0)
    count = visible.sum(0)
    return np.where(count[:, None] > 0, total / np.maximum(count, 1)[:, None], np.nan)


def mean_pose(
    xyz: Float[np.ndarray, 'B K 3'], visible: Bool[np.ndarray, 'B K'] | None = None
) -> Float[np.ndarray, 'K 3']:
    """Average the training set's poses after turning, moving and scaling each onto their mean.

    An animal that walks in circles has a plain mean that is shrunk to its axis; this one keeps its shape, and
    is the fair companion of PA-MPJPE (generalised Procrustes analysis, Gower 1975). The first of the frames
    with the most keypoints gives place, heading and size.

    Returns:
        One position a keypoint; NaN for a keypoint that no training frame has.
    """
    visible = np.ones(xyz.shape[:2], bool) if visible is None else visible
    first = int(visible.sum(1).argmax())
    if visible[first].sum() < 3:
        raise ValueError(
            'mean_pose: a training frame must have at least 3 keypoints in 3D; the fullest has '
            f'{int(visible[first].sum())}. Triangulate with more views, or report without a mean pose.'
        )
    anchor = visible[first]
    mean = np.where(anchor[:, None], xyz[first], np.nan).astype(np.float64)
    size = _size(mean[anchor])
    clean = np.where(visible[..., None], xyz, 0.0).astype(np.float64)
    for _ in range(MEAN_POSE_ROUNDS):
        common = visible & np.isfinite(mean).all(1)
        usable = common.sum(1) >= 3
        target = np.broadcast_to(np.nan_to_num(mean), clean.shape)
        aligned = align_similarity(clean, target, common * 1.0)
        mean = trivial_baseline(aligned, visible & usable[:, None])
        # Averages of turned points shrink; the size is the first frame's.
        centre = mean[anchor].mean(0)
        mean = centre + (mean - centre) * size / _size(mean[anchor])
    return mean


def _size(points: np.ndarray) -> float:
    return float(np.sqrt(((points - points.mean(0)) ** 2).sum(1).mean()))


def place_at_truth(
    pose: Float[np.ndarray, 'K 3'], truth: Float[np.ndarray, 'B K 3'], visible: Bool[np.ndarray, 'B K']
) -> Float[np.ndarray, 'B K 3']:
    """Move one pose to each frame's true position: centroid on centroid of the keypoints that both have."""
    common = visible & np.isfinite(pose).all(-1)
    weight = common[..., None] / np.maximum(common.sum(1), 1)[:, None, None]
    shift = (weight * (np.where(common[..., None], truth, 0.0) - np.nan_to_num(pose))).sum(1)
    return pose + shift[:, None]


def place_at_prediction(
    pose: Float[np.ndarray, 'K 3'],
    predicted: Float[np.ndarray, 'B K 3'],
    counting: Bool[np.ndarray, 'B K'] | None = None,
) -> Float[np.ndarray, 'B K 3']:
    """Put one pose where each frame's animal was predicted: turned, moved and scaled onto the predicted keypoints.

    What a prediction is better than this, its articulation is worth. NaN in frames with fewer than 3 keypoints that
    are finite in both. Keypoints that are not `counting` (see `compared_keypoints`) are placed, and place nothing.
    """
    common = np.isfinite(predicted).all(-1) & np.isfinite(pose).all(-1)
    common = common if counting is None else common & counting
    source = np.broadcast_to(np.nan_to_num(pose), predicted.shape)
    placed = align_similarity(source, np.where(common[..., None], predicted, 0.0), common * 1.0)
    valid = np.isfinite(pose).all(-1) & (common.sum(1) >= 3)[:, None]
    return np.where(valid[..., None], placed, np.nan)


def compared_keypoints(
    seen2d: Bool[np.ndarray, 'B C K'], seen3d: Bool[np.ndarray, 'B K']
) -> Bool[np.ndarray, 'B K']:
    """Return which predicted keypoints are compared with a truth: in space, or in images where too few are in
    space."""
    return np.where((seen3d.sum(1) >= 3)[:, None], seen3d, seen2d.any(1))
