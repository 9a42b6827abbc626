"""What every segmenter takes and gives."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
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
    """Return which limit a mask breaks, in words that count alike; nothing where it keeps to all.

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
    """Return how far the colours of a mask part from those around it: 0 where they are the same, 1 where none
    is shared.

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


@dataclass(frozen=True)
class Frame:
    """An image as it was annotated, lens and all, and where the fitted body lies in it.

    Args:
        image: RGB.
        silhouette: the fitted body, in the same pixels.
        camera: the camera's name.
        number: the frame's number in the recording.
        session: the recording's name.
    """

    image: UInt8[np.ndarray, 'H W 3']
    silhouette: Bool[np.ndarray, 'h w']
    camera: str = ''
    number: int = 0
    session: str = ''

    def __post_init__(self) -> None:
        if self.image.ndim != 3 or self.image.shape[:2] != self.silhouette.shape:
            raise ValueError(
                f'Frame: image and silhouette must have the same pixels, (H, W, 3) and (H, W); got '
                f'{self.image.shape} and {self.silhouette.shape}. Render the body with the camera of the image.'
            )

    @property
    def place(self) -> str:
        """Name it for messages."""
        return f'camera {self.camera}, frame {self.number}'


@dataclass(frozen=True)
class Segmentation:
    """A mask in the pixels of its frame.

    Args:
        mask: where the animal is; empty where it was refused.
        quality: in [0, 1]; of masks found by colour how well the animal's part from those around it.
        refused: why there is no mask; empty where there is one.
    """

    mask: Bool[np.ndarray, 'H W']
    quality: float
    refused: str = ''


class Segmenter(ABC):
    """Finds the animal in images; a subclass gives `find_mask`.

    Args:
        limits: what a mask must keep to; `MaskLimits()` if None.
    """

    # How many frames all over the recording `prepare` looks at.
    n_prepared: int = 0

    def __init__(self, limits: MaskLimits | None = None) -> None:
        self.limits = MaskLimits() if limits is None else limits

    def prepare(self, frames: Sequence[Frame]) -> None:  # noqa: B027
        """Look at frames of one camera, spread over the recording, before its frames are segmented."""

    def may_find(self, camera: str, number: int, session: str = '') -> bool:
        """Check whether there can be a mask of a frame, before its image is looked at."""
        return True

    def where(self, session: str = '') -> str:
        """Return where masks are looked for, for messages; nothing where that is in the images."""
        return ''

    def fingerprint(self) -> str:
        """Return which masks it gives beside what its arguments say: other files, other fits."""
        return ''

    @abstractmethod
    def find_mask(self, frame: Frame) -> Bool[np.ndarray, 'H W'] | str:
        """Return a mask, or say why there is none."""

    def segment(self, frame: Frame) -> Segmentation:
        """Find the mask of a frame; what cannot be the animal is refused, with the reason."""
        nothing = np.zeros_like(frame.silhouette)
        if not frame.silhouette.any():
            return Segmentation(nothing, 0.0, 'the fitted body is not in the image')
        result = self.find_mask(frame)
        if isinstance(result, str):
            return Segmentation(nothing, 0.0, result)
        mask = joined_parts(result, frame.silhouette, self.limits.bridge)
        reason = why_implausible(mask, result, frame.silhouette, self.limits)
        if reason:
            return Segmentation(nothing, 0.0, reason)
        return Segmentation(mask, self.quality(frame, mask))

    def quality(self, frame: Frame, mask: Bool[np.ndarray, 'H W']) -> float:
        """Return how far a mask can be relied on, in [0, 1]."""
        return contrast(frame.image, mask)
