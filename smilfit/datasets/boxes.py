"""Where the animal is in each frame: what networks that look at crops are given."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from smilfit.datasets.crops import BBOX_MARGIN, MIN_BBOX_SIDE, Crop
from smilfit.files import BadFileError, reading, shorten
from smilfit.files.text_files import read_text
from smilfit.io.recordings.synchronised_videos import RecordedFrame
from smilfit.registry import BOX_FINDERS, UnknownNameError, did_you_mean

_MOST_BYTES = 1 << 30
_COLUMNS = ('frame', 'camera', 'x', 'y', 'width', 'height')

# First column and row, width and height, px of the recorded image.
Box = tuple[float, float, float, float]


@runtime_checkable
class BoxFinder(Protocol):
    """Finds the animal; a detector of your own is a class with `@BOX_FINDERS.register_module()`."""

    def __call__(self, frame: RecordedFrame) -> Mapping[str, Box | None]:
        """Return a box a camera, px of the recorded image; None, or no entry, where the animal is not seen."""


@BOX_FINDERS.register_module()
class LabelBoxes:
    """Boxes around labelled keypoints, as preprocessing cuts them.

    Args:
        xy: keypoints by camera (frames, K, 2), px of the recorded images; NaN where there is none.
        margin: side of a box over the keypoints' larger extent.
        undistorted: the keypoints, and so the boxes, are px of images whose lens was undone.
    """

    def __init__(
        self,
        xy: Mapping[str, Float[np.ndarray, 'T K 2']],
        margin: float = BBOX_MARGIN,
        undistorted: bool = False,
    ) -> None:
        self.xy, self.margin, self.undistorted = dict(xy), margin, undistorted

    def __call__(self, frame: RecordedFrame) -> dict[str, Box | None]:
        """Return the boxes of a frame."""
        return {name: self._box(points, frame.number) for name, points in self.xy.items()}

    def _box(self, points: np.ndarray, number: int) -> Box | None:
        observed = points[number] if number < len(points) else points[:0].reshape(0, 2)
        observed = observed[np.isfinite(observed).all(-1)]
        if len(observed) == 0:
            return None
        low, high = observed.min(0), observed.max(0)
        side = max(MIN_BBOX_SIDE, math.ceil(float((high - low).max() + 1) * self.margin))
        x, y = (low + high) / 2 - (side - 1) / 2
        return float(x), float(y), float(side), float(side)


@BOX_FINDERS.register_module()
class BoxFile:
    """Boxes from a table: columns frame, camera, x, y, width, height (or side); px of the recorded images.

    Args:
        path: the .csv file.
        cameras: the recording's cameras; rows of others are an error.

    Raises:
        FileNotFoundError: no such file.
        BadFileError: other columns, or a cell that is no number.
        UnknownNameError: an unknown camera, with the near names.
    """

    def __init__(self, path: str | Path, cameras: Sequence[str] | None = None) -> None:
        self.path = Path(path)
        self._boxes: dict[tuple[int, str], Box] = {}
        if not self.path.is_file():
            raise FileNotFoundError(f'{self.path}: the boxes must be a file; there is no such file.')
        with reading(self.path, 'a table of boxes'):
            rows = csv.DictReader(io.StringIO(read_text(self.path, 'a table of boxes', _MOST_BYTES)))
            header = {str(name).strip() for name in rows.fieldnames or ()}
            square = 'side' in header
            wanted = ('frame', 'camera', 'x', 'y', 'side') if square else _COLUMNS
            if not set(wanted) <= header:
                raise BadFileError(
                    f'{self.path}: columns must be {", ".join(_COLUMNS)} (or side); got {shorten(sorted(header))}.'
                )
            for line, row in enumerate(rows, start=2):
                self._take(line, {str(k).strip(): str(v).strip() for k, v in row.items()}, square, cameras)

    def _take(self, line: int, row: Mapping[str, str], square: bool, cameras: Sequence[str] | None) -> None:
        try:
            names = ('x', 'y', 'side', 'side') if square else ('x', 'y', 'width', 'height')
            x, y, width, height = (float(row[name]) for name in names)
            number = int(row['frame'])
            right = (
                all(map(math.isfinite, (x, y, width, height))) and width > 0 and height > 0 and number >= 0
            )
        except (KeyError, ValueError):
            right = False
        if not right:
            raise BadFileError(
                f'{self.path}, line {line}: a box must be whole numbers of a frame and positive sides in px; got '
                f'{shorten(dict(row))}. Correct it.'
            )
        if cameras is not None and row['camera'] not in cameras:
            raise UnknownNameError(
                f'{self.path}, line {line}: no camera {row["camera"]!r}. {did_you_mean(row["camera"], cameras)}'
            )
        self._boxes[number, row['camera']] = (x, y, width, height)

    def __call__(self, frame: RecordedFrame) -> dict[str, Box | None]:
        """Return the boxes of a frame."""
        return {name: self._boxes.get((frame.number, name)) for name in frame.images}


def square_crop(box: Box, resolution: int) -> Crop:
    """Return the crop of whole px that is a box made square around its centre.

    Raises:
        ValueError: a box that is none.
    """
    x, y, width, height = (float(v) for v in box)
    if not all(map(math.isfinite, (x, y, width, height))) or min(width, height) <= 0:
        raise ValueError(f'box: x, y, width and height must be finite and sides positive; got {tuple(box)}.')
    side = max(2, math.ceil(max(width, height) - 1e-6))
    left = math.floor(x + (width - side) / 2 + 0.5)
    top = math.floor(y + (height - side) / 2 + 0.5)
    return Crop(left, top, side, side, resolution)


def box_outline(box: Box) -> Float[np.ndarray, '8 2']:
    """Return corners and middles of sides of a box, px: what bends with a lens."""
    x, y, width, height = box
    u, v = np.array([0.0, 0.5, 1.0]), np.array([0.0, 0.5, 1.0])
    grid = np.stack(np.meshgrid(u, v), -1).reshape(-1, 2)
    grid = grid[(grid != 0.5).any(-1)]
    return np.array([x, y]) + grid * np.array([width - 1, height - 1])
