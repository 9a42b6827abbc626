"""Masks by what differs from the empty place."""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Bool, UInt8
from scipy.ndimage import distance_transform_edt

from smilfit.registry import SEGMENTERS
from smilfit.segmentation.base import Frame, Segmenter
from smilfit.segmentation.plausibility import MaskLimits


@SEGMENTERS.register_module()
class BackgroundSubtraction(Segmenter):
    """Compares each image with the empty place: the median of frames in which the fitted body lies elsewhere.

    Cameras and light must hold still. Where the body lies in nearly all frames nothing is known of the background,
    and a frame of which too much lies there is refused: an animal that hardly moves has no background.

    Args:
        n_frames: how many frames all over the recording the background is found from; they are in memory at once.
        least_frames: in how many of them a pixel must be free of the body for its background to be known.
        reach: how far beside the fitted body the animal may be, a share of the silhouette's half width.
        least_difference: from the background, grey levels of the channel that differs most.
        most_unknown: the share of a frame's silhouette whose background may be unknown.
        limits: what a mask must keep to beside the fitted body; `MaskLimits()` if None.

    Raises:
        ValueError: an argument that is out of range.
    """

    def __init__(
        self,
        n_frames: int = 15,
        least_frames: int = 3,
        reach: float = 0.7,
        least_difference: float = 20.0,
        most_unknown: float = 0.1,
        limits: MaskLimits | None = None,
    ) -> None:
        super().__init__(limits)
        if not (
            0 < least_frames <= n_frames and reach > 0 and least_difference > 0 and 0 <= most_unknown <= 1
        ):
            raise ValueError(
                'BackgroundSubtraction: least_frames must be positive and at most n_frames, reach and '
                'least_difference positive and most_unknown in [0, 1]; got '
                f'{least_frames}, {n_frames}, {reach}, {least_difference}, {most_unknown}.'
            )
        self.n_prepared, self.least_frames, self.reach = n_frames, least_frames, reach
        self.least_difference, self.most_unknown = least_difference, most_unknown
        self._empty: dict[str, tuple[UInt8[np.ndarray, 'H W 3'], Bool[np.ndarray, 'H W']]] = {}

    def prepare(self, frames: Sequence[Frame]) -> None:
        """Find the empty place of one camera, and where it is known."""
        free = np.stack([~_near(frame.silhouette, self.reach) for frame in frames])
        images = np.stack([frame.image for frame in frames])
        self._empty[frames[0].camera] = _median_where(images, free), free.sum(0) >= self.least_frames

    def find_mask(self, frame: Frame) -> Bool[np.ndarray, 'H W'] | str:
        """Take what differs near the fitted body.

        Raises:
            ValueError: nobody prepared the camera's background.
        """
        if frame.camera not in self._empty:
            raise ValueError(
                f'BackgroundSubtraction: the background of camera {frame.camera!r} must be prepared; it is not. Call '
                'prepare with frames of the camera all over the recording.'
            )
        empty, known = self._empty[frame.camera]
        unknown = float((frame.silhouette & ~known).sum()) / float(frame.silhouette.sum())
        if unknown > self.most_unknown:
            return (
                f'the animal hardly moves: more than {self.most_unknown:.0%} of its place is never seen empty'
            )
        difference = cv2.GaussianBlur(cv2.absdiff(frame.image, empty), (3, 3), 0).max(2)
        return (difference >= self.least_difference) & _near(frame.silhouette, self.reach) & known


def _near(silhouette: Bool[np.ndarray, 'H W'], reach: float) -> Bool[np.ndarray, 'H W']:
    """Say which pixels are on a silhouette or within a share of its half width of it."""
    if not silhouette.any():
        return silhouette
    return distance_transform_edt(~silhouette) <= reach * distance_transform_edt(silhouette).max()


def _median_where(
    images: UInt8[np.ndarray, 'n H W 3'], there: Bool[np.ndarray, 'n H W']
) -> UInt8[np.ndarray, 'H W 3']:
    """Take each pixel's median over the images in which it is there; 0 where it is in none."""
    # What is not there sorts behind all that is, and the middle is counted in what is.
    order = np.where(there[..., None], images.astype(np.int16), 256)
    order.sort(0)
    middle = np.maximum(there.sum(0) - 1, 0) // 2
    found = np.take_along_axis(order, np.broadcast_to(middle[None, ..., None], (1, *images.shape[1:])), 0)[0]
    return np.where(found > 255, 0, found).astype(np.uint8)
