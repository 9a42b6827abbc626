"""Tables of points in space: csv, wide (a row a frame) or tidy (a row a point), anipose's own, and npz."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from smilfit.files import BadFileError, shorten
from smilfit.files.budget import MOST_ARRAY_BYTES, check_budget
from smilfit.files.numpy_files import read_npz
from smilfit.files.text_files import read_csv
from smilfit.io.annotations.anipose import read_points
from smilfit.io.points.recorded import RecordedPoints, recorded_points

# What a column may be called, the usual first.
FRAME = ('frame', 'fnum', 'frame_idx', 'frame_number')
ANIMAL = ('animal', 'track', 'individual', 'identity', 'instance')
KEYPOINT = ('keypoint', 'bodypart', 'node', 'landmark', 'name', 'marker')
SCORE = ('confidence', 'score', 'likelihood', 'p')


def read_point_csv(path: Path) -> RecordedPoints:
    """Read a csv file: anipose's 3D poses, or columns `NAME_x`, `NAME_y`, `NAME_z`, or a row a point.

    A wide table has a row a frame and animal, a tidy one the columns keypoint, x, y, z. Beside these stand, in
    both and where there are several, frame and animal, and a score (`NAME_score`). An empty cell is missing.

    Raises:
        BadFileError: other columns, or a cell that is no number.
    """
    lines = [line for _, line in read_csv(path, 'a table of points') if any(line)]
    if len(lines) < 2:
        raise BadFileError(f'{path}: a table of points must have a header and a row; got {len(lines)} lines.')
    header = lines[0]
    lower = [name.lower() for name in header]
    if 'fnum' in header and 'M_00' in header:
        result = read_points(path)
        order = np.argsort(result.frames)
        xyz = np.where(result.confidence[..., None] > 0, result.xyz, np.nan)
        return recorded_points(
            path, result.names, xyz[order][:, None], result.confidence[order][:, None], result.frames[order]
        )
    for number, line in enumerate(lines[1:], 2):
        if len(line) != len(header):
            raise BadFileError(
                f'{path}: rows must have {len(header)} cells; got {len(line)} in line {number}.'
            )
    columns = {name: [line[c] for line in lines[1:]] for c, name in enumerate(lower)}
    frames = _frames(path, columns, len(lines) - 1)
    animals = next((columns[n] for n in ANIMAL if n in columns), None)
    tidy = next((n for n in KEYPOINT if n in columns), None)
    if tidy is not None and {'x', 'y', 'z'} <= columns.keys():
        score = next((n for n in SCORE if n in columns), None)
        values = [_numbers(path, columns[n], n) for n in ('x', 'y', 'z')]
        scores = None if score is None else _numbers(path, columns[score], score)
        return _spread(path, frames, animals, columns[tidy], np.stack(values, -1), scores)
    names = [n[:-2] for n in header if n.endswith('_x') and {f'{n[:-2]}_y', f'{n[:-2]}_z'} <= set(header)]
    if not names:
        raise BadFileError(
            f'{path}: columns must be NAME_x, NAME_y, NAME_z, or keypoint, x, y, z; got '
            f'{shorten(", ".join(header[:8]))}. Is it another table?'
        )
    points, confidences = [], []
    for name in names:
        points += [
            np.stack([_numbers(path, columns[f'{name}_{a}'.lower()], f'{name}_{a}') for a in 'xyz'], -1)
        ]
        score = next((f'{name}_{n}' for n in SCORE if f'{name}_{n}'.lower() in columns), None)
        confidences += [_numbers(path, columns[score.lower()], score) if score else np.ones(len(frames))]
    again = None if animals is None else list(animals) * len(names)
    keypoints = [name for name in names for _ in frames]
    return _spread(
        path,
        np.tile(frames, len(names)),
        again,
        keypoints,
        np.concatenate(points),
        np.concatenate(confidences),
    )


def _frames(path: Path, columns: dict[str, list[str]], count: int) -> np.ndarray:
    name = next((n for n in FRAME if n in columns), None)
    if name is None:
        if any(n in columns for n in (*ANIMAL, *KEYPOINT)):
            raise BadFileError(
                f'{path}: a table with several rows a frame must have a column frame; it has none. Add one.'
            )
        return np.arange(count)
    numbers = _numbers(path, columns[name], name)
    if not (np.isfinite(numbers) & (numbers == np.round(numbers))).all():
        raise BadFileError(f'{path}: {name} must be a whole number in every row; it is not. Correct the row.')
    return numbers.astype(np.int64)


def _numbers(path: Path, cells: Sequence[str], name: str) -> np.ndarray:
    try:
        return np.array([float(cell) if cell else np.nan for cell in cells])
    except ValueError as error:
        raise BadFileError(
            f'{path}: cells of {shorten(name)} must be numbers; {shorten(error)}. Correct the cell.'
        ) from None


def _spread(
    path: Path,
    frames: np.ndarray,
    animals: Sequence[str] | None,
    keypoints: Sequence[str],
    points: np.ndarray,
    scores: np.ndarray | None,
) -> RecordedPoints:
    """Bring rows of single points to (frames, animals, keypoints)."""
    numbers, at = np.unique(frames, return_inverse=True)
    names, who = list(dict.fromkeys(keypoints)), list(dict.fromkeys(animals or ['']))
    shape = (len(numbers), len(who), len(names))
    check_budget(path, 'its points', 8 * 3 * int(np.prod(shape, dtype=object)), MOST_ARRAY_BYTES)
    k = _places(names, keypoints)
    a = np.zeros(len(frames), np.int64) if animals is None else _places(who, animals)
    place = (at * len(who) + a) * len(names) + k
    if len(np.unique(place)) != len(place):
        first = int(np.flatnonzero(np.bincount(place) > 1)[0])
        raise BadFileError(
            f'{path}: a point must be there once; {shorten(names[first % len(names)])!r} is there twice in frame '
            f'{numbers[first // (len(who) * len(names))]}. Are there several animals? Name them in a column animal.'
        )
    xyz, confidence = np.full((np.prod(shape), 3), np.nan), np.zeros(np.prod(shape))
    xyz[place], confidence[place] = points, 1.0 if scores is None else scores
    return recorded_points(path, names, xyz.reshape(*shape, 3), confidence.reshape(shape), numbers, who)


def _places(names: Sequence[str], wanted: Sequence[str]) -> np.ndarray:
    place = {name: i for i, name in enumerate(names)}
    return np.array([place[name] for name in wanted], np.int64)


def read_point_npz(path: Path) -> RecordedPoints:
    """Read `xyz` (frames, [animals,] keypoints, 3), `names`, and perhaps `confidence`, `frames`, `animals`, `fps`.

    Raises:
        BadFileError: no xyz, or arrays that do not meet.
    """
    arrays = read_npz(path, what='points')
    if 'xyz' not in arrays:
        raise BadFileError(f'{path}: points must stand under xyz; got {shorten(", ".join(sorted(arrays)))}.')
    xyz = np.asarray(arrays['xyz'], np.float64)
    if xyz.ndim not in (3, 4) or xyz.shape[-1] != 3:
        raise BadFileError(f'{path}: xyz must be (frames, [animals,] keypoints, 3); got {xyz.shape}.')
    confidence = arrays.get('confidence')
    if xyz.ndim == 3:
        xyz, confidence = xyz[:, None], None if confidence is None else confidence[:, None]
    names = None if 'names' not in arrays else [str(name) for name in arrays['names'].ravel()]
    several = [f'animal_{a}' for a in range(xyz.shape[1])] if xyz.shape[1] > 1 else ['']
    animals = [str(a) for a in arrays['animals'].ravel()] if 'animals' in arrays else several
    fps = float(arrays['fps']) if 'fps' in arrays else None
    return recorded_points(path, names, xyz, confidence, arrays.get('frames'), animals, fps=fps)
