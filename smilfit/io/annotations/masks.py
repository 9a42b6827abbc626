"""Silhouettes as annotation files write them: run lengths, polygons, images of labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from smilfit.files import shorten
from smilfit.io.image_opening import check_image_size, decoded_image
from smilfit.structures import MaskSource

MOST_CORNERS = 200_000
# Rows that the edges of one mask may cross, and boxes of polygons in areas of the image: both bound the time.
MOST_CROSSED_ROWS = 20_000_000
MOST_IMAGES_COVERED = 100
MOST_COORDINATE_PX = 1e7


def fill_polygons(polygons: Sequence[Sequence[float]], size: tuple[int, int]) -> Bool[np.ndarray, 'H W']:
    """Fill the union of polygons `[x1, y1, x2, y2, ...]`, px from the outer corner of the first pixel.

    Args:
        polygons: corners.
        size: (width, height) px.

    Raises:
        ValueError: a polygon of an odd count of numbers, of fewer than three corners, with no finite number or one
            that no image has; more corners or area than a silhouette can have.
    """
    width, height = size
    corners = [_corners(polygon) for polygon in polygons]
    count = sum(map(len, corners))
    if count > MOST_CORNERS:
        raise ValueError(
            f'mask: polygons must have at most {MOST_CORNERS} corners; got {count}. Write the mask as run lengths.'
        )
    mask = np.zeros((height, width), dtype=bool)
    crossed = sum(
        float(np.abs(np.diff(y, append=y[:1])).sum()) for y in (_clipped(c, height) for c in corners)
    )
    covered = sum(_area(c, width, height) for c in corners)
    if crossed > MOST_CROSSED_ROWS or covered > MOST_IMAGES_COVERED * width * height:
        raise ValueError(
            f'mask: polygons must cover the image at most {MOST_IMAGES_COVERED} times and cross at most '
            f'{MOST_CROSSED_ROWS} rows; these do more. Write the mask as run lengths.'
        )
    for polygon in corners:
        _fill(mask, polygon)
    return mask


def _corners(polygon: Sequence[float]) -> Float[np.ndarray, 'n 2']:
    plain = isinstance(polygon, np.ndarray) or all(isinstance(v, (int, float, np.number)) for v in polygon)
    try:
        values = np.asarray(polygon, dtype=np.float64) if plain else np.zeros(0)
    except (TypeError, ValueError, OverflowError):
        values = np.zeros(0)
    if values.ndim != 1 or len(values) % 2 or len(values) < 6 or not np.isfinite(values).all():
        raise ValueError(
            f'mask: a polygon must be three or more corners x, y of finite numbers; got {len(polygon)} '
            'values. Correct it.'
        )
    if np.abs(values).max() > MOST_COORDINATE_PX:
        raise ValueError(
            f'mask: corners of a polygon must be px of the image; got {shorten(float(np.abs(values).max()))}. '
            'Correct them.'
        )
    return values.reshape(-1, 2)


def _clipped(corners: np.ndarray, height: int) -> np.ndarray:
    return corners[:, 1].clip(0, height)


def _box(corners: np.ndarray, width: int, height: int) -> tuple[int, int, int, int]:
    """Return first and last (exclusive) column and row of the pixels that a polygon may hold."""
    low = np.floor(corners.min(0)).clip(0, (width, height)).astype(int)
    high = np.ceil(corners.max(0)).clip(0, (width, height)).astype(int)
    return int(low[0]), int(high[0]), int(low[1]), int(high[1])


def _area(corners: np.ndarray, width: int, height: int) -> int:
    left, right, top, bottom = _box(corners, width, height)
    return (right - left) * (bottom - top)


def _fill(mask: np.ndarray, corners: np.ndarray) -> None:
    """Fill one polygon: every edge toggles, in the rows that it crosses, all pixels to the right of it."""
    left, right, top, bottom = _box(corners, mask.shape[1], mask.shape[0])
    width, height = right - left, bottom - top
    if width < 1 or height < 1:
        return
    corners = corners - (left, top)
    toggles = np.zeros((height, width + 1), dtype=bool)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0)):
        low, high = min(y0, y1), max(y0, y1)
        # Half-open, so that a corner on a row's centre counts once.
        rows = np.arange(max(0, np.ceil(low - 0.5)), min(height, np.ceil(high - 0.5)), dtype=np.int64)
        if len(rows):
            x = x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0)
            toggles[rows, np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)] ^= True
    mask[top:bottom, left:right] |= np.logical_xor.accumulate(toggles[:, :width], axis=1)


# COCO's text: six bits a character from '0' on, the sixth says that the number goes on.
_FIRST_CHARACTER = ord('0')
_LAST_CHARACTER = _FIRST_CHARACTER + 63
_MOST_DIGITS = 12
# Runs of one pixel each take a number, or a character, a pixel; runs of none may lie between them.
_NUMBERS_PER_PIXEL = 2


def read_runs(counts: str | bytes | Sequence[int], size: tuple[int, int]) -> Int[np.ndarray, ' runs']:
    """Read run lengths that fill an image.

    Args:
        counts: text or whole numbers.
        size: (width, height) px.

    Raises:
        ValueError: more of them than the image can have, no run lengths, or such as do not fill it.
    """
    width, height = size
    pixels = width * height
    most = _NUMBERS_PER_PIXEL * pixels + 16
    if len(counts) > most:
        raise ValueError(
            f'mask: run lengths of {width}x{height} px must be at most {most} in number; got {len(counts)}. Was the '
            'mask made for an image of another size?'
        )
    runs = decompress(counts) if isinstance(counts, str | bytes) else _whole_numbers(counts)
    # Single runs are looked at before their sum, which a run beyond the image could make wrap around.
    total = int(runs.sum()) if not ((runs < 0) | (runs > pixels)).any() else None
    if total != pixels:
        raise ValueError(
            f'mask: run lengths must fill {width}x{height} = {pixels} px; got '
            f'{"one that is negative or longer" if total is None else total}. Was the mask made for an image of '
            'another size?'
        )
    return runs


def fill_runs(runs: Int[np.ndarray, ' runs'], size: tuple[int, int]) -> Bool[np.ndarray, 'H W']:
    """Make a mask of run lengths that fill an image of (width, height) px."""
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return flat.reshape(size).T


def _whole_numbers(counts: Sequence[int]) -> np.ndarray:
    if isinstance(counts, np.ndarray):
        if counts.dtype.kind not in 'iu' or counts.ndim != 1:
            raise ValueError(f'mask: run lengths must be whole numbers; got {counts.dtype}. Correct them.')
        return counts.astype(np.int64)
    wrong = next((c for c in counts if not isinstance(c, int | np.integer) or isinstance(c, bool)), None)
    if wrong is not None or None in counts:
        raise ValueError(f'mask: run lengths must be whole numbers; got {shorten(wrong)}. Correct them.')
    try:
        return np.asarray(counts, dtype=np.int64)
    except OverflowError:
        raise ValueError('mask: run lengths must be numbers below 2^60; got a longer one.') from None


def decompress(text: str | bytes) -> Int[np.ndarray, ' runs']:
    """Undo COCO's text: base-32 digits, the lowest first, then differences to the run before the last one.

    Raises:
        ValueError: other characters, or a number that is cut short or too long.
    """
    data = np.frombuffer(text.encode('latin-1', 'replace') if isinstance(text, str) else text, dtype=np.uint8)
    if len(data) and (data.min() < _FIRST_CHARACTER or data.max() > _LAST_CHARACTER):
        raise ValueError(
            f"mask: run lengths must be written in the characters '0' to 'o'; got {text[:20]!r}."
        )
    bits = data.astype(np.int64) - _FIRST_CHARACTER
    goes_on = (bits & 32) > 0
    if len(bits) and goes_on[-1]:
        raise ValueError('mask: run lengths must end with a whole number; the text is cut short.')
    if not len(bits):
        return np.zeros(0, dtype=np.int64)
    last = np.flatnonzero(~goes_on)
    first = np.concatenate(([0], last[:-1] + 1))
    digits = last - first + 1
    if digits.max() > _MOST_DIGITS:
        raise ValueError('mask: run lengths must be numbers below 2^60; got a longer one.')
    place = np.arange(len(bits)) - np.repeat(first, digits)
    numbers = np.add.reduceat((bits & 31) << (5 * place), first)
    # The sign is the fifth bit of the highest digit.
    numbers -= np.where(bits[last] & 16, np.int64(1) << (5 * digits), 0)
    # From the fourth on, a number is a difference to that two before.
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers


@dataclass(frozen=True)
class RleMask(MaskSource):
    """COCO's run lengths, column by column, background first: compressed text or a list of numbers.

    `size` is (width, height) px; COCO writes it as `[height, width]`.
    """

    counts: str | bytes | Sequence[int]
    size: tuple[int, int]

    def read(self) -> Bool[np.ndarray, 'H W']:
        """Decode the run lengths.

        Raises:
            ValueError: text that is no run lengths, or runs that do not fill the image; a size over the limit.
        """
        check_image_size('mask', *self.size, 'the mask')
        return fill_runs(read_runs(self.counts, self.size), self.size)


@dataclass(frozen=True)
class PolygonMask(MaskSource):
    """A union of polygons `[x1, y1, x2, y2, ...]`, each filled by the even-odd rule.

    Coordinates are COCO's: px from the outer corner of the first pixel, whose centre is thus (0.5, 0.5). A pixel
    belongs to a polygon that its centre lies in. `size` is (width, height) px; `check_images` fills in that of the
    image where it is None.
    """

    polygons: Sequence[Sequence[float]]
    size: tuple[int, int] | None

    def read(self) -> Bool[np.ndarray, 'H W']:
        """Fill the polygons.

        Raises:
            ValueError: a polygon of an odd count of numbers, of fewer than three corners or with no finite number; a
                size or a count of corners over the limit, or no size.
        """
        if self.size is None:
            raise ValueError(
                'mask: the size of its image must be known; it is not. Give the annotations to check_images first.'
            )
        check_image_size('mask', *self.size, 'the mask')
        return fill_polygons(self.polygons, self.size)


@dataclass(frozen=True)
class ImageMask(MaskSource):
    """An image of labels: what is not black (or not index 0), or what has given values.

    `values` are numbers (of a grey image, or indices of a palette) or (red, green, blue) colours. Transparency
    is not looked at.
    """

    path: Path
    values: tuple[int | tuple[int, int, int], ...] | None = None

    def read(self) -> Bool[np.ndarray, 'H W']:
        """Open the image and pick the values.

        Raises:
            OSError: it is not there.
            ValueError: it is no image, or the values are colours and it has none, or the reverse.
        """
        labels = _read_labels(self.path, any(np.ndim(value) for value in self.values or ()))
        if self.values is None:
            return labels.astype(bool) if labels.ndim == 2 else np.any(labels, axis=-1)
        mask = np.zeros(labels.shape[:2], dtype=bool)
        for value in self.values:
            if np.ndim(value) != labels.ndim - 2:
                kind = 'numbers' if labels.ndim == 2 else 'colours'
                raise ValueError(f'{self.path}: values of this mask must be {kind}; got {value}.')
            same = labels == np.asarray(value)
            mask |= same if labels.ndim == 2 else same.all(-1)
        return mask


def _read_labels(path: Path, colours: bool) -> np.ndarray:
    """Read numbers (H, W) or colours (H, W, 3); a palette's image has both."""
    with decoded_image(path, 'the mask', 'must be an image that opens') as image:
        if image.mode in ('RGBA', 'CMYK', 'YCbCr') or (image.mode == 'P' and colours):
            return np.asarray(image.convert('RGB'))
        return np.asarray(image.convert('L') if image.mode in ('LA', 'La') else image)
