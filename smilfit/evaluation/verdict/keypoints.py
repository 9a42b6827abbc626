"""Single keypoints of single frames: where a fit contradicts what several cameras agree upon."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.evaluation.verdict.evidence import extents_px
from smilfit.evaluation.verdict.yardstick import camera_medians, errors_px, triangulation_px
from smilfit.structures import Keypoints2d

# The measure of a frame that is made of them, and that of all frames.
KEYPOINT_EXCESS, KEYPOINTS_OFF = 'keypoint_excess', 'keypoints_off'
# A distance counts beyond so many sd of the camera's usual distances: one in 90 of a normal vector in 2D is longer.
_NOISE_SD = 3.0
# The median length of a two-dimensional normal vector, in sd.
_MEDIAN_SD = 1.18
# So many cameras must see a keypoint elsewhere: one alone may be mistaken.
_LEAST_CAMERAS = 2


@dataclass(frozen=True)
class FrameKeypoints:
    """A number of every keypoint in every frame; NaN where it has none."""

    names: tuple[str, ...]
    values: Float[np.ndarray, 'B K']


def keypoint_excess(
    errors: Float[Tensor, 'B C K'], own: Float[Tensor, 'B C K'], extent: Float[Tensor, 'B C']
) -> Float[Tensor, 'B K']:
    """Measure how far a fit is from keypoints, beyond what their labels miss by themselves, as a share of the animal.

    A camera's distance counts beyond the larger of two: what the labels' triangulation misses this label by (the
    cameras do not agree by so much), and three standard deviations of the camera's usual distances. The second
    largest camera counts: a label that is wrong in one camera accuses no fit.

    Args:
        errors: px between labels and fit, NaN without a label.
        own: px between labels and their triangulation, NaN where there is none.
        extent: how large the animal is in each image, px.

    Returns:
        NaN where fewer than two cameras saw a keypoint.
    """
    noise = _NOISE_SD / _MEDIAN_SD * camera_medians(errors)
    beyond = errors - torch.maximum(own, noise[:, None])
    share = beyond / extent.clamp_min(1e-9).unsqueeze(-1)
    counted = (~share.isnan()).sum(1) >= _LEAST_CAMERAS
    if share.shape[1] < _LEAST_CAMERAS:
        return torch.full_like(share[:, 0], torch.nan)
    second = share.nan_to_num(-torch.inf, torch.inf).topk(_LEAST_CAMERAS, dim=1).values[:, -1]
    return torch.where(counted, second.clamp_min(0.0), torch.nan)


def frame_keypoints(seen: Keypoints2d, points: Float[Tensor, 'B K 3']) -> FrameKeypoints:
    """Measure `keypoint_excess` of a fit whose keypoints stand at these points, world unit."""
    values = keypoint_excess(errors_px(seen, points), triangulation_px(seen), extents_px(seen))
    return FrameKeypoints(seen.names, values.cpu().double().numpy())
