"""COCO's run lengths: column by column, background first, as numbers or as COCO's text of them."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int

from smilfit.files import shorten

# COCO's text: six bits a character from '0' on, the sixth says that the number goes on.
_FIRST_CHARACTER = ord('0')
_LAST_CHARACTER = _FIRST_CHARACTER + 63
_MOST_DIGITS = 12
# Runs of one pixel each take a number, or a character, a pixel; runs of none may lie between them.
_NUMBERS_PER_PIXEL = 2


def read_runs(counts: str | bytes | Sequence[int], size: tuple[int, int]) -> Int[np.ndarray, ' runs']:
    """Read run lengths that fill an image.

    Args:
        counts: text or whole numbers.
        size: (width, height) px.

    Raises:
        ValueError: more of them than the image can have, no run lengths, or such as do not fill it.
    """
    width, height = size
    pixels = width * height
    most = _NUMBERS_PER_PIXEL * pixels + 16
    if len(counts) > most:
        raise ValueError(
            f'mask: run lengths of {width}x{height} px must be at most {most} in number; got {len(counts)}. Was the '
            'mask made for an image of another size?'
        )
    runs = decompress(counts) if isinstance(counts, str | bytes) else _whole_numbers(counts)
    # Single runs are looked at before their sum, which a run beyond the image could make wrap around.
    total = int(runs.sum()) if not ((runs < 0) | (runs > pixels)).any() else None
    if total != pixels:
        raise ValueError(
            f'mask: run lengths must fill {width}x{height} = {pixels} px; got '
            f'{"one that is negative or longer" if total is None else total}. Was the mask made for an image of '
            'another size?'
        )
    return runs


def fill_runs(runs: Int[np.ndarray, ' runs'], size: tuple[int, int]) -> Bool[np.ndarray, 'H W']:
    """Make a mask of run lengths that fill an image of (width, height) px."""
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return flat.reshape(size).T


def _whole_numbers(counts: Sequence[int]) -> np.ndarray:
    if isinstance(counts, np.ndarray):
        if counts.dtype.kind not in 'iu' or counts.ndim != 1:
            raise ValueError(f'mask: run lengths must be whole numbers; got {counts.dtype}. Correct them.')
        return counts.astype(np.int64)
    wrong = next((c for c in counts if not isinstance(c, int | np.integer) or isinstance(c, bool)), None)
    if wrong is not None or None in counts:
        raise ValueError(f'mask: run lengths must be whole numbers; got {shorten(wrong)}. Correct them.')
    try:
        return np.asarray(counts, dtype=np.int64)
    except OverflowError:
        raise ValueError('mask: run lengths must be numbers below 2^60; got a longer one.') from None


def decompress(text: str | bytes) -> Int[np.ndarray, ' runs']:
    """Undo COCO's text: base-32 digits, the lowest first, then differences to the run before the last one.

    Raises:
        ValueError: other characters, or a number that is cut short or too long.
    """
    data = np.frombuffer(text.encode('latin-1', 'replace') if isinstance(text, str) else text, dtype=np.uint8)
    if len(data) and (data.min() < _FIRST_CHARACTER or data.max() > _LAST_CHARACTER):
        raise ValueError(
            f"mask: run lengths must be written in the characters '0' to 'o'; got {text[:20]!r}."
        )
    bits = data.astype(np.int64) - _FIRST_CHARACTER
    goes_on = (bits & 32) > 0
    if len(bits) and goes_on[-1]:
        raise ValueError('mask: run lengths must end with a whole number; the text is cut short.')
    if not len(bits):
        return np.zeros(0, dtype=np.int64)
    last = np.flatnonzero(~goes_on)
    first = np.concatenate(([0], last[:-1] + 1))
    digits = last - first + 1
    if digits.max() > _MOST_DIGITS:
        raise ValueError('mask: run lengths must be numbers below 2^60; got a longer one.')
    place = np.arange(len(bits)) - np.repeat(first, digits)
    numbers = np.add.reduceat((bits & 31) << (5 * place), first)
    # The sign is the fifth bit of the highest digit.
    numbers -= np.where(bits[last] & 16, np.int64(1) << (5 * digits), 0)
    # From the fourth on, a number is a difference to that two before.
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers
