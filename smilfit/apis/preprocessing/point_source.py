"""Read points in space for preprocessing: one session an animal of each file."""

from pathlib import Path

from smilfit.apis.preprocessing.data_source import DataSource
from smilfit.body_models import BodyModelData
from smilfit.body_models.keypoint_rows import keypoint_definitions
from smilfit.io import check_lookup, read_calibration, read_joint_lookup
from smilfit.io.points import PointSession, read_recorded_points, read_skeleton


def read_point_sessions(source: DataSource, body: BodyModelData) -> list[PointSession]:
    """Open files of points in space; a file of several animals is a session each, called `FILE+ANIMAL`.

    Args:
        source: one file, or several.
        body: the body model whose keypoints the lookup names.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that cannot be read; the message names it.
        KeyError: a lookup of other names.
    """
    if source.keypoint_map:
        lookup = read_joint_lookup(source.keypoint_map)
        check_lookup(lookup, model_names=keypoint_definitions(body), where=str(source.keypoint_map))
    skeleton = None if source.skeleton is None else read_skeleton(source.skeleton)
    cameras = None if source.calibration is None else read_calibration(source.calibration, source.unit)
    result = []
    for path in source.paths:
        points = read_recorded_points(_file(path), skeleton, source.image_size)
        result += [
            # The pipeline judges cameras, and refuses.
            PointSession(points, animal, source.keypoint_map, source.unit, source.fps, cameras, judge=False)
            for animal in range(len(points.animals))
        ]
    return result


def _file(path: Path) -> Path:
    """Return the file that a path means: of a session's folder its points3d.h5."""
    return path / 'points3d.h5' if path.is_dir() else path
