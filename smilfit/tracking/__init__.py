"""One frame in, one pose out: poses while the cameras record."""

from smilfit.tracking.tracked_pose import TrackedPose
from smilfit.tracking.tracker import Tracker

__all__ = ['TrackedPose', 'Tracker']
