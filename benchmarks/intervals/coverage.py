"""How many labels of a left-out camera lie in intervals of which so many should."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from smilfit.evaluation import ExpectedKeypoints, expected_keypoints, held, in_cameras
from smilfit.structures import FitResult, Keypoints2d

# Shares that intervals should hold.
NOMINAL = (0.5, 0.68, 0.8, 0.9, 0.95, 0.99)
WIDTH_90 = 1.6448536


@dataclass(frozen=True)
class LeftOut:
    """What a fit without one camera came to.

    Args:
        camera: the one left out.
        scores: of its labels (B, K, 2), by the noise found in the cameras of the fit; NaN without one.
        fitted: scores of the labels of the fit.
        noise_px: that noise.
        median_px: distance of the left-out labels.
        fit_sd_px: median standard deviation of what the fit leaves open there.
        expected: in all cameras.
    """

    camera: str
    scores: Tensor
    fitted: Tensor
    noise_px: float
    median_px: float
    fit_sd_px: float
    expected: ExpectedKeypoints


def left_out(
    seen: Keypoints2d, camera: str, fit: Callable[[str], FitResult], noise_px: float | None = None
) -> LeftOut:
    """Fit without a camera, and score its labels.

    Args:
        seen: labels of all cameras.
        camera: the one to leave out.
        fit: fits without it.
        noise_px: of labels, where it is known; else it is found in the cameras of the fit.
    """
    expected = expected_keypoints(fit(camera), seen.rig, seen.names)
    others = [name for name in seen.rig.names if name != camera]
    mine, labels = in_cameras(expected, seen, others)
    if noise_px is None:
        noise_px = mine.noise_px(labels)
    there, missed = in_cameras(expected, seen, [camera])
    distance = (missed.xy - there.xy).norm(dim=-1)[missed.visible & there.valid]
    return LeftOut(
        camera,
        there.scores(missed, noise_px)[:, 0],
        mine.scores(labels, noise_px, others),
        noise_px,
        float(distance.median()),
        float(there.sd()[missed.visible].median()),
        expected,
    )


def curve(scores: Tensor) -> dict[str, float]:
    """Give the shares that are held by the shares that should be."""
    return {f'{p:.0%}': 100 * held(scores, p) for p in NOMINAL}


def scaled_by_others(scores: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
    """Divide each keypoint's scores by the scale that the other keypoints call for; and give the scales (K,).

    One number serves all cameras and frames. Keypoints are held apart because a keypoint's labels err alike from
    frame to frame: other frames of the same keypoint would know its errors.

    Args:
        scores: by camera, (B, K, 2).
    """
    every = torch.stack([x.transpose(0, 1).flatten(1) for x in scores], 1).flatten(1)
    scales = []
    for k in range(len(every)):
        rest = torch.cat((every[:k], every[k + 1 :])).abs()
        scales.append(rest[rest.isfinite()].quantile(0.9) / WIDTH_90)
    scale = torch.stack(scales)
    return [x / scale[:, None] for x in scores], scale
