"""Labelled points of the animal as what cameras are calibrated by."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from smilfit.cameras.bundle_adjustment import Blocks, Observations, adjust, residuals_px, usual_miss_px
from smilfit.cameras.camera_repair import LEAST_SIGMA_PX, CameraRepair, Sightings, repair_camera
from smilfit.cameras.free_parameters import Free, mates_of
from smilfit.cameras.rig import N_COLUMNS, SHIFT, TURN, Rig
from smilfit.geometry.consistency import LIMIT_OF_DIAGONAL
from smilfit.io import check_cameras, triangulate_keypoints
from smilfit.io.camera_warning import judge_cameras
from smilfit.structures import Cameras, Keypoints2d, Keypoints3d

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
    result = []
    for focal in tried:
        rig = replace(like, focal=np.array([[focal, focal * aspect]]))
        done, rotation, shift, inliers = cv2.solvePnPRansac(
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
        placed = replace(rig, R=cv2.Rodrigues(rotation)[0][None], t=shift.reshape(1, 3))
        result.append(_refined(placed, points, xy, sigma_px))
    return sorted(result, key=lambda start: start.median_px)


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


# More frames than this, evenly spread, tell no more of a camera.
MOST_FRAMES = 200
# Fewer labels than this, that other cameras place, fix no camera.
MIN_LABELS = 30
# Mirrored labels that fit so many times better were mirrored.
_MIRRORED = 0.5
# So many of the best starts are followed to their end.
_STARTS = 3


def repair_by_labels(
    keypoints: Keypoints2d,
    camera: str,
    level: Free = 'focal',
    points: Keypoints3d | None = None,
    like_mates: bool = True,
) -> CameraRepair:
    """Calibrate one camera by the animal's labelled points, which the other cameras place.

    Args:
        keypoints: labels of one session, with its cameras as they are.
        camera: the name of the one to be calibrated; its own numbers are a start among others.
        level: what may move: `'pose'`, `'focal'`, `'lens'` or `'all'`, each with those before.
        points: 3D points of the same frames and names, where they are known better than the other cameras place
            them; those stay.
        like_mates: see `repair_camera`.

    Raises:
        KeyError: an unknown camera, with the near names.
        ValueError: fewer than two other cameras without given points, others that contradict each other, points of
            another unit, too few labels, mirrored images.
    """
    cameras = keypoints.rig.to(torch.float64)
    cameras.select((camera,))
    index = cameras.names.index(camera)
    others = [name for name in cameras.names if name != camera]
    if len(others) < 2 and points is None:
        raise ValueError(
            f'calibrate: two other cameras must place the points; got {others}. Take the '
            "session's own 3D points (--points given), or calibrate by boards."
        )
    _require_good(_only(keypoints, others), points)
    step = max(1, -(-keypoints.batch_size // MOST_FRAMES))
    seen = keypoints[::step]
    placed = triangulate_keypoints(_only(seen, others)) if points is None else points[::step]
    sightings = _sightings(seen, placed, Rig.of(cameras), index, step, points is None)
    return _repair(cameras, index, sightings, level, like_mates)


def _require_good(keypoints: Keypoints2d, points: Keypoints3d | None) -> None:
    """Refuse cameras that nothing should be calibrated against, and points that are not theirs."""
    report = judge_cameras(keypoints) if points is None else check_cameras(keypoints, points)
    if report is None or report.ok:
        return
    if report.unit_factor is not None:
        raise ValueError(
            f'calibrate: 3D points must have the unit of the calibration; {report.message()} Convert them, or let '
            'the cameras place them.'
        )
    named = ' '.join(report.contradicting)
    raise ValueError(
        f'calibrate: the other cameras must agree with each other; {report.message()} Leave wrong ones out'
        f'{f" (--exclude-cameras {named})" if named else ""}, or calibrate by boards.'
    )


def _only(keypoints: Keypoints2d, names: list[str]) -> Keypoints2d:
    keep = [keypoints.rig.names.index(name) for name in names]
    return Keypoints2d(
        keypoints.xy[:, keep].double(),
        keypoints.confidence[:, keep].double(),
        keypoints.names,
        keypoints.rig.select(names).to(torch.float64),
    )


def _sightings(
    keypoints: Keypoints2d, placed: Keypoints3d, rig: Rig, camera: int, step: int, move: bool
) -> Sightings:
    known = placed.visible.numpy()
    inside = keypoints.rig.undistort(keypoints.xy)[1]
    labels = (keypoints.visible & inside).numpy()
    # A lens that is to be found folds nobody's labels.
    labels[:, camera] = keypoints.visible[:, camera].numpy()
    number = np.full(known.shape, -1)
    number[known] = np.arange(known.sum())
    frame, view, point = np.nonzero(labels & known[:, None])
    blocks = Blocks(placed.xyz.double().numpy()[known])
    xy = keypoints.xy.double().numpy()[frame, view, point]
    seen = Observations(view, number[frame, point], np.zeros((len(view), 3)), xy, np.ones(len(rig.R)))
    count = int((view == camera).sum())
    if count < MIN_LABELS:
        raise ValueError(
            f'calibrate: camera {keypoints.rig.names[camera]!r} must have {MIN_LABELS} labels of points that '
            f'the others place; got {count}. Label more frames that several cameras see.'
        )
    error = residuals_px(rig, blocks, seen)
    sigma = np.array([usual_miss_px(error[view == c], LEAST_SIGMA_PX) for c in range(len(rig.R))])
    frames, points = np.nonzero(known)
    return Sightings(
        Observations(view, seen.block, seen.local, xy, sigma), blocks, frames * step, points, 'keypoint', move
    )


def _repair(
    cameras: Cameras, index: int, sightings: Sightings, level: Free, like_mates: bool
) -> CameraRepair:
    rig, size = Rig.of(cameras), cameras.size.cpu().numpy().astype(np.float64)
    mine = sightings.seen.take(sightings.seen.camera == index)
    points = sightings.blocks.place(mine)
    starts = start_rigs(rig, index, points, mine.xy, size, level)
    return repair_camera(rig, index, sightings, starts, size, level, like_mates)


def start_rigs(
    rig: Rig,
    camera: int,
    points: Float[np.ndarray, 'n 3'],
    xy: Float[np.ndarray, 'n 2'],
    size: Float[np.ndarray, 'C 2'],
    level: Free,
) -> list[Rig]:
    """Return the best places that the points leave, with the lens as it is and as those of other cameras are."""
    own = rig.one(camera)
    likely = [own]
    mates = mates_of(camera, size)
    if level != 'pose' and mates:
        typical = {n: np.median(getattr(rig, n)[mates], axis=0)[None] for n in ('focal', 'centre', 'dist')}
        likely.append(replace(own, **typical))
    result = [
        start
        for like in likely
        for start in starts_of(points, xy, like, size[camera], level == 'pose', LEAST_SIGMA_PX)
    ]
    best = min((start.median_px for start in result), default=np.inf)
    if best > LIMIT_OF_DIAGONAL * float(np.linalg.norm(size[camera])):
        flipped = np.stack((size[camera][0] - 1 - xy[:, 0], xy[:, 1]), -1)
        other = starts_of(points, flipped, likely[-1], size[camera], False, LEAST_SIGMA_PX)
        if other and other[0].median_px < _MIRRORED * best:
            raise ValueError(
                f'calibrate: images must not be mirrored; labels miss by {best:.0f} px as they are and by '
                f'{other[0].median_px:.0f} px from left to right. Flip the videos and their labels.'
            )
    if not result:
        raise ValueError(
            f'start_rigs: a camera must stand somewhere from which {MIN_POINTS} points look as they are labelled; '
            'found none. Are names of keypoints and frames those of the other cameras?'
        )
    result.sort(key=lambda start: start.median_px)
    return [start.rig for start in result[:_STARTS]]
