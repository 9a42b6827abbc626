"""Read accessors of a glTF file: plain, interleaved, sparse, and whole numbers that stand for shares of one."""

from typing import Any

import numpy as np

from smilfit.files import charge, check_budget
from smilfit.files.budget import MOST_ARRAY_BYTES
from smilfit.rigs.gltf_file import GltfFile

_KINDS = {5120: 'i1', 5121: 'u1', 5122: 'i2', 5123: 'u2', 5125: 'u4', 5126: 'f4'}
_WIDTHS = {'SCALAR': 1, 'VEC2': 2, 'VEC3': 3, 'VEC4': 4, 'MAT2': 4, 'MAT3': 9, 'MAT4': 16}


class AccessorReader:
    """Reads a file's accessors as arrays (count, width), float64 or int64."""

    def __init__(self, file: GltfFile) -> None:
        self.file = file

    def floats(self, index: object, types: str | tuple[str, ...], where: str) -> np.ndarray:
        """Read numbers; whole ones that are marked as normalised become shares in [-1, 1] or [0, 1].

        Raises:
            BadFileError: another type, or numbers that are not finite.
        """
        values, entry = self._read(index, types, where)
        return self._finite(values, entry.get('normalized') is True, where)

    def shares(self, index: object, types: str | tuple[str, ...], where: str) -> np.ndarray:
        """Read shares of one: whole numbers stand for them whether they are marked or not."""
        values, _ = self._read(index, types, where)
        return self._finite(values, True, where)

    def whole(self, index: object, types: str | tuple[str, ...], where: str, below: int) -> np.ndarray:
        """Read indices.

        Raises:
            BadFileError: another type, or an index that is not below the limit.
        """
        values, _ = self._read(index, types, where)
        if values.dtype.kind == 'f':
            raise self.file.fail(f'{where} must be whole numbers', 'floats', 'Export the file anew.')
        found = values.astype(np.int64)
        if found.size and (found.min() < 0 or found.max() >= below):
            got = f'{found.min()} to {found.max()}'
            raise self.file.fail(f'{where} must be numbers below {below}', got, 'Export the file anew.')
        return found

    def count(self, index: object, where: str) -> int:
        """Give how many elements an accessor has, without reading it."""
        number = self.file.index('accessors', index, where)
        entry = self.file.entries('accessors')[number]
        return self.file.number(entry, 'count', None, f'accessors[{number}]')

    def check_stored(self, primitive: dict[str, Any], index: object) -> None:
        """Refuse a primitive whose data lie in a packed form alone."""
        extensions = primitive.get('extensions')
        accessor = self.file.entry('accessors', index, 'POSITION')
        if isinstance(extensions, dict) and 'bufferView' not in accessor:
            for name in extensions:
                self.file.check_not_packed(name)

    def _finite(self, values: np.ndarray, shares: bool, where: str) -> np.ndarray:
        kind, found = values.dtype, values.astype(np.float64)
        if kind.kind in 'iu' and shares:
            found = np.maximum(found / np.iinfo(kind).max, -1.0)
        if not np.isfinite(found).all():
            count = int((~np.isfinite(found)).sum())
            raise self.file.fail(
                f'{where} must be finite', f'{count} NaN or inf', 'Mend the mesh and export anew.'
            )
        return found

    def _read(
        self, index: object, types: str | tuple[str, ...], where: str
    ) -> tuple[np.ndarray, dict[str, Any]]:
        number = self.file.index('accessors', index, where)
        entry, what = self.file.entries('accessors')[number], f'accessors[{number}]'
        types = (types,) if isinstance(types, str) else types
        if entry.get('type') not in types:
            raise self.file.fail(
                f'{where} must be {" or ".join(types)}', entry.get('type'), 'Export the file anew.'
            )
        kind, width = self._kind(entry, what), _WIDTHS[entry['type']]
        count = self.file.number(entry, 'count', None, what)
        wanted = count * width * 8
        check_budget(self.file.path, what, wanted, MOST_ARRAY_BYTES)
        # Of one file in all: an accessor may be named by many, and each reading takes its room.
        charge(where, n_bytes=wanted)
        if 'bufferView' in entry:
            start = self.file.number(entry, 'byteOffset', 0, what)
            values = self._elements(entry['bufferView'], start, kind, count, width, what)
        else:
            values = np.zeros((count, width), kind)
        if 'sparse' in entry:
            values = self._with_sparse(values, entry['sparse'], kind, what)
        return values, entry

    def _kind(self, entry: dict[str, Any], what: str) -> np.dtype:
        code = entry.get('componentType')
        if type(code) is not int or code not in _KINDS:
            raise self.file.fail(
                f'componentType of {what} must be one of {list(_KINDS)}', code, 'Export the file anew.'
            )
        return np.dtype(_KINDS[code]).newbyteorder('<')

    def _elements(
        self, view: object, start: int, kind: np.dtype, count: int, width: int, what: str
    ) -> np.ndarray:
        data, stride = self.file.view(view, f'{what}.bufferView')
        size = width * kind.itemsize
        stride = stride or size
        if count and (stride < size or start + (count - 1) * stride + size > len(data)):
            rule = f'{what} must lie inside its buffer view of {len(data)} bytes'
            got = f'{count} elements of {size} bytes, {stride} apart, from {start} on'
            raise self.file.fail(rule, got, 'Was the file cut short? Export it anew.')
        raw = np.frombuffer(data, np.uint8)
        if not count:
            return np.zeros((0, width), kind)
        rows = np.lib.stride_tricks.as_strided(raw[start:], (count, size), (stride, 1), writeable=False)
        return np.ascontiguousarray(rows).view(kind).reshape(count, width).astype(kind.newbyteorder('='))

    def _with_sparse(self, values: np.ndarray, sparse: Any, kind: np.dtype, what: str) -> np.ndarray:
        if not isinstance(sparse, dict) or not all(
            isinstance(sparse.get(k), dict) for k in ('indices', 'values')
        ):
            raise self.file.fail(
                f'sparse of {what} must hold indices and values', sparse, 'Export the file anew.'
            )
        count, width = self.file.number(sparse, 'count', None, f'{what}.sparse'), values.shape[1]
        check_budget(self.file.path, f'{what}.sparse', count, len(values), 'elements')
        numbers, new = sparse['indices'], sparse['values']
        start = self.file.number(numbers, 'byteOffset', 0, f'{what}.sparse.indices')
        index_kind = self._kind(numbers, f'{what}.sparse.indices')
        if index_kind.kind != 'u':
            rule = (
                f'componentType of {what}.sparse.indices must be 5121, 5123 or 5125 (whole numbers from 0 on)'
            )
            raise self.file.fail(rule, numbers.get('componentType'), 'Export the file anew.')
        rows = self._elements(
            numbers.get('bufferView'), start, index_kind, count, 1, f'{what}.sparse.indices'
        )
        rows = rows[:, 0].astype(np.int64)
        if count and (rows.min() < 0 or rows.max() >= len(values)):
            raise self.file.fail(
                f'{what}.sparse.indices must be below {len(values)}', int(rows.max()), 'Export the file anew.'
            )
        start = self.file.number(new, 'byteOffset', 0, f'{what}.sparse.values')
        values = values.copy()
        values[rows] = self._elements(
            new.get('bufferView'), start, kind, count, width, f'{what}.sparse.values'
        )
        return values
