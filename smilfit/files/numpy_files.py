"""Read npz files without pickles, each array's declared size held against what the archive stores."""

import zipfile
from collections.abc import Collection
from pathlib import Path

import numpy as np

from smilfit.files.budget import MOST_ARRAY_BYTES, MOST_COMPRESSION, check_budget
from smilfit.files.errors import BadFileError, shorten
from smilfit.files.reading import reading

KINDS = 'biufUS'
# The header of an array is a line of text.
_MOST_HEADER_BYTES = 10_000


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
    found = {}
    with reading(path, what), zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            name = info.filename.removesuffix('.npy')
            if info.filename.endswith('.npy') and (wanted is None or name in wanted):
                found[name] = _member(archive, info, path, most_bytes)
    return found


def npz_names(path: str | Path, what: str = 'an .npz file') -> set[str]:
    """Name the arrays of an npz file."""
    with reading(path, what), zipfile.ZipFile(path) as archive:
        return {name.removesuffix('.npy') for name in archive.namelist() if name.endswith('.npy')}


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, most_bytes: int) -> np.ndarray:
    where, what = str(path), f'the array {shorten(info.filename)}'
    most = min(most_bytes, info.compress_size * MOST_COMPRESSION)
    check_budget(where, what, info.file_size, most)
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        reader = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, fortran, dtype = reader(file, max_header_size=_MOST_HEADER_BYTES)
        if dtype.kind not in KINDS or dtype.fields is not None or dtype.subdtype is not None:
            raise BadFileError(
                f'{where}: {what} must hold numbers or text; got {shorten(str(dtype))}. Nothing was run. Save it as '
                'numbers first.'
            )
        count = 1
        for extent in shape:
            count *= extent
        check_budget(where, what, count * dtype.itemsize, info.file_size)
        # Read to the end: only then is the checksum of the archive looked at.
        data = file.read()
    if len(data) != count * dtype.itemsize:
        raise BadFileError(
            f'{where}: {what} must hold {count * dtype.itemsize} bytes; got {len(data)}. Copy the file again.'
        )
    array = np.frombuffer(bytearray(data), dtype)
    return array.reshape(shape, order='F' if fortran else 'C')
