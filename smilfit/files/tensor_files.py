"""Read what torch.save wrote: no code, no more memory than the file has bytes, nothing that is damaged.

torch's own reader is not asked: it hashes what a file chooses, looks at no checksum, and bounds nothing. Formats:
torch/serialization.py (`_save`, `_legacy_save`).
"""

import errno
import math
import sys
import zipfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from smilfit.files.account import accounted, charge
from smilfit.files.budget import check_budget
from smilfit.files.errors import BadFileError, reading, shorten
from smilfit.files.numpy_files import ByteSource, fill
from smilfit.files.pickles import (
    BrokenPickleError,
    Builder,
    Dialect,
    UnsafePickleError,
    check_size,
    run_from,
    shown,
    value_of,
)
from smilfit.files.pickles.nodes import Made, Name, Pairs, inner_first, parts

# Name of a storage's class -> type of its numbers.
STORAGES = {
    'DoubleStorage': torch.float64, 'FloatStorage': torch.float32, 'HalfStorage': torch.float16,
    'BFloat16Storage': torch.bfloat16, 'LongStorage': torch.int64, 'IntStorage': torch.int32,
    'ShortStorage': torch.int16, 'CharStorage': torch.int8, 'ByteStorage': torch.uint8, 'BoolStorage': torch.bool,
    'ComplexFloatStorage': torch.complex64, 'ComplexDoubleStorage': torch.complex128,
}  # fmt: skip
DTYPES = {
    name: value
    for name in (
        'float64', 'float32', 'float16', 'bfloat16', 'int64', 'int32', 'int16', 'int8', 'uint8', 'uint16', 'uint32',
        'uint64', 'bool', 'complex64', 'complex128', 'float8_e4m3fn', 'float8_e5m2',
    )
    if isinstance(value := getattr(torch, name, None), torch.dtype)
}  # fmt: skip
_REBUILD = {
    ('torch._utils', '_rebuild_tensor'): 'tensor',
    ('torch._utils', '_rebuild_tensor_v2'): 'tensor',
    ('torch._utils', '_rebuild_tensor_v3'): 'typed_tensor',
    ('torch._utils', '_rebuild_parameter'): 'parameter',
    ('torch', 'Size'): 'size',
    ('torch', 'device'): 'device',
    ('collections', 'OrderedDict'): 'ordered_dict',
    ('_codecs', 'encode'): 'encode',
    ('builtins', 'set'): 'set',
    ('__builtin__', 'set'): 'set',
    ('builtins', 'bytes'): 'bytes',
    ('__builtin__', 'bytes'): 'bytes',
}
# What torch saves of tensors that are not dense.
_NOT_DENSE = {
    '_rebuild_sparse_tensor',
    '_rebuild_qtensor',
    '_rebuild_meta_tensor_no_storage',
    '_rebuild_nested_tensor',
}
_MOST_DIMENSIONS = 64
Device = str | torch.device | None


class CodeInTensorsError(UnsafePickleError):
    """A file of tensors asks for what could run code."""


class SparseTensorError(UnsafePickleError):
    """A tensor is not dense."""


@dataclass
class Storage:
    """The numbers that tensors share: their type (None: bytes), how many bytes, and these (n_bytes,) uint8."""

    dtype: torch.dtype | None
    n_bytes: int
    bytes: torch.Tensor | None = None
    taken: bool = False


def tensor_name(module: str, name: str) -> Name:
    """Return what a name in a file of tensors stands for.

    Raises:
        CodeInTensorsError: it is not on the allow-list.
        SparseTensorError: it is of tensors that are not dense.
    """
    origin = f'{module}.{name}'
    kind = _REBUILD.get((module, name))
    if module == 'torch' and name in STORAGES:
        kind = 'storage'
    elif origin in ('torch.storage.UntypedStorage', 'torch.UntypedStorage'):
        kind = 'untyped'
    elif module == 'torch' and name in DTYPES:
        kind = 'torch_dtype'
    elif module == 'torch._utils' and name in _NOT_DENSE:
        raise SparseTensorError('got one that is sparse, quantized or empty of data')
    if kind is None:
        raise CodeInTensorsError(f'{module[:80]}.{name[:80]}')
    return Name(kind, origin)


# Checkpoints hold a dict for each parameter of an optimizer, and curves of a run: a pair of numbers takes 14 bytes or
# more, four opcodes and a container. What is made of them is on the file's account.
TENSORS = Dialect(
    tensor_name, frozenset({'ordered_dict'}), persistent=True, opcodes_per_byte=0.5, containers_per_byte=0.125
)


def _name_or_stand_in(module: str, name: str) -> Name:
    try:
        return tensor_name(module, name)
    except (CodeInTensorsError, SparseTensorError):
        return Name('stand_in', f'{module}.{name}')


# Where parts of a file are read alone: what else is in it is taken apart, and nothing is made of it.
PARTS = replace(
    TENSORS, name_of=_name_or_stand_in, takes_state=frozenset({'ordered_dict', 'stand_in'}), filled=True
)


class TensorBuilder(Builder):
    """Values of a file of tensors.

    Args:
        path: the file, for messages.
        find: what a pickle names of a storage: kind or type, key, how many bytes at least -> the storage.
        device: where tensors go.
    """

    closed = frozenset({'encode', 'bytes'})

    def __init__(
        self, path: Path, find: Callable[[torch.dtype | None, str, int], Storage], device: Device = 'cpu'
    ) -> None:
        super().__init__()
        self.path, self.find, self.device = path, find, device

    def named(self, name: Name) -> object:
        """Return a type of numbers; other names mean nothing by themselves."""
        if name.kind == 'torch_dtype':
            return DTYPES[name.origin.rpartition('.')[2]]
        if name.kind in ('storage', 'untyped'):
            return None
        raise UnsafePickleError(f'{name.origin} must be called; it is not')

    def object_of(self, node: Made) -> object:
        """Make a tensor, or what lies about it."""
        kind, arguments = node.name.kind, node.arguments
        if kind == 'persistent':
            return self.storage(arguments[0])
        if kind == 'stand_in':
            raise CodeInTensorsError(shown(node))
        if kind in ('tensor', 'typed_tensor', 'parameter', 'size', 'device'):
            values = tuple(self.value(part) for part in arguments)
            if kind == 'parameter':
                if not values or not isinstance(values[0], torch.Tensor):
                    raise UnsafePickleError('a parameter must be made of a tensor; got another')
                return values[0]
            if kind == 'size':
                return torch.Size(_whole(values[0] if values else (), 'a size'))
            if kind == 'device':
                return _device(values)
            return self._tensor(values, typed=kind == 'typed_tensor')
        if kind == 'set' and arguments and isinstance(arguments[0], tuple):
            return self.set_of(list(arguments[0]))
        return super().object_of(node)

    def find_storages(self, root: object) -> None:
        """Ask for every storage that a node names, before anything is made of it."""
        for node in inner_first(root, parts):
            if isinstance(node, Made) and node.name.kind == 'persistent':
                self.storage(node.arguments[0])

    def storage(self, stated: object) -> Storage:
        """Find the storage that a pickle names."""
        # ('storage', class, key, device that it was on, number of numbers), and in old files a view that is None.
        if not (isinstance(stated, tuple) and len(stated) in (5, 6) and stated[0] == 'storage'):
            raise UnsafePickleError(f'what lies outside of a pickle must be a storage; got {shown(stated)}')
        of, key, count = stated[1], stated[2], stated[4]
        if not (isinstance(of, Name) and of.kind in ('storage', 'untyped')) or not isinstance(key, str):
            raise UnsafePickleError(f'a storage must have a type and a key; got {shown(key)}')
        if len(stated) == 6 and stated[5] is not None:
            raise UnsafePickleError('a storage must not be a part of another; got one that is')
        dtype = STORAGES.get(of.origin.rpartition('.')[2])
        (number,) = _whole((count,), 'a storage')
        return self.find(dtype, key, number * (1 if dtype is None else dtype.itemsize))

    def _tensor(self, values: tuple[object, ...], typed: bool) -> torch.Tensor:
        if len(values) < (7 if typed else 4):
            raise UnsafePickleError(
                f'a tensor must have a storage, a place, a size and strides; got {len(values)}'
            )
        storage, start, size, stride = values[:4]
        dtype = values[6] if typed else getattr(storage, 'dtype', None)
        if not isinstance(storage, Storage) or not isinstance(dtype, torch.dtype):
            raise UnsafePickleError('a tensor must be made of a storage of numbers of one type; got another')
        size, stride = _whole(size, 'a size'), _whole(stride, 'strides')
        (start,) = _whole((start,), 'a place')
        if len(size) != len(stride) or len(size) > _MOST_DIMENSIONS:
            raise UnsafePickleError(
                f'a tensor must have a stride a dimension; got {len(stride)} for {len(size)}'
            )
        wanted = math.prod(size) * dtype.itemsize
        check_budget(self.path, 'a tensor', wanted, storage.n_bytes)
        reached = start + (1 + sum((n - 1) * s for n, s in zip(size, stride)) if wanted else 0)
        check_budget(
            self.path, 'what a tensor reaches of its storage', reached * dtype.itemsize, storage.n_bytes
        )
        charge('a tensor', n_bytes=wanted, n_objects=1)
        result = _numbers(storage, dtype).as_strided(size, stride, start)
        whole = not storage.taken and wanted == storage.n_bytes and result.is_contiguous()
        storage.taken = True
        if whole:
            # Nobody else has these bytes.
            return result if self.device is None else result.to(self.device)
        return result.clone() if self.device is None else result.to(self.device, copy=True)


def _numbers(storage: Storage, dtype: torch.dtype) -> torch.Tensor:
    if storage.bytes is None:
        raise UnsafePickleError('a storage must be in the file; got one that is not')
    return storage.bytes[: storage.n_bytes // dtype.itemsize * dtype.itemsize].view(dtype)


def _whole(values: object, what: str) -> tuple[int, ...]:
    if not isinstance(values, (tuple, list)) or any(
        type(v) is not int or not 0 <= v < 1 << 62 for v in values
    ):
        raise UnsafePickleError(f'{what} must be of whole numbers from 0 on; got {shown(values)}')
    return tuple(values)


def _device(values: tuple[object, ...]) -> torch.device:
    if not values or not isinstance(values[0], str) or len(values[0]) > 40:
        raise UnsafePickleError('a device must have a name; got another')
    name, index = values[0], values[1] if len(values) > 1 else None
    if index is not None and not isinstance(index, int):
        raise UnsafePickleError(f'a device must have a number; got {shown(index)}')
    try:
        return torch.device(name) if index is None else torch.device(name, index)
    except (RuntimeError, TypeError) as error:
        raise UnsafePickleError(f'a device must be one that torch knows; got {shown(values[0])}') from error


_ZIP_STARTS = b'PK\x03\x04'
# A run of a million steps that keeps a dozen curves has as much.
_MOST_PICKLE_BYTES = 1 << 28
_ADVICE = 'It is cut short, damaged or of another kind; nothing of it was run. Take another one.'
# What older files begin with: a number, the version of their format, and facts about the system that wrote them.
_MAGIC, _LEGACY_VERSION = 0x1950A86A20F9469CFC6C, 1001


def read_tensor_file(
    path: str | Path,
    what: str = 'a checkpoint',
    map_location: Device = 'cpu',
    only: Collection[str] | None = None,
) -> Any:
    """Read a file of dense tensors, numbers, texts, lists and dicts.

    Args:
        path: the file.
        what: what it is, for messages.
        map_location: device where tensors go; None for the CPU.
        only: the entries to read of a file that is a dict: nothing is made of the others, which may be objects of
            any kind (the settings of a training), and their tensors take no memory.

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
            return (_read_archive if zipped else _read_legacy)(path, what, size, map_location, only)
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


def check_weight_names(path: str | Path, what: str, weights: object) -> None:
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


def _chosen(root: object, only: Collection[str] | None) -> object:
    """Return a dict's node with the wanted keys alone; any other node is unchanged."""
    if only is None or not (isinstance(root, Pairs) or (isinstance(root, Made) and root.items)):
        return root
    return Pairs([(key, value) for key, value in root.items if isinstance(key, str) and key in only])


def _read_archive(
    path: Path, what: str, size: int, device: Device, only: Collection[str] | None = None
) -> object:
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
            result = storages.get(key)
            if result is None:
                info = members.get(f'{top}data/{key}')
                if info is None:
                    raise UnsafePickleError(f'a storage must be in the file; {shorten(key)} is not')
                result = storages[key] = Storage(dtype, info.file_size)
                with archive.open(info) as file:
                    result.bytes = _row(file, info.file_size)
            return _fitting(result, dtype, key, n_bytes)

        data = archive.read(pickles[0])
        root, end = run_from(data, 0, TENSORS if only is None else PARTS)
        if end != len(data):
            raise BrokenPickleError(f'{len(data) - end} bytes after its end')
        root = _chosen(root, only)
        check_size(root, len(data))
        return value_of(root, TensorBuilder(path, find, device))


def _read_legacy(
    path: Path, what: str, size: int, device: Device, only: Collection[str] | None = None
) -> object:
    """Read the format of torch before 1.6: pickles one after the other, then the storages."""
    with path.open('rb') as file:
        data = file.read(_MOST_PICKLE_BYTES)
    at, notes = 0, []
    for _ in range(3):
        root, at = run_from(data, at, TENSORS)
        notes.append(root)
    if notes[:2] != [_MAGIC, _LEGACY_VERSION]:
        raise BrokenPickleError('another beginning than that of torch.save')
    places: dict[str, Storage] = {}

    def find(dtype: torch.dtype | None, key: str, n_bytes: int) -> Storage:
        if key not in places:
            check_budget(path, 'a storage', n_bytes, size)
            places[key] = Storage(dtype, n_bytes)
        return _fitting(places[key], dtype, key, n_bytes)

    begin = at
    root, at = run_from(data, at, TENSORS if only is None else PARTS)
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
    return value_of(_chosen(root, only), builder)


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


def _row(file: ByteSource, n_bytes: int) -> torch.Tensor:
    """Read bytes (n_bytes,) into memory of their own."""
    charge('a storage', n_bytes=n_bytes)
    if not n_bytes:
        return torch.empty(0, dtype=torch.uint8)
    data = bytearray(n_bytes)
    missing = n_bytes - fill(file, memoryview(data))
    if missing:
        raise BrokenPickleError(f'{missing} bytes less than it says')
    return torch.frombuffer(data, dtype=torch.uint8)
