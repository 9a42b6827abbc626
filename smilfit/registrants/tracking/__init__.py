"""One frame in, one pose out: poses while the cameras record."""

from smilfit.registrants.tracking.tracker import TrackedPose, Tracker

__all__ = ['TrackedPose', 'Tracker']
