"""Predictions with calibrated confidences; what no image can hold, and frames of an unsure network, are taken out."""

from dataclasses import replace

import numpy as np

from smilfit.networks.calibration import (
    Calibration,
    agreement,
    depths,
    distances,
    of_frames,
    sizes_in_views,
    stated_in_space,
)
from smilfit.networks.inference.predictions import UNRECOGNISED, Predictions
from smilfit.structures import Cameras

# How far outside of an image a keypoint is still named, in the image's sides.
_REACH = 0.5


def with_confidences(
    predictions: Predictions, calibration: Calibration, cameras: Cameras | None
) -> Predictions:
    """Return predictions with the network's confidences, without places that no image can hold.

    A keypoint behind a camera, beyond its lens's fold, or farther outside of the image than half its side has
    confidence 0 and the place (0, 0) there; in space it has 0 where no view holds it. A network that states no
    confidence gives 1 to all others.

    Args:
        predictions: `keypoints2d` and `keypoints3d` are a body's; `further` has what the network saw.
        calibration: of the network.
        cameras: of the recorded images, with their lenses; None where each frame has its own.
    """
    points, further = predictions.keypoints3d.astype(np.float64), predictions.further
    K, R, t = (getattr(predictions, f'camera_{name}') for name in ('K', 'R', 't'))
    depth = depths(points, R, t)
    shown = (depth > 0) & predictions.view_mask[..., None] & predictions.valid[:, None, None]
    shown &= np.isfinite(predictions.keypoints2d).all(-1)
    # A camera that is not known looks at the middle of its image.
    size = 2 * K[..., :2, 2] + 1 if cameras is None else cameras.size.numpy()[None]
    margin = _REACH * size.max(-1)[..., None, None]
    size = size[..., None, :]
    shown &= ((predictions.keypoints2d >= -margin) & (predictions.keypoints2d < size + margin)).all(-1)
    if cameras is not None and cameras.fold is not None:
        local = np.einsum('tcji,tki->tckj', R[..., :2, :], points) + t[..., None, :2]
        radius = np.linalg.norm(local, axis=-1) / np.where(depth > 0, depth, 1)
        shown &= radius < cameras.fold.numpy()[None, :, None]
    stated2d, stated3d = np.ones(shown.shape), np.ones(points.shape[:2])
    if 'seen2d' in further:
        off = distances(predictions.keypoints2d, further['seen2d'], sizes_in_views(points, K, R, t))
        share = further['seen2d_confidence'].clip(0, 1)
        stated2d = calibration.of_pixels(share * agreement(off, calibration.sd))
    if 'points3d_confidence' in further:
        stated3d = calibration.of_points(
            stated_in_space(further['points3d_confidence'], further.get('points3d_covariance'), points)
        )
    return replace(
        predictions,
        keypoints2d=np.where(shown[..., None], predictions.keypoints2d, 0.0),
        confidence2d=stated2d * shown,
        confidence3d=stated3d * shown.any(1),
    )


def without_unsure(predictions: Predictions, least: float) -> Predictions:
    """Take frames whose median confidence is below `least` for not predicted."""
    sure = of_frames(predictions.confidence2d, predictions.view_mask)
    unsure = predictions.valid & (sure < least)
    if not unsure.any():
        return predictions
    reason = f'{UNRECOGNISED}: the median confidence is {np.median(sure[unsure]):.2g}, below {least:.2g}'
    valid = predictions.valid & ~unsure
    return replace(
        predictions,
        valid=valid,
        reasons=tuple(reason if u else r for u, r in zip(unsure, predictions.reasons)),
        confidence2d=predictions.confidence2d * valid[:, None, None],
        confidence3d=predictions.confidence3d * valid[:, None],
    )
