"""Read what torch.save wrote: no code, no more memory than the file has bytes, nothing that is damaged.

torch's own reader is not asked: it hashes what a file chooses, looks at no checksum, and bounds nothing. Formats:
torch/serialization.py (`_save`, `_legacy_save`).
"""

import errno
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from smilfit.files.account import accounted, charge
from smilfit.files.budget import check_budget
from smilfit.files.errors import BadFileError, shorten
from smilfit.files.pickles import BrokenPickleError, UnsafePickleError, check_size, run_from, value_of
from smilfit.files.reading import reading
from smilfit.files.tensor_pickles import (
    TENSORS,
    CodeInTensorsError,
    SparseTensorError,
    Storage,
    TensorBuilder,
)

_ZIP_STARTS = b'PK\x03\x04'
# A run of a million steps that keeps a dozen curves has as much.
_MOST_PICKLE_BYTES = 1 << 28
_ADVICE = 'It is cut short, damaged or of another kind; nothing of it was run. Take another one.'
# What older files begin with: a number, the version of their format, and facts about the system that wrote them.
_MAGIC, _LEGACY_VERSION = 0x1950A86A20F9469CFC6C, 1001


def read_tensor_file(path: str | Path, what: str = 'a checkpoint', map_location: Any = 'cpu') -> Any:
    """Read a file of dense tensors, numbers, texts, lists and dicts.

    Args:
        path: the file.
        what: what it is, for messages.
        map_location: device where tensors go; None for the CPU.

    Raises:
        FileNotFoundError: no such file.
        BadFileError: cut short, a wrong checksum, tensors larger than their data, a file that wants to run code, or
            that takes more than it may (`Account`).
    """
    path = Path(path)
    with reading(path, what, _ADVICE), accounted(path, what):
        size = path.stat().st_size
        if size == 0:
            raise BadFileError(f'{path}: {what} must hold tensors; the file is empty. {_ADVICE}')
        with path.open('rb') as file:
            zipped = file.read(4) == _ZIP_STARTS
        try:
            return (_read_archive if zipped else _read_legacy)(path, what, size, map_location)
        except CodeInTensorsError as error:
            raise BadFileError(
                f'{path}: {what} must hold tensors, numbers and texts only; got {error}, which could run code. '
                f'{_ADVICE}'
            ) from error
        except SparseTensorError as error:
            raise BadFileError(
                f'{path}: {what} must hold dense tensors; {error}. Save them as dense ones.'
            ) from error
        except (UnsafePickleError, BrokenPickleError) as error:
            raise BadFileError(f'{path}: {what} must be whole and well-formed: {error}. {_ADVICE}') from error


def check_weight_names(path: str | Path, what: str, weights: Any) -> None:
    """Check that weights are a dict of tensors by name.

    Raises:
        BadFileError: they are something else.
    """
    if not isinstance(weights, Mapping):
        raise BadFileError(
            f'{path}: the weights of {what} must be a dict of tensors by name; got {shorten(weights)}. Is it the '
            'right file?'
        )
    for name, value in weights.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise BadFileError(
                f'{path}: the weights of {what} must be tensors by name; {shorten(name)} is {shorten(value)}. Is it '
                'the right file?'
            )


def _read_archive(path: Path, what: str, size: int, device: Any) -> Any:
    with zipfile.ZipFile(path) as archive:
        members = _check_archive(archive, path, what, size)
        pickles = [name for name in members if name == 'data.pkl' or name.endswith('/data.pkl')]
        if len(pickles) != 1:
            raise BadFileError(
                f'{path}: {what} must have one pickle, data.pkl; got {len(pickles)}. {_ADVICE}'
            )
        top = pickles[0].removesuffix('data.pkl')
        order = f'{top}byteorder'
        if order in members and archive.read(order) != sys.byteorder.encode():
            raise BadFileError(
                f'{path}: {what} must be of a machine with {sys.byteorder}-endian numbers; this one is not. Save it '
                'again on such a machine.'
            )
        storages: dict[str, Storage] = {}

        def find(dtype: torch.dtype | None, key: str, n_bytes: int) -> Storage:
            found = storages.get(key)
            if found is None:
                info = members.get(f'{top}data/{key}')
                if info is None:
                    raise UnsafePickleError(f'a storage must be in the file; {shorten(key)} is not')
                found = storages[key] = Storage(dtype, info.file_size)
                with archive.open(info) as file:
                    found.bytes = _row(file, info.file_size)
            return _fitting(found, dtype, key, n_bytes)

        data = archive.read(pickles[0])
        root, end = run_from(data, 0, TENSORS)
        if end != len(data):
            raise BrokenPickleError(f'{len(data) - end} bytes after its end')
        check_size(root, len(data))
        return value_of(root, TensorBuilder(path, find, device))


def _read_legacy(path: Path, what: str, size: int, device: Any) -> Any:
    """Read the format of torch before 1.6: pickles one after the other, then the storages."""
    with path.open('rb') as file:
        data = file.read(_MOST_PICKLE_BYTES)
    at, told = 0, []
    for _ in range(3):
        root, at = run_from(data, at, TENSORS)
        told.append(root)
    if told[:2] != [_MAGIC, _LEGACY_VERSION]:
        raise BrokenPickleError('another beginning than that of torch.save')
    places: dict[str, Storage] = {}

    def find(dtype: torch.dtype | None, key: str, n_bytes: int) -> Storage:
        if key not in places:
            check_budget(path, 'a storage', n_bytes, size)
            places[key] = Storage(dtype, n_bytes)
        return _fitting(places[key], dtype, key, n_bytes)

    begin = at
    root, at = run_from(data, at, TENSORS)
    n_pickle = at - begin
    keys, at = run_from(data, at, TENSORS)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise BrokenPickleError('no list of storages')
    check_size(root, n_pickle)
    builder = TensorBuilder(path, find, device)
    builder.find_storages(root)
    with path.open('rb') as file:
        for key in keys:
            storage = places.get(key)
            if storage is None:
                raise UnsafePickleError(f'a storage must be used; {shorten(key)} is not')
            file.seek(at)
            item = 1 if storage.dtype is None else storage.dtype.itemsize
            count = int.from_bytes(file.read(8), sys.byteorder)
            if count * item != storage.n_bytes or at + 8 + storage.n_bytes > size:
                raise UnsafePickleError(
                    f'a storage must have its {storage.n_bytes} bytes; got {count} numbers'
                )
            storage.bytes = _row(file, storage.n_bytes)
            at += 8 + storage.n_bytes
    if at != size:
        raise BrokenPickleError(f'{size - at} bytes after its end')
    return value_of(root, builder)


def _check_archive(archive: zipfile.ZipFile, path: Path, what: str, size: int) -> dict[str, zipfile.ZipInfo]:
    """Hold the sizes of an archive's members against the file's own, and every byte against its checksum."""
    total, members = 0, {}
    for info in archive.infolist():
        total += info.file_size
        members[info.filename] = info
        if info.compress_type != zipfile.ZIP_STORED:
            raise BadFileError(
                f'{path}: {what} must be stored unpacked, as torch.save does; {shorten(info.filename)} is packed. '
                'Save it again by torch.save.'
            )
        if info.filename.endswith('.pkl'):
            check_budget(path, shorten(info.filename), info.file_size, _MOST_PICKLE_BYTES)
    check_budget(path, 'the sum of its members', total, size)
    charge('its members', n_objects=len(members))
    try:
        damaged = archive.testzip()
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # A place before the file's beginning.
        raise BadFileError(f'{path}: {what} must be whole; its table of members is not. {_ADVICE}') from error
    if damaged is not None:
        raise BadFileError(
            f'{path}: {what} must be whole; the checksum of {shorten(damaged)} is wrong. Copy the file again, or '
            'take another one.'
        )
    return members


def _fitting(storage: Storage, dtype: torch.dtype | None, key: str, n_bytes: int) -> Storage:
    if dtype != storage.dtype or n_bytes > storage.n_bytes:
        raise UnsafePickleError(
            f'the storage {shorten(key)} must have {n_bytes} bytes of one type; got {storage.n_bytes}'
        )
    return storage


def _row(file: Any, n_bytes: int) -> torch.Tensor:
    """Read bytes (n_bytes,) into memory of their own."""
    charge('a storage', n_bytes=n_bytes)
    if not n_bytes:
        return torch.empty(0, dtype=torch.uint8)
    data = bytearray(n_bytes)
    view = memoryview(data)
    done = 0
    while done < n_bytes:
        count = file.readinto(view[done:])
        if not count:
            raise BrokenPickleError(f'{n_bytes - done} bytes less than it says')
        done += count
    return torch.frombuffer(data, dtype=torch.uint8)
