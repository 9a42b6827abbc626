"""The strip under the time slider: a colour a frame for what it was judged to be, and where we are."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from smilfit.evaluation.verdict import DOUBTFUL, GOOD, NOT_BELIEVABLE, NOT_FITTED

NOT_JUDGED = 'not judged'
# Worst last: where several frames share a column of the strip, the worst is seen. Colours of Okabe & Ito (2008).
COLOURS = {
    NOT_JUDGED: (150, 150, 150),
    GOOD: (0, 158, 115),
    NOT_FITTED: (60, 60, 60),
    DOUBTFUL: (230, 159, 0),
    NOT_BELIEVABLE: (213, 94, 0),
}
_WORDS = tuple(COLOURS)


def time_line(words: Sequence[str], width: int = 600, height: int = 28) -> UInt8[np.ndarray, 'h w 3']:
    """Draw a column of px for every frame, or for every few frames the worst of them."""
    severity = np.array([_WORDS.index(word) for word in words])
    columns = np.arange(width)
    first = columns * len(words) // width
    last = np.maximum((columns + 1) * len(words) // width, first + 1)
    worst = [severity[a:b].max() for a, b in zip(first, last)]
    colours = np.array([COLOURS[word] for word in _WORDS], np.uint8)
    return np.broadcast_to(colours[worst], (height, width, 3)).copy()


def with_cursor(strip: UInt8[np.ndarray, 'h w 3'], row: int, count: int) -> UInt8[np.ndarray, 'h w 3']:
    """Mark a frame of `count` on the strip by a white line with dark rims."""
    width = strip.shape[1]
    at = min(int((row + 0.5) * width / count), width - 1)
    marked = strip.copy()
    marked[:, max(at - 3, 0) : at + 4] = 0
    marked[:, max(at - 1, 0) : at + 2] = 255
    return marked
