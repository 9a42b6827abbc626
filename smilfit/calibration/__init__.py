"""Cameras calibrated: a whole rig by boards, or one camera against the others by boards or by the animal's labels."""

from smilfit.calibration.camera_repair import CameraRepair, repair_camera
from smilfit.calibration.labelled_points import repair_by_labels

__all__ = ['CameraRepair', 'repair_by_labels', 'repair_camera']
