"""Checkpoints and .npz files of a few bytes that would fill the memory or never end."""

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.hostile.bombs import Bomb

_MAGIC = b'\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.'
_VERSION, _SYSTEM = b'\x80\x02M\xe9\x03.', b'\x80\x02}.'
_HUGE = 1 << 40


def text(value: str) -> bytes:
    """Write a text as a pickle does."""
    data = value.encode()
    return b'X' + struct.pack('<I', len(data)) + data


def number(value: int) -> bytes:
    """Write a whole number as a pickle does."""
    return b'\x8a\x09' + value.to_bytes(9, 'little', signed=True)


def name(module: str, of: str) -> bytes:
    """Ask for a name."""
    return f'c{module}\n{of}\n'.encode()


def storage(key: str = '0', count: int = 4) -> bytes:
    """Name a storage of floats."""
    notes = text('storage') + name('torch', 'FloatStorage') + text(key) + text('cpu') + number(count)
    return b'(' + notes + b'tQ'


def tensor(
    size: tuple[int, ...], stride: tuple[int, ...], start: int = 0, told: bytes | None = None
) -> bytes:
    """Name a tensor over a storage."""
    shape = b'(' + b''.join(map(number, size)) + b't(' + b''.join(map(number, stride)) + b't'
    made = name('torch._utils', '_rebuild_tensor_v2') + b'(' + (told or storage()) + number(start) + shape
    return made + b'\x89' + name('collections', 'OrderedDict') + b')RtR'


def zipped(pickle: bytes, storages: dict[str, bytes] | None = None, packed: bool = False) -> bytes:
    """Write a file as torch.save does."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, 'w', zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as archive:
        archive.writestr('a/data.pkl', b'\x80\x02' + pickle + b'.')
        archive.writestr('a/byteorder', 'little')
        for key, data in (storages or {'0': bytes(16)}).items():
            archive.writestr(f'a/data/{key}', data)
    return made.getvalue()


def legacy(pickle: bytes, keys: bytes = b'\x80\x02].', behind: bytes = b'') -> bytes:
    """Write a file as torch.save did before 1.6."""
    return _MAGIC + _VERSION + _SYSTEM + b'\x80\x02' + pickle + b'.' + keys + behind


def doubled(times: int, as_key: bool = True) -> bytes:
    """Put a tuple into itself twice, again and again, and use it as a key."""
    made = b')' + b'2\x86' * times
    return b'}' + made + b'K\x01s' if as_key else made


def in_dict(value: bytes) -> bytes:
    """Put a value where the weights of a checkpoint are."""
    return b'}' + text('state_dict') + b'}' + text('x') + value + b'ss'


def _chain(times: int, opening: bytes = b']', closing: bytes = b'a') -> bytes:
    return opening * times + closing * (times - 1)


FILES: dict[str, Callable[[], bytes]] = {
    'doubled tuples as a key, zip': lambda: zipped(doubled(60)),
    'doubled tuples as a key, raw': lambda: b'\x80\x02' + doubled(60) + b'.',
    'doubled tuples as a key, legacy': lambda: legacy(doubled(60)),
    'doubled tuples as a value': lambda: zipped(doubled(60, as_key=False)),
    'doubled tuples in the list of storages': lambda: legacy(b'}', b'\x80\x02' + doubled(60) + b'.'),
    'a deep chain of lists': lambda: zipped(_chain(300_000)),
    'many tuples': lambda: zipped(b'(' + b')\x85' * 300_000 + b't'),
    'a tensor expanded without end': lambda: zipped(in_dict(tensor((1 << 20, 1 << 20), (0, 0)))),
    'a tensor of 2**40 numbers': lambda: zipped(in_dict(tensor((_HUGE,), (1,), told=storage(count=_HUGE)))),
    'a tensor beyond its storage': lambda: zipped(in_dict(tensor((2,), (1 << 30,)))),
    'a place beyond its storage': lambda: zipped(in_dict(tensor((1,), (1,), start=1 << 50))),
    'sizes whose product runs over': lambda: zipped(in_dict(tensor((1 << 32, 1 << 32), (1, 1)))),
    'a size of twenty thousand dimensions': lambda: zipped(in_dict(tensor((1,) * 20_000, (1,) * 20_000))),
    'one storage of three thousand tensors': lambda: zipped(
        b'](' + storage(count=1 << 18) + b'q\x010' + _tensors_of_one(3_000) + b'e', {'0': bytes(1 << 20)}
    ),
    'storages packed': lambda: zipped(in_dict(tensor((4,), (1,))), {'0': bytes(1 << 28)}, packed=True),
    'a legacy storage of 2**40 numbers': lambda: legacy(
        in_dict(tensor((4,), (1,), told=storage(count=_HUGE))),
        b'\x80\x02]' + text('0') + b'a.',
        _HUGE.to_bytes(8, 'little'),
    ),
    'a legacy storage that lies': lambda: legacy(
        in_dict(tensor((4,), (1,))), b'\x80\x02]' + text('0') + b'a.', _HUGE.to_bytes(8, 'little') + bytes(16)
    ),
    'a text that says it is 2 GiB': lambda: zipped(b'X' + struct.pack('<I', 0x7FFFFFFF) + b'x'),
    'a number of a million digits': lambda: zipped(
        b'\x8b' + struct.pack('<I', 4_000_000) + b'\x7f' * 4_000_000
    ),
    'a name that runs code': lambda: zipped(name('os', 'system') + text('true') + b'\x85R'),
}


def _tensors_of_one(count: int) -> bytes:
    whole = b'(' + b'h\x01' + number(0) + b'(' + number(1 << 18) + b't(' + number(1) + b't\x89Nt'
    return (name('torch._utils', '_rebuild_tensor_v2') + whole + b'R') * count


def bombs(folder: Path) -> dict[str, Bomb]:
    """Write the files, and give the command lines that read them."""
    result = {}
    session = folder / 'session'
    session.mkdir()
    for i, (title, make) in enumerate(FILES.items()):
        file = folder / f'bomb_{i}.pth'
        file.write_bytes(make())
        result[f'.pth: {title}'] = Bomb(('infer', str(file), str(session), '--out', '{out}'), file)
    for i, (title, arrays) in enumerate(_npz_bombs().items()):
        file = folder / f'bomb_{i}.npz'
        _write_npz(file, arrays)
        result[f'model .npz: {title}'] = Bomb(('model', 'info', str(file)), file, read=True)
    return result


def _npz_bombs() -> dict[str, dict[str, tuple[str, tuple[int, ...]]]]:
    large = 950 << 20
    return {
        'faces of int8, 0.95 GiB of zeros': {'f': ('|i1', (large // 3, 3))},
        'four arrays of 0.95 GiB': {
            'f': ('<i4', (large // 12, 3)),
            'v_template': ('<f4', (large // 12, 3)),
            'weights': ('<f4', (large // 4, 1)),
            'shapedirs': ('<f4', (large // 12, 3, 1)),
        },
        'truth values, 0.5 GiB': {'v_template': ('|b1', ((500 << 20) // 3, 3))},
        'a hundred arrays of 30 MiB': {f'a{i}': ('<f4', (30 << 18,)) for i in range(100)},
    }


def _write_npz(path: Path, arrays: dict[str, tuple[str, tuple[int, ...]]]) -> None:
    """Write a small model of SMPL's kind with some arrays of zeros in place of its own."""
    whole = {
        'v_template': np.random.default_rng(0).normal(size=(4, 3)),
        'f': np.array([[0, 1, 2], [0, 2, 3]]),
        'weights': np.ones((4, 1)),
        'J_regressor': np.full((1, 4), 0.25),
        'kintree_table': np.array([[-1], [0]]),
        'shapedirs': np.zeros((4, 3, 1)),
    }
    block = bytes(1 << 20)
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        for key, value in whole.items():
            if key not in arrays:
                with archive.open(f'{key}.npy', 'w') as file:
                    np.lib.format.write_array(file, value)
        for key, (kind, shape) in arrays.items():
            with archive.open(f'{key}.npy', 'w', force_zip64=True) as file:
                header = {'descr': kind, 'fortran_order': False, 'shape': shape}
                np.lib.format.write_array_header_1_0(file, header)
                left = int(np.prod(shape)) * np.dtype(kind).itemsize
                while left:
                    left -= file.write(block[: min(left, len(block))])
