"""Focal length, principal point and lens of one camera, from a board in many places."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from smilfit.cameras.boards import Board, Detection
from smilfit.cameras.rig import Rig

# Views that take part; more cost time and tell little.
_MOST_VIEWS = 40
# Fewer than this fix no lens.
MIN_VIEWS = 4
# A view that misses by this many times the median of all was detected wrongly.
_OUTLIER = 4.0
_LEAST_OUTLIER_PX = 1.0
# How many lens coefficients there may be, and which (k1, k2, p1, p2, k3) they are.
LENSES = {1: (0,), 2: (0, 1), 5: (0, 1, 2, 3, 4)}


@dataclass(frozen=True)
class Intrinsics:
    """One camera at the origin, where the board was in each view, and each view's rms (px)."""

    rig: Rig
    R: dict[int, Float[np.ndarray, '3 3']]
    t: dict[int, Float[np.ndarray, '3']]
    rms_px: dict[int, float]


def find_intrinsics(
    name: str, views: dict[int, Detection], board: Board, size: Float[np.ndarray, '2'], n_lens: int = 2
) -> Intrinsics:
    """Calibrate one camera by OpenCV's `calibrateCamera` (Zhang 2000) on views of many places and tilts.

    Views whose corners miss by far more than others are left out, and told by being absent from the result.

    Args:
        name: of the camera, for messages.
        views: corners by frame.
        board: what was seen.
        size: of the images, px.
        n_lens: lens coefficients that may differ from 0: 1 (k1), 2 (k1, k2) or 5.

    Raises:
        ValueError: too few views.
    """
    import cv2

    if len(views) < MIN_VIEWS:
        raise ValueError(
            f'calibrate: camera {name!r} must see the board in {MIN_VIEWS} frames at least, better 20, each '
            f'tilted otherwise; got {len(views)}. Record more, or check --squares.'
        )
    chosen = _spread(views, size)
    flags = cv2.CALIB_FIX_ASPECT_RATIO | _lens_flags(n_lens)
    width = float(max(size))
    for _ in range(2):
        start = np.array([[width, 0, (size[0] - 1) / 2], [0, width, (size[1] - 1) / 2], [0, 0, 1]])
        K, dist = cv2.calibrateCamera(
            [board.points[views[f].ids].astype(np.float32) for f in chosen],
            [views[f].xy.astype(np.float32) for f in chosen],
            (int(size[0]), int(size[1])),
            start,
            np.zeros(5),
            flags=flags | cv2.CALIB_USE_INTRINSIC_GUESS,
        )[1:3]
        rig = Rig(
            R=np.eye(3)[None],
            t=np.zeros((1, 3)),
            focal=K[[0, 1], [0, 1]][None],
            centre=K[:2, 2][None],
            skew=np.zeros(1),
            dist=np.asarray(dist).reshape(1, -1)[:, :5],
        )
        placed = {f: place_board(views[f], board, rig) for f in views}
        rms = {f: p[2] for f, p in placed.items() if p is not None}
        limit = max(_OUTLIER * float(np.median(list(rms.values()))), _LEAST_OUTLIER_PX)
        good = [f for f in chosen if rms.get(f, np.inf) <= limit]
        if len(good) == len(chosen) or len(good) < MIN_VIEWS:
            break
        chosen = good
    keep = [f for f, error in rms.items() if error <= limit]
    return Intrinsics(
        rig, {f: placed[f][0] for f in keep}, {f: placed[f][1] for f in keep}, {f: rms[f] for f in keep}
    )


def place_board(
    view: Detection, board: Board, camera: Rig
) -> tuple[Float[np.ndarray, '3 3'], Float[np.ndarray, '3'], float] | None:
    """Find a board in a camera's frame, and the rms of its corners (px); None where it cannot be seen so."""
    import cv2

    points, K, dist = board.points[view.ids], camera.K[0], camera.dist[0]
    # Both poses that a flat board may have; the one that fits better.
    count, turns, shifts, errors = cv2.solvePnPGeneric(points, view.xy, K, dist, flags=cv2.SOLVEPNP_IPPE)
    if not count:
        return None
    best = int(np.argmin(np.ravel(errors)))
    rotation, shift = cv2.solvePnPRefineLM(points, view.xy, K, dist, turns[best], shifts[best])
    seen = cv2.projectPoints(points, rotation, shift, K, dist)[0][:, 0]
    rms = float(np.sqrt(np.square(seen - view.xy).sum(-1).mean()))
    R, t = cv2.Rodrigues(rotation)[0], shift.reshape(3)
    return None if not np.isfinite(rms) or t[2] <= 0 else (R, t, rms)


def _lens_flags(n_lens: int) -> int:
    import cv2

    if n_lens not in LENSES:
        raise ValueError(f'calibrate: lens coefficients must be one of {tuple(LENSES)}; got {n_lens}.')
    flags = 0 if n_lens == 5 else cv2.CALIB_ZERO_TANGENT_DIST | cv2.CALIB_FIX_K3
    return flags | (cv2.CALIB_FIX_K2 if n_lens == 1 else 0)


def _spread(views: dict[int, Detection], size: np.ndarray) -> list[int]:
    """Choose views that differ in place, size and tilt, each the farthest from those chosen before it."""
    frames = sorted(views)
    if len(frames) <= _MOST_VIEWS:
        return frames
    seen = np.array([_look(views[f].xy, size) for f in frames])
    counts = np.array([len(views[f].ids) for f in frames])
    chosen = [int(np.argmax(counts))]
    distance = np.full(len(frames), np.inf)
    while len(chosen) < _MOST_VIEWS:
        distance = np.minimum(distance, np.linalg.norm(seen - seen[chosen[-1]], axis=-1))
        chosen.append(int(np.argmax(distance)))
    return sorted(frames[i] for i in chosen)


def _look(xy: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Describe a view: the corners' middle and spread, in shares of the image."""
    scaled = xy / size.max()
    covariance = np.cov(scaled.T)
    return np.concatenate((scaled.mean(0), 2 * np.sqrt(np.diagonal(covariance)), 20 * covariance[0, 1:]))
