"""Read JSON of which nothing is overlooked: a key that stands twice or a NaN is an error."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from smilfit.files.account import accounted
from smilfit.files.budget import MOST_TEXT_BYTES, charge_json, read_text
from smilfit.files.errors import BadFileError, shorten
from smilfit.files.reading import reading


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

    def differing(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        for key, value in pairs:
            if not _is_text(key) or (isinstance(value, str) and not _is_text(value)):
                raise BadFileError(
                    f'{path}: {shorten(key)!r} must be text of whole characters; got half of one (a surrogate '
                    'without the other). Correct it.'
                )
        if len(result) != len(pairs):
            twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
            raise BadFileError(
                f'{path}: the keys of an object must differ; got {shorten(twice)!r} twice. Take one of them away.'
            )
        return result

    def no_number(constant: str) -> float:
        raise BadFileError(f'{path}: numbers of {what} must be finite; got {constant}. Correct it.')

    with reading(path, what), accounted(path, what):
        charge_json(text)
        try:
            result = json.loads(text, object_pairs_hook=differing, parse_constant=no_number)
        except json.JSONDecodeError as error:
            raise BadFileError(
                f'{path}: {what} must be JSON; it is not at line {error.lineno}, column {error.colno}: {error.msg}. '
                'Correct it there.'
            ) from error
    if not isinstance(result, dict):
        raise BadFileError(
            f'{path}: {what} must hold a JSON object at its top; got {shorten(result)}. Is it the right file?'
        )
    return result


def _is_text(value: str) -> bool:
    """Check whether a text can be printed and written: JSON may escape one half of a pair of surrogates."""
    return value.isascii() or not any('\ud800' <= c <= '\udfff' for c in value)
