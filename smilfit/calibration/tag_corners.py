"""Corners of a black tag on white, where straight lines along its four sides meet.

Detectors look for the corner itself, and blur draws that inwards: 0.4 px in made images, where lines are right to
0.1.
"""

import numpy as np
from jaxtyping import Float, UInt8

# Points along a side, which keeps clear of the corners by this share.
_POINTS, _CLEAR = 12, 0.12
# How far from the side its edge may be: a share of the side, no less than so many px.
_REACH, _LEAST_REACH_PX = 0.1, 2.0
_STEP_PX = 0.25
_OUTLIER = 2.5


def refine_tag(
    grey: UInt8[np.ndarray, 'H W'], tag: Float[np.ndarray, '4 2']
) -> Float[np.ndarray, '4 2'] | None:
    """Give a tag's corners more precisely; None where a side has no edge.

    Args:
        grey: the image.
        tag: corners as detected, clockwise in the image, right to a px or two.
    """
    lines = [_line(grey, tag[k], tag[(k + 1) % 4]) for k in range(4)]
    found = []
    for k in range(4):
        (p, u), (q, v) = lines[k - 1], lines[k]
        across = u[0] * v[1] - u[1] * v[0]
        if abs(across) < 0.1:
            return None
        gap = q - p
        found.append(p + (gap[0] * v[1] - gap[1] * v[0]) / across * u)
    moved = np.linalg.norm(np.stack(found) - tag, axis=-1)
    side = np.linalg.norm(tag[1] - tag[0])
    return np.stack(found) if np.all(moved <= max(0.5 * _REACH * side, _LEAST_REACH_PX)) else None


def _line(grey: np.ndarray, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fit a line to where the image turns from black to white along a side: a point and a direction."""
    import cv2

    side = np.linalg.norm(b - a)
    outward = np.array([b[1] - a[1], a[0] - b[0]]) / max(side, 1e-9)
    reach = max(_LEAST_REACH_PX, _REACH * side)
    offsets = np.arange(-reach, reach + 0.5 * _STEP_PX, _STEP_PX)
    places = a + np.linspace(_CLEAR, 1 - _CLEAR, _POINTS)[:, None] * (b - a)
    at = (places[:, None] + offsets[:, None] * outward).astype(np.float32)
    shade = cv2.remap(grey.astype(np.float32), at[..., 0].copy(), at[..., 1].copy(), cv2.INTER_LINEAR)
    # The steeper, the more it counts; brighter inwards does not.
    weight = np.square(np.maximum(np.gradient(shade, axis=1), 0.0))
    middle = (weight * offsets).sum(1) / np.maximum(weight.sum(1), 1e-9)
    points = places + middle[:, None] * outward
    return _fitted(_near(points))


def _near(points: np.ndarray) -> np.ndarray:
    centre, direction = _fitted(points)
    gap = points - centre
    off = np.abs(gap[:, 0] * direction[1] - gap[:, 1] * direction[0])
    return points[off <= _OUTLIER * np.median(off) + 1e-3]


def _fitted(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    centre = points.mean(0)
    return centre, np.linalg.svd(points - centre)[2][0]
