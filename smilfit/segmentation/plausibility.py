"""Whether a mask can be the animal that a fitted body stands for."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

# Levels of a colour channel that are told apart, and the band around a mask whose colours it is held against, a share
# of the square root of its area.
_LEVELS, _BAND = 16, 0.15


@dataclass(frozen=True)
class MaskLimits:
    """What a mask must keep to, beside the silhouette of the fitted body.

    Args:
        least_area: of the mask over the silhouette's.
        most_area: of the mask over the silhouette's.
        least_overlap: the share of the silhouette that the mask covers.
        least_joined: the share of what was found that hangs together with what lies on the silhouette.
        bridge: gaps up to this share of the square root of the silhouette's area do not part what hangs together.
        whole: whether a mask that touches the image's edge, and so may not be of the whole animal, is refused.
    """

    least_area: float = 0.4
    most_area: float = 2.5
    least_overlap: float = 0.4
    least_joined: float = 0.7
    bridge: float = 0.05
    whole: bool = True

    def __post_init__(self) -> None:
        shares = (self.least_area, self.least_overlap, self.least_joined, self.bridge)
        if not all(0 <= share <= 1 for share in shares) or not self.most_area >= 1:
            raise ValueError(
                f'MaskLimits: shares must be in [0, 1] and most_area must be at least 1; got {self}. '
                'Areas are over the silhouette of the fitted body.'
            )


def joined_parts(
    found: Bool[np.ndarray, 'H W'], silhouette: Bool[np.ndarray, 'H W'], bridge: float = 0.05
) -> Bool[np.ndarray, 'H W']:
    """Keep the part of a mask that has most of the silhouette, and what lies within a small gap of it."""
    if not (found & silhouette).any():
        return np.zeros_like(found)
    gap = max(1, round(bridge * float(silhouette.sum()) ** 0.5))
    ellipse = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (gap | 1, gap | 1))
    _, labels = cv2.connectedComponents(cv2.dilate(found.astype(np.uint8), ellipse))
    most = np.bincount(labels[found & silhouette]).argmax()
    return found & (labels == most)


def why_implausible(
    mask: Bool[np.ndarray, 'H W'],
    found: Bool[np.ndarray, 'H W'],
    silhouette: Bool[np.ndarray, 'H W'],
    limits: MaskLimits,
) -> str:
    """Say which limit a mask breaks, in words that count alike; nothing where it keeps to all.

    Args:
        mask: what hangs together.
        found: all that was found.
        silhouette: of the fitted body.
        limits: what holds.
    """
    if not found.any():
        return 'it is empty'
    area = float(mask.sum()) / float(silhouette.sum())
    overlap = float((mask & silhouette).sum()) / float(silhouette.sum())
    joined = float(mask.sum()) / max(1.0, float(found.sum()))
    if not limits.least_area <= area <= limits.most_area:
        return (
            f'its area is not {limits.least_area} to {limits.most_area} times that of the fitted silhouette'
        )
    if overlap < limits.least_overlap:
        return f'it covers less than {limits.least_overlap:.0%} of the fitted silhouette'
    if joined < limits.least_joined:
        return f'it is in pieces: less than {limits.least_joined:.0%} of it hangs together'
    if limits.whole and (mask[[0, -1]].any() or mask[:, [0, -1]].any()):
        return "it touches the image's edge: the animal may not be whole"
    return ''


def contrast(image: UInt8[np.ndarray, 'H W 3'], mask: Bool[np.ndarray, 'H W']) -> float:
    """Say how far the colours of a mask part from those around it: 0 where they are the same, 1 where none is shared.

    It is one less the overlap of the two histograms, of the channel that parts best.
    """
    width = max(2, round(_BAND * float(mask.sum()) ** 0.5))
    ellipse = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * width + 1, 2 * width + 1))
    around = (cv2.dilate(mask.astype(np.uint8), ellipse) > 0) & ~mask
    if not mask.any() or not around.any():
        return 0.0
    shared = [
        float(np.minimum(_histogram(image[mask][:, c]), _histogram(image[around][:, c])).sum())
        for c in range(3)
    ]
    return 1.0 - min(shared)


def _histogram(values: UInt8[np.ndarray, ' n']) -> Float[np.ndarray, ' levels']:
    counts = np.bincount(values // (256 // _LEVELS), minlength=_LEVELS)
    return counts / counts.sum()
