"""Read TOML files, whose parser keeps no account: keys of many parts take it time that grows with their square."""

import re
import sys
from pathlib import Path
from typing import Any

from smilfit.files.account import charge
from smilfit.files.apart import read_apart
from smilfit.files.budget import read_text
from smilfit.files.errors import BadFileError, shorten
from smilfit.files.reading import reading

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
    return read_apart(path, what, _parse, path, what, read_text(path, what, most))


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
