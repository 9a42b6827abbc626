"""MATLAB files as plain Python: numbers as arrays, text as str, cells as lists, structs as dicts (or lists of them).

Version 5 is parsed here, version 7.3 (which is HDF5) read by h5py; the result is the same, and nothing of the file
runs.
"""

import zlib
from pathlib import Path

import h5py
import numpy as np

from smilfit.files import BadFileError, accounted, charge, reading, shorten
from smilfit.files.budget import check_budget
from smilfit.io.hdf5_files import open_hdf5, read_table

HEADER_BYTES = 128
MAX_UNPACKED_BYTES = 1 << 30
MAX_DEPTH = 20
_MOST_EMPTY = 64
_MOST_DIMENSIONS = 32
_PIECE_BYTES = 1 << 20
# What Python keeps for an array, or a dict, beside its content.
_ARRAY_BYTES = 200

_MATRIX, _COMPRESSED = 14, 15
_NUMBERS = {1: 'i1', 2: 'u1', 3: 'i2', 4: 'u2', 5: 'i4', 6: 'u4', 7: 'f4', 9: 'f8', 12: 'i8', 13: 'u8'}
_TEXT = {1: 'latin-1', 2: 'latin-1', 4: 'utf-16', 16: 'utf-8', 17: 'utf-16', 18: 'utf-32'}
_CELL, _STRUCT, _CHAR = 1, 2, 4
_CLASSES = {6: 'f8', 7: 'f4', 8: 'i1', 9: 'u1', 10: 'i2', 11: 'u2', 12: 'i4', 13: 'u4', 14: 'i8', 15: 'u8'}
_LOGICAL, _COMPLEX = 0x0200, 0x0800


class Mat5Error(ValueError):
    """A file that breaks the format, or an array of a kind that is not read (objects, functions, sparse)."""


def parse_mat5(data: bytes) -> dict[str, object]:
    """Return the variables by name: arrays, str, lists (cells and struct arrays), dicts (structs).

    Variables of other kinds are left out.

    Raises:
        Mat5Error: not such a file, or a damaged one.
    """
    if len(data) < HEADER_BYTES or data[126:128] not in (b'IM', b'MI'):
        raise Mat5Error('it must be a MATLAB file of version 5 or 7.3')
    reader = _Reader('<' if data[126:128] == b'IM' else '>')
    # Parts within parts would be copied at every level.
    view = memoryview(data)
    variables, place = {}, HEADER_BYTES
    while place + 8 <= len(data):
        kind, body, place = reader.element(view, place)
        if kind == _COMPRESSED:
            kind, body, _ = reader.element(reader.unpacked(body), 0)
        if kind == _MATRIX:
            name, value = reader.matrix(body, 0)
            if value is not None:
                variables[name] = value
    return variables


class _Reader:
    def __init__(self, order: str) -> None:
        self.order = order
        self.room = MAX_UNPACKED_BYTES

    def unpacked(self, body: memoryview) -> memoryview:
        """Inflate, up to a size that all compressed parts of a file share."""
        inflater, data, rest = zlib.decompressobj(), bytearray(), bytes(body)
        while rest and not inflater.eof:
            charge('a compressed part', n_bytes=_PIECE_BYTES)
            try:
                data += inflater.decompress(rest, _PIECE_BYTES)
            except zlib.error as error:
                raise Mat5Error(f'a compressed part is damaged: {error}') from None
            rest = inflater.unconsumed_tail
            if len(data) > self.room:
                raise Mat5Error(f'its content must be at most {MAX_UNPACKED_BYTES} bytes')
        self.room -= len(data)
        return memoryview(data).toreadonly()

    def element(self, data: memoryview, place: int) -> tuple[int, memoryview, int]:
        """Return type and data of the element at a place, and the next one's place."""
        if place + 8 > len(data):
            raise Mat5Error('it ends within an element')
        kind, size = (int(n) for n in np.frombuffer(data, f'{self.order}u4', 2, place))
        if kind >> 16:
            # Up to four bytes stand in the tag itself.
            kind, size, start, next_place = kind & 0xFFFF, kind >> 16, place + 4, place + 8
        else:
            start = place + 8
            next_place = start + (size if kind == _COMPRESSED else -(-size // 8) * 8)
        if start + size > len(data) or (start == place + 4 and size > 4):
            raise Mat5Error('it ends within an element')
        return kind, data[start : start + size], next_place

    def numbers(self, kind: int, body: memoryview) -> np.ndarray:
        if kind not in _NUMBERS:
            raise Mat5Error(f'numbers must be of a known type; got type {kind}')
        dtype = np.dtype(self.order + _NUMBERS[kind])
        if len(body) % dtype.itemsize:
            raise Mat5Error('it ends within a number')
        return np.frombuffer(body, dtype)

    def matrix(self, body: memoryview, depth: int) -> tuple[str, object]:
        """Return name and value of an array element; None as the value of a kind that is not read."""
        if not body:
            return '', np.zeros((0, 0))
        if depth > MAX_DEPTH:
            raise Mat5Error(f'cells and structs must be nested at most {MAX_DEPTH} deep')
        parts = []
        place = 0
        for _ in range(3):
            kind, part, place = self.element(body, place)
            parts.append(self.numbers(kind, part))
        if len(parts[0]) < 1:
            raise Mat5Error('an array must state its class')
        if len(parts[1]) > _MOST_DIMENSIONS:
            raise Mat5Error(f'an array must have at most {_MOST_DIMENSIONS} dimensions; got {len(parts[1])}')
        flags, shape, name = (
            int(parts[0][0]),
            tuple(int(n) for n in parts[1]),
            parts[2].tobytes().decode('latin-1'),
        )
        count = int(np.prod(shape, dtype=object)) if shape else 0
        # An element, an empty one too, takes a byte or more of the array's part.
        if min(shape, default=-1) < 0 or count > max(len(body), _MOST_EMPTY):
            raise Mat5Error(f'dimensions must be whole numbers of a file that fits; got {shape[:8]}')
        form = flags & 0xFF
        charge('an array', n_bytes=8 * count, n_objects=1)
        if form == _CELL:
            return name, self.matrices(body, place, count, depth)[0]
        if form == _STRUCT:
            return name, self.structs(body, place, count, depth)
        if form == _CHAR:
            return name, self.text(body, place)
        if form not in _CLASSES or flags & _COMPLEX:
            return name, None
        kind, part, _ = self.element(body, place)
        values = self.numbers(kind, part)
        if len(values) != count:
            raise Mat5Error(f'an array of {shape[:8]} must have {count} numbers; got {len(values)}')
        values = values.reshape(shape, order='F').astype(bool if flags & _LOGICAL else _CLASSES[form])
        return name, values

    def matrices(self, body: memoryview, place: int, count: int, depth: int) -> tuple[list[object], int]:
        values = []
        charge('cells and fields', n_bytes=_ARRAY_BYTES * count, n_objects=count)
        for _ in range(count):
            kind, part, place = self.element(body, place)
            if kind != _MATRIX:
                raise Mat5Error(f'a cell must hold arrays; got type {kind}')
            values.append(self.matrix(part, depth + 1)[1])
        return values, place

    def structs(
        self, body: memoryview, place: int, count: int, depth: int
    ) -> dict[str, object] | list[dict[str, object]]:
        kind, part, place = self.element(body, place)
        width = self.numbers(kind, part)
        kind, part, place = self.element(body, place)
        if len(width) != 1 or width[0] < 1 or len(part) % int(width[0]):
            raise Mat5Error('names of fields must be of one length')
        step = int(width[0])
        charge('names of fields', n_objects=len(part) // step)
        fields = [
            bytes(part[i : i + step]).split(b'\0')[0].decode('latin-1') for i in range(0, len(part), step)
        ]
        values, _ = self.matrices(body, place, count * len(fields), depth)
        charge('structs', n_bytes=_ARRAY_BYTES * count, n_objects=count)
        n = len(fields)
        structs = [dict(zip(fields, values[i * n : (i + 1) * n])) for i in range(count)]
        return structs[0] if count == 1 else structs

    def text(self, body: memoryview, place: int) -> str:
        kind, part, _ = self.element(body, place)
        if kind not in _TEXT:
            raise Mat5Error(f'text must be of a known type; got type {kind}')
        coding = _TEXT[kind]
        if coding not in ('utf-8', 'latin-1'):
            coding += '-le' if self.order == '<' else '-be'
        return bytes(part).decode(coding, 'replace')


MOST_FILE_BYTES = 1 << 31
MOST_NODES = 5_000


def read_mat(path: str | Path) -> dict[str, object]:
    """Read all variables of a .mat file, by name.

    Numeric arrays have MATLAB's dimensions (two at least). Cells and struct arrays are listed column by column; a
    struct of size 1 is a dict.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a .mat file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'{path}: the file must exist; there is none.')
    with reading(path, 'a .mat file'), accounted(path, 'a .mat file'):
        try:
            if h5py.is_hdf5(path):
                with open_hdf5(path, 'a .mat file') as file:
                    reader = _Reader73(path, file)
                    return {name: reader.plain(file[name]) for name in file if not name.startswith('#')}
            size = check_budget(path, 'a .mat file', path.stat().st_size, MOST_FILE_BYTES)
            charge('the file', n_bytes=size)
            return parse_mat5(path.read_bytes())
        except BadFileError:
            raise
        except (ValueError, TypeError, KeyError, IndexError, OSError, RuntimeError) as error:
            raise BadFileError(
                f'{path}: the file must be a .mat file; {shorten(error)}. Copy it again.'
            ) from None


class _Reader73:
    """Reads nodes of one file; references may lead to a node again and again, so that depth and count are bounded."""

    def __init__(self, path: Path, file: h5py.File) -> None:
        self.path, self.file = path, file
        self.left = MOST_NODES

    def plain(self, node: h5py.Group | h5py.Dataset, depth: int = 0) -> object:
        self.left -= 1
        if depth > MAX_DEPTH or self.left < 0:
            raise BadFileError(
                f'{self.path}: cells and structs must be nested at most {MAX_DEPTH} deep, {MOST_NODES} in all; these '
                'are more. Save less in one file.'
            )
        kind = node.attrs.get('MATLAB_class', b'')
        kind = kind.decode() if isinstance(kind, bytes) else str(kind)
        if isinstance(node, h5py.Group):
            return self.struct(node, depth)
        if node.attrs.get('MATLAB_empty'):
            return [] if kind == 'cell' else '' if kind == 'char' else np.zeros((0, 0))
        if _is_references(node):
            return self.followed(node, depth)
        # HDF5 lists dimensions the other way round.
        value = np.asarray(read_table(node, self.path)).T
        if kind == 'char':
            charge('a text', n_bytes=60 * value.size)
            return ''.join(chr(code) for code in value.ravel())
        return value.astype(bool) if kind == 'logical' else value

    def struct(self, node: h5py.Group, depth: int) -> object:
        # A field of a struct array is a dataset of references, without a class of its own.
        many = [
            name for name in node if _is_references(node[name]) and 'MATLAB_class' not in node[name].attrs
        ]
        if not many:
            return {name: self.plain(node[name], depth + 1) for name in node}
        fields = {name: self.followed(node[name], depth) for name in many}
        return [dict(zip(fields, values)) for values in zip(*fields.values())]

    def followed(self, node: h5py.Dataset, depth: int) -> list[object]:
        # Row by row of what HDF5 stores is column by column of what MATLAB has.
        references = np.asarray(read_table(node, self.path)).ravel()
        return [self.plain(self.file[reference], depth + 1) for reference in references]


def _is_references(node: object) -> bool:
    return isinstance(node, h5py.Dataset) and h5py.check_ref_dtype(node.dtype) is not None
