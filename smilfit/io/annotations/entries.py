"""Entries of annotation files: their schema is checked key by key, and one bad entry spoils no other."""

import json
import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from smilfit.files import BadFileError, folder_name, reading, shorten
from smilfit.files.budget import read_text
from smilfit.io.recordings.image_opening import check_image_size
from smilfit.registry import did_you_mean
from smilfit.structures import AnnotatedImage, SkippedAnnotation

# COCO's largest file (instances of 2017) has 0.47 GB.
MOST_ANNOTATION_BYTES = 1 << 30
# A path is no longer on any system.
_LONGEST_PATH = 4096
_LONGEST_REASON = 600


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


def read_json(path: str | Path, kind: type, form: str) -> Any:
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

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) < len(pairs):
            twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
            raise BadFileError(
                f'{path}: an object must have every key once; got {shorten(twice)!r} twice. Write the file anew.'
            )
        return result

    with reading(path, what):
        text = read_text(path, what, MOST_ANNOTATION_BYTES, 'utf-8-sig')
        try:
            content = json.loads(text, object_pairs_hook=once)
        except json.JSONDecodeError as error:
            raise BadFileError(
                f'{path}: {what} must be JSON; it is not at line {error.lineno}, column {error.colno}: {error.msg}. '
                'Correct it there, or export it again.'
            ) from None
    if not isinstance(content, kind):
        names: dict[type, str] = {list: 'a list', dict: 'an object'}
        raise BadFileError(
            f'{path}: {what} must be {names[kind]}; got {type(content).__name__}. Is it another format?'
        )
    return content


def require(entry: Any, key: str, kind: type | tuple[type, ...]) -> Any:
    """Return the value of a key.

    Raises:
        BadEntry: no such key (with the near ones), or a value of another type.
    """
    if not isinstance(entry, Mapping):
        raise BadEntry(
            f'an entry must be an object; got {type(entry).__name__}. Correct it, or leave it out.'
        )
    if key not in entry:
        raise BadEntry(f'{key} must be given; it is missing. {did_you_mean(key, entry)}')
    value = entry[key]
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        raise BadEntry(
            f'{key} must be {" or ".join(k.__name__ for k in kinds)}; got {_kind_of(value)}. Correct it.'
        )
    return value


def numbers(value: Any, shape: tuple[int | None, ...], name: str) -> np.ndarray:
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


def _no_numbers(value: Any, depth: int) -> Iterator[Any]:
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


def _kind_of(value: Any) -> str:
    shown = shorten(value, 40)
    return shown if shown.startswith(type(value).__name__) else f'{type(value).__name__} {shown}'


def image_size(entry: Any, width: str, height: str) -> tuple[int, int]:
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


def image_path(folder: Path, name: str) -> Path:
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


def place(path: Path, index: int, name: str = '') -> str:
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


_RIGHT_OF = {'left': 'right', 'Left': 'Right', 'LEFT': 'RIGHT', 'l': 'r', 'L': 'R'}
# Capitals together, a word with or without a capital, or what lies between words.
_WORDS = re.compile(r'[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^A-Za-z]+')

# Longer names are no keypoint's.
_LONGEST = 200


def mirror_pairs(names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Pair (left, right) names that differ in one word for a side: left_ear, LeftEar, L_Ear, LEar, l_1_co_l."""
    known, taken, pairs = set(names), set(), {}
    for name in names:
        if not isinstance(name, str) or len(name) > _LONGEST:
            continue
        right = next((r for r in _mirrored(name) if r in known and r not in taken), None)
        if right is not None:
            pairs[name] = right
            taken.add(right)
    return tuple(pairs.items())


def _mirrored(name: str) -> Iterator[str]:
    """Return the name with one of its words for left changed to right."""
    words = _WORDS.findall(name)
    for i, word in enumerate(words):
        if word in _RIGHT_OF:
            yield ''.join([*words[:i], _RIGHT_OF[word], *words[i + 1 :]])


_JOIN = '+'


def sequence_name(*parts: str) -> str:
    """Join the names of a video, an animal and the like to one that can name a folder, such as `run+track_0`.

    Different parts give different names: where they could be read in two ways, a digest of them is appended.
    """
    joined = _JOIN.join(parts)
    if all(part and _JOIN not in part for part in parts):
        return folder_name(joined)
    # A zero byte is in no name: which part ends where is seen by it, and `folder_name` takes it as not fine.
    return folder_name('\0'.join(parts))


def different_names(names: Sequence[str]) -> list[str]:
    """Number the names that are the same: a, a, b -> a_0, a_1, b."""
    count, taken, place = Counter(names), set(names), Counter[str]()
    result = []
    for name in names:
        new = name
        while count[name] > 1 and new in taken:
            new = f'{name}_{place[name]}'
            place[name] += 1
        taken.add(new)
        result.append(new)
    return result


class AnimalSequences:
    """Gives each animal of a video a sequence of its own, also where two have one name.

    Args:
        videos: names of the videos' sequences.
    """

    def __init__(self, videos: Sequence[str]) -> None:
        self._videos = videos
        self._names: dict[tuple[int, Hashable], str] = {}
        self._count: Counter[tuple[int, str]] = Counter()
        self._taken: set[str] = set()

    def of(self, video: int, animal: Hashable, name: str) -> str:
        """Return the sequence of an animal.

        Args:
            video: the video's place in the list.
            animal: what is the same for all frames of the animal.
            name: what the annotation calls it.
        """
        if (video, animal) not in self._names:
            result = ''
            while not result or result in self._taken:
                self._count[video, name] += 1
                n = self._count[video, name]
                result = sequence_name(self._videos[video], name if n == 1 else f'{name} ({n})')
            self._taken.add(result)
            self._names[video, animal] = result
        return self._names[video, animal]
