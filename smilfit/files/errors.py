"""What is wrong with a file, in one line."""

from typing import Any

LONGEST = 120


class BadFileError(ValueError):
    """A file breaks a rule, or is not whole. The message names it, the rule, what was found and what to do."""


class OverBudgetError(BadFileError):
    """Reading a file would take more than it may; with whatever it references, it is the file that was given."""


def shorten(value: Any, most: int = LONGEST) -> str:
    """Show a value of a file in a message: text cut in the middle, of anything else the kind.

    The representation of a container from a hostile file may be endless; it is never made.

    Args:
        value: text, a number, an exception, or anything.
        most: characters to show.
    """
    if isinstance(value, BaseException):
        message = value.args[0] if len(value.args) == 1 and isinstance(value.args[0], str) else str(value)
        return shorten(' '.join(message[: 20 * most].split()) or type(value).__name__, most)
    if isinstance(value, bool) or value is None:
        return repr(value)
    if isinstance(value, int):
        return repr(value) if value.bit_length() < 256 else f'an integer of {value.bit_length()} bits'
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, str):
        text = value if len(value) <= most else f'{value[: most // 2]} … {value[-most // 3 :]}'
        return ''.join(c if c.isprintable() else '?' for c in text)
    if isinstance(value, (list, tuple, dict, set, frozenset, bytes)):
        return f'{type(value).__name__} of {len(value)}'
    return type(value).__name__
