"""Make hostile pickles at random: mutations of real ones, opcodes in any order, models of drawn parts."""

import math
import pickletools
import struct
from random import Random

from smilfit.files.pickles.machine import ALLOWED
from tests.hostile import pickle_writer as write

CODES = [op.code.encode('latin1') for op in pickletools.opcodes]
LENGTHS = {'uint1': '<B', 'uint2': '<H', 'uint4': '<I', 'int4': '<i', 'uint8': '<Q', 'float8': '>d'}
NUMBERS = (
    0,
    1,
    2,
    3,
    4,
    8,
    24,
    127,
    255,
    256,
    65535,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**63 - 1,
    2**63,
    2**64 - 1,
)
TEXTS = (
    'f8', 'i4', 'u4', 'b1', 'O', 'O8', 'U2', 'S3', 'V8', '<', '>', '|', 'C', 'F', 'K', 'x', 'a', 'idxs', 'latin1',
    'data', 'indices', 'indptr', '_shape', 'coords', 'row', 'col', 'preferred_shape', 'weights', 'f', 'J', 'utf-8',
)  # fmt: skip
KEYS = (
    'v_template', 'f', 'weights', 'kintree_table', 'J', 'J_regressor', 'J_names', 'shapedirs', 'posedirs',
    'scaledirs', 'transdirs', 'shape_cov', 'shape_mean_betas', 'sym_verts', 'static_joint_locs', 'joint_limits',
)  # fmt: skip
NAMES = [
    *ALLOWED,
    ('scipy.sparse.csc', 'csc_matrix'),
    ('scipy.sparse._coo', 'coo_array'),
    ('chumpy.ch', 'Ch'),
]
NAMES += [
    ('chumpy.reordering', 'Select'),
    ('scipy.sparse', 'csr_matrix'),
    ('os', 'system'),
    ('builtins', 'eval'),
]


def mutated(seeds: list[bytes], draw: Random) -> bytes:
    """Change one of the pickles in one to four places."""
    data = draw.choice(seeds)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        data = draw.choice((_flipped, _cut, _repeated, _without, _spliced, _other_opcode))(data, seeds, draw)
    return data


def invented(draw: Random) -> bytes:
    """Write opcodes in any order, more often such that something is made of them."""
    # Memo 0 to 6 are there for whoever gets them.
    head = b'\x80' + bytes([draw.randint(0, 5)]) + b'(K\x01q\0]q\x01}q\x02U\x01xq\x03)q\x04Nq\x05'
    head += write.array([1.0]) + b'q\x06'
    makers = (_value, _value, _call, _call, _container, _container, _container, _any_opcode)
    wild = draw.random() < 0.3
    steps = [draw.choice(makers if wild else makers[:-1])(draw) for _ in range(draw.randint(1, 12))]
    return head + b''.join(steps) + draw.choice((b't.', b'l.', b'1K\x01.'))


def typed(draw: Random) -> bytes:
    """Write a body model with one to three keys of which kind, shape, indices or content are drawn."""
    return write.model(**{draw.choice(KEYS): _drawn(draw, 3) for _ in range(draw.randint(1, 3))})


def _drawn(draw: Random, depth: int) -> bytes:
    if depth == 0 or draw.random() < 0.15:
        return _value(draw) if draw.random() < 0.7 else _call(draw)
    return draw.choice((_array, _array, _sparse, _chumpy, _rows))(draw, depth - 1)


def _count(draw: Random) -> int:
    return draw.randint(0, 4) if draw.random() < 0.93 else draw.choice((-1, 2**31, 2**62, 2**70))


def _array(draw: Random, depth: int) -> bytes:
    code = draw.choice(('f8', 'f4', 'f2', 'i4', 'i8', 'u4', 'u8', 'b1', 'U2', 'S3', 'O8', 'V8', 'c8'))
    shape = [_count(draw) for _ in range(draw.randint(0, 3))]
    size = int(code[1:]) * (4 if code[0] == 'U' else 1)
    n_bytes = min(size * abs(math.prod(shape)), 4000) + (draw.randint(-1, 1) if draw.random() < 0.1 else 0)
    content = draw.choice((bytes(max(n_bytes, 0)), draw.randbytes(max(n_bytes, 0))))
    written = write.several(*map(write.integer, shape))
    if draw.random() < 0.5:
        return write.filled(write.kind(code), written, write.raw(content))
    order = [write.text(draw.choice('CFK'))]
    if draw.random() < 0.4:
        order.append(write.several(*(write.integer(_count(draw)) for _ in shape)))
    return write.buffered(write.raw(content), write.kind(code), written, *order)


def _indices(draw: Random) -> bytes:
    code = draw.choice(('i4', 'i8', 'u4', 'f8'))
    return write.array(
        [draw.randint(-1 if code[0] != 'u' and draw.random() < 0.1 else 0, 4) for _ in range(3)], code
    )


def _sparse(draw: Random, depth: int) -> bytes:
    shape = write.several(*(write.integer(_count(draw)) for _ in range(2)))
    changes = {
        '_shape': shape,
        'indices': _indices(draw),
        'indptr': _indices(draw),
        'data': _drawn(draw, depth),
    }
    changes |= {
        'row': _indices(draw),
        'col': _indices(draw),
        'coords': write.several(_indices(draw), _indices(draw)),
    }
    picked = {key: changes[key] for key in draw.sample(sorted(changes), draw.randint(0, 4))}
    return write.sparse(draw.choice(('csc_matrix', 'csr_matrix', 'coo_array', 'dok_matrix')), **picked)


def _chumpy(draw: Random, depth: int) -> bytes:
    state = {'x': _drawn(draw, depth), 'a': _drawn(draw, depth), 'idxs': _indices(draw)}
    state['preferred_shape'] = write.several(
        *(write.integer(_count(draw)) for _ in range(draw.randint(0, 3)))
    )
    picked = {key: state[key] for key in draw.sample(sorted(state), draw.randint(1, 4))}
    return write.stand_in(*draw.choice((('chumpy.ch', 'Ch'), ('chumpy.reordering', 'Select'))), picked)


def _rows(draw: Random, depth: int) -> bytes:
    return write.listed(*(_drawn(draw, depth) for _ in range(draw.randint(0, 3))))


def _flipped(data: bytes, seeds: list[bytes], draw: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 8)) if data else 0):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _cut(data: bytes, seeds: list[bytes], draw: Random) -> bytes:
    return data[: draw.randint(0, len(data))] + draw.choice((b'', b'.', b't.', b'u.', b'b.'))


def _slice(data: bytes, draw: Random) -> tuple[int, int]:
    start = draw.randint(0, len(data))
    return start, min(len(data), start + draw.randint(0, 60))


def _repeated(data: bytes, seeds: list[bytes], draw: Random) -> bytes:
    start, end = _slice(data, draw)
    return data[:end] + data[start:end] * draw.choice((1, 2, 50)) + data[end:]


def _without(data: bytes, seeds: list[bytes], draw: Random) -> bytes:
    start, end = _slice(data, draw)
    return data[:start] + data[end:]


def _spliced(data: bytes, seeds: list[bytes], draw: Random) -> bytes:
    other = draw.choice(seeds)
    return data[: draw.randint(0, len(data))] + other[draw.randint(0, len(other)) :]


def _other_opcode(data: bytes, seeds: list[bytes], draw: Random) -> bytes:
    """Replace, leave out, double or exchange whole opcodes; what no longer is a pickle stays as it is."""
    try:
        places = [place for _, _, place in pickletools.genops(data)] + [len(data)]
    except (ValueError, IndexError, DeprecationWarning):
        # genops takes names for texts with escapes, and warns.
        return data
    steps = [data[a:b] for a, b in zip(places, places[1:])]
    for _ in range(draw.randint(1, 5)):
        at, other = draw.randrange(len(steps)), draw.randrange(len(steps))
        new = draw.choice((_any_opcode, _value, _call))(draw)
        steps[at] = draw.choice((new, b'', steps[at] * 2, steps[other], steps[at] + new))
    return b''.join(steps)


def _any_opcode(draw: Random) -> bytes:
    """Return an opcode of the whole table with an argument of its kind."""
    op = draw.choice(pickletools.opcodes)
    code, kind = op.code.encode('latin1'), op.arg
    if kind is None:
        return code
    if kind.name in LENGTHS:
        return code + _packed(LENGTHS[kind.name], draw)
    if kind.n == pickletools.UP_TO_NEWLINE:
        lines = 2 if kind.name == 'stringnl_noescape_pair' else 1
        return code + b''.join(
            draw.choice((b'1', b'0', b"'a'", b'L', b'-5', b'a', b'os')) + b'\n' for _ in range(lines)
        )
    size = {pickletools.TAKEN_FROM_ARGUMENT1: '<B', pickletools.TAKEN_FROM_ARGUMENT4: '<i'}.get(kind.n, '<I')
    size = '<Q' if kind.name.endswith('8') else size
    content = draw.choice(TEXTS).encode()
    right = struct.pack(size, len(content))
    return code + (right if draw.random() < 0.8 else _packed(size, draw)) + content


def _packed(layout: str, draw: Random) -> bytes:
    if layout == '>d':
        return struct.pack(layout, draw.choice((0.0, 1.5, float('nan'), 1e300)))
    mask = (1 << (8 * struct.calcsize(layout))) - 1
    # Small ones mostly: others name nothing that is there.
    number = draw.choice(NUMBERS) if draw.random() < 0.3 else draw.randint(0, 6)
    return (number & mask).to_bytes(struct.calcsize(layout), 'little')


def _value(draw: Random) -> bytes:
    text = draw.choice(TEXTS).encode()
    number, memo = bytes([draw.randint(0, 4)]), bytes([draw.randint(0, 6)])
    texts = (b'X' + struct.pack('<I', len(text)) + text, b'B\x08\0\0\0' + draw.randbytes(8), b'U\x03abc')
    numbers = (b'K' + number, b'N', b'\x88', b'\x89', b'J\xff\xff\xff\xff', b'G\x3f' + bytes(7))
    return draw.choice((*texts, *numbers, b']', b')', b'}', b'h' + memo, b']\x94', b'K\x022\x86'))


def _name(draw: Random) -> bytes:
    module, name = draw.choice(NAMES)
    return f'c{module}\n{name}\n'.encode()


def _call(draw: Random) -> bytes:
    """Call or build a name that is mostly allowed, of a few values."""
    arguments = (
        b'(' + b''.join(draw.choice((_value, _value, _name))(draw) for _ in range(draw.randint(0, 5))) + b't'
    )
    made = _name(draw) + arguments + draw.choice((b'R', b'R', b'R', b'\x81', b'o', b'\x92'))
    state = draw.choice((b'', _container(draw) + b'b', arguments + b'b', _value(draw) + b'b'))
    return made + state


def _container(draw: Random) -> bytes:
    items = [_value(draw) if draw.random() < 0.8 else _name(draw) for _ in range(2 * draw.randint(0, 4))]
    return b'(' + b''.join(items) + draw.choice((b't', b'l', b'd', b'd', b'1', b'\x91'))
