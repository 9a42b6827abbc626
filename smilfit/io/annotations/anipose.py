"""anipose: 2D poses by camera, 3D poses and the calibration of a session."""

import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from smilfit.files import BadFileError, reading, shorten
from smilfit.files.budget import read_text
from smilfit.io.annotations.anipose_points import Points3d, read_points
from smilfit.io.annotations.base import AnnotationReader
from smilfit.io.annotations.entries import BadEntry, numbers
from smilfit.io.annotations.mirror_names import mirror_pairs
from smilfit.io.annotations.pose_rows import annotate_rows, row_frames, video_of
from smilfit.io.annotations.pose_tables import PoseTable, read_pose_table, usual_threshold
from smilfit.io.annotations.sequence_names import sequence_name
from smilfit.io.calibration import read_calibration
from smilfit.registry import ANNOTATIONS, UnknownNameError, did_you_mean
from smilfit.structures import AnnotatedImage, AnnotationSet, Cameras, SkippedAnnotation

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_POSES_2D = ('pose-2d-filtered', 'pose-2d')
_POSES_3D = ('pose-3d-filtered', 'pose-3d')
_MOST_CONFIG_BYTES = 1 << 22
# Patterns of a file are matched to names of up to 255 characters: what is beyond this may never end.
_LONGEST_PATTERN, _MOST_REPEATS = 100, 3
_REPEATS, _REPEATED_GROUP = re.compile(r'[*+{]'), re.compile(r'\)\s*[*+{]')


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
        config = _config(path)
        pattern = self.cam_regex or _cam_regex(path, config)
        try:
            re.compile(pattern)
        except re.error as error:
            raise BadFileError(
                f'{path}: cam_regex must be a pattern; got {shorten(pattern)!r}: {error}. Correct it.'
            ) from None
        folder = next((path / name for name in _POSES_2D if (path / name).is_dir()), None)
        files = sorted(p for p in folder.iterdir() if p.suffix in ('.h5', '.csv')) if folder else []
        if not files:
            raise FileNotFoundError(f'{path}: the session must hold pose-2d/*.h5 or *.csv; there is none.')
        cameras = _cameras(path, self.unit)
        tables = {p.stem: read_pose_table(p) for p in sorted(files, key=lambda p: p.suffix, reverse=True)}
        names = tuple(
            dict.fromkeys(name for t in tables.values() for name in next(iter(t.tracks.values())).names)
        )
        images: list[AnnotatedImage] = []
        skipped: list[SkippedAnnotation] = []
        for stem, table in tables.items():
            match = re.search(pattern, stem)
            if match is None or not match.groups():
                raise BadFileError(
                    f'{table.path}: the name must hold the camera by {pattern!r}; got {stem!r}. Give cam_regex=.'
                )
            camera, trial = match.group(1).strip(), re.sub(pattern, '', stem).strip()
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


def _config(path: Path) -> dict[str, Any]:
    """Read the nearest config.toml, the session's or its project's."""
    absolute = path.absolute()
    file = next(
        (f / 'config.toml' for f in (absolute, *absolute.parents[:2]) if (f / 'config.toml').is_file()), None
    )
    if file is None:
        return {}
    with reading(file, 'the configuration'):
        try:
            return tomllib.loads(read_text(file, 'the configuration', _MOST_CONFIG_BYTES))
        except tomllib.TOMLDecodeError as error:
            raise BadFileError(
                f'{file}: the configuration must be valid TOML; got: {shorten(error)}. Correct it there.'
            ) from None


def _cam_regex(path: Path, config: dict[str, Any]) -> str:
    """Give the pattern of config.toml; one that could take forever to match is refused."""
    table = config.get('triangulation', {})
    pattern = table.get('cam_regex', '-cam([A-Z])$') if isinstance(table, dict) else None
    if (
        not isinstance(pattern, str)
        or len(pattern) > _LONGEST_PATTERN
        or _REPEATED_GROUP.search(pattern)
        or len(_REPEATS.findall(pattern)) > _MOST_REPEATS
    ):
        raise BadFileError(
            f'{path}: cam_regex of config.toml must be text of at most {_LONGEST_PATTERN} characters with at most '
            f'{_MOST_REPEATS} repeats, none of a group; got {shorten(pattern)}. Give another one by cam_regex=.'
        )
    return pattern


def _cameras(path: Path, unit: str | None) -> Cameras | None:
    absolute = path.absolute()
    places = [f / name for f in (absolute, absolute.parent) for name in ('calibration', '.')]
    file = next((p / 'calibration.toml' for p in places if (p / 'calibration.toml').is_file()), None)
    return None if file is None else read_calibration(file, unit)


def _view(cameras: Cameras | None, name: str, config: dict[str, Any]) -> Cameras | None:
    """Give the camera of a video, which may show a part of the calibrated image (`offset` in config.toml, px)."""
    if cameras is None:
        return None
    camera = cameras.select([name])
    stated: Any = config
    for key in ('cameras', name, 'offset'):
        stated = stated.get(key) if isinstance(stated, dict) else None
    offset = np.zeros(2) if stated is None else numbers(stated, (None,), 'offset')[:2]
    if len(offset) != 2 or np.abs(offset).max() > 1e6:
        raise BadEntry(
            f'offset of camera {shorten(name)!r} in config.toml must be x and y px; it is not. Correct it.'
        )
    K = camera.K.clone()
    K[..., :2, 2] -= torch.as_tensor(offset, dtype=K.dtype)
    return replace(camera, K=K)


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
