"""Take a pickle's bytes apart into opcodes and their arguments, each length checked before anything is made of it.

An own table instead of `pickletools.genops`, with which the tests compare it: genops reads an argument before anybody
can refuse its opcode, turns decimal numbers of any length into integers (a time that grows with the square), and
cannot read the binary text that Python 2 writes in protocol 0. Text is decoded strictly: what is read can be printed.
"""

import mmap
import re
import struct
from collections.abc import Callable, Iterator

from smilfit.files.pickles.nodes import BrokenPickleError, UnsafePickleError, shown

# Real models have some hundred opcodes, one with its weights written as lists up to a million; so many take seconds.
MAX_OPCODES = 2_000_000
MAX_INTEGER_BYTES = 32
MAX_INTEGER_DIGITS = 64
MAX_NAME_BYTES = 256
PROTOCOLS = range(6)


# Name, argument (None without one), place of the first byte. A plain tuple: a million of them are made.
Opcode = tuple[str, object, int]
Data = bytes | mmap.mmap


class Source:
    """The bytes of a pickle and how far they are read; what reaches beyond their end is refused before it is made."""

    def __init__(self, data: Data, start: int = 0) -> None:
        self.data = data
        self.view = memoryview(data)
        self.at = start

    def take(self, count: int) -> memoryview:
        """Return the next bytes, without a copy.

        Raises:
            BrokenPickleError: there are fewer.
        """
        if count > len(self.data) - self.at:
            raise BrokenPickleError(f'{len(self.data) - self.at} of {count} bytes at byte {self.at}')
        self.at += count
        return self.view[self.at - count : self.at]

    def unsigned(self, size: int) -> int:
        """Return a little-endian number."""
        return int.from_bytes(self.take(size), 'little')

    def line(self, longest: int | None = None) -> bytes:
        """Return the bytes before the next line feed, and step over it.

        Raises:
            BrokenPickleError: there is none, or none within `longest` bytes.
        """
        start = self.at
        end = self.data.find(b'\n', start, len(self.data) if longest is None else start + longest + 1)
        if end < 0:
            raise BrokenPickleError(f'a line without an end at byte {start}')
        self.at = end + 1
        return self.data[start:end]


def opcodes_of(
    data: Data, start: int = 0, most: int = MAX_OPCODES, persistent: bool = False, alone: bool = True
) -> Iterator[Opcode]:
    """Return the opcodes one by one, up to and with STOP.

    Args:
        data: what holds the pickle.
        start: its first byte.
        most: how many opcodes it may have.
        persistent: whether it may name what lies outside of it (BINPERSID).
        alone: whether nothing but zeros may stand behind it.

    Raises:
        UnsafePickleError: an opcode that is refused, named with its place; too many of them; too long a number.
        BrokenPickleError: an unknown byte, an argument beyond the end, no STOP, or bytes after it.
    """
    source = Source(data, start)
    readers = READERS | PERSISTENT if persistent else READERS
    for _ in range(most):
        offset = source.at
        if offset == len(data):
            raise BrokenPickleError(f'an end without STOP at byte {offset}')
        result = readers.get(data[offset])
        if result is None:
            raise _not_allowed(data[offset], offset)
        source.at += 1
        name, read = result
        yield name, None if read is None else read(source), offset
        if name == 'STOP':
            # HDF5 pads texts with zeros.
            if alone and data[source.at :].strip(b'\0'):
                raise BrokenPickleError(f'{len(data) - source.at} bytes after its end')
            return
    raise UnsafePickleError(f'a pickle must have at most {most} opcodes; got more')


def _not_allowed(code: int, offset: int) -> Exception:
    if code in REFUSED:
        return UnsafePickleError(
            f'a pickle must not use the opcode {REFUSED[code]}, which no array needs; got one at byte {offset}'
        )
    return BrokenPickleError(f'byte {offset} (0x{code:02x}), which is no opcode')


def _decimal(digits: bytes, offset: int) -> int:
    if len(digits) > MAX_INTEGER_DIGITS:
        raise UnsafePickleError(
            f'an integer must have at most {MAX_INTEGER_DIGITS} digits; got more at byte {offset}'
        )
    if not re.fullmatch(rb'[+-]?[0-9]+', digits):
        raise BrokenPickleError(f'the integer {shown(digits)} at byte {offset}')
    return int(digits)


def _int(source: Source) -> int | bool:
    offset, line = source.at, source.line()
    # Protocols 0 and 1 write truth values so.
    return line == b'01' if line in (b'00', b'01') else _decimal(line, offset)


def _long(source: Source) -> int:
    offset, line = source.at, source.line()
    return _decimal(line.removesuffix(b'L'), offset)


def _index(source: Source) -> int:
    offset, line = source.at, source.line(20)
    return _decimal(line, offset)


def _long_bytes(size: int) -> Callable[[Source], int]:
    def read(source: Source) -> int:
        offset, length = source.at, source.unsigned(size)
        if length > MAX_INTEGER_BYTES:
            raise UnsafePickleError(
                f'an integer must have at most {MAX_INTEGER_BYTES} bytes; got {length} at byte {offset}'
            )
        return int.from_bytes(source.take(length), 'little', signed=True)

    return read


def _float(source: Source) -> float:
    offset, line = source.at, source.line(MAX_INTEGER_DIGITS)
    try:
        return float(line)
    except ValueError:
        raise BrokenPickleError(f'the number {shown(line)} at byte {offset}') from None


def _string(source: Source) -> str:
    """Read a text of Python 2's as it writes it in protocol 0: quoted, with escapes, one byte a character."""
    offset, line = source.at, source.line()
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
        raise BrokenPickleError(f'a text without its quotes at byte {offset}')
    body = line[1:-1]
    # Without pairs of backslashes, every backslash that is left begins an escape.
    if re.search(rb'\\(?![\'"nrt]|x[0-9a-fA-F]{2})', body.replace(rb'\\', b'')):
        raise BrokenPickleError(f'a text with an unknown escape at byte {offset}')
    return body.decode('unicode_escape')


def _unicode(source: Source) -> str:
    offset, line = source.at, source.line()
    try:
        # Narrow builds of Python 2 write one character beyond 0xffff as two; half of one is an error.
        return line.decode('raw_unicode_escape').encode('utf-16', 'surrogatepass').decode('utf-16')
    except UnicodeError:
        raise BrokenPickleError(f'a text that cannot be decoded at byte {offset}') from None


def _utf8(size: int) -> Callable[[Source], str]:
    def read(source: Source) -> str:
        offset = source.at
        try:
            return str(source.take(source.unsigned(size)), 'utf-8')
        except UnicodeError:
            raise BrokenPickleError(f'a text that is not UTF-8 at byte {offset}') from None

    return read


def _name(source: Source) -> tuple[str, str]:
    offset = source.at
    try:
        return source.line(MAX_NAME_BYTES).decode('utf-8'), source.line(MAX_NAME_BYTES).decode('utf-8')
    except UnicodeError:
        raise BrokenPickleError(f'a name that is not UTF-8 at byte {offset}') from None


def _unsigned(size: int) -> Callable[[Source], int]:
    return lambda source: source.unsigned(size)


def _signed(source: Source) -> int:
    return int.from_bytes(source.take(4), 'little', signed=True)


def _double(source: Source) -> float:
    return struct.unpack('>d', source.take(8))[0]


def _bytes(size: int) -> Callable[[Source], memoryview]:
    return lambda source: source.take(source.unsigned(size))


def _latin1(size: int) -> Callable[[Source], str]:
    return lambda source: str(source.take(source.unsigned(size)), 'latin1')


# Code -> name, how the argument is read.
READERS: dict[int, tuple[str, Callable[[Source], object] | None]] = {
    0x80: ('PROTO', _unsigned(1)), 0x95: ('FRAME', _unsigned(8)), ord('.'): ('STOP', None),
    ord('('): ('MARK', None), ord('0'): ('POP', None), ord('1'): ('POP_MARK', None), ord('2'): ('DUP', None),
    ord('N'): ('NONE', None), 0x88: ('NEWTRUE', None), 0x89: ('NEWFALSE', None),
    ord('I'): ('INT', _int), ord('L'): ('LONG', _long),
    0x8A: ('LONG1', _long_bytes(1)), 0x8B: ('LONG4', _long_bytes(4)),
    ord('J'): ('BININT', _signed), ord('K'): ('BININT1', _unsigned(1)), ord('M'): ('BININT2', _unsigned(2)),
    ord('F'): ('FLOAT', _float), ord('G'): ('BINFLOAT', _double),
    ord('S'): ('STRING', _string), ord('T'): ('BINSTRING', _latin1(4)), ord('U'): ('SHORT_BINSTRING', _latin1(1)),
    ord('V'): ('UNICODE', _unicode), 0x8C: ('SHORT_BINUNICODE', _utf8(1)),
    ord('X'): ('BINUNICODE', _utf8(4)), 0x8D: ('BINUNICODE8', _utf8(8)),
    ord('C'): ('SHORT_BINBYTES', _bytes(1)), ord('B'): ('BINBYTES', _bytes(4)),
    0x8E: ('BINBYTES8', _bytes(8)), 0x96: ('BYTEARRAY8', _bytes(8)),
    ord(']'): ('EMPTY_LIST', None), ord('l'): ('LIST', None),
    ord('a'): ('APPEND', None), ord('e'): ('APPENDS', None),
    ord(')'): ('EMPTY_TUPLE', None), ord('t'): ('TUPLE', None),
    0x85: ('TUPLE1', None), 0x86: ('TUPLE2', None), 0x87: ('TUPLE3', None),
    ord('}'): ('EMPTY_DICT', None), ord('d'): ('DICT', None),
    ord('s'): ('SETITEM', None), ord('u'): ('SETITEMS', None),
    0x8F: ('EMPTY_SET', None), 0x90: ('ADDITEMS', None),
    ord('c'): ('GLOBAL', _name), 0x93: ('STACK_GLOBAL', None),
    ord('R'): ('REDUCE', None), 0x81: ('NEWOBJ', None), ord('b'): ('BUILD', None),
    ord('p'): ('PUT', _index), ord('q'): ('BINPUT', _unsigned(1)), ord('r'): ('LONG_BINPUT', _unsigned(4)),
    ord('g'): ('GET', _index), ord('h'): ('BINGET', _unsigned(1)), ord('j'): ('LONG_BINGET', _unsigned(4)),
    0x94: ('MEMOIZE', None),
}  # fmt: skip
PERSISTENT: dict[int, tuple[str, Callable[[Source], object] | None]] = {ord('Q'): ('BINPERSID', None)}
REFUSED: dict[int, str] = {
    ord('P'): 'PERSID', ord('Q'): 'BINPERSID', ord('i'): 'INST', ord('o'): 'OBJ', 0x92: 'NEWOBJ_EX', 0x82: 'EXT1',
    0x83: 'EXT2', 0x84: 'EXT4', 0x91: 'FROZENSET', 0x97: 'NEXT_BUFFER', 0x98: 'READONLY_BUFFER',
}  # fmt: skip
