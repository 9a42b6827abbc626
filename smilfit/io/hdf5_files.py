"""HDF5 files of other tools: looked through as a whole, and read on the file's account."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from smilfit.files import BadFileError, accounted, charge, reading, shorten
from smilfit.files.budget import MOST_ARRAY_BYTES, check_budget
from smilfit.files.hdf5 import check_hdf5

# Texts that are read at once take no more than this, or are one.
_TEXT_BYTES = 1 << 26
# What Python keeps for a text or a reference beside its characters.
_ITEM_BYTES = 100


@contextmanager
def open_hdf5(path: str | Path, what: str = 'the file') -> Iterator[h5py.File]:
    """Open a file for reading inside this context, on its account; what fails there is an error that names the file.

    Args:
        path: the file.
        what: what it should be, for messages.

    Raises:
        FileNotFoundError: no such file.
        BadFileError: no readable HDF5, a table that lies elsewhere or claims more than the file can hold.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'{path}: the file must exist; there is none. Check the path.')
    with accounted(path, what), reading(path, what):
        try:
            file = h5py.File(path, 'r')
        except OSError as error:
            kind = 'readable HDF5' if what == 'the file' else f'{what}, readable HDF5'
            raise BadFileError(
                f'{path}: the file must be {kind}; got: {shorten(error)}. Copy it again, or make it anew.'
            ) from None
        with file:
            check_hdf5(file, path, what)
            yield file


def read_table(table: h5py.Dataset, path: str | Path, most: int = MOST_ARRAY_BYTES) -> np.ndarray:
    """Read a table whose declared size is within a limit, on the account of the open file.

    Args:
        table: of an open file.
        path: the file, for the message.
        most: bytes.

    Raises:
        BadFileError: a group where a table must be, one that is too large, or more than the file's account allows.
    """
    if not isinstance(table, h5py.Dataset):
        raise BadFileError(
            f'{path}: a table must stand at {shorten(str(table.name))}; got a group of tables.'
        )
    if table.shape is None:
        return table[()]
    name = shorten(str(table.name))
    n_bytes = check_budget(path, name, table.size * max(table.dtype.itemsize, 1), most)
    if not table.dtype.hasobject:
        charge(name, n_bytes)
        return table[()]
    charge(name, n_bytes + _ITEM_BYTES * table.size, table.size)
    if h5py.check_ref_dtype(table.dtype) is not None or not table.size or not table.shape:
        return table[()]
    return _read_texts(table, name)


def read_numbers(table: h5py.Dataset, path: str | Path) -> np.ndarray:
    """Read a table as float64, in which each value takes eight bytes, whatever it takes in the file.

    Raises:
        BadFileError: as of `read_table`.
    """
    check_budget(path, shorten(str(table.name)), 8 * (getattr(table, 'size', 0) or 0), MOST_ARRAY_BYTES)
    return np.asarray(read_table(table, path), np.float64)


def _read_texts(table: h5py.Dataset, name: str) -> np.ndarray:
    """Read items of variable length piece by piece: many may name one that is as large as the file."""
    n_rows = len(table)
    step = max(_TEXT_BYTES // max(table.file.id.get_filesize() * (table.size // n_rows), 1), 1)
    result = np.empty(table.shape, table.dtype)
    for row in range(0, n_rows, step):
        part = result[row : row + step] = table[row : row + step]
        if part.dtype == object:
            charge(name, sum(_size(item) for item in part.ravel()))
    return result


def _size(item: object) -> int:
    return item.nbytes if isinstance(item, np.ndarray) else len(item) if isinstance(item, (bytes, str)) else 0
