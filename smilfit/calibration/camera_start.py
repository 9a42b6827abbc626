"""Where a camera may stand that sees known points: several starts, since focal length and distance look alike."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from smilfit.calibration.bundle_adjustment import Blocks, Observations, adjust, residuals_px, usual_miss_px
from smilfit.calibration.rig import N_COLUMNS, SHIFT, TURN, Rig

# Focal lengths that are tried, in widths of the image: from 90 degrees of view to 16.
FOCAL_SHARES = (0.5, 0.6, 0.7, 0.85, 1.0, 1.25, 1.6, 2.2, 3.5)
# A label farther than this share of the image's diagonal from where a start puts its point says nothing for it.
_INLIER_OF_DIAGONAL = 0.02
_TRIES = 500
MIN_POINTS = 6


class Start(NamedTuple):
    """A camera, and by how much it misses (px, the median)."""

    rig: Rig
    median_px: float


def starts_of(
    points: Float[np.ndarray, 'N 3'],
    xy: Float[np.ndarray, 'N 2'],
    like: Rig,
    size: Float[np.ndarray, '2'],
    focal_known: bool,
    sigma_px: float,
) -> list[Start]:
    """Place a camera by the points that it sees, for several focal lengths, the best first.

    A perspective-n-point solution (SQPnP, Terzakis and Lourakis 2020, in RANSAC) starts an adjustment of the pose.

    Args:
        points: world.
        xy: px of the real lens.
        like: one camera, whose lens and principal point are kept.
        size: of the image, px.
        focal_known: only the focal length of `like` is tried.
        sigma_px: what labels usually miss by.
    """
    import cv2

    aspect = like.focal[0, 1] / like.focal[0, 0]
    tried = [like.focal[0, 0]] if focal_known else [like.focal[0, 0], *(s * size[0] for s in FOCAL_SHARES)]
    reach = max(_INLIER_OF_DIAGONAL * float(np.linalg.norm(size)), 3 * sigma_px)
    cv2.setRNGSeed(0)
    found = []
    for focal in tried:
        rig = replace(like, focal=np.array([[focal, focal * aspect]]))
        done, turn, shift, inliers = cv2.solvePnPRansac(
            np.ascontiguousarray(points),
            np.ascontiguousarray(xy),
            rig.K[0],
            rig.dist[0],
            iterationsCount=_TRIES,
            reprojectionError=reach,
            flags=cv2.SOLVEPNP_SQPNP,
        )
        if not done or inliers is None or len(inliers) < MIN_POINTS:
            continue
        placed = replace(rig, R=cv2.Rodrigues(turn)[0][None], t=shift.reshape(1, 3))
        found.append(_refined(placed, points, xy, sigma_px))
    return sorted(found, key=lambda start: start.median_px)


def _refined(rig: Rig, points: np.ndarray, xy: np.ndarray, sigma_px: float) -> Start:
    n = len(points)
    zeros = np.zeros(n, dtype=np.int64)
    free = np.zeros((1, N_COLUMNS), dtype=bool)
    free[:, TURN] = free[:, SHIFT] = True
    width = max(sigma_px, usual_miss_px(residuals_px(rig, Blocks(points), _seen(xy, zeros, sigma_px))))
    seen = _seen(xy, zeros, width)
    end = adjust(rig, Blocks(points), seen, free, move_blocks=False, steps=20)
    return Start(end.rig, float(np.median(residuals_px(end.rig, end.blocks, seen))))


def _seen(xy: np.ndarray, camera: np.ndarray, sigma_px: float) -> Observations:
    return Observations(camera, np.arange(len(xy)), np.zeros((len(xy), 3)), xy, np.array([sigma_px]))
