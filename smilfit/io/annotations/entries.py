"""Entries of annotation files: their schema is checked key by key, and one bad entry spoils no other."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from smilfit.registry import did_you_mean
from smilfit.structures import AnnotatedImage, SkippedAnnotation


class BadEntry(ValueError):
    """What is wrong with one entry; the rest of its file is read."""


def keep_good(
    entries: Iterable[tuple[str, Callable[[], AnnotatedImage]]],
) -> tuple[tuple[AnnotatedImage, ...], tuple[SkippedAnnotation, ...]]:
    """Read entries one by one; those that raise ValueError or OSError are left out and told.

    Args:
        entries: (where, function that reads it).
    """
    images: list[AnnotatedImage] = []
    skipped: list[SkippedAnnotation] = []
    for where, read in entries:
        try:
            images.append(read())
        except (ValueError, OSError) as error:
            skipped.append(SkippedAnnotation(where, str(error)))
    return tuple(images), tuple(skipped)


def read_json(path: str | Path, kind: type, form: str) -> Any:
    """Read a JSON file whose outermost thing is a list or a dict.

    Args:
        path: the file.
        kind: list or dict.
        form: the format's name, for the message.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no JSON, or another thing.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'{path}: the annotations must exist; there is no such file.')
    try:
        content = json.loads(path.read_text(encoding='utf-8-sig'))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f'{path}: {form} annotations must be JSON; reading failed with: {error}.') from None
    if not isinstance(content, kind):
        names = {list: 'a list', dict: 'an object'}
        raise ValueError(
            f'{path}: {form} annotations must be {names[kind]}; got {type(content).__name__}. Is it another format?'
        )
    return content


def require(entry: Any, key: str, kind: type | tuple[type, ...]) -> Any:
    """Give the value of a key.

    Raises:
        BadEntry: no such key (with the near ones), or a value of another type.
    """
    if not isinstance(entry, Mapping):
        raise BadEntry(f'an entry must be an object; got {type(entry).__name__}.')
    if key not in entry:
        raise BadEntry(f'{key} must be given; it is missing. {did_you_mean(key, entry)}')
    value = entry[key]
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        raise BadEntry(
            f'{key} must be {" or ".join(k.__name__ for k in kinds)}; got {type(value).__name__} {str(value)[:40]}.'
        )
    return value


def numbers(value: Any, shape: tuple[int | None, ...], name: str) -> np.ndarray:
    """Give finite numbers, float64, of a shape; None stands for any length.

    Raises:
        BadEntry: another shape, or what is no finite number.
    """
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise BadEntry(f'{name} must be numbers; got {str(value)[:60]}.') from None
    if array.ndim != len(shape) or any(n is not None and n != m for n, m in zip(shape, array.shape)):
        wanted = 'x'.join('n' if n is None else str(n) for n in shape)
        raise BadEntry(f'{name} must be {wanted} numbers; got shape {array.shape}.')
    if not np.isfinite(array).all():
        raise BadEntry(f'{name} must be finite; got a number that is not.')
    return array


def picture_size(entry: Any, width: str, height: str) -> tuple[int, int]:
    """Give (width, height) px from two keys.

    Raises:
        BadEntry: not two positive whole numbers.
    """
    size = (require(entry, width, int), require(entry, height, int))
    if min(size) < 1:
        raise BadEntry(f'{width} and {height} must be positive; got {size[0]} and {size[1]}.')
    return size


def picture_path(folder: Path, name: str) -> Path:
    """Join a folder and a picture's name as an annotation writes it, with either kind of slash.

    Raises:
        BadEntry: no name.
    """
    if not name.strip():
        raise BadEntry("the picture's name must be given; got nothing.")
    return folder / name.replace('\\', '/')


def place(path: Path, index: int, name: str = '') -> str:
    """Name file and entry for messages."""
    return f'{path.name}, entry {index} ({name})' if name else f'{path.name}, entry {index}'


def one_of(where: str, name: str, value: str, options: tuple[str, ...]) -> str:
    """Give an option's value, which must be one of a few words.

    Raises:
        ValueError: another one; names the near ones.
    """
    if value not in options:
        raise ValueError(
            f'{where}: {name} must be {" or ".join(map(repr, options))}; got {value!r}. '
            f'{did_you_mean(str(value), options)}'
        )
    return value
