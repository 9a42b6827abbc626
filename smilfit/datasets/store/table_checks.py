"""Check that attributes and tables of a dataset file are there, of the right type and shape."""

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import h5py
import numpy as np

from smilfit.files import BadFileError, reading, shorten

REMEDY = 'The file is damaged or of another kind: copy it again, or make it anew.'
_LONGEST_TEXT = 1 << 27
_NUMBERS = {
    'f': 'floating-point numbers',
    'i': 'whole numbers',
    'b': 'truth values',
    'u': 'bytes',
    't': 'text',
}
# A floating-point number of 2 bytes holds no pixel.
_WIDTHS = {'f': (4, 8), 'i': (1, 2, 4, 8), 'b': (1,), 'u': (1,)}


@dataclass(frozen=True)
class Table:
    """What a table must be.

    `kind` is 'f', 'i', 'b' (truth values), 'u' (bytes), 't' (text) or 'v' (byte strings of any length). `shape` has
    numbers, and letters that stand for counts of the file; None is any count.
    """

    kind: str
    shape: tuple[int | str | None, ...]
    optional: bool = False


def refuse(path: str | Path, what: str, rule: str, got: object, advice: str = REMEDY) -> NoReturn:
    """Refuse a file: `<file>: <what> must <rule>; got <value>. <advice>`.

    Raises:
        BadFileError: always.
    """
    raise BadFileError(f'{path}: {what} must {rule}; got {shorten(got)}. {advice}')


def check_table(parent: h5py.Group, name: str, table: Table, counts: Mapping[str, int], path: Path) -> bool:
    """Check one table by its header alone; no value is read.

    Args:
        parent: the group it is in.
        name: its name there.
        table: what it must be.
        counts: the letters of shapes.
        path: the file.

    Returns:
        Whether it is there.

    Raises:
        BadFileError: it is missing or of another kind or shape.
    """
    place = f'{parent.name.rstrip("/")}/{name}'
    if name not in parent:
        if not table.optional:
            refuse(path, place, 'be there', 'nothing')
        return False
    result = parent[name]
    if not isinstance(result, h5py.Dataset):
        refuse(path, place, 'be a table', type(result).__name__)
    if not _is_kind(result, table.kind):
        refuse(path, place, f'hold {_NUMBERS.get(table.kind, "byte strings")}', str(result.dtype))
    wanted = tuple(counts[s] if isinstance(s, str) else s for s in table.shape)
    shape = result.shape
    if shape is None or len(shape) != len(wanted) or any(w not in (None, n) for w, n in zip(wanted, shape)):
        rule = '(' + ', '.join('any' if w is None else str(w) for w in wanted) + ')'
        refuse(path, place, f'have shape {rule}', str(shape))
    return True


def check_tables(
    parent: h5py.Group, tables: Mapping[str, Table], counts: Mapping[str, int], path: Path
) -> None:
    """Check several tables of a group as `check_table` does."""
    for name, table in tables.items():
        check_table(parent, name, table, counts, path)


def check_group(parent: h5py.Group, name: str, path: Path) -> h5py.Group:
    """Return a group that must be there.

    Raises:
        BadFileError: it is not, or is something else.
    """
    result = parent.get(name)
    if not isinstance(result, h5py.Group):
        got = 'nothing' if result is None else type(result).__name__
        refuse(path, f'{parent.name.rstrip("/")}/{name}', 'be a group', got)
    return result


def _is_kind(table: h5py.Dataset, kind: str) -> bool:
    dtype = table.dtype
    if kind == 't':
        return dtype.kind == 'S' or h5py.check_string_dtype(dtype) is not None
    if kind == 'v':
        inner = h5py.check_vlen_dtype(dtype)
        return isinstance(inner, np.dtype) and inner == np.uint8
    return (
        dtype.kind == kind and dtype.isnative and dtype.itemsize in _WIDTHS[kind] and dtype.subdtype is None
    )


class Attributes:
    """Attributes of an object of a file, each of the type that is asked for.

    Every method raises BadFileError, which names file and attribute, where there is none, or one of another type.
    """

    def __init__(self, owner: h5py.Group, path: Path) -> None:
        self._owner, self._path = owner, path

    def __contains__(self, name: str) -> bool:
        return name in self._owner.attrs

    def text(self, name: str) -> str:
        """Read a text; bytes must be UTF-8."""
        value = self._value(name)
        if isinstance(value, (bytes, np.bytes_)):
            with reading(self._path, self._place(name)):
                value = bytes(value).decode('utf-8')
        if not isinstance(value, str) or len(value) > _LONGEST_TEXT:
            self._refuse(name, 'be text', value)
        return str(value)

    def count(self, name: str, most: int, least: int = 0) -> int:
        """Return a whole number from `least` to `most`."""
        value = self._value(name)
        if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or not least <= value <= most:
            self._refuse(name, f'be a whole number from {least} to {most}', value)
        return int(value)

    def flag(self, name: str) -> bool:
        """Return a truth value."""
        value = self._value(name)
        if not isinstance(value, (bool, np.bool_)):
            self._refuse(name, 'be true or false', value)
        return bool(value)

    def number(self, name: str) -> float:
        """Return a number; it may be NaN."""
        value = self._value(name)
        if isinstance(value, (bool, np.bool_)) or not isinstance(
            value, (int, float, np.integer, np.floating)
        ):
            self._refuse(name, 'be a number', value)
        return float(value)

    def positive(self, name: str) -> float:
        """Return a positive, finite number."""
        value = self.number(name)
        if not (math.isfinite(value) and value > 0):
            self._refuse(name, 'be a positive number', value)
        return value

    def names(self, name: str) -> tuple[str, ...]:
        """Return a JSON list of different names."""
        value = self._json(name)
        if not isinstance(value, list) or not all(isinstance(x, str) and x for x in value):
            self._refuse(name, 'be a JSON list of names', value)
        count = Counter(value)
        if len(count) != len(value):
            self._refuse(name, 'name each thing once', f'{count.most_common(1)[0][0]!r} twice')
        return tuple(value)

    def record(self, name: str) -> dict[str, Any]:
        """Return a JSON object."""
        value = self._json(name)
        if not isinstance(value, dict):
            self._refuse(name, 'be a JSON object', value)
        return value

    def _json(self, name: str) -> object:
        text = self.text(name)
        with reading(self._path, self._place(name)):
            return json.loads(text)

    def _value(self, name: str) -> object:
        with reading(self._path, self._place(name)):
            if name not in self._owner.attrs:
                self._refuse(name, 'be there', 'nothing')
            return self._owner.attrs[name]

    def _place(self, name: str) -> str:
        owner = self._owner.name
        return f'the attribute {name}' if owner == '/' else f'the attribute {name} of {owner}'

    def _refuse(self, name: str, rule: str, got: object) -> NoReturn:
        # numpy's numbers are written like Python's; an array is named by its type.
        refuse(self._path, self._place(name), rule, got.item() if isinstance(got, np.generic) else got)
