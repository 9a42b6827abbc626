"""Cameras calibrated: a whole rig by boards, or one camera against the others by boards or by the animal's labels."""

from smilfit.cameras.boards import Board, BoardDetector, Detection
from smilfit.cameras.camera_repair import CameraRepair, repair_camera
from smilfit.cameras.label_repair import repair_by_labels
from smilfit.cameras.rig_calibration import RigCalibration, calibrate_rig

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
