"""Images that annotations name: opened, read, and compared with what the annotations say of them."""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Bool, Float, UInt8

from smilfit.files import shorten
from smilfit.io.annotations.entries import BadEntry, reason_of
from smilfit.io.annotations.image_files import ImageSizes, read_frames, read_still, unused_bits, video_of
from smilfit.io.annotations.masks import PolygonMask
from smilfit.structures import AnnotatedImage, AnnotationSet, MaskSource, SkippedAnnotation, VideoFrame

# An animal of fewer pixels on the longer side shows nothing that could be fitted.
_LEAST_SIDE_PX = 4
# A box is that of its mask where at least this part of the mask's pixels is inside.
_MASK_IN_BOX = 0.1


def check_box(image: AnnotatedImage, size: tuple[int, int], mask: Bool[np.ndarray, 'H W'] | None) -> None:
    """Check that an entry's box shows a part of its image that is not tiny, and what its mask shows.

    Args:
        image: the entry.
        size: (width, height) px of its image.
        mask: its mask.

    Raises:
        BadEntry: it does not.
    """
    if image.box is None:
        return
    x, y, width, height = (float(value) for value in image.box)
    shown = f'{width:g}x{height:g} px at ({x:g}, {y:g})'
    left, top = max(x, -0.5), max(y, -0.5)
    right, bottom = min(x + width, size[0] - 0.5), min(y + height, size[1] - 0.5)
    if right <= left or bottom <= top:
        raise BadEntry(
            f'{image.image}: the box must be within the image of {size[0]}x{size[1]} px; got {shown}, which is '
            'outside. Was it made for another image?'
        )
    if max(right - left, bottom - top) < _LEAST_SIDE_PX:
        raise BadEntry(
            f'{image.image}: the box must have a side of {_LEAST_SIDE_PX} px or more within the image; got {shown}. '
            'Are its numbers shares of the image? They must be px.'
        )
    if mask is None or not mask.any():
        return
    # Pixels whose centres are inside.
    rows, columns = (slice(int(np.ceil(a)), int(np.floor(b)) + 1) for a, b in ((top, bottom), (left, right)))
    if mask[rows, columns].sum() < _MASK_IN_BOX * mask.sum():
        raise BadEntry(
            f'{image.image}: the mask must be that of the animal in the box; {mask[rows, columns].sum()} of its '
            f'{mask.sum()} px are in the box of {shown}. Correct the box or the mask, or leave one of them out.'
        )


class Repetitions:
    """The entries of a set that were seen so far, to find one that is there again."""

    def __init__(self) -> None:
        self._by_place: dict[tuple[object, ...], list[AnnotatedImage]] = {}

    def reject(self, image: AnnotatedImage) -> None:
        """Take note of an entry.

        Raises:
            BadEntry: one with the same image, keypoints, box and mask was there before.
        """
        box = b'' if image.box is None else np.asarray(image.box, np.float64).tobytes()
        # Animals that are followed apart are two, wherever they are.
        place = (image.image, image.sequence, image.frame)
        key = (*place, image.keypoints.tobytes(), image.confidence.tobytes(), box)
        alike = self._by_place.setdefault(key, [])
        for other in alike:
            if _same_mask(image.mask, other.mask):
                raise BadEntry(
                    f'{image.image}: an animal must be annotated once; this entry is {other.where} again. Remove one.'
                )
        alike.append(image)


def _same_mask(one: MaskSource | None, other: MaskSource | None) -> bool:
    if one is None or other is None:
        return one is other
    return np.array_equal(one.read(), other.read())


# Keypoints may lie beside their box or mask by this part of its longer side.
_BOX_MARGIN, _MASK_MARGIN = 0.15, 0.03
# Rows and columns of an entry were exchanged where this part of its points is inside only when they are changed back.
_SWAPPED_INSIDE, _GIVEN_INSIDE = 0.9, 0.6
_SWAPPED_POINTS = 4
# Those of a set, where the points that are inside by the other order alone are this many, this part of all, and so
# many times those that are inside by the order given alone.
_SET_POINTS, _SET_SHARE, _SET_RATIO = 5, 0.1, 3
# An image is of the annotated size where at least this part of its points, or of the set's points, is inside.
_SAME_SIZE = 0.5
# Images of a sequence are not where this part of all its points is outside, the furthest by this part of a side:
# labels lie outside an image by chance or by a model's mistake, and not so often and so far.
_OUTSIDE, _FAR_OUTSIDE = 0.1, 0.1

_GIVE_THOSE = 'Images of another size seem to have been annotated: give those, with their masks.'

Inside = Callable[[Float[np.ndarray, 'n 2']], Bool[np.ndarray, ' n']]


@dataclass(frozen=True)
class Placement:
    """How many visible keypoints of an entry, or of a set, are inside what is known of where they must be.

    `only_given` are inside as they are written, and outside with rows and columns exchanged; `only_swapped` the other
    way round.
    """

    n_points: int = 0
    given: int = 0
    only_given: int = 0
    only_swapped: int = 0

    def __add__(self, other: 'Placement') -> 'Placement':
        """Count both."""
        return Placement(
            self.n_points + other.n_points,
            self.given + other.given,
            self.only_given + other.only_given,
            self.only_swapped + other.only_swapped,
        )

    @property
    def swapped(self) -> int:
        """How many are inside with rows and columns exchanged."""
        return self.given - self.only_given + self.only_swapped

    def shares(self) -> tuple[float, float]:
        """Return which part is inside, as written and exchanged."""
        return self.given / max(self.n_points, 1), self.swapped / max(self.n_points, 1)


@dataclass
class Reach:
    """Points of several images: how they are placed, how large the images are, how far the points go, px."""

    placed: Placement = field(default_factory=Placement)
    largest: np.ndarray = field(default_factory=lambda: np.zeros(2))
    furthest: np.ndarray = field(default_factory=lambda: np.zeros(2))

    def add(self, placed: Placement, size: tuple[int, int], points: Float[np.ndarray, 'n 2']) -> None:
        """Count an image's points."""
        self.placed += placed
        self.largest = np.maximum(self.largest, size)
        self.furthest = np.maximum(self.furthest, points.max(0))

    @property
    def words(self) -> str:
        """Return how large the images are and how far the points go."""
        (width, height), (x, y) = self.largest, self.furthest
        return f'in images up to {width:.0f}x{height:.0f} px with keypoints up to x = {x:.0f} and y = {y:.0f}'


class PlacedSet:
    """Entries of one set, each judged when it is added, and all together when they are in."""

    def __init__(self) -> None:
        self._all = Placement()
        # Entries whose size nobody states: with a mask, and without one by sequence.
        self._masked = Reach()
        self._bare: defaultdict[str, Reach] = defaultdict(Reach)
        self._what = ''

    def add(self, image: AnnotatedImage, size: tuple[int, int], mask: Bool[np.ndarray, 'H W'] | None) -> None:
        """Judge an entry by itself; one that is refused counts in the set nevertheless.

        Args:
            image: the entry, with the size that its annotation states.
            size: (width, height) px of its image.
            mask: its mask.

        Raises:
            BadEntry: rows and columns were exchanged, or the annotated image had another size.
        """
        points = image.keypoints[image.confidence > 0]
        if not len(points):
            return
        placed, what = _place(points, image, size, mask)
        self._all += placed
        self._what = self._what or what
        if image.size is None:
            if image.mask is not None:
                self._masked.add(placed, size, points)
            else:
                # Whatever its box says.
                inside = int(_inside_image(size)(points).sum())
                self._bare[image.sequence].add(Placement(len(points), inside), size, points)
        given, swapped = placed.shares()
        if len(points) >= _SWAPPED_POINTS and swapped >= _SWAPPED_INSIDE and given <= _GIVEN_INSIDE:
            raise BadEntry(f'{image.image}: {_swapped_words(placed, what)}')
        _reject_other_size(image, points, size)

    def fault_of(self, image: AnnotatedImage) -> str:
        """Return why an entry that is fine by itself is not as one of this set; nothing where it is."""
        if not (image.confidence > 0).any():
            return ''
        if self._is_swapped():
            return f'{image.image}: of the whole set, {_swapped_words(self._all, self._what)}'
        if image.size is None and image.mask is not None and _beside_masks(self._masked):
            return (
                f'{image.image}: of the whole set, keypoints must lie on their masks; {self._masked.placed.given} of '
                f'{self._masked.placed.n_points} do, {self._masked.words}. {_GIVE_THOSE}'
            )
        if image.size is None and image.mask is None and _outside(self._bare[image.sequence]):
            reach = self._bare[image.sequence]
            outside = reach.placed.n_points - reach.placed.given
            return (
                f'{image.image}: of the whole sequence, keypoints must be within their images; {outside} of '
                f'{reach.placed.n_points} are outside, {reach.words}. {_GIVE_THOSE}'
            )
        return ''

    def _is_swapped(self) -> bool:
        """Animals that fill their images leave most points inside either way; over a set the rest decides."""
        total = self._all
        enough = max(_SET_POINTS, _SET_SHARE * total.n_points, _SET_RATIO * total.only_given)
        return total.only_swapped >= enough and total.shares()[1] >= _SWAPPED_INSIDE


def _beside_masks(reach: Reach) -> bool:
    return reach.placed.n_points >= _SET_POINTS and reach.placed.shares()[0] < _SAME_SIZE


def _outside(reach: Reach) -> bool:
    outside = reach.placed.n_points - reach.placed.given
    far = bool((reach.furthest > (1 + _FAR_OUTSIDE) * reach.largest).any())
    return far and outside >= max(_SET_POINTS, _OUTSIDE * reach.placed.n_points)


def _place(
    points: Float[np.ndarray, 'n 2'],
    image: AnnotatedImage,
    size: tuple[int, int],
    mask: Bool[np.ndarray, 'H W'] | None,
) -> tuple[Placement, str]:
    """Count points inside the image and the mask, or the box where there is no mask, and name the latter."""
    insides: list[Inside] = [_inside_image(size)]
    what = 'image'
    if mask is not None and mask.any():
        insides.append(_inside_mask(mask))
        what = 'mask'
    elif image.box is not None:
        insides.append(_inside_box(image.box, _BOX_MARGIN))
        what = 'box'
    given = np.logical_and.reduce([inside(points) for inside in insides])
    swapped = np.logical_and.reduce([inside(points[:, ::-1]) for inside in insides])
    alone = (int((given & ~swapped).sum()), int((swapped & ~given).sum()))
    return Placement(len(points), int(given.sum()), *alone), what


def _reject_other_size(
    image: AnnotatedImage, points: Float[np.ndarray, 'n 2'], size: tuple[int, int]
) -> None:
    """Look for an image smaller than the one that was annotated, where its annotation does not state the size."""
    inside = _inside_image(size)(points)
    if image.size is not None or inside.mean() >= _SAME_SIZE:
        return
    x, y = points.max(0)
    raise BadEntry(
        f'{image.image}: keypoints must be within the image of {size[0]}x{size[1]} px; {int((~inside).sum())} of '
        f'{len(points)} are outside, up to x = {x:.0f} and y = {y:.0f}. {_GIVE_THOSE}'
    )


def mask_box(mask: np.ndarray) -> tuple[float, float, float, float]:
    """Return the box (x, y, width, height) of the pixels of a mask (H, W) that is not empty, outer edges, px."""
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    width, height = columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1
    return float(columns[0] - 0.5), float(rows[0] - 0.5), float(width), float(height)


def _swapped_words(placed: Placement, what: str) -> str:
    given, swapped = placed.shares()
    return (
        f'keypoints must be (x, y); {given:.0%} of them are in their {what}, {swapped:.0%} when they are read as '
        '(y, x). Rows and columns seem exchanged.'
    )


def _inside_image(size: tuple[int, int]) -> Inside:
    return _inside_box((-0.5, -0.5, *size), 0.0)


def _inside_box(box: Sequence[float] | np.ndarray, margin: float) -> Inside:
    x, y, width, height = (float(value) for value in box)
    grown = margin * max(width, height)
    low, high = np.array([x, y]) - grown, np.array([x + width, y + height]) + grown
    return lambda points: np.asarray(((points >= low) & (points <= high)).all(-1))


def _inside_mask(mask: Bool[np.ndarray, 'H W']) -> Inside:
    """Look for a pixel of the mask in a square round each point."""
    reach = max(2, round(_MASK_MARGIN * max(mask_box(mask)[2:])))
    height, width = mask.shape

    def near(point: np.ndarray) -> bool:
        if not ((point > -reach) & (point < (width + reach, height + reach))).all():
            return False
        column, row = np.rint(point).astype(int)
        rows, columns = (slice(max(0, v - reach), max(0, v + reach + 1)) for v in (row, column))
        return bool(mask[rows, columns].any())

    return lambda points: np.array([near(point) for point in points], dtype=bool)


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
    sizes, placed, repetitions = ImageSizes(), PlacedSet(), Repetitions()
    kept: list[tuple[AnnotatedImage, AnnotatedImage]] = []
    skipped: list[SkippedAnnotation] = []
    for image in annotations.images:
        try:
            checked = _checked(image, sizes, placed)
            repetitions.reject(image)
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
    _warn_of_dark(annotations.name, images)
    return replace(annotations, images=images, skipped=annotations.skipped + tuple(skipped))


def _warn_of_dark(name: str, images: Sequence[AnnotatedImage]) -> None:
    """Report on cameras of 10 to 14 bits, whose 16-bit images are nearly black; the first image speaks for the
    set."""
    first = next((image.image for image in images if not isinstance(image.image, VideoFrame)), None)
    try:
        unused = 0 if first is None else unused_bits(first)
    except (OSError, ValueError) as error:
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
        except Exception as error:  # The file chose what happened here.
            yield position, SkippedAnnotation(image.where, reason_of(error))
    for video, positions in by_video.items():
        left = sorted(positions, reverse=True)
        try:
            for index, pixels in read_frames(video, left[::-1]):
                left.pop()
                for position in positions[index]:
                    yield position, pixels
        except Exception as error:  # The video chose what happened here.
            for position in (p for index in reversed(left) for p in positions[index]):
                yield position, SkippedAnnotation(images[position].where, reason_of(error))


def _checked(image: AnnotatedImage, sizes: ImageSizes, placed: PlacedSet) -> AnnotatedImage:
    size = sizes.find(image.image, image.size)
    if image.size is not None and tuple(image.size) != size:
        rotated = ' It is turned by a quarter.' if tuple(image.size) == size[::-1] else ''
        raise BadEntry(
            f'{image.image}: the image must be {image.size[0]}x{image.size[1]} px as its annotation says; '
            f'got {size[0]}x{size[1]}.{rotated} Give the folder of the images that were annotated.'
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


def _require_size(image: AnnotatedImage, size: tuple[int, int], stated: tuple[int, int]) -> None:
    if tuple(stated) != tuple(size):
        raise BadEntry(
            f'{image.image}: the mask must be of the size of its image, {size[0]}x{size[1]} px; '
            f'got {shorten(stated[0])}x{shorten(stated[1])}. Was it made for another image?'
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
