"""MATLAB files as plain Python: numbers as arrays, text as str, cells as lists, structs as dicts (or lists of them).

Version 5 is parsed here, version 7.3 (which is HDF5) read by h5py; the result is the same, and nothing of the file
runs.
"""

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from smilfit.io.annotations.mat5 import parse_mat5


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
    try:
        if h5py.is_hdf5(path):
            with h5py.File(path, 'r') as file:
                return {name: _plain73(file[name], file) for name in file if not name.startswith('#')}
        return parse_mat5(path.read_bytes())
    except (ValueError, TypeError, KeyError, IndexError, OSError, RuntimeError) as error:
        raise ValueError(f'{path}: the file must be a .mat file; {error}. Copy it again.') from None


def _plain73(node: h5py.Group | h5py.Dataset, file: h5py.File) -> Any:
    kind = node.attrs.get('MATLAB_class', b'')
    kind = kind.decode() if isinstance(kind, bytes) else str(kind)
    if isinstance(node, h5py.Group):
        # A field of a struct array is a dataset of references, without a class of its own.
        many = [
            name for name in node if _is_references(node[name]) and 'MATLAB_class' not in node[name].attrs
        ]
        if not many:
            return {name: _plain73(node[name], file) for name in node}
        fields = {name: _followed(node[name], file) for name in many}
        return [dict(zip(fields, values)) for values in zip(*fields.values())]
    if node.attrs.get('MATLAB_empty'):
        return [] if kind == 'cell' else '' if kind == 'char' else np.zeros((0, 0))
    if _is_references(node):
        return _followed(node, file)
    # HDF5 lists dimensions the other way round.
    value = np.asarray(node[()]).T
    if kind == 'char':
        return ''.join(chr(code) for code in value.ravel())
    return value.astype(bool) if kind == 'logical' else value


def _is_references(node: Any) -> bool:
    return isinstance(node, h5py.Dataset) and h5py.check_ref_dtype(node.dtype) is not None


def _followed(node: h5py.Dataset, file: h5py.File) -> list[Any]:
    # Row by row of what HDF5 stores is column by column of what MATLAB has.
    return [_plain73(file[reference], file) for reference in np.asarray(node[()]).ravel()]
