"""Masks by what differs from the empty place."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, UInt8
from scipy.ndimage import distance_transform_edt

from smilfit.files import folder_name, inside
from smilfit.io import ImageMask
from smilfit.registrants.segmentation.base import Frame, MaskLimits, Segmenter
from smilfit.registry import SEGMENTERS


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
    """Return which pixels are on a silhouette or within a share of its half width of it."""
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
    centre = np.maximum(there.sum(0) - 1, 0) // 2
    result = np.take_along_axis(order, np.broadcast_to(centre[None, ..., None], (1, *images.shape[1:])), 0)[0]
    return np.where(result > 255, 0, result).astype(np.uint8)


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
        result = _cut(small, seeds, self.n_iter).astype(np.uint8)
        mask = np.zeros_like(frame.silhouette)
        mask[window] = cv2.resize(result, (width, height), interpolation=cv2.INTER_LINEAR) > 0
        quality = self.quality(frame, mask) if mask.any() else 0.0
        if quality < self.least_quality:
            return f'colours of animal and ground part by less than {self.least_quality}'
        return mask


def _window(silhouette: Bool[np.ndarray, 'H W'], margin: int) -> tuple[slice, slice]:
    """Find the rows and columns of a silhouette with a margin, inside the image."""
    result = []
    for axis in (1, 0):
        valid = np.flatnonzero(silhouette.any(axis))
        result.append(slice(max(0, valid[0] - margin), valid[-1] + margin + 1))
    return result[0], result[1]


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


PATTERN = '{camera}/{frame:06d}.png'


@SEGMENTERS.register_module()
class MaskFiles(Segmenter):
    """Reads masks of an annotator, or of another program: images of the size of the recording, black for background.

    Args:
        folder: holds the files.
        pattern: of their names in it, by camera, frame number (the first frame is 0) and, if it likes, session.
        limits: what a mask must keep to beside the fitted body; `MaskLimits()` if None.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: a pattern that does not name camera and frame.
    """

    def __init__(self, folder: str | Path, pattern: str = PATTERN, limits: MaskLimits | None = None) -> None:
        super().__init__(limits)
        self.folder, self.pattern = Path(folder), pattern
        if not self.folder.is_dir():
            raise FileNotFoundError(f'{folder}: masks must be in a folder; there is no such folder.')
        try:
            names = {pattern.format(camera=c, frame=n, session='') for c in 'ab' for n in (0, 1)}
        except (KeyError, IndexError, ValueError):
            names = set()
        if len(names) != 4:
            raise ValueError(
                f"MaskFiles: the pattern must name camera and frame, such as '{PATTERN}'; got {pattern!r}."
            )

    def find_mask(self, frame: Frame) -> Bool[np.ndarray, 'H W'] | str:
        """Read the frame's file.

        Raises:
            ValueError: a file that is no image, or of another size than the recording.
        """
        path = self._path(frame.camera, frame.number, frame.session)
        if not path.is_file():
            return f'there is no file {self.pattern}'
        mask = ImageMask(path).read()
        if mask.shape != frame.silhouette.shape:
            height, width = frame.silhouette.shape
            raise ValueError(
                f'{path}: a mask must have the size of its image, {width} x {height} px; got {mask.shape[1]} x '
                f'{mask.shape[0]}. Write masks of the recording as it was annotated.'
            )
        return mask

    def may_find(self, camera: str, number: int, session: str = '') -> bool:
        """Check whether there is a file."""
        return self._path(camera, number, session).is_file()

    def where(self, session: str = '') -> str:
        """Name the folder and the pattern."""
        example = self.pattern.replace('{session}', folder_name(session) if session else '')
        return f' (as {self.folder / example})'

    def _path(self, camera: str, number: int, session: str) -> Path:
        session = folder_name(session) if session else ''
        name = self.pattern.format(camera=folder_name(camera), frame=number, session=session)
        return inside(self.folder, name, 'MaskFiles')

    def fingerprint(self) -> str:
        """Return a digest of names, sizes and times of the files."""
        files = sorted(path for path in self.folder.rglob('*') if path.is_file())
        facts = [(str(p.relative_to(self.folder)), p.stat().st_size, p.stat().st_mtime_ns) for p in files]
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]

    def quality(self, frame: Frame, mask: Bool[np.ndarray, 'H W']) -> float:
        """Believe who drew it."""
        return 1.0
