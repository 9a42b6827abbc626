"""What a mask's overlap is worth: beside other animals laid over it, and beside plain shapes."""

from collections.abc import Collection, Mapping

import numpy as np
from jaxtyping import Bool, Float

from smilfit.evaluation.image_fit import mask_iou

# Other images' silhouettes that are laid over a mask.
N_OTHERS = 5


def mask_margins(
    silhouettes: Mapping[int, tuple[Bool[np.ndarray, 'H W'], Bool[np.ndarray, 'H W']]],
    count: int,
    alone: Collection[int] = (),
) -> Float[np.ndarray, ' B']:
    """Compare each fit's overlap with its mask to what has nothing to do with the animal.

    Any body covers a part of any mask: what counts is by how much the right one covers more (IoU less the median IoU
    of other images' fits, moved and scaled over the mask's box). Where a mask is all that there is, a rock must not
    pass for an animal that is curled up: the fit must be better than plain shapes, too (`plain_overlap`). NaN of an
    image without mask, or where there is nothing to compare with.

    Args:
        silhouettes: by row, what the body covers and the mask.
        count: how many rows there are.
        alone: rows of which the mask is all that was seen.
    """
    found = np.full(count, np.nan)
    rows = list(silhouettes)
    for i, row in enumerate(rows):
        covered, mask = silhouettes[row]
        others = [rows[(i + k) % len(rows)] for k in range(1, min(N_OTHERS, len(rows) - 1) + 1)]
        overlaps = [
            mask_iou(moved, mask)
            for moved in (_over(silhouettes[other][0], mask) for other in others)
            if moved is not None
        ]
        least = [float(np.median(overlaps))] if overlaps else []
        if row in alone:
            least.append(plain_overlap(mask))
        if least:
            found[row] = mask_iou(covered, mask) - max(least)
    return found


def outline_convexity(mask: Bool[np.ndarray, 'H W']) -> float:
    """Divide the perimeter of a mask's convex hull by its own, of its largest piece; 1 of a convex one.

    Steps of less than a hundredth of the outline's extent do not count: pixels are steps.
    """
    import cv2

    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outline = max(outlines, key=cv2.contourArea)
    smooth = cv2.approxPolyDP(outline, 0.01 * float(np.ptp(outline, axis=0).max()), True)
    around = cv2.arcLength(smooth, True)
    return min(cv2.arcLength(cv2.convexHull(smooth), True) / around, 1.0) if around > 0 else 1.0


def plain_overlap(mask: Bool[np.ndarray, 'H W']) -> float:
    """Give the larger IoU of a mask with its convex hull and with the ellipse of its second moments; 1 of a line."""
    import cv2

    rows, columns = np.nonzero(mask)
    points = np.stack((columns, rows), 1)
    hull = np.zeros(mask.shape, np.uint8)
    cv2.fillPoly(hull, [cv2.convexHull(points.astype(np.int32))], 1)
    spread = np.cov(points.T) if len(points) > 1 else np.zeros((2, 2))
    if np.linalg.eigvalsh(spread)[0] < 1 / 12:
        return 1.0
    grid = np.stack(np.meshgrid(*map(np.arange, mask.shape[::-1])), -1) - points.mean(0)
    # The ellipse whose area has these moments ends at two standard deviations.
    ellipse = np.einsum('hwi,ij,hwj->hw', grid, np.linalg.inv(spread), grid) <= 4.0
    return max(mask_iou(hull > 0, mask), mask_iou(ellipse, mask))


def _over(silhouette: np.ndarray, mask: np.ndarray) -> np.ndarray | None:
    """Stretch a silhouette so that its box is the mask's; None of an empty one."""
    if not silhouette.any() or not mask.any():
        return None
    (y0, y1), (x0, x1) = _box(silhouette)
    (v0, v1), (u0, u1) = _box(mask)
    rows = np.round(np.linspace(y0, y1, v1 - v0 + 1)).astype(int)
    columns = np.round(np.linspace(x0, x1, u1 - u0 + 1)).astype(int)
    moved = np.zeros_like(mask)
    moved[v0 : v1 + 1, u0 : u1 + 1] = silhouette[np.ix_(rows, columns)]
    return moved


def _box(mask: np.ndarray) -> tuple[tuple[int, int], tuple[int, int]]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return (int(rows[0]), int(rows[-1])), (int(columns[0]), int(columns[-1]))
