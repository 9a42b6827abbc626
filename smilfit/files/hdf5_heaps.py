"""Walk through the heaps of an HDF5 file, where texts of variable length lie, before the library does.

A damaged heap makes the HDF5 library go round for ever: it steps by the size that an object states, and a free one
may state 0. That is inside C, where neither Ctrl-C nor a budget reaches it.
Layout: HDF5 File Format Specification 3.0, III.E "Disk Format: Level 1E - Global Heap".
"""

import mmap
import struct
from pathlib import Path

from smilfit.files.errors import BadFileError

# Signature and version.
_MARK = b'GCOL\x01'
_COLLECTION, _OBJECT = struct.Struct('<4sB3xQ'), struct.Struct('<HH4xQ')
# Files beyond this are looked through at both ends alone: a heap of this project's files lies where writing began.
MOST_BYTES = 1 << 31
# What looks like a heap may stand in data.
_EXTRA_OBJECTS = 10_000


def check_heaps(path: str | Path) -> int:
    """Check every heap of a file: its objects must lead from its beginning to its end.

    Returns:
        The largest object's bytes.

    Raises:
        BadFileError: a heap that leads nowhere.
    """
    path = Path(path)
    if path.stat().st_size < _COLLECTION.size:
        return 0
    largest = n_objects = 0
    with path.open('rb') as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        ends = (
            [(0, len(data))]
            if len(data) <= MOST_BYTES
            else [(0, MOST_BYTES // 2), (-MOST_BYTES // 2, len(data))]
        )
        for begin, end in ends:
            at = data.find(_MARK, begin, end)
            while at >= 0:
                count, length = _check_heap(data, at, path)
                n_objects, largest = n_objects + count, max(largest, length)
                if n_objects > _EXTRA_OBJECTS + 2 * len(data) // _OBJECT.size:
                    raise BadFileError(
                        f'{path}: heaps must lie side by side; they overlap. The file is damaged: copy it again, or '
                        'make it anew.'
                    )
                at = data.find(_MARK, at + 1, end)
    return largest


def _check_heap(data: mmap.mmap, at: int, path: Path) -> tuple[int, int]:
    """Give the number of a heap's objects, and the bytes of the largest."""
    largest = n_objects = 0
    if at + _COLLECTION.size > len(data):
        return 0, 0
    size = _COLLECTION.unpack_from(data, at)[2]
    end = at + size
    if end > len(data):
        # The library does not take it: it reads all of a heap first.
        return 0, 0
    place = at + _COLLECTION.size
    while place + _OBJECT.size <= end:
        number, _, length = _OBJECT.unpack_from(data, place)
        # The free space states its whole length; objects are followed by up to 7 bytes.
        step = length if number == 0 else _OBJECT.size + -(-length // 8) * 8
        if step == 0 or place + step > end:
            raise BadFileError(
                f'{path}: the heap at byte {at} must hold objects from its beginning to its end; the one at byte '
                f'{place} states {length} bytes. The file is damaged: copy it again, or make it anew.'
            )
        place += step
        n_objects, largest = n_objects + 1, max(largest, length if number else 0)
    return n_objects, largest
