"""Read text, CSV, JSON and TOML of bounded size and depth; strict JSON takes no key twice and no NaN."""

import csv
import io
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from smilfit.files.account import accounted, charge
from smilfit.files.budget import check_budget
from smilfit.files.child_process import read_in_child
from smilfit.files.errors import BadFileError, reading, shorten

MOST_TEXT_BYTES, MOST_TABLE_BYTES = 1 << 28, 1 << 29


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


def read_csv(path: str | Path, what: str, most: int = MOST_TABLE_BYTES) -> Iterator[tuple[int, list[str]]]:
    """Read the lines of a table, each with its number in the file; cells lose the spaces around them.

    Raises:
        FileNotFoundError: no such file.
        BadFileError: too large, or no UTF-8.
    """
    # utf-8-sig: spreadsheets like to begin a file with a byte order mark.
    lines = csv.reader(io.StringIO(read_text(path, what, most, 'utf-8-sig'), newline=''))
    return ((lines.line_num, [cell.strip() for cell in line]) for line in lines)


def parse_json(
    text: str, path: str | Path, what: str, advice: str = 'Correct it there.', **hooks: Callable[..., object]
) -> Any:
    """Parse JSON by the hooks of `json.loads`.

    Raises:
        BadFileError: it is none; the message says where.
    """
    try:
        return json.loads(text, **hooks)  # type: ignore[arg-type]  # Hooks are named one by one there.
    except json.JSONDecodeError as error:
        raise BadFileError(
            f'{path}: {what} must be JSON; it is not at line {error.lineno}, column {error.colno}: {error.msg}. '
            f'{advice}'
        ) from None


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
        result = parse_json(text, path, what)
    if kind is not None and not isinstance(result, kind):
        raise BadFileError(
            f'{path}: {what} must hold a JSON {kind.__name__} at its top; got {shorten(result)}. '
            'Is it the right file?'
        )
    return result


def differing_keys(path: str | Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a JSON object of its pairs.

    Raises:
        BadFileError: a key that stands twice.
    """
    result = dict(pairs)
    if len(result) != len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise BadFileError(
            f'{path}: the keys of an object must differ; got {shorten(twice)!r} twice. Correct it, or write it anew.'
        )
    return result


def read_strict_json(path: str | Path, what: str, most: int = MOST_TEXT_BYTES) -> dict[str, Any]:
    """Read a JSON object whose keys differ and whose numbers are numbers.

    Args:
        path: the file, UTF-8.
        what: what it is, for messages.
        most: the largest file, bytes.

    Raises:
        FileNotFoundError: no such file.
        BadFileError: no JSON object, a key that stands twice, NaN or Infinity, half a character, too large, or nested
            too deeply.
    """
    return parse_strict_json(read_text(path, what, most, 'utf-8-sig'), path, what)


def parse_strict_json(text: str, path: str | Path, what: str) -> dict[str, Any]:
    """Take text for JSON as `read_strict_json` takes a file.

    Args:
        text: the JSON.
        path: where it is from, for messages.
        what: what it is, for messages.

    Raises:
        BadFileError: as of `read_strict_json`.
    """

    def of_text(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        for key, value in pairs:
            if not _is_text(key) or (isinstance(value, str) and not _is_text(value)):
                raise BadFileError(
                    f'{path}: {shorten(key)!r} must be text of whole characters; got half of one (a surrogate '
                    'without the other). Correct it.'
                )
        return differing_keys(path, pairs)

    def no_number(constant: str) -> float:
        raise BadFileError(f'{path}: numbers of {what} must be finite; got {constant}. Correct it.')

    with reading(path, what), accounted(path, what):
        charge_json(text)
        result = parse_json(text, path, what, object_pairs_hook=of_text, parse_constant=no_number)
    if not isinstance(result, dict):
        raise BadFileError(
            f'{path}: {what} must hold a JSON object at its top; got {shorten(result)}. Is it the right file?'
        )
    return result


def _is_text(value: str) -> bool:
    """Check whether a text can be printed and written: JSON may escape one half of a pair of surrogates."""
    return value.isascii() or not any('\ud800' <= c <= '\udfff' for c in value)


if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MOST_TOML_BYTES = 1 << 22
MOST_PARTS = 32
# What the parser keeps at most for a part of a key, and for an element of an array.
_PART_BYTES, _ELEMENT_BYTES = 1000, 100
_PART = r'(?:[\w-]+|"[^"\n]*"|\'[^\'\n]*\')'
_LONG_KEY = re.compile(rf'(?<![\w-]){_PART}(?:[ \t]*\.[ \t]*{_PART}){{{MOST_PARTS}}}', re.ASCII)


def read_toml(path: str | Path, what: str, most: int = MOST_TOML_BYTES) -> dict[str, Any]:
    """Read a TOML file of bounded size, on its account.

    Args:
        path: the file, UTF-8.
        what: what it is, for messages.
        most: the largest file, bytes.

    Raises:
        FileNotFoundError: no such file.
        BadFileError: no TOML, too large, nested too deeply, or more than its account allows.
    """
    path = Path(path)
    return read_in_child(path, what, _parse, path, what, read_text(path, what, most))


def _parse(path: Path, what: str, text: str) -> dict[str, Any]:
    parts = sum(map(text.count, '.=['))
    elements = text.count(',')
    charge('its keys and values', _PART_BYTES * parts + _ELEMENT_BYTES * elements, parts + elements)
    result = _LONG_KEY.search(text)
    if result:
        line = text.count('\n', 0, result.start()) + 1
        raise BadFileError(
            f'{path}: a key of {what} must have at most {MOST_PARTS} parts between dots; line {line} has more. '
            'Correct it there.'
        )
    with reading(path, what):
        try:
            return tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            # The parser's message ends with the line and column.
            raise BadFileError(
                f'{path}: {what} must be valid TOML; got: {shorten(error)}. Correct it there.'
            ) from None
