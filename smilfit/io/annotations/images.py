"""Images that annotations name: opened, read, and compared with what the annotations say of them."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import UInt8

from smilfit.files import shorten
from smilfit.io.annotations.entries import BadEntry, reason_of
from smilfit.io.annotations.entry_checks import Repetitions, check_box
from smilfit.io.annotations.image_files import ImageSizes, read_frames, read_still, unused_bits, video_of
from smilfit.io.annotations.masks import PolygonMask
from smilfit.io.annotations.placement import PlacedSet
from smilfit.structures import AnnotatedImage, AnnotationSet, SkippedAnnotation, VideoFrame

logger = logging.getLogger('smilfit')

# Upper bits that no pixel of a 16-bit image uses: two make it a quarter as bright.
_DARK_BITS = 2


def check_images(annotations: AnnotationSet) -> AnnotationSet:
    """Open the images and masks that a reader named and leave out the entries that cannot be used.

    Of an image only the header is read; a mask is decoded. What is left out is in `skipped`: an image that is
    missing or unreadable or of another size than stated, a mask that is unreadable or of another size, nothing
    to fit (no visible keypoint and no pixel of a mask), a box that shows nothing or has nothing of the mask in it,
    all keypoints outside the image, or most where no size is stated, rows and columns exchanged, an entry that is
    another once more. Images of another size and exchanged rows are looked for in the set as a whole, too. A
    keypoint outside the image loses its confidence, an empty mask beside keypoints is dropped; both are counted in
    the log. Entries that are kept have their `size`.
    """
    sizes, placed, seen = ImageSizes(), PlacedSet(), Repetitions()
    kept: list[tuple[AnnotatedImage, AnnotatedImage]] = []
    skipped: list[SkippedAnnotation] = []
    for image in annotations.images:
        try:
            checked = _checked(image, sizes, placed)
            seen.reject(image)
            kept.append((image, checked))
        except Exception as error:  # A file chose what happened here: no kind of error can be left out.
            skipped.append(SkippedAnnotation(image.where, reason_of(error)))
    reasons = [placed.fault_of(image) for image, _ in kept]
    skipped += [SkippedAnnotation(pair[0].where, reason) for pair, reason in zip(kept, reasons) if reason]
    kept = [pair for pair, reason in zip(kept, reasons) if not reason]
    images = tuple(checked for _, checked in kept)
    lost = [int((image.confidence > 0).sum() - (checked.confidence > 0).sum()) for image, checked in kept]
    empty_masks = sum(image.mask is not None and checked.mask is None for image, checked in kept)
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
    _tell_dark(annotations.name, images)
    return replace(annotations, images=images, skipped=annotations.skipped + tuple(skipped))


def _tell_dark(name: str, images: Sequence[AnnotatedImage]) -> None:
    """Tell of cameras of 10 to 14 bits, whose 16-bit images are nearly black; the first image speaks for the set."""
    first = next((image.image for image in images if not isinstance(image.image, VideoFrame)), None)
    try:
        unused = 0 if first is None else unused_bits(first)
    except Exception as error:
        # It is left out, with this reason, when it is read.
        logger.debug('%s: %s', first, error)
        return
    if unused >= _DARK_BITS:
        logger.warning(
            '%s: grey images of 16 bits should use all of them; %s uses %d and will be nearly black, as will others '
            'like it. Multiply such images by %d before.',
            name,
            first,
            16 - unused,
            2**unused,
        )


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


def _checked(image: AnnotatedImage, sizes: ImageSizes, placed: PlacedSet) -> AnnotatedImage:
    size = sizes.find(image.image, image.size)
    if image.size is not None and tuple(image.size) != size:
        turned = ' It is turned by a quarter.' if tuple(image.size) == size[::-1] else ''
        raise BadEntry(
            f'{image.image}: the image must be {image.size[0]}x{image.size[1]} px as its annotation says; '
            f'got {size[0]}x{size[1]}.{turned} Give the folder of the images that were annotated.'
        )
    if isinstance(image.mask, PolygonMask) and image.mask.size is None:
        image = replace(image, mask=replace(image.mask, size=size))
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
    check_box(image, size, mask)
    placed.add(image, size, mask)
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
