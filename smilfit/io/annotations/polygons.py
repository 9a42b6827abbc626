"""Polygons filled by the even-odd rule, with bounds on what a hostile one may cost."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from smilfit.files import shorten

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
    """Give first and last (exclusive) column and row of the pixels that a polygon may hold."""
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
