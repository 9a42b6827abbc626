"""Read npz files without pickles, each array's declared size held against what the archive stores."""

import math
import sys
import zipfile
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from smilfit.files.account import accounted, charge
from smilfit.files.budget import MOST_ARRAY_BYTES, MOST_COMPRESSION, check_budget
from smilfit.files.errors import BadFileError, reading, shorten

# How many of the largest arrays a file may hold.
MOST_ARRAYS = 4
KINDS = 'biufUS'
# The header of an array is a line of text.
_MOST_HEADER_BYTES = 10_000
_AT_ONCE = 1 << 22


@runtime_checkable
class ByteSource(Protocol):
    """What bytes are read of: a file, or a member of an archive."""

    def read(self, size: int = -1, /) -> bytes:
        """Return at most so many bytes; all of them without a size."""


def read_npz(
    path: str | Path,
    wanted: Collection[str] | None = None,
    what: str = 'an .npz file',
    most_bytes: int = MOST_ARRAY_BYTES,
) -> dict[str, np.ndarray]:
    """Read arrays of an npz file; those that are not wanted are not opened.

    Args:
        path: the file.
        wanted: names of arrays; all if None. One that the file lacks is absent from the result.
        what: what the file is, for messages.
        most_bytes: the largest array.

    Raises:
        FileNotFoundError: no such file.
        BadFileError: no whole archive, an array of objects or fields, one that is larger than its data can be, or
            data that fail their checksum.
    """
    path = Path(path)
    result = {}
    with reading(path, what), accounted(path, what), zipfile.ZipFile(path) as archive:
        _check_members(archive, path)
        members = [info for info in archive.infolist() if info.filename.endswith('.npy')]
        chosen = [info for info in members if wanted is None or _name(info) in wanted]
        total = sum(info.file_size for info in chosen)
        check_budget(path, 'what is read of its arrays', total, MOST_ARRAYS * most_bytes)
        for info in chosen:
            result[_name(info)] = _member(archive, info, path, most_bytes)
    return result


def npz_names(path: str | Path, what: str = 'an .npz file') -> set[str]:
    """Name the arrays of an npz file."""
    with reading(path, what), zipfile.ZipFile(path) as archive:
        return {name.removesuffix('.npy') for name in archive.namelist() if name.endswith('.npy')}


def _name(info: zipfile.ZipInfo) -> str:
    return info.filename.removesuffix('.npy')


def _check_members(archive: zipfile.ZipFile, path: Path) -> None:
    """Check that no array stands twice, no two share their stored bytes, and names are where they belong."""
    members = archive.infolist()
    names = [info.filename for info in members]
    if len(set(names)) != len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise BadFileError(
            f'{path}: names of arrays must differ; got {shorten(twice)!r} twice. Save the file anew.'
        )
    stored = sum(info.compress_size for info in members)
    check_budget(path, 'the stored bytes of its arrays', stored, path.stat().st_size)
    for info in members:
        # The directory has no checksum: a name that is damaged there would be an array that is not missed. Opening
        # compares it with the name before the data.
        archive.open(info).close()


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, most_bytes: int) -> np.ndarray:
    what = f'the array {shorten(_name(info))}'
    check_budget(path, what, info.file_size, min(most_bytes, info.compress_size * MOST_COMPRESSION))
    with archive.open(info) as file:
        shape, fortran, dtype = read_header(file)
        if dtype.kind not in KINDS or dtype.fields is not None or dtype.subdtype is not None:
            raise BadFileError(
                f'{path}: {what} must be an array of numbers or text; got {shorten(str(dtype))}. Nothing was run. '
                'Save it as numbers first.'
            )
        count = math.prod(shape)
        wanted = count * dtype.itemsize
        check_budget(path, what, wanted, info.file_size)
        # Readers make numbers of eight bytes of them.
        charge(what, n_bytes=max(wanted, 8 * count) if dtype.kind not in 'US' else wanted)
        data = bytearray(wanted)
        # Read to the end: only then is the checksum of the archive looked at.
        held = fill(file, memoryview(data)) + len(file.read(1))
    if held != wanted or min(shape, default=0) < 0:
        raise BadFileError(
            f'{path}: {what} must hold {wanted} bytes; got {held} or more. Copy the file again, or save it anew.'
        )
    return _array(data, dtype).reshape(shape, order='F' if fortran else 'C')


def fill(file: ByteSource, row: memoryview) -> int:
    """Read bytes into memory that is there, up to its end or that of the file; gives how many."""
    done = 0
    while done < len(row):
        piece = file.read(min(_AT_ONCE, len(row) - done))
        if not piece:
            break
        row[done : done + len(piece)] = piece
        done += len(piece)
    return done


def read_header(file: ByteSource) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Read shape, order (True: by columns) and kind of an array in numpy's format."""
    version = np.lib.format.read_magic(file)
    reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return reader(file, max_header_size=_MOST_HEADER_BYTES)


def _array(data: bytearray, dtype: np.dtype) -> np.ndarray:
    """Make an array of bytes that hold any pattern: truth values of 0 and 1, text of characters, native order."""
    array = np.frombuffer(data, dtype)
    if dtype.kind == 'b':
        return array.view(np.uint8) != 0
    array = array.astype(dtype.newbyteorder('='), copy=False)
    if dtype.kind == 'U' and array.size and array.view(np.uint32).max() > sys.maxunicode:
        raise ValueError('text with a number that is no character')
    return array
