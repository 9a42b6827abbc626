"""What every segmenter takes and gives."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8

from smilfit.segmentation.plausibility import MaskLimits, contrast, joined_parts, why_implausible


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
        """Say whether there can be a mask of a frame, before its image is looked at."""
        return True

    def where(self, session: str = '') -> str:
        """Say where masks are looked for, for messages; nothing where that is in the images."""
        return ''

    def fingerprint(self) -> str:
        """Say which masks it gives beside what its arguments say: other files, other fits."""
        return ''

    @abstractmethod
    def find_mask(self, frame: Frame) -> Bool[np.ndarray, 'H W'] | str:
        """Give a mask, or say why there is none."""

    def segment(self, frame: Frame) -> Segmentation:
        """Find the mask of a frame; what cannot be the animal is refused, with the reason."""
        nothing = np.zeros_like(frame.silhouette)
        if not frame.silhouette.any():
            return Segmentation(nothing, 0.0, 'the fitted body is not in the image')
        found = self.find_mask(frame)
        if isinstance(found, str):
            return Segmentation(nothing, 0.0, found)
        mask = joined_parts(found, frame.silhouette, self.limits.bridge)
        reason = why_implausible(mask, found, frame.silhouette, self.limits)
        if reason:
            return Segmentation(nothing, 0.0, reason)
        return Segmentation(mask, self.quality(frame, mask))

    def quality(self, frame: Frame, mask: Bool[np.ndarray, 'H W']) -> float:
        """Say how far a mask can be relied on, in [0, 1]."""
        return contrast(frame.image, mask)
