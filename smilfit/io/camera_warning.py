"""A word of warning, wherever keypoints with cameras come in, if these contradict each other."""

import logging

import torch

from smilfit.io.triangulation import CameraReport, check_cameras
from smilfit.structures import Keypoints2d

logger = logging.getLogger('smilfit')

# Frames that are looked at: medians need no more, and 0.1 s is little beside any use of the keypoints.
_FRAMES = 60


def judge_cameras(keypoints: Keypoints2d, n_frames: int = _FRAMES) -> CameraReport | None:
    """Judge cameras by some frames, evenly spread over those with labels; None where they cannot be judged.

    That is without cameras, with one alone, or with cameras that differ from frame to frame.

    Args:
        keypoints: labels, with cameras.
        n_frames: the most that are looked at.
    """
    cameras = keypoints.cameras
    if cameras is None or len(cameras) < 2 or cameras.K.ndim != 3:
        return None
    # A point that one view alone shows tells nothing.
    rows = (keypoints.visible.sum(1) >= 2).any(-1).nonzero().flatten()
    if not len(rows):
        return None
    pick = torch.linspace(0, len(rows) - 1, min(n_frames, len(rows))).round().long()
    return check_cameras(keypoints[rows[pick]])


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
