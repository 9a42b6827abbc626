"""Silhouettes as annotation files write them: run lengths, polygons, pictures of labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from smilfit.structures import MaskSource

# COCO's text of run lengths: six bits a character from '0' on, the sixth says that the number goes on.
_FIRST_CHARACTER = ord('0')
_LAST_CHARACTER = _FIRST_CHARACTER + 63


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
            ValueError: text that is no run lengths, or runs that do not fill the picture.
        """
        width, height = self.size
        text = isinstance(self.counts, str | bytes)
        runs = _decompress(self.counts) if text else np.asarray(self.counts, dtype=np.int64)
        if (runs < 0).any() or runs.sum() != width * height:
            raise ValueError(
                f'mask: run lengths must fill {width}x{height} = {width * height} px; '
                f'got {int(runs.sum())}. Was the mask made for a picture of another size?'
            )
        flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
        return flat.reshape(width, height).T


@dataclass(frozen=True)
class PolygonMask(MaskSource):
    """A union of polygons `[x1, y1, x2, y2, ...]`, each filled by the even-odd rule.

    Coordinates are COCO's: px from the outer corner of the first pixel, whose centre is thus (0.5, 0.5). A pixel
    belongs to a polygon that its centre lies in. `size` is (width, height) px.
    """

    polygons: Sequence[Sequence[float]]
    size: tuple[int, int]

    def read(self) -> Bool[np.ndarray, 'H W']:
        """Fill the polygons.

        Raises:
            ValueError: a polygon of an odd count of numbers, of fewer than three corners or with no finite number.
        """
        width, height = self.size
        mask = np.zeros((height, width), dtype=bool)
        for polygon in self.polygons:
            corners = np.asarray(polygon, dtype=np.float64)
            if corners.ndim != 1 or len(corners) % 2 or len(corners) < 6 or not np.isfinite(corners).all():
                raise ValueError(
                    f'mask: a polygon must be three or more corners x, y of finite numbers; got {len(corners)} '
                    'numbers.'
                )
            mask |= _fill(corners.reshape(-1, 2), width, height)
        return mask


@dataclass(frozen=True)
class ImageMask(MaskSource):
    """A picture of labels: what is not black (or not index 0), or what has given values.

    `values` are numbers (of a grey picture, or indices of a palette) or (red, green, blue) colours. Transparency
    is not looked at.
    """

    path: Path
    values: tuple[int | tuple[int, int, int], ...] | None = None

    def read(self) -> Bool[np.ndarray, 'H W']:
        """Open the picture and pick the values.

        Raises:
            OSError: it is not there.
            ValueError: it is no picture, or the values are colours and it has none, or the reverse.
        """
        labels = _read_labels(self.path, any(np.ndim(value) for value in self.values or ()))
        if self.values is None:
            return labels.astype(bool) if labels.ndim == 2 else labels.any(-1)
        mask = np.zeros(labels.shape[:2], dtype=bool)
        for value in self.values:
            if np.ndim(value) != labels.ndim - 2:
                kind = 'numbers' if labels.ndim == 2 else 'colours'
                raise ValueError(f'{self.path}: values of this mask must be {kind}; got {value}.')
            same = labels == np.asarray(value)
            mask |= same if labels.ndim == 2 else same.all(-1)
        return mask


def _decompress(text: str | bytes) -> np.ndarray:
    """Undo COCO's text: base-32 digits, the lowest first, then differences to the run before the last one."""
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
    if digits.max() > 12:
        raise ValueError('mask: run lengths must be numbers below 2^60; got a longer one.')
    place = np.arange(len(bits)) - np.repeat(first, digits)
    numbers = np.add.reduceat((bits & 31) << (5 * place), first)
    # The sign is the fifth bit of the highest digit.
    numbers -= np.where(bits[last] & 16, np.int64(1) << (5 * digits), 0)
    # From the fourth on, a number is a difference to that two before.
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers


def _fill(corners: np.ndarray, width: int, height: int) -> np.ndarray:
    """Fill one polygon: every edge toggles, in the rows that it crosses, all pixels to the right of it."""
    toggles = np.zeros((height, width + 1), dtype=bool)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0)):
        low, high = min(y0, y1), max(y0, y1)
        # Half-open, so that a corner on a row's centre counts once.
        rows = np.arange(max(0, np.ceil(low - 0.5)), min(height, np.ceil(high - 0.5)), dtype=np.int64)
        if len(rows):
            x = x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0)
            toggles[rows, np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)] ^= True
    return np.logical_xor.accumulate(toggles[:, :width], axis=1)


def _read_labels(path: Path, colours: bool) -> np.ndarray:
    """Read numbers (H, W) or colours (H, W, 3); a palette's picture has both."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            if picture.mode in ('RGBA', 'CMYK', 'YCbCr') or (picture.mode == 'P' and colours):
                return np.asarray(picture.convert('RGB'))
            return np.asarray(picture.convert('L') if picture.mode in ('LA', 'La') else picture)
    except FileNotFoundError:
        raise FileNotFoundError(f'{path}: the mask must exist; there is no such file.') from None
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ValueError(f'{path}: the mask must be a picture that opens; got: {error}.') from None
