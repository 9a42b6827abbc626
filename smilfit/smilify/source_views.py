"""Where the stored images of a SMILify file were cut, worked out from what it keeps of their cameras."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

# Sides of source images, px.
LARGEST_SIDE = 20_000


# K is stored in single precision: so far from a whole number a side or an offset may come out.
_WHOLE = 0.02


# So many different crops must agree; fewer may by chance.
_LEAST_CROPS = 8


_MOST_CROPS = 64


def side_of_centred_axis(principal: float, side: int) -> int | None:
    """Find the source side N of an axis whose principal point was the centre, (N - 1) / 2.

    Then it was stored as `side / 2 - s / 2`, `s = side / N`. Returns None where no whole N fits: its principal point
    was another, or was calibrated.

    Args:
        principal: of the stored image, px.
        side: of the stored image, px.
    """
    s = side - 2 * principal
    if not 0 < s <= 4:
        return None
    result = side / s
    rounding = float(np.spacing(np.float32(principal))) / s * result
    whole = round(result)
    fits = abs(result - whole) < max(_WHOLE, rounding) and rounding < 0.25
    return whole if fits and whole <= LARGEST_SIDE else None


def focal_of_crops(K: Float[np.ndarray, 'n 3 3']) -> float | None:
    """Find the focal length fx in source px of one camera whose crops differ.

    Crops begin at whole source px: `fx cx' / fx'` of two stored K differ by a whole number, and so do the rows, as
    scales are the same along both axes. The smallest fx for which all do is it. None where too few crops differ, or
    none fits.
    """
    ratio = float(np.median(K[:, 1, 1] / K[:, 0, 0]))
    places = np.stack((K[:, 0, 2] / K[:, 0, 0], K[:, 1, 2] / K[:, 1, 1] * ratio), -1)
    steps = np.unique(np.abs(places - places[0]).ravel().round(9))
    steps = steps[steps > 1e-5]
    if len(steps) < _LEAST_CROPS:
        return None
    steps = steps[np.linspace(0, len(steps) - 1, min(len(steps), _MOST_CROPS)).round().astype(int)]
    for count in range(1, int(LARGEST_SIDE * steps[0]) + 2):
        focal = count / steps[0]
        for step in steps:
            whole = round(focal * step)
            if whole == 0 or abs(focal * step - whole) > 0.1:
                break
            # Each larger step says more exactly what the focal length is.
            focal = whole / step
        else:
            off = np.abs(focal * steps - (focal * steps).round())
            if float(off.max()) < _WHOLE:
                return float(focal)
    return None


# K of images that were cut alike differ by less, in shares.
_SAME = 1e-5


@dataclass(frozen=True)
class SourceViews:
    """One camera's n stored images in its source px.

    `to_source` maps px as the file writes them to source px, `to_stored` source px to those of the stored image.
    Where `scale_known` is False the stored px of the largest image stand for source px, and labels may lie up to
    half a stored px right of and below the image.
    """

    K: Float[np.ndarray, '3 3']
    size: tuple[float, float]
    to_source: Float[np.ndarray, 'n 2 3']
    to_stored: Float[np.ndarray, 'n 2 3']
    scale_known: bool
    how: str


def find_source_views(
    K: Float[np.ndarray, 'n 3 3'],
    side: int,
    sizes: Int[np.ndarray, 'n 2'] | None,
    crop_mode: str,
    source_size: Sequence[int] | None,
) -> SourceViews:
    """Work out where one camera's images were cut.

    Args:
        K: as the file has them.
        side: of the stored images, px.
        sizes: width and height that the file states of what K is of; None where it states none.
        crop_mode: as the file states it, or ''.
        source_size: width and height of the source images where the user states them.

    Raises:
        ValueError: K of whole images, and no telling where they were cut.
    """
    if sizes is not None and (sizes > 0).all() and not (sizes == side).all():
        return _of_whole_images(K, side, sizes, crop_mode)
    if (np.abs(K - K[0]) <= _SAME * np.abs(K[0]).max()).all():
        return _cut_alike(K, side, crop_mode, source_size)
    focal = focal_of_crops(K)
    how = 'crops begin at whole px' if focal else 'unknown'
    return _placed(K, side, focal or float(K[:, 0, 0].max()), focal is not None, how)


def _of_whole_images(K: np.ndarray, side: int, sizes: np.ndarray, crop_mode: str) -> SourceViews:
    """Place images of a file that kept K and size of the whole image (before March 2026)."""
    if not (sizes == sizes[0]).all() or crop_mode not in ('centred', 'default'):
        raise ValueError(
            f'image_sizes must be those of the stored images ({side} px), or the crop_mode one whose crop is known '
            f'(centred, default); got {sizes[0].tolist()} and {crop_mode!r}. Its cameras are of whole images, and '
            'where those were cut is lost: make the file anew from the session.'
        )
    width, height = (int(v) for v in sizes[0])
    box, x0, y0 = (width, height), 0, 0
    if crop_mode == 'centred':
        least = min(width, height)
        box, x0, y0 = (least, least), (width - least) // 2, (height - least) // 2
    scale = (side / box[0], side / box[1])
    how = 'the file states whole images'
    return _with_scale(
        K[0], (width, height), np.tile(scale, (len(K), 1)), np.tile((x0, y0), (len(K), 1)), True, how
    )


def _cut_alike(K: np.ndarray, side: int, crop_mode: str, source_size: Sequence[int] | None) -> SourceViews:
    """Place images that all have one K: the whole source image or a fixed part of it."""
    if source_size is not None:
        sides = (min(source_size),) * 2 if crop_mode == 'centred' else (source_size[0], source_size[1])
        how = 'given'
    else:
        across, down = (side_of_centred_axis(float(K[0, axis, 2]), side) for axis in (0, 1))
        sides, how = (side, side), 'unknown'
        if across is not None and down is not None and (crop_mode != 'centred' or across == down):
            sides, how = (across, down), 'centred principal points'
    scale = np.array([side / sides[0], side / sides[1]])
    original = K.mean(0)
    original[:2] /= scale[:, None]
    n = len(K)
    return _with_scale(
        original, (sides[0], sides[1]), np.tile(scale, (n, 1)), np.zeros((n, 2)), how != 'unknown', how
    )


def _placed(K: np.ndarray, side: int, focal: float, known: bool, how: str) -> SourceViews:
    """Place crops that differ on the smallest image that holds them all; only their places to each other count."""
    scale = K[:, 0, 0] / focal
    centres = K[:, :2, 2] / scale[:, None]
    principal = centres.max(0)
    corners = principal - centres
    corners = corners.round() if known else corners
    far = np.ceil((corners + side / scale[:, None]).max(0) - 1e-6)
    original = np.array(
        [[focal, 0, principal[0]], [0, focal * K[0, 1, 1] / K[0, 0, 0], principal[1]], [0, 0, 1.0]]
    )
    return _with_scale(original, (far[0], far[1]), np.stack((scale, scale), 1), corners, known, how)


def _with_scale(
    K: np.ndarray, size: tuple[float, float], scale: np.ndarray, corner: np.ndarray, known: bool, how: str
) -> SourceViews:
    """Write the maps of the file, q = (x - corner) s, and of its images, p = q + (s - 1) / 2."""
    n = len(scale)
    to_source, to_stored = np.zeros((n, 2, 3)), np.zeros((n, 2, 3))
    for axis in (0, 1):
        to_source[:, axis, axis], to_source[:, axis, 2] = 1 / scale[:, axis], corner[:, axis]
        to_stored[:, axis, axis] = scale[:, axis]
        to_stored[:, axis, 2] = -corner[:, axis] * scale[:, axis] + known * (scale[:, axis] - 1) / 2
    return SourceViews(K, size, to_source, to_stored, known, how)
