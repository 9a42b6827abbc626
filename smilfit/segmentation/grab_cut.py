"""Masks by graph cuts on colours, seeded by the fitted body."""

import cv2
import numpy as np
from jaxtyping import Bool, UInt8
from scipy.ndimage import distance_transform_edt

from smilfit.registry import SEGMENTERS
from smilfit.segmentation.base import Frame, Segmenter
from smilfit.segmentation.plausibility import MaskLimits

# Smoothing that keeps edges before colours are modelled: its width in px, and in grey levels.
_SMOOTH_PX, _SMOOTH_LEVELS = 7, 30


@SEGMENTERS.register_module()
class GrabCutSegmenter(Segmenter):
    """OpenCV's GrabCut (Rother et al. 2004) around the fitted body: two colour mixtures and a cut between them.

    Lengths are shares of the silhouette's half width, the greatest distance of a point in it to its outline. Deep
    inside the silhouette is the animal for sure, far outside the background; between the two, colours and edges
    decide, beginning with the silhouette. GrabCut finds what parts by colour: an animal of its ground's colour is
    refused (`least_quality`).

    Args:
        core: how deep inside the silhouette a pixel is the animal for sure.
        reach: how far outside it may still be the animal.
        n_iter: rounds of GrabCut.
        side_px: the longer side of the part of the image that is worked on; a larger one is reduced.
        least_quality: a mask whose colours part less from those around it is refused.
        limits: what else a mask must keep to; `MaskLimits()` if None.

    Raises:
        ValueError: an argument that is out of range.
    """

    def __init__(
        self,
        core: float = 0.3,
        reach: float = 0.7,
        n_iter: int = 6,
        side_px: int = 400,
        least_quality: float = 0.3,
        limits: MaskLimits | None = None,
    ) -> None:
        super().__init__(limits)
        if not (0 < core < 1 and reach > 0 and n_iter > 0 and side_px >= 16 and 0 <= least_quality <= 1):
            raise ValueError(
                'GrabCutSegmenter: core must be between 0 and 1, reach and n_iter positive, side_px at least 16 and '
                f'least_quality in [0, 1]; got {core}, {reach}, {n_iter}, {side_px}, {least_quality}.'
            )
        self.core, self.reach, self.n_iter = core, reach, n_iter
        self.side_px, self.least_quality = side_px, least_quality

    def find_mask(self, frame: Frame) -> Bool[np.ndarray, 'H W'] | str:
        """Cut the window around the body out, cut the animal out of it, and put the mask back."""
        half_width = float(distance_transform_edt(frame.silhouette).max())
        window = _window(frame.silhouette, round(1.5 * self.reach * half_width) + 2)
        image, silhouette = frame.image[window], frame.silhouette[window]
        height, width = silhouette.shape
        scale = min(1.0, self.side_px / max(height, width))
        size = (max(8, round(width * scale)), max(8, round(height * scale)))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        body = cv2.resize(silhouette.astype(np.uint8), size, interpolation=cv2.INTER_AREA) > 0
        seeds = _seeds(body, self.core, self.reach)
        if not _has_both(seeds):
            return 'the fitted body leaves no background, or nothing of itself, in the image'
        found = _cut(small, seeds, self.n_iter).astype(np.uint8)
        mask = np.zeros_like(frame.silhouette)
        mask[window] = cv2.resize(found, (width, height), interpolation=cv2.INTER_LINEAR) > 0
        quality = self.quality(frame, mask) if mask.any() else 0.0
        if quality < self.least_quality:
            return f'colours of animal and ground part by less than {self.least_quality}'
        return mask


def _window(silhouette: Bool[np.ndarray, 'H W'], margin: int) -> tuple[slice, slice]:
    """Find the rows and columns of a silhouette with a margin, inside the image."""
    found = []
    for axis in (1, 0):
        there = np.flatnonzero(silhouette.any(axis))
        found.append(slice(max(0, there[0] - margin), there[-1] + margin + 1))
    return found[0], found[1]


def _seeds(body: Bool[np.ndarray, 'h w'], core: float, reach: float) -> UInt8[np.ndarray, 'h w']:
    inside, outside = distance_transform_edt(body), distance_transform_edt(~body)
    half_width = inside.max()
    seeds = np.full(body.shape, cv2.GC_PR_BGD, np.uint8)
    seeds[body] = cv2.GC_PR_FGD
    seeds[inside > core * half_width] = cv2.GC_FGD
    seeds[outside > max(1.0, reach * half_width)] = cv2.GC_BGD
    return seeds


def _has_both(seeds: UInt8[np.ndarray, 'h w']) -> bool:
    return bool((seeds == cv2.GC_FGD).any() and (seeds == cv2.GC_BGD).any())


def _cut(
    image: UInt8[np.ndarray, 'h w 3'], seeds: UInt8[np.ndarray, 'h w'], n_iter: int
) -> Bool[np.ndarray, 'h w']:
    smooth = cv2.bilateralFilter(image, _SMOOTH_PX, _SMOOTH_LEVELS, _SMOOTH_PX)
    labels, models = seeds.copy(), [np.zeros((1, 65)) for _ in range(2)]
    # GrabCut begins with k-means from random centres: the same image must give the same mask.
    cv2.setRNGSeed(0)
    cv2.grabCut(smooth, labels, None, *models, n_iter, cv2.GC_INIT_WITH_MASK)
    return (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
