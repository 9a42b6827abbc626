"""Entries of annotation files: their schema is checked key by key, and one bad entry spoils no other."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar, overload

import numpy as np

from smilfit.files import BadFileError, reading, shorten
from smilfit.files.text_files import differing_keys, parse_json, read_text
from smilfit.io.image_opening import check_image_size
from smilfit.registry import did_you_mean
from smilfit.structures import AnnotatedImage, SkippedAnnotation

# COCO's largest file (instances of 2017) has 0.47 GB.
MOST_ANNOTATION_BYTES = 1 << 30
# A path is no longer on any system.
_LONGEST_PATH = 4096
_LONGEST_REASON = 600


T = TypeVar('T')
U = TypeVar('U')


class BadEntry(ValueError):
    """What is wrong with one entry; the rest of its file is read."""


def read_valid_entries(
    entries: Iterable[tuple[str, Callable[[], AnnotatedImage]]],
) -> tuple[tuple[AnnotatedImage, ...], tuple[SkippedAnnotation, ...]]:
    """Read entries one by one; those that cannot be read, whatever they cause, are left out and reported.

    Args:
        entries: (where, function that reads it).
    """
    images: list[AnnotatedImage] = []
    skipped: list[SkippedAnnotation] = []
    for where, read in entries:
        try:
            images.append(read())
        except Exception as error:  # The file chose what happened here: no kind of error can be left out.
            skipped.append(SkippedAnnotation(where, reason_of(error)))
    return tuple(images), tuple(skipped)


def reason_of(error: Exception) -> str:
    """Return why an entry is left out.

    Args:
        error: what reading it raised.

    Raises:
        ImportError: a package is missing, which is no fault of the entry.
        NameError: a fault of our own.
    """
    if isinstance(error, (ImportError, NameError)):
        raise error
    if isinstance(error, MemoryError):
        return 'an entry must fit into memory; it asks for more. Correct it, or leave it out.'
    message = shorten(error, _LONGEST_REASON)
    if isinstance(error, (ValueError, OSError)):
        return message
    return f'an entry must be well-formed; got {type(error).__name__}: {message.rstrip(".")}. Correct it.'


def read_json(path: str | Path, kind: type[T], form: str) -> T:
    """Read a JSON file whose outermost thing is a list or a dict.

    Args:
        path: the file.
        kind: list or dict.
        form: the format's name, for the message.

    Raises:
        FileNotFoundError: no such file.
        BadFileError: no JSON, another thing, a key twice in an object, nested too deeply, too large.
    """
    path, what = Path(path), f'{form} annotations'
    if not path.is_file():
        raise FileNotFoundError(f'{path}: the annotations must exist; there is no such file.')

    with reading(path, what):
        text = read_text(path, what, MOST_ANNOTATION_BYTES, 'utf-8-sig')
        advice, hook = 'Correct it there, or export it again.', partial(differing_keys, path)
        content = parse_json(text, path, what, advice, object_pairs_hook=hook)
    if not isinstance(content, kind):
        names: dict[type, str] = {list: 'a list', dict: 'an object'}
        raise BadFileError(
            f'{path}: {what} must be {names[kind]}; got {type(content).__name__}. Is it another format?'
        )
    return content


def read_listed_entries(path: Path, form: str, *keys: str) -> list[object]:
    """Read a JSON file that is a list of entries; the first must be an object with these keys.

    Raises:
        FileNotFoundError: no such file.
        BadFileError: as of `read_json`, or other entries.
    """
    entries = read_json(path, list, form)
    if not entries or not isinstance(entries[0], dict) or not set(keys) <= set(entries[0]):
        raise BadFileError(
            f'{path}: {form} annotations must be a list of entries with {" and ".join(keys)}; '
            f'got {len(entries)} entries, the first of them without. Is it another format?'
        )
    return entries


def fields(entry: object) -> Mapping[str, object]:
    """Return an entry that is an object.

    Raises:
        BadEntry: it is none.
    """
    if not isinstance(entry, Mapping):
        raise BadEntry(
            f'an entry must be an object; got {type(entry).__name__}. Correct it, or leave it out.'
        )
    return entry


def given(entry: object, key: str) -> object:
    """Return the value of a key; None where there is none, or the entry is no object."""
    return entry.get(key) if isinstance(entry, Mapping) else None


@overload
def require(entry: object, key: str, kind: type[T]) -> T: ...
@overload
def require(entry: object, key: str, kind: tuple[type[T], type[U]]) -> T | U: ...
def require(entry: object, key: str, kind: type | tuple[type, ...]) -> object:
    """Return the value of a key.

    Raises:
        BadEntry: no such key (with the near ones), or a value of another type.
    """
    entry = fields(entry)
    if key not in entry:
        raise BadEntry(f'{key} must be given; it is missing. {did_you_mean(key, entry)}')
    value = entry[key]
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        raise BadEntry(
            f'{key} must be {" or ".join(k.__name__ for k in kinds)}; got {_kind_of(value)}. Correct it.'
        )
    return value


def numbers(value: object, shape: tuple[int | None, ...], name: str) -> np.ndarray:
    """Return finite numbers, float64, of a shape; None stands for any length.

    Raises:
        BadEntry: another shape, or what is no finite number.
    """
    wanted = 'x'.join('n' if n is None else str(n) for n in shape)
    odd = next(_no_numbers(value, len(shape)), None)
    if odd is not None:
        raise BadEntry(f'{name} must be {wanted} numbers; got {_kind_of(odd)}. Correct it.')
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise BadEntry(f'{name} must be {wanted} numbers; got {shorten(error, 60)}. Correct it.') from None
    if array.ndim != len(shape) or any(n is not None and n != m for n, m in zip(shape, array.shape)):
        raise BadEntry(f'{name} must be {wanted} numbers; got shape {array.shape}. Correct it.')
    if not np.isfinite(array).all():
        raise BadEntry(f'{name} must be finite; got a number that is not. Correct it.')
    return array


def _no_numbers(value: object, depth: int) -> Iterator[object]:
    """Find what is no number in lists of lists.

    numpy would read numbers from text, and one long text widens every cell of its array. None is NaN to it, and
    refused as such.
    """
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in 'biuf':
            yield value
    elif depth == 0:
        if value is not None and not isinstance(value, (int, float, np.number)):
            yield value
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _no_numbers(inner, depth - 1)
    else:
        yield 'null' if value is None else value


def _kind_of(value: object) -> str:
    shown = shorten(value, 40)
    return shown if shown.startswith(type(value).__name__) else f'{type(value).__name__} {shown}'


def image_size(entry: object, width: str, height: str) -> tuple[int, int]:
    """Return (width, height) px from two keys.

    Raises:
        BadEntry: not two positive whole numbers, as which 640.0 counts.
    """
    sides = (require(entry, width, (int, float)), require(entry, height, (int, float)))
    wrong = next((side for side in sides if isinstance(side, float) and not side.is_integer()), None)
    if wrong is not None:
        raise BadEntry(f'{width} and {height} must be whole numbers; got {shorten(wrong)}. Correct them.')
    size = (int(sides[0]), int(sides[1]))
    if min(size) < 1:
        raise BadEntry(
            f'{width} and {height} must be positive; got {shorten(size[0])} and {shorten(size[1])}. Correct them.'
        )
    check_image_size('image', min(size[0], 1 << 40), min(size[1], 1 << 40))
    return size


def image_path(folder: Path, name: object) -> Path:
    """Join a folder and an image's name as an annotation writes it, with either kind of slash.

    Raises:
        BadEntry: no text, no name, or one that no file can have.
    """
    if not isinstance(name, str):
        raise BadEntry(f'the name of an image must be text; got {shorten(name)}. Correct the entry.')
    if not name.strip():
        raise BadEntry("the image's name must be given; got nothing. Correct the entry.")
    if '\0' in name or len(name) > _LONGEST_PATH:
        raise BadEntry(
            f"the image's name must be one that a file can have; got {shorten(name)!r}. Correct it."
        )
    return folder / name.replace('\\', '/')


def frame_number(text: str) -> int | None:
    """Read the number of a frame; None of what is no whole number that a recording can have."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 15 else None


def place(path: Path, index: int, name: object = '') -> str:
    """Name file and entry for messages."""
    return f'{path.name}, entry {index} ({shorten(name)})' if name else f'{path.name}, entry {index}'


def one_of(where: str, name: str, value: str, options: tuple[str, ...]) -> str:
    """Return an option's value, which must be one of a few words.

    Raises:
        ValueError: another one; names the near ones.
    """
    if value not in options:
        raise ValueError(
            f'{where}: {name} must be {" or ".join(map(repr, options))}; got {value!r}. '
            f'{did_you_mean(str(value), options)}'
        )
    return value
