"""What a file may ask for: declared sizes are held against the file's own and a limit before memory is taken."""

import json
from pathlib import Path
from typing import Any

from smilfit.files.account import accounted, charge
from smilfit.files.errors import BadFileError, shorten
from smilfit.files.reading import reading

# What one array or table of a file may take, and a text file may hold.
MOST_ARRAY_BYTES = 1 << 30
MOST_TEXT_BYTES = 1 << 28
# Deflate packs at most 1032 to 1; what claims more is no data.
MOST_COMPRESSION = 1040


def check_budget(where: str | Path, what: str, wanted: int, most: int, unit: str = 'bytes') -> int:
    """Check a declared size before anything is allocated for it.

    Args:
        where: the file.
        what: whose size it is.
        wanted: the declared size.
        most: the limit.
        unit: of both, for the message.

    Raises:
        BadFileError: a negative size, or one over the limit.
    """
    if not 0 <= wanted <= most:
        raise BadFileError(
            f'{where}: {what} must be at most {most} {unit}; got {shorten(wanted)}. The file is damaged, or made to '
            'fill the memory: make it anew, or in smaller pieces.'
        )
    return wanted


def charge_json(text: bytes | str) -> None:
    """Charge what parsing JSON makes, by its brackets, commas and texts, before it is parsed."""
    one = (lambda c: c) if isinstance(text, str) else str.encode
    brackets = text.count(one('[')) + text.count(one('{'))  # type: ignore[arg-type]
    commas, quotes = text.count(one(',')), text.count(one('"')) // 2  # type: ignore[arg-type]
    charge('its lists and objects', n_bytes=64 * brackets + 32 * commas + 60 * quotes, n_objects=brackets)


def read_text(path: str | Path, what: str, most: int = MOST_TEXT_BYTES, encoding: str = 'utf-8') -> str:
    """Read a text file of bounded size.

    Raises:
        FileNotFoundError: no such file.
        BadFileError: too large, or in another encoding.
    """
    path = Path(path)
    with reading(path, what):
        check_budget(path, what, path.stat().st_size, most)
        try:
            return path.read_bytes().decode(encoding)
        except UnicodeDecodeError as error:
            raise BadFileError(
                f'{path}: {what} must be text in {encoding}; byte {error.start} is not. Save it in that encoding.'
            ) from error


def read_json(path: str | Path, what: str, kind: type | None = None, most: int = MOST_TEXT_BYTES) -> Any:
    """Read a JSON file of bounded size and depth.

    Args:
        path: the file.
        what: what it is, for messages.
        kind: what must stand at its top, such as dict.
        most: the largest file, bytes.

    Raises:
        FileNotFoundError: no such file.
        BadFileError: no JSON, of another kind, too large, or nested too deeply.
    """
    text = read_text(path, what, most, 'utf-8-sig')
    with reading(path, what), accounted(path, what):
        charge_json(text)
        try:
            result = json.loads(text)
        except json.JSONDecodeError as error:
            raise BadFileError(
                f'{path}: {what} must be JSON; it is not at line {error.lineno}, column {error.colno}: {error.msg}. '
                'Correct it there.'
            ) from error
    if kind is not None and not isinstance(result, kind):
        raise BadFileError(
            f'{path}: {what} must hold a JSON {kind.__name__} at its top; got {shorten(result)}. '
            'Is it the right file?'
        )
    return result
