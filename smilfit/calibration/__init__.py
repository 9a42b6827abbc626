"""Cameras calibrated: a whole rig by boards, or one camera against the others by boards or by the animal's labels."""

from smilfit.calibration.boards import Board, BoardDetector, Detection
from smilfit.calibration.camera_repair import CameraRepair, repair_camera
from smilfit.calibration.labelled_points import repair_by_labels
from smilfit.calibration.rig_calibration import RigCalibration, calibrate_rig

__all__ = [
    'Board',
    'BoardDetector',
    'CameraRepair',
    'Detection',
    'RigCalibration',
    'calibrate_rig',
    'repair_by_labels',
    'repair_camera',
]
