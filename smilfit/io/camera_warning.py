"""A word of warning, wherever keypoints with cameras come in, if these contradict each other."""

import logging
import math
from dataclasses import replace

import torch

from smilfit.geometry.consistency import camera_consistency, same_places
from smilfit.geometry.triangulation import triangulate
from smilfit.structures import CameraReport, Cameras, Keypoints2d, Keypoints3d

# Frames at once: bounds the memory of long sessions.
_CHUNK = 2000
# Cameras that agree place points within a few per cent of the given ones; another unit is beyond this factor.
_SAME_UNIT = 1.2


def triangulate_keypoints(
    keypoints: Keypoints2d, huber_px: float | None = 10.0, n_refine: int = 10, min_confidence: float = 0.0
) -> Keypoints3d:
    """Place keypoints in the world from all views that see them.

    Pixels are undistorted first; one beyond its lens's fold counts as unseen. A placed point's confidence is
    the mean confidence of its views.

    Args:
        keypoints: labels with cameras attached.
        huber_px: as in `smilfit.geometry.triangulation.triangulate`.
        n_refine: as there.
        min_confidence: views of smaller confidence count as unseen.

    Raises:
        ValueError: no cameras, or fewer than two.
    """
    cameras = _calibrated(keypoints, 'triangulate_keypoints')
    if len(cameras) < 2:
        raise ValueError(
            f'triangulate_keypoints: a point must be seen by two cameras; got only {cameras.names}.'
        )
    xyz, confidence = [], []
    for start in range(0, keypoints.batch_size, _CHUNK):
        part = keypoints[start : start + _CHUNK]
        rig = part.rig
        pixels, inside = rig.undistort(part.xy)
        weight = torch.where(
            inside & (part.confidence >= min_confidence), part.confidence, torch.zeros_like(part.confidence)
        )
        points, valid, _ = triangulate(pixels, weight, rig.K, rig.R, rig.t, n_refine, huber_px)
        mean = weight.sum(1) / (weight > 0).sum(1).clamp_min(1)
        xyz.append(points)
        confidence.append(torch.where(valid, mean, torch.zeros_like(mean)))
    return Keypoints3d(
        xyz=torch.cat(xyz), confidence=torch.cat(confidence), names=keypoints.names, unit=cameras.unit
    )


def check_cameras(keypoints: Keypoints2d, points: Keypoints3d | None = None) -> CameraReport:
    """Judge each camera's calibration by what all saw; see `smilfit.geometry.consistency`.

    Args:
        keypoints: labels of one session, with its cameras.
        points: 3D points of the same frames and names; found from the cameras themselves where None.

    Raises:
        ValueError: no cameras, cameras that differ between frames, or other points than the labels'.
    """
    cameras = _calibrated(keypoints, 'check_cameras')
    if cameras.K.ndim != 3:
        raise ValueError(
            f'check_cameras: cameras must be one set for the session; got K of shape '
            f'{tuple(cameras.K.shape)}.'
        )
    if points is not None and (points.names != keypoints.names or len(points.xyz) != len(keypoints.xy)):
        raise ValueError('check_cameras: 3D points must have the frames and names of the labels.')
    by_labels = _report(keypoints, cameras, None)
    if points is None:
        return by_labels
    by_points = _report(keypoints, cameras, points)
    # Cameras are judged by each other: points that are wrong for all alike accuse none of them.
    if by_labels.ok and not _within(by_points, by_labels):
        return replace(by_points, unit_factor=_unit_factor(keypoints, cameras, points, by_labels))
    # Points that were triangulated with a wrong camera lie between it and the others and blame none.
    return by_labels if by_points.ok and not by_labels.ok else by_points


def _within(report: CameraReport, other: CameraReport) -> bool:
    """Whether every camera's figure is one that another report allows."""
    return not any(px > other.limit_px[name] for name, px in report.median_px.items())


def _unit_factor(
    keypoints: Keypoints2d, cameras: Cameras, points: Keypoints3d, by_labels: CameraReport
) -> float | None:
    """Find the factor by which the points must shrink to agree with cameras that agree; None where none does."""
    step = max(1, -(-len(points.xyz) // _CHUNK))
    labels, given = keypoints[::step], points[::step]
    placed = triangulate_keypoints(labels)
    both = placed.visible & given.visible & given.xyz.isfinite().all(-1)
    mine, theirs = placed.xyz[both].double(), given.xyz[both].double()
    square = (mine * mine).sum(-1)
    ratio = ((mine * theirs).sum(-1) / square)[square > 0]
    factor = float(ratio.median()) if len(ratio) else math.nan
    if not 0 < factor < math.inf or 1 / _SAME_UNIT < factor < _SAME_UNIT:
        return None
    shrunk = replace(points, xyz=points.xyz / factor)
    return factor if _within(_report(keypoints, cameras, shrunk), by_labels) else None


def _report(keypoints: Keypoints2d, cameras: Cameras, points: Keypoints3d | None) -> CameraReport:
    result = camera_consistency(
        keypoints.xy,
        keypoints.confidence,
        cameras.K,
        cameras.R,
        cameras.t,
        cameras.size,
        cameras.dist,
        None if points is None else points.xyz,
        None if points is None else points.confidence,
    )
    names = cameras.names
    return CameraReport(
        median_px=dict(zip(names, result.median_px.tolist())),
        limit_px=dict(zip(names, result.limit_px.tolist())),
        n_points={name: int(n) for name, n in zip(names, result.n_points.tolist())},
        contradicting=tuple(name for name, bad in zip(names, result.contradicts.tolist()) if bad),
        ambiguous=result.ambiguous,
        same_place=tuple((names[i], names[j]) for i, j in result.same_place),
        judged_by='points that the consistent cameras place' if points is None else 'the given 3D points',
    )


def _calibrated(keypoints: Keypoints2d, where: str) -> Cameras:
    if keypoints.cameras is None:
        raise ValueError(f'{where}: keypoints must have cameras; got none. Is there a calibration.toml?')
    return keypoints.cameras


logger = logging.getLogger('smilfit')

# A camera of the recording shows the animal most of the time; fewer points than this share in its image are chance.
_LEAST_SHOWN = 0.05


def judge_cameras(keypoints: Keypoints2d) -> CameraReport | None:
    """Judge cameras by what they saw; None where they cannot be judged.

    That is without cameras, with one alone, with cameras that differ from frame to frame, or where no two saw the
    same point. The report stays with the keypoints and goes on to their parts, so nobody judges them twice.

    Args:
        keypoints: labels, with cameras.
    """
    cameras = keypoints.cameras
    if keypoints.camera_report is not None:
        return keypoints.camera_report
    if cameras is None or len(cameras) < 2 or cameras.K.ndim != 3:
        return None
    # A point that one view alone shows tells nothing.
    if not bool((keypoints.visible.sum(1) >= 2).any()):
        return None
    return keypoints.judged(check_cameras(keypoints)).camera_report


def warn_of_cameras(where: str, keypoints: Keypoints2d) -> CameraReport | None:
    """Report in the log, by name and px and with what to do, of cameras that contradict each other.

    Args:
        where: whose cameras they are, for the message.
        keypoints: their labels, with cameras.

    Returns:
        What was found; None where they cannot be judged.
    """
    report = judge_cameras(keypoints)
    if report is not None and not report.ok:
        logger.warning(
            '%s: cameras must agree with each other; %s %s', where, report.message(), report.advice()
        )
    return report


def warn_of_blind_cameras(where: str, cameras: Cameras, points: Keypoints3d) -> tuple[str, ...]:
    """Report in the log of cameras that cannot be those of some points, where nobody says what they saw.

    That is of cameras in whose images hardly a point lies, and of two that are calibrated to the same place.

    Args:
        where: whose cameras they are, for the message.
        cameras: the same in all frames.
        points: what they should see, in their unit.

    Returns:
        The names of cameras that see hardly a point.
    """
    valid = points.xyz[points.visible].to(cameras.K)
    if len(valid):
        pixels, _, front = cameras.project(valid)
        inside = front & (pixels > -0.5).all(-1) & (pixels < cameras.size.unsqueeze(-2) - 0.5).all(-1)
        shares = inside.double().mean(-1).tolist()
    else:
        shares = [1.0] * len(cameras)
    blind = tuple(name for name, share in zip(cameras.names, shares) if share < _LEAST_SHOWN)
    if blind:
        logger.warning(
            '%s: cameras must see the points; hardly one lies in the image of %s. Is the calibration that of this '
            'recording, and in the unit of the points?',
            *(where, ', '.join(blind)),
        )
    for i, j in same_places(cameras.R, cameras.t):
        logger.warning(
            '%s: cameras must differ; %r and %r are calibrated to the same place. Calibrate one of them anew: '
            'smilfit calibrate --help.',
            *(where, cameras.names[i], cameras.names[j]),
        )
    return blind
