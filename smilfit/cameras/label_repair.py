"""One camera calibrated anew by labelled points of the animal, which the other cameras place."""

import numpy as np
import torch

from smilfit.cameras.bundle_adjustment import Blocks, Observations, residuals_px, usual_miss_px
from smilfit.cameras.camera_repair import (
    LEAST_SIGMA_PX,
    CameraRepair,
    Sightings,
    repair_camera,
    start_rigs,
)
from smilfit.cameras.rig import Rig
from smilfit.io import check_cameras, triangulate_keypoints
from smilfit.io.camera_warning import judge_cameras
from smilfit.structures import Cameras, Keypoints2d, Keypoints3d

# More frames than this, evenly spread, tell no more of a camera.
MOST_FRAMES = 200
# Fewer labels than this, that other cameras place, fix no camera.
MIN_LABELS = 30


def repair_by_labels(
    keypoints: Keypoints2d,
    camera: str,
    level: str = 'focal',
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
    observed = keypoints[::step]
    placed = triangulate_keypoints(_only(observed, others)) if points is None else points[::step]
    sightings = _sightings(observed, placed, Rig.of(cameras), index, step, points is None)
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
    observed = Observations(view, number[frame, point], np.zeros((len(view), 3)), xy, np.ones(len(rig.R)))
    count = int((view == camera).sum())
    if count < MIN_LABELS:
        raise ValueError(
            f'calibrate: camera {keypoints.rig.names[camera]!r} must have {MIN_LABELS} labels of points that '
            f'the others place; got {count}. Label more frames that several cameras see.'
        )
    error = residuals_px(rig, blocks, observed)
    sigma = np.array([usual_miss_px(error[view == c], LEAST_SIGMA_PX) for c in range(len(rig.R))])
    frames, points = np.nonzero(known)
    return Sightings(
        Observations(view, observed.block, observed.local, xy, sigma),
        blocks,
        frames * step,
        points,
        'keypoint',
        move,
    )


def _repair(cameras: Cameras, index: int, sightings: Sightings, level: str, like_mates: bool) -> CameraRepair:
    rig, size = Rig.of(cameras), cameras.size.cpu().numpy().astype(np.float64)
    mine = sightings.observed.take(sightings.observed.camera == index)
    points = sightings.blocks.place(mine)
    starts = start_rigs(rig, index, points, mine.xy, size, level)
    return repair_camera(rig, index, sightings, starts, size, level, like_mates)
