"""Write pickles opcode by opcode: fragments that each leave one value on the stack, without a memo."""

import struct

import numpy as np

PROTOCOL = b'\x80\x04'
NONE, TRUE, FALSE, STOP = b'N', b'\x88', b'\x89', b'.'


def text(value: str) -> bytes:
    data = value.encode('utf-8')
    return b'X' + struct.pack('<I', len(data)) + data


def raw(data: bytes) -> bytes:
    return b'B' + struct.pack('<I', len(data)) + data


def integer(value: int) -> bytes:
    if -(2**31) <= value < 2**31:
        return b'J' + struct.pack('<i', value)
    data = value.to_bytes(value.bit_length() // 8 + 1, 'little', signed=True)
    return b'\x8a' + bytes([len(data)]) + data


def real(value: float) -> bytes:
    return b'G' + struct.pack('>d', value)


def several(*items: bytes) -> bytes:
    """Write a tuple."""
    return b'(' + b''.join(items) + b't'


def listed(*items: bytes) -> bytes:
    return b'(' + b''.join(items) + b'l'


def mapped(items: dict[bytes, bytes]) -> bytes:
    return b'(' + b''.join(key + value for key, value in items.items()) + b'd'


def named(module: str, name: str) -> bytes:
    return f'c{module}\n{name}\n'.encode()


def called(function: bytes, *arguments: bytes) -> bytes:
    return function + several(*arguments) + b'R'


def built(thing: bytes, state: bytes) -> bytes:
    return thing + state + b'b'


def put(index: int, thing: bytes) -> bytes:
    return thing + b'r' + struct.pack('<I', index)


def got(index: int) -> bytes:
    return b'j' + struct.pack('<I', index)


def kind(code: str, state: bytes | None = None) -> bytes:
    """Write a dtype; its usual state if None."""
    usual = several(integer(3), text('<'), NONE, NONE, NONE, integer(-1), integer(-1), integer(0))
    return built(called(named('numpy', 'dtype'), text(code), FALSE, TRUE), usual if state is None else state)


def objects() -> bytes:
    """Write the dtype of Python objects with the flags that numpy gives it."""
    return kind('O8', several(integer(3), text('|'), NONE, NONE, NONE, *[integer(-1)] * 2, integer(63)))


def fields_without_flags() -> bytes:
    """Write a dtype of 8 bytes with a Python object in it, whose flags say that it has none."""
    fields = mapped({text('f0'): several(objects(), integer(0))})
    sizes = (integer(8), integer(1), integer(0))
    return kind('V8', several(integer(3), text('|'), NONE, several(text('f0')), fields, *sizes))


def empty_array() -> bytes:
    reconstruct = named('numpy.core.multiarray', '_reconstruct')
    return called(reconstruct, named('numpy', 'ndarray'), several(integer(0)), raw(b'b'))


def filled(dtype: bytes, shape: bytes, content: bytes) -> bytes:
    """Write an array as protocols 0 to 4 have it."""
    return built(empty_array(), several(integer(1), shape, dtype, FALSE, content))


def buffered(content: bytes, dtype: bytes, shape: bytes, *order: bytes) -> bytes:
    """Write an array as protocol 5 has it."""
    return called(named('numpy.core.numeric', '_frombuffer'), content, dtype, shape, *(order or (text('C'),)))


def array(values: object, code: str = 'f8') -> bytes:
    numbers = np.asarray(values, np.dtype('<' + code))
    return filled(kind(code), several(*map(integer, numbers.shape)), raw(numbers.tobytes()))


def stand_in(module: str, name: str, state: dict[str, bytes]) -> bytes:
    attributes = mapped({text(key): value for key, value in state.items()})
    return named(module, name) + b')\x81' + attributes + b'b'


def sparse(name: str = 'csc_matrix', **changes: bytes) -> bytes:
    """Write a 2 x 4 matrix with one number a row, or what `changes` make of it."""
    by_columns = [0, 1, 2, 2, 2] if name.startswith('csc') else [0, 1, 2]
    state = {
        '_shape': several(integer(2), integer(4)),
        'data': array([1.0, 1.0]),
        'indices': array([0, 1], 'i4'),
        'indptr': array(by_columns, 'i4'),
    }
    return stand_in(f'scipy.sparse.{name[:3]}', name, state | changes)


def model(**changes: bytes) -> bytes:
    """Write a body model of 4 vertices and 2 joints, with some keys changed or added."""
    return PROTOCOL + model_dict(**changes) + STOP


def model_dict(**changes: bytes) -> bytes:
    values = {
        'v_template': array(np.eye(4, 3)),
        'f': array([[0, 1, 2], [0, 2, 3]], 'i4'),
        'weights': array([[1, 0], [1, 0], [0, 1], [0, 1]]),
        'kintree_table': array([[-1, 0], [0, 1]], 'i4'),
        'J_regressor': sparse(),
        'shapedirs': stand_in('chumpy.ch', 'Ch', {'x': array(np.full((4, 3, 2), 0.1))}),
    }
    return mapped({text(key): value for key, value in (values | changes).items()})
