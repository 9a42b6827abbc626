"""Types of command line arguments: what cannot work is refused by argparse, with the option's name."""

import argparse
import math
import re
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path

from mmengine.config import DictAction

from smilfit.apis.model_options import LIMITS
from smilfit.files import shorten

_DEVICE = re.compile(r'auto|cpu|cuda(:\d{1,3})?|mps')


def positive_int(text: str) -> int:
    """Read a whole number of at least 1."""
    return int_from(1)(text)


def int_from(low: int, high: int | None = None) -> Callable[[str], int]:
    """Make a type: a whole number within limits, both included."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise _refusal(f'a whole number {_range(low, high)}', text) from None
        if value < low or (high is not None and value > high):
            raise _refusal(f'a whole number {_range(low, high)}', text)
        return value

    return read


def float_from(low: float, high: float | None = None, above: bool = False) -> Callable[[str], float]:
    """Make a type: a finite number within limits, both included; `above` leaves the lower one out."""
    rule = f'a number above {low:g}' if above else f'a number {_range(low, high)}'

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise _refusal(rule, text) from None
        if not math.isfinite(value) or value < low or (above and value == low):
            raise _refusal(rule, text)
        if high is not None and value > high:
            raise _refusal(rule, text)
        return value

    return read


def device(text: str) -> str:
    """Read the name of a device; whether the machine has it is looked at when the command starts."""
    if _DEVICE.fullmatch(text) is None:
        raise _refusal('cpu, cuda, cuda:0 (or another number), mps or auto', text)
    return text


def existing_file(text: str) -> Path:
    """Read the path of a file that is there."""
    path = Path(text).expanduser()
    if path.is_dir():
        raise argparse.ArgumentTypeError(f'must be a file; {shorten(text)} is a folder. Name a file in it.')
    if not path.is_file():
        raise argparse.ArgumentTypeError(f'must be a file; {shorten(text)} is not there. Check the path.')
    return path


def frame_range(text: str) -> tuple[int | None, int | None]:
    """Read `A:B`, frames from A on and before B; what is left out is None."""
    low, result, high = text.partition(':')
    ends = [int(end) if end.isdecimal() else None for end in (low, high)]
    if not result or not all(end.isdecimal() or not end for end in (low, high)) or ends == [None, None]:
        raise _refusal('A:B, A: or :B with frame numbers A and B', text)
    if ends[1] is not None and (ends[0] or 0) >= ends[1]:
        raise _refusal('A:B with A below B (B itself is not shown)', text)
    return ends[0], ends[1]


class KeyValues(DictAction):
    """`KEY=VALUE ...` into a dict, as mmengine reads it; what has no `=` is a usage error."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[str] | None,
        option_string: str | None = None,
    ) -> None:
        """Read the pairs.

        Raises:
            argparse.ArgumentError: an entry that is no pair, or whose brackets do not match.
        """
        for value in values or ():
            key, result, text = value.partition('=')
            if not result or not key.strip():
                raise argparse.ArgumentError(
                    self, f'must be pairs KEY=VALUE, such as train_cfg.max_epochs=3; got {shorten(value)!r}'
                )
            if any(text.count(a) != text.count(b) for a, b in ('()', '[]')):
                raise argparse.ArgumentError(self, f'brackets must match; got {shorten(value)!r}')
        try:
            super().__call__(parser, namespace, values, option_string)
        except (ValueError, AssertionError, RecursionError) as error:
            raise argparse.ArgumentError(self, f'must be pairs KEY=VALUE; got {shorten(error)}') from error


def _range(low: float, high: float | None) -> str:
    return f'of at least {low:g}' if high is None else f'from {low:g} to {high:g}'


def _refusal(rule: str, text: str) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(f'must be {rule}; got {shorten(text)!r}')


def moment(text: str) -> datetime:
    """Read a time; of UTC where it names no zone."""
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        raise _refusal('a time such as 2026-11-23T09:30:00', text) from None
    return read if read.tzinfo is not None else read.replace(tzinfo=timezone.utc)


def animal_count(text: str) -> int | str:
    """Read a number from 1 on, or 'auto'."""
    return text if text == 'auto' else positive_int(text)


def squares(text: str) -> tuple[int, int]:
    """Read `COLUMNSxROWS`."""
    columns, x, rows = text.lower().partition('x')
    if not (x and columns.isdigit() and rows.isdigit()):
        raise _refusal('COLUMNSxROWS such as 8x11', text)
    return int(columns), int(rows)


def betas(text: str) -> tuple[float, ...]:
    """Read numbers with commas between."""
    try:
        return tuple(float(part) for part in text.split(','))
    except ValueError:
        raise _refusal('numbers with commas between, such as 1.5,0,-1', text) from None


def limits(text: str) -> str | Path:
    """Read where joint limits are from: a word, or a table."""
    return text if text in LIMITS else existing_file(text)
