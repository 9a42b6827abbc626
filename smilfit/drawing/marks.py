"""What overlays show: one colour, one form and one word for each thing, and the legend that says so."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import UInt8

RIM = 1.0  # px of dark around a mark
_PARTS = 8  # of a px, to which a mark's place is rounded
# Letters smaller than this cannot be read (share of OpenCV's font, whose capitals are then 9 px high).
LEAST_LETTERS = 0.4


def scale_of(image: np.ndarray) -> float:
    """Return how large marks and letters are in an image: they grow with its shorter side."""
    return max(min(image.shape[:2]) / 500.0, 0.6)


@dataclass(frozen=True)
class Mark(ABC):
    """A thing that overlays show: its word in legends, and its colour (RGB)."""

    word: str
    colour: tuple[int, int, int]

    @property
    def hex(self) -> str:
        """Return the colour as pages write it."""
        return '#' + ''.join(f'{c:02x}' for c in self.colour)

    @property
    def tint(self) -> tuple[float, float, float]:
        """Return the colour as meshes are painted: RGB in [0, 1]."""
        red, green, blue = (c / 255 for c in self.colour)
        return red, green, blue

    @property
    @abstractmethod
    def css(self) -> str:
        """Return the form as the style of a box in a page."""

    @abstractmethod
    def stamp_all(self, canvas: np.ndarray, at: np.ndarray, scale: float) -> None:
        """Draw the mark into `canvas` at each of some (x, y) px, with a dark rim; later ones lie over earlier."""

    def stamp(self, canvas: np.ndarray, at: np.ndarray, scale: float) -> None:
        """Draw one mark."""
        self.stamp_all(canvas, at[None], scale)


class Dot(Mark):
    """A filled circle."""

    @property
    def css(self) -> str:
        """Return a box's style."""
        return f'border-radius:50%;border:1px solid #000;background:{self.hex}'

    def stamp_all(self, canvas: np.ndarray, at: np.ndarray, scale: float) -> None:
        """Draw them."""
        _annuli(canvas, at, (-np.inf, 3.5 * scale), self.colour)


class Ring(Mark):
    """An open circle, wide enough that a dot inside it stays in sight."""

    @property
    def css(self) -> str:
        """Return a box's style."""
        return f'border-radius:50%;border:3px solid {self.hex}'

    def stamp_all(self, canvas: np.ndarray, at: np.ndarray, scale: float) -> None:
        """Draw them."""
        half = max(1.1, 1.4 * scale)
        _annuli(canvas, at, (6.5 * scale - half, 6.5 * scale + half), self.colour)


class Surface(Mark):
    """A shaded body; a square in legends."""

    @property
    def css(self) -> str:
        """Return a box's style."""
        return f'border:1px solid #000;background:{self.hex}'

    def stamp_all(self, canvas: np.ndarray, at: np.ndarray, scale: float) -> None:
        """Draw them."""
        for low, high in zip(*(np.round(at + d * scale).astype(int).tolist() for d in (-6.0, 6.0))):
            cv2.rectangle(canvas, low, high, self.colour, -1)
            cv2.rectangle(canvas, low, high, (0, 0, 0), 1)


# Colours of Okabe & Ito (2008), chosen so that each pair is apart under any colour vision (a test measures it).
# Keypoints lie on the body: yellow and vermillion differ most from its blue, and from each other in lightness.
ANNOTATED = Dot('annotated', (240, 228, 66))
FITTED = Ring("body's keypoints", (213, 94, 0))
BODY = Surface('body', (86, 180, 233))
START_BODY = Surface('body at the start', (204, 121, 167))
FIT_MARKS = (ANNOTATED, FITTED, BODY)
# Several animals at once: those of the others that lie apart from the rings, then the rest.
_ANIMALS = ((86, 180, 233), (230, 159, 0), (0, 158, 115), (204, 121, 167), (0, 114, 178), (240, 228, 66))
MARKS = (*FIT_MARKS, START_BODY)


def animal_surfaces(names: Sequence[str]) -> tuple[Surface, ...]:
    """Return several animals colours of their own; beyond six they come again."""
    return tuple(Surface(name, _ANIMALS[i % len(_ANIMALS)]) for i, name in enumerate(names))


def put_text(canvas: np.ndarray, text: str, corner: tuple[int, int], size: float) -> None:
    """Write white letters with a dark edge into `canvas`, kept inside the image; lower left at `corner`."""
    text = text.encode('ascii', 'replace').decode()
    font, thick = cv2.FONT_HERSHEY_SIMPLEX, max(1, round(1.6 * size))
    (width, height), _ = cv2.getTextSize(text, font, size, thick)
    x = min(max(corner[0], 2), max(canvas.shape[1] - width - 2, 2))
    y = min(max(corner[1], height + 2), canvas.shape[0] - 4)
    # The dark edge is the same letters around: OpenCV 5 spaces thicker letters differently.
    for dx, dy in ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)):
        cv2.putText(canvas, text, (x + dx * thick, y + dy * thick), font, size, (0, 0, 0), thick, cv2.LINE_AA)
    cv2.putText(canvas, text, (x, y), font, size, (255, 255, 255), thick, cv2.LINE_AA)


def put_label(canvas: np.ndarray, text: str) -> None:
    """Write what a view is into its upper left corner."""
    scale = scale_of(canvas)
    put_text(canvas, text, (round(8 * scale), round(22 * scale)), max(0.65 * scale, LEAST_LETTERS))


def legend_strip(marks: Sequence[Mark], width: int, scale: float) -> UInt8[np.ndarray, 'h w 3']:
    """Draw a dark strip of a width that names the marks, in as many lines as they need.

    Args:
        marks: what the images above show.
        width: px.
        scale: of the marks in these images.
    """
    return _legend_strip(tuple(marks), width, scale).copy()


@lru_cache(8)
def _legend_strip(marks: tuple[Mark, ...], width: int, scale: float) -> np.ndarray:
    """Draw it; kept, because all frames of a video have the same."""
    size = max(LEAST_LETTERS, 0.5 * scale)
    unit = size / 0.5
    line, gap = round(22 * unit), round(26 * unit)
    places, x, y = [], 0, 0
    for mark in marks:
        (letters, _), _ = cv2.getTextSize(mark.word, cv2.FONT_HERSHEY_SIMPLEX, size, 1)
        if x and x + gap + letters > width:
            x, y = 0, y + line
        places.append((mark, x, y))
        x += gap + letters + round(10 * unit)
    strip = np.full((y + line, width, 3), 30, np.uint8)
    for mark, x, y in places:
        mark.stamp(strip, np.array([x + 0.5 * gap, y + 0.5 * line]), max(scale, 0.8 * unit))
        put_text(strip, mark.word, (x + gap, y + round(0.7 * line)), size)
    return strip


def _annuli(canvas: np.ndarray, at: np.ndarray, radii: tuple[float, float], colour: tuple) -> None:
    """Draw what lies between two radii around (x, y) px, with soft edges (OpenCV's small circles are squares)."""
    low = np.floor(at - radii[1] - RIM - 1).astype(int)
    parts = np.rint((at - low) * _PARTS).astype(int)
    height, width = canvas.shape[:2]
    for (x, y), (right_of, below) in zip(low.tolist(), parts.tolist()):
        kept, added = _annulus(radii, colour, right_of, below)
        side = len(kept)
        # What lies outside of the canvas is cut off.
        top, left, bottom, right = max(y, 0), max(x, 0), min(y + side, height), min(x + side, width)
        if top < bottom and left < right:
            patch, inside = canvas[top:bottom, left:right], np.s_[top - y : bottom - y, left - x : right - x]
            # A half more, and cut off: rounded.
            patch[:] = patch * kept[inside] + added[inside]


@lru_cache(4096)
def _annulus(radii: tuple[float, float], colour: tuple, x: int, y: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a square around a form, its centre at (x, y) parts of a px: what is kept of an image, what is added.

    Kept, because marks are many and alike. Half a grey level is added to what is rounded by cutting off.
    """
    inner, outer = radii
    side = int(np.ceil(2 * (outer + RIM + 1))) + 2
    along = np.arange(side)
    distance = np.hypot(along - x / _PARTS, (along - y / _PARTS)[:, None])
    # Px inside the form, negative outside.
    depth = np.minimum(outer - distance, distance - inner)[..., None]
    share = (depth + 0.5).clip(0, 1)
    kept, added = (0.5 - RIM - depth).clip(0, 1) * (1 - share), share * np.array(colour) + 0.5
    return kept.astype(np.float32), added.astype(np.float32)
