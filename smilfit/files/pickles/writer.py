"""Write plain values as a pickle, opcode by opcode: nothing of the library that also runs pickles is needed.

What is written asks for numpy's arrays alone, by the names that numpy 1 and 2 both have, so `pickle.load`, the
loaders of smplx and SMILify and our own allow-list reader read it. Protocol 3, the first with bytes.
"""

import struct
from collections.abc import Iterator, Mapping

import numpy as np

_LONGEST_BYTES = (1 << 32) - 1
_RECONSTRUCT = b'cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R'
_KINDS = 'biuf'


def pickle_bytes(value: object) -> bytes:
    """Write None, truth values, numbers, texts, and lists, dicts and numpy arrays of them.

    Raises:
        TypeError: anything else inside.
        ValueError: an array of 4 GiB or more.
    """
    return b''.join((b'\x80\x03', *_opcodes(value), b'.'))


def _opcodes(value: object) -> Iterator[bytes]:
    if value is None:
        yield b'N'
    elif isinstance(value, (bool, np.bool_)):
        yield b'\x88' if value else b'\x89'
    elif isinstance(value, (int, np.integer)):
        yield _integer(int(value))
    elif isinstance(value, (float, np.floating)):
        yield b'G' + struct.pack('>d', float(value))
    elif isinstance(value, str):
        yield _text(value)
    elif isinstance(value, np.ndarray):
        yield from _array(value)
    elif isinstance(value, (list, tuple)):
        yield b']('
        for item in value:
            yield from _opcodes(item)
        yield b'e'
    elif isinstance(value, Mapping):
        yield b'}('
        for key, item in value.items():
            yield from _opcodes(key)
            yield from _opcodes(item)
        yield b'u'
    else:
        raise TypeError(
            f'a pickle of plain values must hold numbers, texts and arrays; got {type(value).__name__}.'
        )


def _integer(value: int) -> bytes:
    if -(1 << 31) <= value < 1 << 31:
        return b'J' + struct.pack('<i', value)
    size = value.bit_length() // 8 + 1
    return b'\x8a' + bytes([size]) + value.to_bytes(size, 'little', signed=True)


def _text(value: str) -> bytes:
    encoded = value.encode('utf-8')
    return b'X' + struct.pack('<I', len(encoded)) + encoded


def _array(array: np.ndarray) -> Iterator[bytes]:
    """Write what `ndarray.__reduce__` says: an empty array, and its version, shape, dtype, order and bytes."""
    if array.dtype.kind not in _KINDS:
        raise TypeError(f'an array in a pickle must hold numbers; got the dtype {array.dtype}.')
    # Little-endian, rows first.
    shape: tuple[int, ...] = array.shape
    array = np.ascontiguousarray(array, array.dtype.newbyteorder('<'))
    if array.nbytes > _LONGEST_BYTES:
        raise ValueError(
            f'an array in a pickle must be below 4 GiB; got {array.nbytes} bytes. Write an .npz.'
        )
    yield _RECONSTRUCT + b'(K\x01('
    for length in shape:
        yield _integer(length)
    yield b't' + _dtype(array.dtype) + b'\x89B' + struct.pack('<I', array.nbytes)
    yield array.tobytes()
    yield b'tb'


def _dtype(dtype: np.dtype) -> bytes:
    order = b'|' if dtype.itemsize == 1 else b'<'
    name = _text(f'{dtype.kind}{dtype.itemsize}')
    state = b'(K\x03' + _text(order.decode()) + b'NNN' + _integer(-1) + _integer(-1) + b'K\x00tb'
    return b'cnumpy\ndtype\n' + name + b'\x89\x88\x87R' + state
