"""A word of warning, wherever keypoints with cameras come in, if these contradict each other."""

import logging

from smilfit.geometry.consistency import same_places
from smilfit.io.triangulation import check_cameras
from smilfit.structures import CameraReport, Cameras, Keypoints2d, Keypoints3d

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
    """Tell in the log, by name and px and with what to do, of cameras that contradict each other.

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
    """Tell in the log of cameras that cannot be those of some points, where nobody says what they saw.

    That is of cameras in whose images hardly a point lies, and of two that are calibrated to the same place.

    Args:
        where: whose cameras they are, for the message.
        cameras: the same in all frames.
        points: what they should see, in their unit.

    Returns:
        The names of cameras that see hardly a point.
    """
    there = points.xyz[points.visible].to(cameras.K)
    if len(there):
        pixels, _, front = cameras.project(there)
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
