"""Points in space that other tools placed: `points3d.h5`, anipose, DANNCE, ndx-pose, csv and npz."""

from smilfit.io.points.points_session import PointSession
from smilfit.io.points.read import read_recorded_points, read_skeleton
from smilfit.io.points.recorded import RecordedPoints, RecordedViews, recorded_points

__all__ = [
    'PointSession',
    'RecordedPoints',
    'RecordedViews',
    'read_recorded_points',
    'read_skeleton',
    'recorded_points',
]
