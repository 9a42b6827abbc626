"""Whether keypoints lie where their image, box and mask say: by entry, and over a set, which tells more."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float

from smilfit.io.annotations.entries import BadEntry
from smilfit.structures import AnnotatedImage

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
        """Give which part is inside, as written and exchanged."""
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
        """Say how large the images are and how far the points go."""
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
        """Say why an entry that is fine by itself is not as one of this set; nothing where it is."""
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
    """Give the box (x, y, width, height) of the pixels of a mask (H, W) that is not empty, outer edges, px."""
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
