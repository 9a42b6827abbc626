"""anipose: 2D poses by camera, 3D poses and the calibration of a session."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from smilfit.files import BadFileError, shorten
from smilfit.io.annotations.anipose_points import Points3d, read_points
from smilfit.io.annotations.anipose_project import (
    cam_regex,
    find_calibration,
    moved_by,
    offset_of,
    read_config,
)
from smilfit.io.annotations.base import AnnotationReader
from smilfit.io.annotations.mirror_names import mirror_pairs
from smilfit.io.annotations.pose_rows import annotate_rows, row_frames, video_of
from smilfit.io.annotations.pose_tables import PoseTable, read_pose_table, usual_threshold
from smilfit.io.annotations.sequence_names import sequence_name
from smilfit.io.calibration import read_calibration
from smilfit.io.camera_names import check_pattern, split_by_pattern
from smilfit.registry import ANNOTATIONS, UnknownNameError, did_you_mean
from smilfit.structures import AnnotatedImage, AnnotationSet, Cameras, SkippedAnnotation

_POSES_2D = ('pose-2d-filtered', 'pose-2d')
_POSES_3D = ('pose-3d-filtered', 'pose-3d')


@ANNOTATIONS.register_module(name='anipose')
class AniposeReader(AnnotationReader):
    """Reads a session's folder: `pose-2d*/<video>.h5|csv`, `pose-3d*/<trial>.csv`, a calibration, `videos-raw/`.

    Filtered poses are preferred. Every camera of a trial is a sequence of its own (`<trial>+<camera>`), as an
    image has one camera; the 3D points of a frame, in the calibration's world, go with every view of it. The
    rotation to an animal's own axes, which anipose may have applied to them, is undone.

    Args:
        images: the folder of the videos; `videos-raw` if None.
        cam_regex: pattern in a video's name, whose first group is the camera's name. If None, that of the nearest
            `config.toml`, else `-cam([A-Z])$`.
        unit: of the calibration, where it does not say.
    """

    def __init__(
        self,
        images: str | Path | None = None,
        cam_regex: str | None = None,
        unit: str | None = None,
        allow_outside_images: bool = False,
    ) -> None:
        super().__init__(images, allow_outside_images)
        self.cam_regex = cam_regex
        self.unit = unit

    def read(self, path: str | Path) -> AnnotationSet:
        """Read a session's folder.

        Raises:
            FileNotFoundError: no 2D poses.
            ValueError: no video has a camera's name in its own, or body parts differ between 2D and 3D.
        """
        path = Path(path)
        config = read_config(path)
        pattern = (
            check_pattern(str(path), self.cam_regex, trusted=True)
            if self.cam_regex
            else cam_regex(path, config)
        )
        folder = next((path / name for name in _POSES_2D if (path / name).is_dir()), None)
        files = sorted(p for p in folder.iterdir() if p.suffix in ('.h5', '.csv')) if folder else []
        if not files:
            raise FileNotFoundError(f'{path}: the session must hold pose-2d/*.h5 or *.csv; there is none.')
        calibration = find_calibration(path, config)
        cameras = None if calibration is None else read_calibration(calibration, self.unit)
        tables = {p.stem: read_pose_table(p) for p in sorted(files, key=lambda p: p.suffix, reverse=True)}
        names = tuple(
            dict.fromkeys(name for t in tables.values() for name in next(iter(t.tracks.values())).names)
        )
        images: list[AnnotatedImage] = []
        skipped: list[SkippedAnnotation] = []
        for stem, table in tables.items():
            split = split_by_pattern(stem, pattern)
            if split is None:
                raise BadFileError(
                    f'{table.path}: the name must hold the camera by {pattern!r}; got {stem!r}. Give cam_regex=.'
                )
            trial, camera = split
            folder = self.images or path / 'videos-raw'
            video = video_of(folder, stem)
            if video is None:
                reason = f'{folder}: a video {stem!r} must be there; there is none. Give images=.'
                skipped.append(SkippedAnnotation(str(table.path), reason))
                continue
            points = _points(path, trial, names)
            found, left_out = annotate_rows(table, row_frames(table, video), _one_animal(table), names)
            view = _view(cameras, camera, config)
            images += [_completed(image, sequence_name(trial, camera), view, points) for image in found]
            skipped += [*table.skipped, *left_out]
        unit = self.unit if cameras is None else cameras.unit
        return AnnotationSet(
            name=path.name,
            keypoint_names=names,
            images=tuple(images),
            skipped=tuple(skipped),
            temporal=True,
            unit=unit,
            flip=mirror_pairs(names),
            confidence_threshold=usual_threshold(tables.values()),
        )


def _view(cameras: Cameras | None, name: str, config: dict[str, Any]) -> Cameras | None:
    """Give the camera of a video, which may show a part of the calibrated image (`offset` in config.toml, px)."""
    return None if cameras is None else moved_by(cameras.select([name]), offset_of(config, name))


def _one_animal(table: PoseTable) -> list[str]:
    if len(table.tracks) > 1:
        raise BadFileError(
            f'{table.path}: poses must be of one animal; got the individuals '
            f'{[shorten(name, 40) for name in list(table.tracks)[:10]]}. Export one alone.'
        )
    return list(table.tracks)


def _points(path: Path, trial: str, names: tuple[str, ...]) -> Points3d | None:
    file = next((f for f in (path / name / f'{trial}.csv' for name in _POSES_3D) if f.is_file()), None)
    if file is None:
        return None
    points = read_points(file)
    for name in points.names:
        if name not in names:
            raise UnknownNameError(
                f'{file}: {name!r} is no body part of the 2D poses. {did_you_mean(name, names)}'
            )
    return points.ordered(names)


def _completed(
    image: AnnotatedImage, sequence: str, camera: Cameras | None, points: Points3d | None
) -> AnnotatedImage:
    """Add what the other files know of a frame: its camera and its 3D points."""
    xyz, confidence = (None, None) if points is None else points.at(image.frame)
    return replace(image, sequence=sequence, camera=camera, keypoints3d=xyz, confidence3d=confidence)
