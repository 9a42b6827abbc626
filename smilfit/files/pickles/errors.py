"""What can be wrong with a pickle, and how a value of a file's is reported without writing it out."""

from collections.abc import Iterable
from typing import Any

from smilfit.files.pickles.nodes import Made, Members, Pairs

SHOWN_CHARACTERS = 60
SHOWN_NUMBERS = 8
SHOWN_NAMES = 12
SHOWN_NAME_CHARACTERS = 30


class UnsafePickleError(ValueError):
    """A pickle asks for something outside the allow-list, or for more than its size can need."""


class BrokenPickleError(ValueError):
    """The bytes are no whole pickle."""


def shown(value: Any) -> str:
    """Write a value of a file's for a message: numbers and text cut short, of all else the kind alone."""
    if isinstance(value, (str, bytes)):
        start = repr(value[:SHOWN_CHARACTERS])
        return start if len(value) <= SHOWN_CHARACTERS else f'{start}... ({len(value)} long)'
    if value is None or isinstance(value, (bool, float)):
        return repr(value)
    if isinstance(value, int):
        return repr(value) if value.bit_length() <= 256 else f'an integer of {value.bit_length()} bits'
    if isinstance(value, memoryview):
        return f'{value.nbytes} bytes'
    if isinstance(value, (Pairs, Members)):
        return f'{"dict" if isinstance(value, Pairs) else "set"} of {len(value.items)}'
    if isinstance(value, (list, tuple)) and len(value) <= SHOWN_NUMBERS and all(map(_is_number, value)):
        return f'({", ".join(map(shown, value))})'
    if isinstance(value, (list, tuple, dict, set)):
        return f'{type(value).__name__} of {len(value)}'
    if isinstance(value, Made):
        return value.name.origin
    shape = getattr(value, 'shape', None)
    kind = getattr(value, 'origin', type(value).__name__)
    return f'{kind} of shape {shape}' if isinstance(shape, tuple) else str(kind)


def shown_names(names: Iterable[Any]) -> str:
    """Write the keys of a file's dict for a message, the first of them."""
    texts = sorted(
        shown(name[:SHOWN_NAME_CHARACTERS] if isinstance(name, (str, bytes)) else name) for name in names
    )
    rest = len(texts) - SHOWN_NAMES
    return ', '.join(texts[:SHOWN_NAMES]) + (f' and {rest} more' if rest > 0 else '') if texts else 'no keys'


def _is_number(value: Any) -> bool:
    return value is None or isinstance(value, (int, float))
