"""anipose: 2D poses by camera, 3D poses and the calibration of a session."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int

from smilfit.files import BadFileError, reading, shorten
from smilfit.files.text_files import read_csv, read_toml
from smilfit.io.annotations.base import AnnotationReader
from smilfit.io.annotations.entries import BadEntry, numbers
from smilfit.io.annotations.pose_rows import annotate_rows, row_frames, video_of
from smilfit.io.calibration import CALIBRATION_FILE, read_calibration
from smilfit.io.camera_names import check_pattern, split_by_pattern
from smilfit.io.keypoint_names import mirror_pairs
from smilfit.io.pose_tables import PoseTable, read_pose_table, usual_threshold
from smilfit.io.sequence_names import sequence_name
from smilfit.registry import ANNOTATIONS, UnknownNameError, did_you_mean
from smilfit.structures import AnnotatedImage, AnnotationSet, Cameras, SkippedAnnotation

_MOST_FRAMES = 1e10


@dataclass(frozen=True)
class Points3d:
    """Points in the calibration's world by frame; missing ones have confidence 0 and coordinates 0."""

    names: tuple[str, ...]
    frames: Int[np.ndarray, ' n']
    xyz: Float[np.ndarray, 'n K 3']
    confidence: Float[np.ndarray, 'n K']

    def ordered(self, names: Sequence[str]) -> 'Points3d':
        """Put the points in another order; names that are not there are missing."""
        xyz, confidence = (
            np.zeros((len(self.frames), len(names), 3)),
            np.zeros((len(self.frames), len(names))),
        )
        for k, name in enumerate(names):
            if name in self.names:
                source = self.names.index(name)
                xyz[:, k], confidence[:, k] = self.xyz[:, source], self.confidence[:, source]
        return Points3d(tuple(names), self.frames, xyz, confidence)

    def at(self, frame: int) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Return points and confidences of a frame; None where there is none."""
        result = np.flatnonzero(self.frames == frame)
        return (self.xyz[result[0]], self.confidence[result[0]]) if len(result) else (None, None)


def read_points(path: str | Path) -> Points3d:
    """Read a trial's 3D poses, with anipose's change of axes undone.

    anipose writes `X M^T - center`, where M has unit rows that need not be orthogonal; so `X = (x + center) M^-T`.
    A point's confidence is its score, at most 1, or 1 where there is no column of scores.

    Raises:
        ValueError: missing columns, a cell that is no number, a frame twice, an M that cannot be inverted.
    """
    path = Path(path)
    with reading(path, 'a table of 3D poses'):
        return _read_points(path, (line for _, line in read_csv(path, 'a table of 3D poses') if any(line)))


def _read_points(path: Path, lines: Iterator[list[str]]) -> Points3d:
    header = next(lines, [])
    column = {name: c for c, name in enumerate(header)}
    names = tuple(
        n[:-2] for n in header if n.endswith('_x') and {f'{n[:-2]}_y', f'{n[:-2]}_z'} <= column.keys()
    )
    if not names or 'fnum' not in column:
        got = [shorten(name, 40) for name in header[:8]]
        raise BadFileError(
            f'{path}: columns must be <part>_x, _y, _z and fnum; got {got}. Is it another table?'
        )
    rows = []
    for number, line in enumerate(lines, 1):
        if len(line) != len(header):
            raise BadFileError(
                f'{path}: rows must have {len(header)} cells; got {len(line)} in row {number}. Correct the row.'
            )
        try:
            rows.append(np.array([float(cell) if cell else np.nan for cell in line]))
        except ValueError as error:
            raise BadFileError(
                f'{path}: cells must be numbers; {shorten(error)} in row {number}. Correct the row.'
            ) from None
    table = np.array(rows).reshape(len(rows), len(header))
    frames = table[:, column['fnum']]
    if len(np.unique(frames)) != len(frames) or not (np.abs(frames) < _MOST_FRAMES).all():
        raise BadFileError(
            f'{path}: fnum must number every row once; got one twice, none, or one that no recording has. Correct it.'
        )
    xyz = _world(path, table, column, table[:, [[column[f'{n}_{a}'] for a in 'xyz'] for n in names]])
    scores = np.ones(xyz.shape[:2])
    for k, name in enumerate(names):
        if f'{name}_score' in column:
            scores[:, k] = np.nan_to_num(table[:, column[f'{name}_score']], nan=0.0).clip(0, 1)
    valid = np.isfinite(xyz).all(-1)
    return Points3d(
        names, frames.astype(np.int64), np.where(valid[..., None], xyz, 0.0), np.where(valid, scores, 0.0)
    )


def _world(path: Path, table: np.ndarray, column: dict[str, int], points: np.ndarray) -> np.ndarray:
    axes, centre = [f'M_{i}{j}' for i in range(3) for j in range(3)], [f'center_{i}' for i in range(3)]
    if not all(name in column for name in axes + centre) or not len(table):
        return points
    # The same in every row.
    rotation = table[0, [column[name] for name in axes]].reshape(3, 3)
    if not np.isfinite(rotation).all() or abs(np.linalg.det(rotation)) < 1e-9:
        raise BadFileError(f'{path}: M must be three axes of space; got {rotation.tolist()}.')
    return (points + table[0, [column[name] for name in centre]]) @ np.linalg.inv(rotation).T


CONFIG_FILE = 'config.toml'
USUAL_CAM_REGEX = '-cam([A-Z])$'
# Folders of a session, by their names in the configuration's table `pipeline`, and anipose's own names.
FOLDERS = {
    'videos_raw': 'videos-raw',
    'videos_raw_mp4': 'videos-raw-mp4',
    'pose_2d': 'pose-2d',
    'pose_2d_filter': 'pose-2d-filtered',
    'pose_2d_projected': 'pose-2d-proj',
    'pose_3d': 'pose-3d',
    'pose_3d_filter': 'pose-3d-filtered',
    'calibration_results': 'calibration',
}
# Sessions lie so deep in a project at most.
MOST_LEVELS = 4


def read_config(session: Path) -> dict[str, object]:
    """Read the nearest config.toml, the session's or its project's; {} where there is none.

    Raises:
        BadFileError: it is no TOML.
    """
    file = next((f / CONFIG_FILE for f in levels(session) if (f / CONFIG_FILE).is_file()), None)
    if file is None:
        return {}
    return read_toml(file, 'the configuration')


def levels(session: Path) -> list[Path]:
    """Return a session's folder and those above it, up to the project's (which has the configuration)."""
    absolute = session.absolute()
    above = [absolute, *absolute.parents[: MOST_LEVELS - 1]]
    top = next((i for i, folder in enumerate(above) if (folder / CONFIG_FILE).is_file()), 2)
    return above[: top + 1]


def cam_regex(session: Path, config: dict[str, object]) -> str:
    """Return the pattern of config.toml; one that could take forever to match is refused."""
    table = config.get('triangulation', {})
    pattern = table.get('cam_regex', USUAL_CAM_REGEX) if isinstance(table, dict) else None
    return check_pattern(str(session), pattern)


def folder_called(config: dict[str, object], name: str) -> str:
    """Return the name that the configuration's table `pipeline` gives to a folder of sessions."""
    table = config.get('pipeline', {})
    stated = table.get(name, FOLDERS[name]) if isinstance(table, dict) else FOLDERS[name]
    plain = isinstance(stated, str) and stated not in ('', '.', '..') and Path(stated).name == stated
    return stated if plain else FOLDERS[name]


def find_calibration(session: Path, config: dict[str, object]) -> Path | None:
    """Find `calibration/calibration.toml`, else `calibration.toml`, of the session or of a level above it."""
    places = (
        folder / name
        for folder in levels(session)
        for name in (folder_called(config, 'calibration_results'), '.')
    )
    return next((p / CALIBRATION_FILE for p in places if (p / CALIBRATION_FILE).is_file()), None)


def offset_of(config: dict[str, object], camera: str) -> np.ndarray:
    """Return the place (x, y) px in the calibrated image at which a camera's images begin (`cameras.<name>.offset`).

    Raises:
        BadEntry: it is no such place.
    """
    stated: object = config
    for key in ('cameras', camera, 'offset'):
        stated = stated.get(key) if isinstance(stated, dict) else None
    offset = np.zeros(2) if stated is None else numbers(stated, (None,), 'offset')[:2]
    if len(offset) != 2 or np.abs(offset).max() > 1e6:
        raise BadEntry(
            f'offset of camera {shorten(camera)!r} in config.toml must be x and y px; it is not. Correct it.'
        )
    return offset


def moved_by(cameras: Cameras, offset: np.ndarray) -> Cameras:
    """Return cameras whose images begin at an offset (..., 2) px of the calibrated ones."""
    K = cameras.K.clone()
    K[..., :2, 2] -= torch.as_tensor(offset, dtype=K.dtype)
    return replace(cameras, K=K)


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
            result, left_out = annotate_rows(table, row_frames(table, video), _one_animal(table), names)
            view = _view(cameras, camera, config)
            images += [_completed(image, sequence_name(trial, camera), view, points) for image in result]
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


def _view(cameras: Cameras | None, name: str, config: dict[str, object]) -> Cameras | None:
    """Return the camera of a video, which may show a part of the calibrated image (`offset` in config.toml, px)."""
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
