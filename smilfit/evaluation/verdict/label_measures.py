"""What labels say without a body: how much they show, their triangulation, and which of them contradict a fit."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from smilfit.evaluation.fit_quality import errors_px
from smilfit.io import triangulate_keypoints
from smilfit.structures import Keypoints2d

# Keypoints nearer to each other than this share of the image are one place.
_SAME_PLACE = 0.002


def count_places(observed: Keypoints2d) -> Int[Tensor, ' B']:
    """Count the different places of keypoints in each frame's best view."""
    side = observed.rig.size.amax(-1).reshape(-1, observed.xy.shape[1], 1, 1).to(observed.xy)
    separate = torch.cdist(observed.xy, observed.xy) > _SAME_PLACE * side
    visible = observed.visible
    again = (~separate & visible.unsqueeze(-1) & visible.unsqueeze(-2)).tril(-1).any(-1)
    return (visible & ~again).sum(-1).amax(1)


def count_keypoints(observed: Keypoints2d) -> Int[Tensor, ' B']:
    """Count the keypoints that at least one view of a frame saw."""
    return observed.visible.any(1).sum(1)


def extents_px(observed: Keypoints2d, pooled: bool = True) -> Float[Tensor, 'B C']:
    """Measure how large the animal is in each image: the diagonal of its keypoints' box, px.

    Args:
        pooled: whether a camera's frames share the 90th percentile, as the frames of one recording do: where few
            keypoints are in sight the animal is no smaller. Else each frame stands for itself.

    Returns:
        NaN where nothing was seen.
    """
    hidden = ~observed.visible.unsqueeze(-1)
    low = observed.xy.masked_fill(hidden, torch.inf).amin(2)
    high = observed.xy.masked_fill(hidden, -torch.inf).amax(2)
    size = (high - low).norm(dim=-1)
    size = torch.where(observed.visible.any(-1), size, torch.nan).double()
    return size.nanquantile(0.9, dim=0, keepdim=True).expand_as(size) if pooled else size


def kept_share(observed: Keypoints2d) -> Float[Tensor, ' C']:
    """Return the share of its keypoints, of all frames, that each camera has labels of."""
    return observed.visible.double().mean((0, 2))


def triangulation_px(observed: Keypoints2d) -> Float[Tensor, 'B C K']:
    """Measure px between labels and what all cameras that have the label make of it, without any body.

    NaN where fewer than two have it.
    """
    if len(observed.rig) < 2:
        return torch.full(observed.xy.shape[:-1], torch.nan, dtype=torch.float64)
    points = triangulate_keypoints(observed)
    return errors_px(observed, points.xyz, points.visible)


def left_out_triangulation_px(observed: Keypoints2d) -> Float[Tensor, 'B C K']:
    """Measure px in each camera between its labels and what the other cameras make of the same keypoints."""
    result = []
    for c in range(observed.xy.shape[1]):
        points = triangulate_keypoints(without_camera(observed, c))
        result.append(errors_px(observed, points.xyz, points.visible)[:, c])
    return torch.stack(result, 1)


def without_camera(observed: Keypoints2d, camera: int) -> Keypoints2d:
    """Take a camera's labels away; the camera stays."""
    confidence = observed.confidence.clone()
    confidence[:, camera] = 0
    return replace(observed, confidence=confidence).judged(observed.camera_report)


def camera_medians(errors: Float[Tensor, 'B C K'], counted: Tensor | None = None) -> Float[Tensor, ' C']:
    """Return the median of each camera's errors; NaN where it has none."""
    errors = errors if counted is None else torch.where(counted, errors, torch.nan)
    return errors.transpose(0, 1).flatten(1).nanmedian(1).values


def worst_camera(values: Float[Tensor, ' C'], names: Sequence[str]) -> tuple[float, str]:
    """Return the largest number and its camera; NaN where there is none."""
    known = torch.where(values.isnan(), -torch.inf, values)
    at = int(known.argmax())
    return float(values[at]), names[at]


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


def frame_keypoints(observed: Keypoints2d, points: Float[Tensor, 'B K 3']) -> FrameKeypoints:
    """Measure `keypoint_excess` of a fit whose keypoints stand at these points, world unit."""
    values = keypoint_excess(errors_px(observed, points), triangulation_px(observed), extents_px(observed))
    return FrameKeypoints(observed.names, values.cpu().double().numpy())
