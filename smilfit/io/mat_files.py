"""MATLAB files as plain Python: numbers as arrays, text as str, cells as lists, structs as dicts (or lists of them).

Version 5 is parsed here, version 7.3 (which is HDF5) read by h5py; the result is the same, and nothing of the file
runs.
"""

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from smilfit.files import BadFileError, accounted, charge, reading, shorten
from smilfit.files.budget import check_budget
from smilfit.io.hdf5_files import open_hdf5, read_table
from smilfit.io.mat5 import MAX_DEPTH, parse_mat5

MOST_FILE_BYTES = 1 << 31
MOST_NODES = 5_000


def read_mat(path: str | Path) -> dict[str, Any]:
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

    def plain(self, node: h5py.Group | h5py.Dataset, depth: int = 0) -> Any:
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

    def struct(self, node: h5py.Group, depth: int) -> Any:
        # A field of a struct array is a dataset of references, without a class of its own.
        many = [
            name for name in node if _is_references(node[name]) and 'MATLAB_class' not in node[name].attrs
        ]
        if not many:
            return {name: self.plain(node[name], depth + 1) for name in node}
        fields = {name: self.followed(node[name], depth) for name in many}
        return [dict(zip(fields, values)) for values in zip(*fields.values())]

    def followed(self, node: h5py.Dataset, depth: int) -> list[Any]:
        # Row by row of what HDF5 stores is column by column of what MATLAB has.
        references = np.asarray(read_table(node, self.path)).ravel()
        return [self.plain(self.file[reference], depth + 1) for reference in references]


def _is_references(node: Any) -> bool:
    return isinstance(node, h5py.Dataset) and h5py.check_ref_dtype(node.dtype) is not None
