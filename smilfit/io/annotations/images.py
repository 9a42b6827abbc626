"""Images that annotations name: opened, read, and compared with what the annotations say of them."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import UInt8

from smilfit.files import shorten
from smilfit.io.annotations.entries import BadEntry, reason_of
from smilfit.io.annotations.image_files import ImageSizes, read_frames, read_still, video_of
from smilfit.structures import AnnotatedImage, AnnotationSet, SkippedAnnotation, VideoFrame

logger = logging.getLogger('smilfit')

# Keypoints must lie in their box, grown by this part of its longer side, to count as within it.
_BOX_MARGIN = 0.15
# Rows and columns were exchanged where this part of the points is in the box only when they are changed back.
_SWAPPED_INSIDE, _GIVEN_INSIDE = 0.9, 0.6
_SWAPPED_POINTS = 4


def check_images(annotations: AnnotationSet) -> AnnotationSet:
    """Open the images and masks that a reader named and leave out the entries that cannot be used.

    Of an image only the header is read; a mask is decoded. What is left out is in `skipped`: an image that is
    missing or unreadable or of another size than stated, a mask that is unreadable or of another size, nothing
    to fit (no visible keypoint and no pixel of a mask), all keypoints outside the image, rows and columns
    exchanged. A keypoint outside the image loses its confidence, an empty mask beside keypoints is dropped;
    both are counted in the log. Entries that are kept have their `size`.
    """
    sizes = ImageSizes()
    images: list[AnnotatedImage] = []
    skipped: list[SkippedAnnotation] = []
    lost, empty_masks = [], 0
    for image in annotations.images:
        try:
            checked = _checked(image, sizes)
        except Exception as error:  # A file chose what happened here: no kind of error can be left out.
            skipped.append(SkippedAnnotation(image.where, reason_of(error)))
            continue
        images.append(checked)
        lost.append(int((image.confidence > 0).sum() - (checked.confidence > 0).sum()))
        empty_masks += image.mask is not None and checked.mask is None
    if any(lost):
        logger.warning(
            '%s: %d keypoints of %d entries are outside their images and count as missing (%d in %s).',
            annotations.name,
            sum(lost),
            sum(n > 0 for n in lost),
            max(lost),
            images[int(np.argmax(lost))].where,
        )
    if empty_masks:
        logger.warning('%s: %d empty masks are left out.', annotations.name, empty_masks)
    return replace(annotations, images=tuple(images), skipped=annotations.skipped + tuple(skipped))


def read_image(image: AnnotatedImage) -> UInt8[np.ndarray, 'H W 3']:
    """Read an image, RGB, upright as its camera noted, or as it is stored where the annotation's size says so.

    A frame of a video costs the decoding of all before it: read many by `read_images`.

    Raises:
        OSError: it is not there.
        ValueError: it cannot be decoded.
    """
    if isinstance(image.image, VideoFrame):
        return next(read_frames(image.image, [image.image.index]))[1]
    return read_still(image.image, image.size)


def read_images(
    images: Sequence[AnnotatedImage],
) -> Iterator[tuple[int, UInt8[np.ndarray, 'H W 3'] | SkippedAnnotation]]:
    """Read many images, every video once, one image in memory.

    Yields:
        (position in `images`, the image), stills first, then video by video in the order of time; what cannot
        be read comes as a SkippedAnnotation.
    """
    by_video: dict[VideoFrame, dict[int, list[int]]] = {}
    for position, image in enumerate(images):
        if isinstance(image.image, VideoFrame):
            by_video.setdefault(video_of(image.image), {}).setdefault(image.image.index, []).append(position)
            continue
        try:
            yield position, read_still(image.image, image.size)
        except Exception as error:
            yield position, SkippedAnnotation(image.where, reason_of(error))
    for video, positions in by_video.items():
        left = sorted(positions, reverse=True)
        try:
            for index, pixels in read_frames(video, left[::-1]):
                left.pop()
                for position in positions[index]:
                    yield position, pixels
        except Exception as error:
            for position in (p for index in reversed(left) for p in positions[index]):
                yield position, SkippedAnnotation(images[position].where, reason_of(error))


def _checked(image: AnnotatedImage, sizes: ImageSizes) -> AnnotatedImage:
    size = sizes.find(image.image, image.size)
    if image.size is not None and tuple(image.size) != size:
        turned = ' It is turned by a quarter.' if tuple(image.size) == size[::-1] else ''
        raise BadEntry(
            f'{image.image}: the image must be {image.size[0]}x{image.size[1]} px as its annotation says; '
            f'got {size[0]}x{size[1]}.{turned} Give the folder of the images that were annotated.'
        )
    if image.mask is not None:
        # Stated sizes first: a hostile one would be decoded to gigabytes.
        _require_size(image, size, getattr(image.mask, 'size', size))
    mask = None if image.mask is None else image.mask.read()
    if mask is not None:
        _require_size(image, size, mask.shape[::-1])
    visible = image.confidence > 0
    if mask is not None and not mask.any() and not visible.any():
        raise BadEntry(f'{image.image}: an entry must have a visible keypoint or a mask; its mask is empty.')
    if mask is None and not visible.any():
        raise BadEntry(f'{image.image}: an entry must have a visible keypoint or a mask; got neither.')
    _reject_swapped(image, size, mask)
    keypoints, confidence = _drop_outside(image, size)
    return replace(
        image,
        size=size,
        keypoints=keypoints,
        confidence=confidence,
        mask=None if mask is None or not mask.any() else image.mask,
    )


def _require_size(image: AnnotatedImage, size: tuple[int, int], found: tuple[int, int]) -> None:
    if tuple(found) != tuple(size):
        raise BadEntry(
            f'{image.image}: the mask must be of the size of its image, {size[0]}x{size[1]} px; '
            f'got {shorten(found[0])}x{shorten(found[1])}. Was it made for another image?'
        )


def _drop_outside(image: AnnotatedImage, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Take the confidence of keypoints that no pixel of the image shows."""
    visible = image.confidence > 0
    inside = ((image.keypoints >= -0.5) & (image.keypoints <= np.asarray(size) - 0.5)).all(-1)
    if visible.any() and not (visible & inside).any():
        x, y = image.keypoints[visible][0]
        raise BadEntry(
            f'{image.image}: keypoints must be within the image of {size[0]}x{size[1]} px; all '
            f'{int(visible.sum())} are outside, such as ({x:.1f}, {y:.1f}).'
        )
    kept = visible & inside
    return np.where(kept[:, None], image.keypoints, 0.0), np.where(kept, image.confidence, 0.0)


def _reject_swapped(image: AnnotatedImage, size: tuple[int, int], mask: np.ndarray | None) -> None:
    """Look for keypoints that are in the animal's box only as (row, column)."""
    points = image.keypoints[image.confidence > 0]
    if len(points) < _SWAPPED_POINTS:
        return
    if image.box is not None:
        box, margin, what = tuple(image.box), _BOX_MARGIN, 'their box'
    elif mask is not None and mask.any():
        box, margin, what = mask_box(mask), _BOX_MARGIN, 'their mask'
    else:
        box, margin, what = (-0.5, -0.5, float(size[0]), float(size[1])), 0.0, 'the image'
    given, swapped = _part_inside(points, box, margin), _part_inside(points[:, ::-1], box, margin)
    if swapped >= _SWAPPED_INSIDE and given <= _GIVEN_INSIDE:
        raise BadEntry(
            f'{image.image}: keypoints must be (x, y); {given:.0%} of them are in {what}, {swapped:.0%} when they '
            'are read as (y, x). Rows and columns seem exchanged.'
        )


def mask_box(mask: np.ndarray) -> tuple[float, float, float, float]:
    """Give the box (x, y, width, height) of the pixels of a mask (H, W) that is not empty, outer edges, px."""
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    width, height = columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1
    return float(columns[0] - 0.5), float(rows[0] - 0.5), float(width), float(height)


def _part_inside(points: np.ndarray, box: Sequence[float], margin: float) -> float:
    x, y, width, height = box
    grown = margin * max(width, height)
    low, high = np.array([x, y]) - grown, np.array([x + width, y + height]) + grown
    return float(((points >= low) & (points <= high)).all(-1).mean())
