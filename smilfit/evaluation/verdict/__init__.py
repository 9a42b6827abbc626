"""A verdict on a fit, from what it did not see and what it cannot game: words, reasons, thresholds from a file."""

from smilfit.evaluation.verdict.body_measures import body_frames, body_values
from smilfit.evaluation.verdict.image_measures import image_numbers
from smilfit.evaluation.verdict.judge import (
    DOUBTFUL,
    GOOD,
    NOT_BELIEVABLE,
    NOT_FITTED,
    Measure,
    Measured,
    Threshold,
    Verdict,
    judge,
    load_thresholds,
)
from smilfit.evaluation.verdict.label_measures import FrameKeypoints, frame_keypoints, keypoint_excess
from smilfit.evaluation.verdict.point_measures import point_numbers
from smilfit.evaluation.verdict.refits import stiffened, with_covariance
from smilfit.evaluation.verdict.session_measures import (
    CameraNumbers,
    SessionNumbers,
    judged_by_failures,
    n_steps,
    session_numbers,
    with_failed_frames,
)

__all__ = [
    'DOUBTFUL',
    'GOOD',
    'NOT_BELIEVABLE',
    'NOT_FITTED',
    'CameraNumbers',
    'FrameKeypoints',
    'Measure',
    'Measured',
    'SessionNumbers',
    'Threshold',
    'Verdict',
    'body_frames',
    'body_values',
    'frame_keypoints',
    'image_numbers',
    'judge',
    'judged_by_failures',
    'keypoint_excess',
    'load_thresholds',
    'n_steps',
    'point_numbers',
    'session_numbers',
    'stiffened',
    'with_covariance',
    'with_failed_frames',
]
