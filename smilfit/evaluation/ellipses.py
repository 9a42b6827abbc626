"""How many labels lie in the ellipses of a fit: of a camera that it did not see, after one scale of the noise.

An ellipse of a share p holds the places within `sqrt(-2 ln(1 - p))` standard deviations, the radius of a normal
distribution in the plane. The scale is one number on all standard deviations. It is the ratio of what other cameras,
left out in their turn, call for to what was expected: the camera in question has no part in it. By counts and not by
squares, so that a few wrong labels count as few. A fit that is wrong gets a large scale, and may hold its share all
the same: a share says that ellipses are honest, px and scale say whether they are small.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.evaluation.intervals import ExpectedKeypoints
from smilfit.structures import Keypoints2d

# The ellipses that are reported.
SHARE = 0.9
# Fewer labels say nothing of a tenth of them.
LEAST_LABELS = 20


@dataclass(frozen=True)
class ShareInside:
    """How many labels of a camera an ellipse holds that should hold a share of them.

    Args:
        inside: the share that it holds; NaN without labels.
        scale: of the standard deviations, by the other cameras.
        unscaled: the share without that scale.
        n_labels: how many there are.
    """

    inside: float
    scale: float
    unscaled: float
    n_labels: int


def radii(expected: ExpectedKeypoints, observed: Keypoints2d, noise_px: float) -> Float[Tensor, 'B C K']:
    """Return by how many standard deviations labels miss what is expected, along the ellipse through them.

    NaN without a label or an interval. The labels are such as the fit was not given.

    Args:
        expected: of the cameras of the labels.
        noise_px: standard deviation of a label's coordinate.
    """
    known = observed.visible & expected.valid & expected.covariance.isfinite().all(-1).all(-1)
    error = torch.where(known.unsqueeze(-1), observed.xy.to(expected.xy) - expected.xy, 0.0)
    eye = torch.eye(2).to(expected.xy)
    whole = torch.where(known[..., None, None], expected.covariance, eye) + noise_px**2 * eye
    square = (error * torch.linalg.solve(whole, error)).sum(-1)
    return torch.where(known, square.clamp_min(0).sqrt(), torch.nan)


def radius_of(share: float) -> float:
    """Return the radius, in standard deviations, of an ellipse that holds a share of a normal distribution."""
    return math.sqrt(-2 * math.log1p(-share))


def scale_of(radii: Tensor, share: float = SHARE) -> float:
    """Return the scale of standard deviations by which ellipses hold the share that they should; NaN of few
    labels."""
    known = radii[radii.isfinite()]
    return float(known.quantile(share)) / radius_of(share) if len(known) >= LEAST_LABELS else float('nan')


def share_inside(radii: Tensor, share: float = SHARE, scale: float = 1.0) -> float:
    """Return how many labels lie in ellipses that should hold a share of them; NaN without any."""
    known = radii[radii.isfinite()]
    if not len(known) or math.isnan(scale):
        return float('nan')
    return float((known <= scale * radius_of(share)).double().mean())


def scaled_by_other_cameras(
    radii: Mapping[str, Float[Tensor, 'B K']], share: float = SHARE
) -> dict[str, ShareInside]:
    """Return for each camera how many of its labels lie in ellipses of the scale that the other cameras call for.

    Args:
        radii: by camera, the `radii` of its labels in a fit without it.
        share: of labels that the ellipses should hold.
    """
    answer = {}
    for camera, own in radii.items():
        others = [x.flatten() for name, x in radii.items() if name != camera]
        scale = scale_of(torch.cat(others), share) if others else float('nan')
        count = int(own.isfinite().sum())
        answer[camera] = ShareInside(share_inside(own, share, scale), scale, share_inside(own, share), count)
    return answer
