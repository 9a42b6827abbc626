"""Look through an HDF5 file before anything of it is read: nothing outside it, nothing larger than it can be."""

import math
import mmap
import struct
from pathlib import Path

import h5py

from smilfit.files.account import charge
from smilfit.files.budget import MOST_ARRAY_BYTES, MOST_COMPRESSION, check_budget
from smilfit.files.errors import BadFileError, reading, shorten

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
    """Return the number of a heap's objects, and the bytes of the largest."""
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


MOST_OBJECTS = 100_000
# A chunk is read as a whole, whatever is asked of it.
MOST_CHUNK_BYTES = 1 << 28
# A table this small may be unwritten: its fill value is what it holds.
SMALL_BYTES = 1 << 24
# Filters that leave the number of bytes as it is, but for a checksum.
_SAME_SIZE = {h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}


def check_hdf5(file: h5py.File, path: str | Path, what: str = 'an HDF5 file') -> None:
    """Check every object of an open file.

    Links to other files, tables made of other files and data kept in other files are refused, and tables that claim
    more than the bytes stored for them can hold (deflate packs at most 1032 to 1; what was never written claims
    bytes that are not there).

    Args:
        file: open for reading.
        path: its name.
        what: what it is, for messages.

    Raises:
        BadFileError: an object breaks a rule.
    """
    with reading(path, what):
        largest = check_heaps(path)
        waiting, visited, count = [file['/']], set(), 0
        while waiting:
            group = waiting.pop()
            address = h5py.h5o.get_info(group.id).addr
            if address in visited:
                continue
            visited.add(address)
            check_attributes(group, path, largest)
            for name in group:
                count += 1
                check_budget(path, 'its groups and tables', count, MOST_OBJECTS, 'in number')
                charge('its groups and tables', n_objects=1)
                item = _inner(group, name, path)
                if isinstance(item, h5py.Group):
                    waiting.append(item)
                elif isinstance(item, h5py.Dataset):
                    address = h5py.h5o.get_info(item.id).addr
                    if address not in visited:
                        visited.add(address)
                        check_table(item, path)
                        check_attributes(item, path, largest)


def _inner(group: h5py.Group, name: str, path: str | Path) -> object:
    link = group.get(name, getlink=True)
    if isinstance(link, h5py.ExternalLink):
        raise BadFileError(
            f'{path}: {shorten(group.name.rstrip("/") + "/" + name)} must lie in the file itself; it is a link to '
            'another file. Make the file anew.'
        )
    return group[name]


def check_attributes(owner: h5py.Group | h5py.Dataset, path: str | Path, largest: int) -> None:
    """Check that attributes of a table or group fit: items of one may all name one item of the heap.

    Args:
        owner: the table or group.
        path: the file.
        largest: bytes of the largest item of its heaps.

    Raises:
        BadFileError: one whose content could be larger than an array may be.
    """
    for i in range(h5py.h5a.get_num_attrs(owner.id)):
        attribute = h5py.h5a.open(owner.id, index=i)
        kind = attribute.get_type()
        # Of others what is declared is what is stored.
        if kind.detect_class(h5py.h5t.VLEN) or (
            kind.get_class() == h5py.h5t.STRING and kind.is_variable_str()
        ):
            name = f'attribute {shorten(attribute.name.decode("utf-8", "replace"))} of {shorten(owner.name)}'
            count = attribute.get_space().get_simple_extent_npoints()
            check_budget(path, name, count * largest, MOST_ARRAY_BYTES)


def check_table(table: h5py.Dataset, path: str | Path) -> None:
    """Check that a table lies in the file and is no larger than its stored bytes can be.

    Raises:
        BadFileError: data in other files, or a size that cannot be.
    """
    name = shorten(table.name)
    if table.is_virtual or table.external:
        raise BadFileError(
            f'{path}: {name} must lie in the file itself; its data lie in others. Make the file anew.'
        )
    if table.shape is None:
        return
    width = table.dtype.itemsize
    if table.chunks is not None:
        check_budget(path, f'a chunk of {name}', math.prod(table.chunks) * width, MOST_CHUNK_BYTES)
    stored = table.id.get_storage_size()
    # A chunk is stored whole, so that what is stored of an unpacked table is never less than what it declares; only
    # the chunks of a table that was never written are missing.
    most = max(stored * MOST_COMPRESSION if _is_packed(table) else stored, SMALL_BYTES)
    check_budget(path, f'{name} by its stored bytes', math.prod(table.shape) * width, most)


def _is_packed(table: h5py.Dataset) -> bool:
    filters = table.id.get_create_plist()
    return any(filters.get_filter(i)[0] not in _SAME_SIZE for i in range(filters.get_nfilters()))
