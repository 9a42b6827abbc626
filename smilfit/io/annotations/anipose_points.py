"""anipose's 3D poses: one csv a trial, columns `<part>_x|y|z|error|ncams|score`, `M_ij`, `center_i`, `fnum`."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from smilfit.files import BadFileError, reading, shorten
from smilfit.files.budget import read_text

MOST_TABLE_BYTES = 1 << 29
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
        """Give points and confidences of a frame; None where there is none."""
        found = np.flatnonzero(self.frames == frame)
        return (self.xyz[found[0]], self.confidence[found[0]]) if len(found) else (None, None)


def read_points(path: str | Path) -> Points3d:
    """Read a trial's 3D poses, with anipose's change of axes undone.

    anipose writes `X M^T - center`, where M has unit rows that need not be orthogonal; so `X = (x + center) M^-T`.
    A point's confidence is its score, at most 1, or 1 where there is no column of scores.

    Raises:
        ValueError: missing columns, a cell that is no number, a frame twice, an M that cannot be inverted.
    """
    path = Path(path)
    with reading(path, 'a table of 3D poses'):
        text = read_text(path, 'a table of 3D poses', MOST_TABLE_BYTES, 'utf-8-sig')
        return _read_points(path, (line for line in csv.reader(io.StringIO(text, newline='')) if any(line)))


def _read_points(path: Path, lines: Iterator[list[str]]) -> Points3d:
    header = [name.strip() for name in next(lines, [])]
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
    seen = np.isfinite(xyz).all(-1)
    return Points3d(
        names, frames.astype(np.int64), np.where(seen[..., None], xyz, 0.0), np.where(seen, scores, 0.0)
    )


def _world(path: Path, table: np.ndarray, column: dict[str, int], points: np.ndarray) -> np.ndarray:
    axes, centre = [f'M_{i}{j}' for i in range(3) for j in range(3)], [f'center_{i}' for i in range(3)]
    if not all(name in column for name in axes + centre) or not len(table):
        return points
    # The same in every row.
    turn = table[0, [column[name] for name in axes]].reshape(3, 3)
    if not np.isfinite(turn).all() or abs(np.linalg.det(turn)) < 1e-9:
        raise BadFileError(f'{path}: M must be three axes of space; got {turn.tolist()}.')
    return (points + table[0, [column[name] for name in centre]]) @ np.linalg.inv(turn).T
