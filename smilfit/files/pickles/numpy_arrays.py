"""Make numpy arrays of what a pickle says of them; numpy is handed nothing but bytes and numbers that were checked.

Four forms, of all protocols: `_reconstruct` with a state, `_frombuffer`, `scalar`, and `dtype` with a state inside
them (numpy, `array.__reduce__`, `array.__reduce_ex__`). Arrays own their memory and can be written to.
"""

import math
import re
from typing import Literal

import numpy as np

from smilfit.files.pickles.nodes import Made, Name, UnsafePickleError, shown

MAX_DIMENSIONS = 32
MAX_SIZE = 1 << 31
MAX_EMPTY_SIZE = 1 << 22
MAX_TEXT_LENGTH = 1 << 16
NUMBERS = {'b1', 'i1', 'i2', 'i4', 'i8', 'u1', 'u2', 'u4', 'u8', 'f2', 'f4', 'f8'}
BYTE_ORDERS = ('<', '>', '=', '|')
ENCODINGS = ('latin1', 'latin-1', 'ascii', 'utf-8')
LAST_CHARACTER = 0x10FFFF
SURROGATES = (0xD800, 0xDFFF)


def array_of(made: Made) -> np.ndarray | np.generic:
    """Make the array, or the number, of a `Made` of kind reconstruct, frombuffer or scalar.

    Raises:
        UnsafePickleError: Python objects or fields inside, another kind of number, or a shape that its bytes do not
            fill exactly.
    """
    if made.name.kind == 'reconstruct':
        return _reconstructed(made)
    if made.name.kind == 'frombuffer':
        return _from_buffer(made)
    if len(made.arguments) != 2:
        raise UnsafePickleError(f'a number of numpy must be a dtype and bytes; got {shown(made.arguments)}')
    return _filled(made.arguments[1], dtype_of(made.arguments[0]), (), 'C')[()]


def bytes_of(node: object) -> bytes | memoryview:
    """Return the bytes that a node stands for: bytes, or text of one byte a character as Python 2 and `encode`
    have it.

    Raises:
        UnsafePickleError: something else.
    """
    if isinstance(node, memoryview):
        return node
    if isinstance(node, Made) and node.name.kind == 'bytes' and not node.arguments:
        return b''
    encoding: object = 'latin1'
    if isinstance(node, Made) and node.name.kind == 'encode' and 1 <= len(node.arguments) <= 2:
        # Without its encoding, `encode` takes utf-8.
        node, encoding = node.arguments if len(node.arguments) == 2 else (*node.arguments, 'utf-8')
    if not isinstance(node, str):
        raise UnsafePickleError(f'bytes must be bytes, or text of one byte a character; got {shown(node)}')
    if not (isinstance(encoding, str) and encoding in ENCODINGS):
        raise UnsafePickleError(f'an encoding must be one of {", ".join(ENCODINGS)}; got {shown(encoding)}')
    try:
        return node.encode(encoding)
    except UnicodeEncodeError:
        raise UnsafePickleError(f'bytes must be text of {encoding}; got {shown(node)}') from None


def dtype_of(node: object) -> np.dtype:
    """Return the dtype that a node stands for.

    Raises:
        UnsafePickleError: fields, Python objects, or another kind than bool, integer, float and text.
    """
    if not (isinstance(node, Made) and node.name.kind == 'dtype' and 1 <= len(node.arguments) <= 3):
        raise UnsafePickleError(f'the kind of an array must be a numpy dtype; got {shown(node)}')
    text = node.arguments[0] if isinstance(node.arguments[0], str) else ''
    kind = re.fullmatch(r'[<>=|]?([biufSUOVcmM])([0-9]{0,10})', text)
    if kind is not None and kind[1] == 'O':
        raise UnsafePickleError('an array of Python objects is not allowed; got one')
    code, size = (kind[1], kind[2]) if kind else ('', '')
    is_text = code in ('S', 'U') and size != '' and int(size) <= MAX_TEXT_LENGTH
    if code + size not in NUMBERS and not is_text:
        raise UnsafePickleError(
            f'the kind of an array must be bool, integer, float or text; got the dtype {shown(node.arguments[0])}'
        )
    order = text[0] if text[0] in BYTE_ORDERS else '='
    if node.has_state:
        order = _byte_order(node.state, int(size) * (4 if code == 'U' else 1))
    return np.dtype(f'{order if order != "|" else "="}{code}{size}')


def _byte_order(state: object, item_bytes: int) -> str:
    """Return the byte order of a dtype's state.

    It is version, order, subarray, names, fields, item size, alignment, flags, and in version 4 metadata, which mean
    nothing here.
    """
    if not (isinstance(state, tuple) and 8 <= len(state) <= 9 and isinstance(state[1], str)):
        raise UnsafePickleError(f'the state of a dtype must be a tuple of 8 or 9; got {shown(state)}')
    if state[1] not in BYTE_ORDERS:
        raise UnsafePickleError(
            f'the byte order must be one of {" ".join(BYTE_ORDERS)}; got {shown(state[1])}'
        )
    if any(part is not None for part in state[2:5]):
        raise UnsafePickleError('a dtype must have no fields and no subarray; got one that has')
    if not _is_count(state[5], -1) or state[5] not in (-1, item_bytes):
        raise UnsafePickleError(f'the item of an array must have {item_bytes} bytes; got {shown(state[5])}')
    return state[1]


def _reconstructed(made: Made) -> np.ndarray:
    # Writers always pass an empty array here and give its contents as a state.
    kind, shape = made.arguments[:2] if len(made.arguments) == 3 else (None, None)
    if not (isinstance(kind, Name) and kind.kind == 'ndarray' and shape == (0,)):
        raise UnsafePickleError('an array must be rebuilt from an empty numpy.ndarray; got something else')
    state = made.state
    if not (isinstance(state, tuple) and len(state) == 5 and _is_count(state[0])):
        raise UnsafePickleError(
            f'the state of an array must be version, shape, dtype, order and bytes; got {shown(state)}'
        )
    _, shape, dtype, by_columns, content = state
    if not isinstance(by_columns, (bool, int)):
        raise UnsafePickleError(f'the order of an array must be True or False; got {shown(by_columns)}')
    return _filled(content, dtype_of(dtype), shape, 'F' if by_columns else 'C')


def _from_buffer(made: Made) -> np.ndarray:
    if not 3 <= len(made.arguments) <= 5:
        raise UnsafePickleError(
            f'an array must be bytes, dtype, shape and order; got {shown(made.arguments)}'
        )
    defaults: tuple[object, ...] = ('C', None)
    content, dtype, shape, order, axes = (*made.arguments, *defaults[len(made.arguments) - 3 :])
    if not (isinstance(order, str) and order in ('C', 'F', 'K')) or (order == 'K' and axes is None):
        raise UnsafePickleError(f'the order of an array must be C, F, or K with axes; got {shown(order)}')
    array = _filled(content, dtype_of(dtype), shape, 'F' if order == 'F' else 'C')
    if order != 'K':
        return array
    if not (
        isinstance(axes, tuple) and all(map(_is_count, axes)) and sorted(axes) == list(range(array.ndim))
    ):
        raise UnsafePickleError(f'the axes of an array must each be named once; got {shown(axes)}')
    return array.transpose(axes).copy(order='K')


def _filled(content: object, dtype: np.dtype, shape: object, order: Literal['C', 'F']) -> np.ndarray:
    """Make an array of bytes that fill it exactly; a copy, so that it owns its memory."""
    shape = checked_shape(shape)
    data = bytes_of(content)
    if math.prod(shape) * dtype.itemsize != len(data):
        raise UnsafePickleError(
            f'an array of shape {shape} and kind {dtype.str} must have {math.prod(shape) * dtype.itemsize} bytes; '
            f'got {len(data)}'
        )
    if not data:
        return np.zeros(_checked_empty(shape, dtype), dtype, order)
    raw = np.dtype('u1') if dtype.kind == 'b' else dtype
    array = np.ndarray(shape, raw, data, order=order)
    if dtype.kind == 'b':
        return array.astype(bool, order='K')
    if dtype.kind == 'U':
        _check_characters(np.frombuffer(data, f'{dtype.str[0]}u4'))
    return array.copy(order='K')


def checked_shape(shape: object) -> tuple[int, ...]:
    """Return a shape whose numbers are counts, and whose product fits.

    Raises:
        UnsafePickleError: another thing.
    """
    if not (isinstance(shape, tuple) and len(shape) <= MAX_DIMENSIONS and all(map(_is_count, shape))):
        raise UnsafePickleError(
            f'a shape must be a tuple of at most {MAX_DIMENSIONS} counts; got {shown(shape)}'
        )
    if math.prod(max(n, 1) for n in shape) > MAX_SIZE:
        raise UnsafePickleError(f'an array must have at most {MAX_SIZE} items; got {shown(shape)}')
    return shape


def _checked_empty(shape: tuple[int, ...], dtype: np.dtype) -> tuple[int, ...]:
    # No byte stands behind these, so that only this bounds how long it takes to walk over them.
    count: int = math.prod(shape)
    if (dtype.itemsize == 0 and count > 0) or math.prod(max(n, 1) for n in shape) > MAX_EMPTY_SIZE:
        raise UnsafePickleError(
            f'an array without bytes must be empty and short; got {shown(shape)} of {dtype.str}'
        )
    return shape


def _is_count(value: object, least: int = 0) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= MAX_SIZE


def _check_characters(codes: np.ndarray) -> None:
    # numpy keeps any number, and fails when the text is looked at.
    if codes.max() > LAST_CHARACTER or ((codes >= SURROGATES[0]) & (codes <= SURROGATES[1])).any():
        raise UnsafePickleError('the characters of a text must be of Unicode; got a number that is none')
