"""Calibration boards: which corners they have, and where an image shows them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from smilfit.registry import did_you_mean

if TYPE_CHECKING:
    import cv2

# Points along a side, which keeps clear of the corners by this share.
_POINTS, _CLEAR = 12, 0.12
# How far from the side its edge may be: a share of the side, no less than so many px.
_REACH, _LEAST_REACH_PX = 0.1, 2.0
_STEP_PX = 0.25
_OUTLIER = 2.5
KINDS = ('charuco', 'chessboard', 'apriltag')
_CHARUCO_MARKER, _TAG_SIDE = 0.75, 0.8
# The predefined dictionaries of one number of bits begin with the same markers.
_CHARUCO_SIZES = (50, 100, 250, 1000)
# Fewer corners than this place no board.
MIN_CORNERS = 6
# So many images show what board it is.
MOST_IMAGES = 8
_CHARUCO = ('4X4_1000', '5X5_1000', '6X6_1000', '7X7_1000', 'APRILTAG_36H11')
_TAGS = ('APRILTAG_36H11', 'APRILTAG_25H9', 'APRILTAG_16H5', '4X4_1000', '6X6_1000')


def refine_tag(
    grey: UInt8[np.ndarray, 'H W'], tag: Float[np.ndarray, '4 2']
) -> Float[np.ndarray, '4 2'] | None:
    """Return a tag's corners more precisely; None where a side has no edge.

    Args:
        tag: corners as detected, clockwise in the image, right to a px or two.
    """
    lines = [_line(grey, tag[k], tag[(k + 1) % 4]) for k in range(4)]
    result = []
    for k in range(4):
        (p, u), (q, v) = lines[k - 1], lines[k]
        across = u[0] * v[1] - u[1] * v[0]
        if abs(across) < 0.1:
            return None
        gap = q - p
        result.append(p + (gap[0] * v[1] - gap[1] * v[0]) / across * u)
    moved = np.linalg.norm(np.stack(result) - tag, axis=-1)
    side = np.linalg.norm(tag[1] - tag[0])
    return np.stack(result) if np.all(moved <= max(0.5 * _REACH * side, _LEAST_REACH_PX)) else None


def _line(grey: np.ndarray, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fit a line to where the image turns from black to white along a side: a point and a direction."""
    import cv2

    side = float(np.linalg.norm(b - a))
    outward = np.array([b[1] - a[1], a[0] - b[0]]) / max(side, 1e-9)
    reach = max(_LEAST_REACH_PX, _REACH * side)
    offsets = np.arange(-reach, reach + 0.5 * _STEP_PX, _STEP_PX)
    places = a + np.linspace(_CLEAR, 1 - _CLEAR, _POINTS)[:, None] * (b - a)
    at = (places[:, None] + offsets[:, None] * outward).astype(np.float32)
    shade = cv2.remap(grey.astype(np.float32), at[..., 0].copy(), at[..., 1].copy(), cv2.INTER_LINEAR)
    # The steeper, the more it counts; brighter inwards does not.
    weight = np.square(np.maximum(np.gradient(shade, axis=1), 0.0))
    centre = (weight * offsets).sum(1) / np.maximum(weight.sum(1), 1e-9)
    points = places + centre[:, None] * outward
    return _fitted(_near(points))


def _near(points: np.ndarray) -> np.ndarray:
    centre, direction = _fitted(points)
    gap = points - centre
    off = np.abs(gap[:, 0] * direction[1] - gap[:, 1] * direction[0])
    return points[off <= _OUTLIER * np.median(off) + 1e-3]


def _fitted(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    centre = points.mean(0)
    return centre, np.linalg.svd(points - centre)[2][0]


@dataclass(frozen=True)
class Board:
    """A flat board with known corners.

    Args:
        kind: `'charuco'`; `'chessboard'`; or `'apriltag'`, a grid of tags.
        columns: squares (of a chessboard with the outer ones), or tags, along x.
        rows: the same along y.
        square_mm: side of a square; of tags the distance from one's left edge to the next one's.
        marker_mm: side of a marker in its square, or of a tag; 0.75 and 0.8 of `square_mm` if None.
        dictionary: OpenCV's name of the markers without `DICT_`, such as `'4X4_50'`; the usual one if None.
        legacy: a charuco board that was printed by OpenCV before 4.6, with an even number of rows.
    """

    kind: str
    columns: int
    rows: int
    square_mm: float
    marker_mm: float | None = None
    dictionary: str | None = None
    legacy: bool = False

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ValueError: one that no board has.
        """
        if self.kind not in KINDS:
            raise ValueError(
                f'Board: kind must be one of {KINDS}; got {self.kind!r}. {did_you_mean(self.kind, KINDS)}'
            )
        least = 1 if self.kind == 'apriltag' else 3
        if min(self.columns, self.rows) < least:
            raise ValueError(
                f'Board: squares must be {least}x{least} at least; got {self.columns}x{self.rows}. Count squares, '
                'with the outer ones.'
            )
        if not 0 < self.square_mm < 1e5:
            raise ValueError(
                f'Board: square_mm must be a length in mm; got {self.square_mm}. Measure a square.'
            )
        if self.marker_mm is not None and not 0 < self.marker_mm < self.square_mm:
            raise ValueError(
                f'Board: marker_mm must be above 0 and below square_mm = {self.square_mm:g}; got {self.marker_mm}. '
                'Measure the black square of a marker.'
            )
        if self.kind == 'chessboard' and (self.columns + self.rows) % 2 == 0:
            raise ValueError(
                'Board: a chessboard must have an odd number of squares one way and an even one the other, such as '
                f'8x11; got {self.columns}x{self.rows}, which looks the same upside down. Use another board.'
            )

    @property
    def marker(self) -> float:
        """Side of a marker, mm."""
        share = _TAG_SIDE if self.kind == 'apriltag' else _CHARUCO_MARKER
        return share * self.square_mm if self.marker_mm is None else self.marker_mm

    @property
    def n_markers(self) -> int:
        """How many markers there are."""
        count = self.columns * self.rows
        return {'charuco': count // 2, 'apriltag': count, 'chessboard': 0}[self.kind]

    @cached_property
    def points(self) -> Float[np.ndarray, 'N 3']:
        """All corners, mm, z 0: x along the columns, y along the rows."""
        if self.kind == 'apriltag':
            return np.concatenate([np.asarray(p) for p in self.layout.getObjPoints()]).astype(np.float64)
        x, y = np.meshgrid(np.arange(1, self.columns), np.arange(1, self.rows))
        grid = np.stack((x.ravel(), y.ravel(), np.zeros(x.size)), -1)
        return self.square_mm * grid.astype(np.float64)

    @cached_property
    def edges(self) -> Int[np.ndarray, 'E 2']:
        """Pairs of corners that are neighbours: a square's side apart, or those of one tag."""
        if self.kind == 'apriltag':
            first = 4 * np.arange(self.n_markers)[:, None]
            return np.stack((first + np.arange(4), first + (np.arange(4) + 1) % 4), -1).reshape(-1, 2)
        number = np.arange(len(self.points)).reshape(self.rows - 1, self.columns - 1)
        across = np.stack((number[:, :-1], number[:, 1:]), -1).reshape(-1, 2)
        return np.concatenate((across, np.stack((number[:-1], number[1:]), -1).reshape(-1, 2)))

    @property
    def edges_along(self) -> Bool[np.ndarray, ' E']:
        """Which edges run along the board's columns; the others run down its rows."""
        step = self.points[self.edges[:, 1]] - self.points[self.edges[:, 0]]
        return np.abs(step[:, 0]) > np.abs(step[:, 1])

    @property
    def edge_mm(self) -> float:
        """Length of every edge."""
        return self.marker if self.kind == 'apriltag' else self.square_mm

    @property
    def dictionary_name(self) -> str:
        """The markers' dictionary."""
        if self.dictionary is not None:
            return self.dictionary.upper().removeprefix('DICT_')
        if self.kind == 'apriltag':
            return 'APRILTAG_36H11'
        return f'4X4_{next((n for n in _CHARUCO_SIZES if n >= self.n_markers), 1000)}'

    @cached_property
    def layout(self) -> 'cv2.aruco.GridBoard | cv2.aruco.CharucoBoard':
        """OpenCV's board of markers."""
        import cv2

        names = [n.removeprefix('DICT_') for n in dir(cv2.aruco) if n.startswith('DICT_')]
        if self.dictionary_name not in names:
            raise ValueError(
                f'Board: no dictionary {self.dictionary!r}. {did_you_mean(self.dictionary_name, names)}'
            )
        markers = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, f'DICT_{self.dictionary_name}'))
        held = len(markers.bytesList)
        if held < self.n_markers:
            raise ValueError(
                f'Board: {self.dictionary_name} must have a marker for each of {self.n_markers} places; it has '
                f'{held}. Name a larger one.'
            )
        size = (self.columns, self.rows)
        if self.kind == 'apriltag':
            return cv2.aruco.GridBoard(size, self.marker, self.square_mm - self.marker, markers)
        board = cv2.aruco.CharucoBoard(size, self.square_mm, self.marker, markers)
        board.setLegacyPattern(self.legacy)
        return board

    def image(self, px_per_mm: float, margin_px: int = 0) -> np.ndarray:
        """Draw the board, grey uint8; (x, y) mm is at `px_per_mm * (x, y) + margin_px - 0.5` px."""
        width, height = (round(n * self.square_mm * px_per_mm) for n in (self.columns, self.rows))
        if self.kind == 'chessboard':
            side = self.square_mm * px_per_mm
            y, x = np.mgrid[:height, :width] + 0.5
            drawn = np.where((x // side + y // side) % 2 < 1, 0, 255).astype(np.uint8)
        else:
            gap = round((self.square_mm - self.marker) * px_per_mm) if self.kind == 'apriltag' else 0
            drawn = np.asarray(self.layout.generateImage((width - gap, height - gap), marginSize=0), np.uint8)
        return np.pad(drawn, margin_px, constant_values=255)


@dataclass(frozen=True)
class Detection:
    """The corners of a board in one image: their numbers on the board, and px."""

    ids: Int[np.ndarray, ' n']
    xy: Float[np.ndarray, 'n 2']


class BoardDetector:
    """Find a board in images; see `Board`."""

    def __init__(self, board: Board) -> None:
        import cv2

        self.board = board
        self._find: Callable[[np.ndarray], Detection | None] = self._of_chessboard
        layout = None if board.kind == 'chessboard' else board.layout
        if isinstance(layout, cv2.aruco.CharucoBoard):
            self._find = partial(self._of_charuco, cv2.aruco.CharucoDetector(layout))
        elif layout is not None:
            options = cv2.aruco.DetectorParameters()
            options.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_SUBPIX
            self._find = partial(self._of_tags, cv2.aruco.ArucoDetector(layout.getDictionary(), options))

    def __call__(self, image: np.ndarray) -> Detection | None:
        """Find the board's corners in a grey or RGB image; None where fewer than `MIN_CORNERS` are visible."""
        import cv2

        result = self._find(image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
        return None if result is None or len(result.ids) < MIN_CORNERS else result

    def _of_charuco(self, detector: 'cv2.aruco.CharucoDetector', grey: np.ndarray) -> Detection | None:
        corners, ids, _, _ = detector.detectBoard(grey)
        if ids is None or not len(ids):
            return None
        return Detection(ids.reshape(-1).astype(np.int64), corners.reshape(-1, 2).astype(np.float64))

    def _of_tags(self, detector: 'cv2.aruco.ArucoDetector', grey: np.ndarray) -> Detection | None:
        corners, ids, _ = detector.detectMarkers(grey)
        if ids is None:
            return None
        fine = [refine_tag(grey, c.reshape(4, 2).astype(np.float64)) for c in corners]
        here = [(int(i), c) for i, c in zip(ids.ravel(), fine) if i < self.board.n_markers and c is not None]
        if not here:
            return None
        numbers = np.concatenate([4 * i + np.arange(4) for i, _ in here])
        return Detection(numbers, np.concatenate([c for _, c in here]))

    def _of_chessboard(self, grey: np.ndarray) -> Detection | None:
        import cv2

        size = (self.board.columns - 1, self.board.rows - 1)
        done, corners = cv2.findChessboardCornersSB(grey, size, flags=cv2.CALIB_CB_NORMALIZE_IMAGE)
        if not done:
            return None
        grid = corners.reshape(size[1], size[0], 2).astype(np.float64)
        # An odd and an even side: turned by half a circle, black and white change places.
        if _shade(grey, grid[0, 0], grid[1, 1]) > _shade(grey, grid[0, 1], grid[1, 2]):
            grid = grid[::-1, ::-1]
        return Detection(np.arange(size[0] * size[1]), grid.reshape(-1, 2).copy())


def _shade(grey: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
    """Return the brightness in the middle of a square with two opposite corners."""
    x, y = np.round((a + b) / 2).astype(int)
    reach = max(1, int(np.linalg.norm(b - a) / 8))
    patch = grey[max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1]
    return float(patch.mean()) if patch.size else 0.0


def likely_board(board: Board, images: Iterable[np.ndarray]) -> str | None:
    """Describe in words which board images show instead of the one that is named; None where no other is found
    either.

    Args:
        images: some that should show it, RGB.
    """
    shown = [image for _, image in zip(range(MOST_IMAGES), images)]
    if any(BoardDetector(board)(image[:, ::-1].copy()) for image in shown):
        return 'The images are mirrored: the board is found in them from left to right.'
    for what, other in _others(board):
        detector = BoardDetector(other)
        if sum(detector(image) is not None for image in shown) > len(shown) // 3:
            return f'They show {what}.'
    return None


def _others(board: Board) -> list[tuple[str, Board]]:
    """List boards that are easily taken for this one, with what to say."""
    result = []
    across = f'{board.rows}x{board.columns}'
    if board.kind == 'charuco':
        result.append(('the layout of OpenCV before 4.6: --legacy', replace(board, legacy=not board.legacy)))
        result.append((f'--squares {across}', replace(board, columns=board.rows, rows=board.columns)))
    names = {'charuco': _CHARUCO, 'apriltag': _TAGS, 'chessboard': ()}[board.kind]
    if board.dictionary is None or board.dictionary_name not in names:
        result += [
            (f'markers of --dictionary {n}', replace(board, dictionary=n))
            for n in names
            if n != board.dictionary_name
        ]
    if board.kind == 'chessboard':
        # Given as inner corners, or one too few.
        for more in (1, -1, 2):
            size = (board.columns + more, board.rows + more)
            if min(size) >= 3:
                result.append(
                    (f'--squares {size[0]}x{size[1]}', replace(board, columns=size[0], rows=size[1]))
                )
        result.append((f'--squares {across}', replace(board, columns=board.rows, rows=board.columns)))
    return result
