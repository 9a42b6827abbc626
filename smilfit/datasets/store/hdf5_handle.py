"""Open HDF5 files read-only, with a handle of its own in every process."""

import os
from pathlib import Path
from typing import Any

import h5py

from smilfit.files import BadFileError, reading, shorten


class Hdf5Handle:
    """Open an HDF5 file when it is first read, anew in each process, read-only.

    A handle that was opened before a fork must not be read after it; pickling leaves it behind.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file: h5py.File | None = None
        # Finding a dataset by its name takes longer than reading a row of it.
        self._tables: dict[str, h5py.Dataset] = {}
        self._pid = -1

    def __getstate__(self) -> dict[str, object]:
        return {'path': self.path, '_file': None, '_tables': {}, '_pid': -1}

    def __call__(self) -> h5py.File:
        """Return this process's handle."""
        if self._file is None or self._pid != os.getpid():
            self._file, self._tables, self._pid = open_hdf5(self.path), {}, os.getpid()
        return self._file

    def close(self) -> None:
        """Close this process's handle; the next read opens it again."""
        if self._file is not None and self._pid == os.getpid():
            self._file.close()
        self._file, self._tables = None, {}

    def read(self, name: str, selection: object = ()) -> Any:
        """Read part of a dataset: an array, or one number.

        Raises:
            OSError: data that fail their checksum or are not there.
            BadFileError: data that cannot be read for another reason.
        """
        file = self()
        with reading(self.path, name):
            try:
                if name not in self._tables:
                    self._tables[name] = file[name]
                return self._tables[name][selection]
            except (OSError, RuntimeError) as error:
                if isinstance(error, RecursionError):
                    raise
                raise OSError(
                    f'{self.path}: {name} must pass its checksum; it does not ({shorten(error)}). '
                    'The file is damaged: copy it again or make it anew.'
                ) from error


def open_hdf5(path: str | Path) -> h5py.File:
    """Open a file read-only.

    Raises:
        FileNotFoundError: no such file; names a partial one if it is there.
        PermissionError: it cannot be read.
        BadFileError: not HDF5, or cut short.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(
            f'{path}: the dataset must be a file; it is a folder. Name the .h5 file in it.'
        )
    if not path.is_file():
        partial = path.with_name(path.name + '.partial')
        hint = f' {partial.name} is unfinished: run preprocessing again.' if partial.exists() else ''
        raise FileNotFoundError(f'{path}: the dataset must exist; there is no such file.{hint}')
    try:
        return h5py.File(path, 'r')
    except PermissionError as error:
        raise PermissionError(
            f'{path}: the dataset must be readable; it is not. Check its permissions.'
        ) from error
    except Exception as error:  # What HDF5 reports of a damaged file depends on where it is damaged.
        raise BadFileError(
            f'{path}: a dataset must be a whole HDF5 file; it does not open ({shorten(error)}). '
            'Was it cut short while copying, or is it a file of another kind? Copy it again, or make it anew.'
        ) from error
