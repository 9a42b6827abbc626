"""Ways to break one thing in an HDF5 file."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tests.hostile.small_files import SAMPLES

Change = Callable[[h5py.File], None]
# JSON that no reader needs.
DEEP = '[' * 200_000 + ']' * 200_000


def changed(whole: Path, path: Path, change: Change) -> Path:
    """Copy a file and break one thing in it."""
    shutil.copyfile(whole, path)
    with h5py.File(path, 'r+') as file:
        change(file)
    return path


def plain(name: str) -> str:
    """Return the last part of a table's name, for the name of a case."""
    return name.split('/')[-1].lower()


def set_attribute(name: str, value: Any, group: str = '/') -> Change:
    """Set an attribute; None takes it away."""

    def change(file: h5py.File) -> None:
        if name in file[group].attrs:
            del file[group].attrs[name]
        if value is not None:
            file[group].attrs[name] = value

    return change


def without_attribute(name: str) -> Change:
    """Take an attribute away."""
    return set_attribute(name, None)


def set_session_attribute(name: str, value: Any) -> Change:
    """Set an attribute of the first session."""
    return set_attribute(name, value, 'sessions/0000')


def without(name: str) -> Change:
    """Take a table away."""
    return lambda file: file.__delitem__(name)


def replace_table(name: str, make: Callable[[np.ndarray], Any]) -> Change:
    """Put another table in the place of one."""

    def change(file: h5py.File) -> None:
        new = make(file[name][()])
        del file[name]
        file[name] = new

    return change


def group_at(name: str) -> Change:
    """Put a group in the place of a table."""

    def change(file: h5py.File) -> None:
        del file[name]
        file.create_group(name)

    return change


def table_at(name: str) -> Change:
    """Put a table in the place of a group."""

    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = np.arange(3)

    return change


def unwritten(name: str, shape: tuple[int, ...], kind: Any, n_complete: int) -> Change:
    """Claim a table of which nothing is stored."""

    def change(file: h5py.File) -> None:
        del file[name]
        file.create_dataset(name, shape, kind, chunks=(64, *shape[1:]) if shape[-1] < 1000 else True)
        file.attrs['n_complete'] = n_complete

    return change


def all_huge(file: h5py.File) -> None:
    """Claim ten million samples, none of them stored."""
    for table in file['samples'].values():
        table.resize(10**7, axis=0)
    for table in file['params'].values():
        table.resize(10**7, axis=0)
    file.attrs['n_complete'] = 10**7


def huge_chunk(file: h5py.File) -> None:
    """Claim a chunk that fills the memory whatever is read of it."""
    del file['images/jpeg']
    file['images'].create_dataset(
        'jpeg', (1 << 16,), np.uint8, maxshape=(None,), chunks=(1 << 31,), compression='gzip'
    )


def link(name: str, to: Any) -> Change:
    """Put a link in the place of an object."""

    def change(file: h5py.File) -> None:
        if name in file:
            del file[name]
        file[name] = to

    return change


def virtual(file: h5py.File) -> None:
    """Make a table of another file's."""
    layout = h5py.VirtualLayout((SAMPLES,), np.int64)
    layout[:] = h5py.VirtualSource('/etc/hostname', 'x', (SAMPLES,))
    del file['samples/frame']
    file.create_virtual_dataset('samples/frame', layout)


def raw_outside(file: h5py.File) -> None:
    """Keep a table's bytes in another file."""
    del file['samples/frame']
    file.create_dataset('samples/frame', (SAMPLES,), np.int64, external=[('/etc/passwd', 0, 8 * SAMPLES)])


def many_groups(file: h5py.File) -> None:
    """Nest groups, which the format allows."""
    inner = file.create_group('deep')
    for _ in range(3000):
        inner = inner.create_group('x')


def set_values(name: str, at: Any, value: Any) -> Change:
    """Write values into a table."""
    return lambda file: file[name].__setitem__(at, value)


def set_image(data: bytes) -> Change:
    """Put bytes in the place of one image."""

    def change(file: h5py.File) -> None:
        bytes_ = file['images/jpeg']
        end = len(bytes_)
        bytes_.resize(end + len(data), axis=0)
        bytes_[end:] = np.frombuffer(data, np.uint8)
        file['samples/image_start'][2, 1] = end
        file['samples/image_length'][2, 1] = len(data)

    return change
