"""A file that HDF5 writes through, and that never fails before its eyes.

HDF5 does not bear a write that fails: it ends in a segmentation fault, or swallows the error while an object is
freed and leaves a file that lacks a piece. So the file keeps the error, lets go of all writes after it (on the disk
everything is as if the process had been killed there), and its owner asks before it believes that a block is written.
"""

import os
from pathlib import Path
from typing import Any

import h5py

from smilfit.datasets.store_layout import LIBVER


class GuardedFile:
    """A file for h5py's `fileobj` driver.

    Args:
        path: the file.
        new: make it; it must not be there.
    """

    def __init__(self, path: Path, new: bool = False) -> None:
        self.path = path
        self.error: OSError | None = None
        self._handle = os.open(path, os.O_RDWR | (os.O_CREAT | os.O_EXCL if new else 0) | _FLAGS, 0o644)
        self._place = 0

    def hdf5(self, new: bool = False) -> h5py.File:
        """Open it as HDF5."""
        return h5py.File(self, 'w' if new else 'r+', libver=LIBVER)

    def check(self) -> None:
        """Raise the error of a write that failed."""
        if self.error is not None:
            raise self.error

    def sync(self) -> None:
        """Have the system put everything on the disk.

        Raises:
            OSError: a write failed, before or now.
        """
        self.check()
        os.fsync(self._handle)

    def close(self) -> None:
        """Close the file; HDF5 must have done so before."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place."""
        begin = {os.SEEK_SET: 0, os.SEEK_CUR: self._place}.get(whence)
        self._place = offset + (os.fstat(self._handle).st_size if begin is None else begin)
        return self._place

    def tell(self) -> int:
        """Say where it is."""
        return self._place

    def readinto(self, buffer: Any) -> int:
        """Read as much as fits into a buffer (HDF5's is Cython's own)."""
        os.lseek(self._handle, self._place, os.SEEK_SET)
        data = os.read(self._handle, len(buffer))
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)

    def read(self, size: int) -> bytes:
        """Read so many bytes; h5py asks whether there is such a method."""
        buffer = bytearray(size)
        return bytes(buffer[: self.readinto(memoryview(buffer))])

    def write(self, data: Any) -> int:
        """Write all, or keep the error; what follows an error is let go."""
        view = memoryview(data).cast('B')
        try:
            os.lseek(self._handle, self._place, os.SEEK_SET)
            done = 0
            while self.error is None and done < len(view):
                done += os.write(self._handle, view[done:])
        except OSError as error:
            self.error = error
        self._place += len(view)
        return len(view)

    def truncate(self, size: int) -> int:
        """Cut or extend, or keep the error."""
        try:
            if self.error is None:
                os.ftruncate(self._handle, size)
        except OSError as error:
            self.error = error
        return size

    def flush(self) -> None:
        """Do nothing: writes are not buffered."""


# A link under its name is not followed.
_FLAGS = getattr(os, 'O_BINARY', 0) | getattr(os, 'O_NOFOLLOW', 0)
