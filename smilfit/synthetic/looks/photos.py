"""Photographs of empty places, from images or from videos without their animal, for walls and coats."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from smilfit.files import reading
from smilfit.io import iterate_videos, probe_video, read_labels
from smilfit.io.image_opening import open_image
from smilfit.io.recordings.sleap_session import find_labels
from smilfit.io.recordings.videos import VIDEO_SUFFIXES
from smilfit.synthetic.looks.coats import Photo

logger = logging.getLogger('smilfit')
IMAGE_SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.webp')
# So many frames of a video, evenly over time, are enough for a median without the animal.
MEDIAN_FRAMES = 25
# How far an animal reaches beyond the hull of its labels, a share of its longer side; what paints over it, px.
_BEYOND_LABELS, _INPAINT_PX = 0.25, 5


@dataclass(frozen=True)
class Photos:
    """Photographs of empty places: those of one camera, by its name, and those of anywhere."""

    of_camera: Mapping[str, Photo]
    anywhere: Sequence[Photo] = ()

    @property
    def all(self) -> tuple[Photo, ...]:
        """Return all of them."""
        return (*self.of_camera.values(), *self.anywhere)


NO_PHOTOS = Photos({})


def read_photos(places: list[Path], camera_names: tuple[str, ...] = ()) -> Photos:
    """Read photographs for walls and coats.

    A file that is called after a camera, or lies in a folder that is, shows what that camera sees when it is empty;
    others are of anywhere. Of several of one camera the first counts, and the others are of anywhere.

    Args:
        places: images, videos, or folders, which are searched below too.

    Raises:
        FileNotFoundError: a place that is not there.
        ValueError: no image and no video; or one that cannot be read.
    """
    files = [file for place in places for file in _files(place)]
    if not files:
        result = ', '.join(map(str, places))
        raise ValueError(f'--backgrounds: must name images or videos; {result} has none. Check the path.')
    of_camera: dict[str, np.ndarray] = {}
    anywhere = []
    for file in files:
        image = _median(file) if file.suffix.lower() in VIDEO_SUFFIXES else _image(file)
        names = [name for name in camera_names if _of_camera(file, name)]
        if len(names) == 1 and names[0] not in of_camera:
            of_camera[names[0]] = image
        else:
            anywhere.append(image)
    return Photos(of_camera, tuple(anywhere))


def _of_camera(file: Path, name: str) -> bool:
    stem, wanted = file.stem.lower(), name.lower()
    return stem == wanted or stem.endswith(f'_{wanted}') or file.parent.name.lower() == wanted


def _files(place: Path) -> list[Path]:
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise FileNotFoundError(f'--backgrounds: {place} must exist; there is no such file or folder.')
    known = (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES)
    return sorted(path for path in place.rglob('*') if path.suffix.lower() in known and path.is_file())


def _image(file: Path) -> UInt8[np.ndarray, 'H W 3']:
    with reading(file, 'the background'), open_image(file, file) as image:
        return np.asarray(image.convert('RGB'))


def _median(file: Path) -> UInt8[np.ndarray, 'H W 3']:
    """Return a video's empty place: the median over time without the hulls of the animal's labels.

    Where an animal never goes away, the place is painted over from around. Of a video without labels what stays in
    its place stays in the image; the log says so.
    """

    n = probe_video(file).n_frames
    indices = np.unique(np.linspace(0, n - 1, min(n, MEDIAN_FRAMES)).round().astype(int)).tolist()
    frames = np.stack([images['video'] for _, images in iterate_videos({'video': file}, indices)])
    valid = _animal(file, indices, frames.shape[1:3])
    if valid is None:
        logger.info('%s: has no labels beside it; what does not move in it stays in the background.', file)
        return np.asarray(np.median(frames, 0), np.uint8)
    image = np.asarray(np.median(frames, 0), np.uint8)
    visited, always = np.asarray(valid.any(0)), np.asarray(valid.all(0))
    free = np.where(valid[:, visited, None], np.nan, frames[:, visited].astype(np.float32))
    free[:, always[visited]] = 0
    image[visited] = np.nanmedian(free, 0).astype(np.uint8)
    return np.asarray(cv2.inpaint(image, always.astype(np.uint8), _INPAINT_PX, cv2.INPAINT_TELEA), np.uint8)


def _animal(file: Path, indices: list[int], shape: tuple[int, int]) -> Bool[np.ndarray, 'n H W'] | None:
    """Return where the animal is by the labels beside a video; None without labels.

    A frame without labels takes those of the last one that has any, else of the first.
    """

    if not any(path.suffix.lower() in ('.slp', '.h5') for path in file.parent.iterdir()):
        return None
    xy = read_labels(find_labels(file.parent)).xy
    labelled = np.flatnonzero(np.isfinite(xy).all(-1).any(1))
    if not len(labelled):
        return None
    valid = np.zeros((len(indices), *shape), bool)
    for row, index in enumerate(indices):
        frame = labelled[max(int(np.searchsorted(labelled, index, side='right')) - 1, 0)]
        points = xy[frame][np.isfinite(xy[frame]).all(-1)]
        size = max(float(np.ptp(points, axis=0).max()), 0.1 * min(shape))
        hull = cv2.convexHull(points.round().astype(np.int32).reshape(-1, 1, 2))
        mask = cv2.fillConvexPoly(np.zeros(shape, np.uint8), hull, 1)
        reach = 2 * int(_BEYOND_LABELS * size) + 1
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
        valid[row] = cv2.dilate(mask, disc) > 0
    return valid
