"""HDF5 files of other tools: looked through as a whole before anything of them is read."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from smilfit.files import BadFileError, reading, shorten
from smilfit.files.budget import MOST_ARRAY_BYTES, check_budget
from smilfit.files.hdf5 import check_hdf5


@contextmanager
def open_hdf5(path: str | Path, what: str = 'the file') -> Iterator[h5py.File]:
    """Open a file for reading inside this context; whatever fails there is an error that names the file.

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
    with reading(path, what):
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
    """Read a table whose declared size is within a limit.

    Args:
        table: of an open file.
        path: the file, for the message.
        most: bytes.

    Raises:
        BadFileError: a group where a table must be, or one that is too large.
    """
    if not isinstance(table, h5py.Dataset):
        raise BadFileError(
            f'{path}: a table must stand at {shorten(str(table.name))}; got a group of tables.'
        )
    if table.shape is not None:
        check_budget(path, shorten(str(table.name)), table.size * max(table.dtype.itemsize, 1), most)
    return table[()]
