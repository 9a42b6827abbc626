"""Run a pickle's opcodes on a stack of inert nodes.

No opcode calls, hashes, compares or prints anything of the file's: a name gives a `Name`, a call a `Made`, a dict
`Pairs`. Memory and time grow with the number of opcodes alone: the memo is a dict, bytes are views.
"""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, TypeGuard

from smilfit.files.account import charge
from smilfit.files.pickles.nodes import (
    BrokenPickleError,
    Made,
    Members,
    Name,
    Pairs,
    UnsafePickleError,
    shown,
)
from smilfit.files.pickles.opcodes import MAX_OPCODES, PROTOCOLS, Data, Opcode, opcodes_of

# What is asked for -> what it stands for here. Both spellings: Python 2 and 3, numpy 1 and 2.
ALLOWED: dict[tuple[str, str], str] = {
    ('numpy', 'dtype'): 'dtype',
    ('numpy', 'ndarray'): 'ndarray',
    ('_codecs', 'encode'): 'encode',
    ('collections', 'OrderedDict'): 'ordered_dict',
}
for _core in ('numpy.core', 'numpy._core'):
    ALLOWED[(f'{_core}.multiarray', '_reconstruct')] = 'reconstruct'
    ALLOWED[(f'{_core}.multiarray', 'scalar')] = 'scalar'
    ALLOWED[(f'{_core}.numeric', '_frombuffer')] = 'frombuffer'
for _builtins in ('builtins', '__builtin__'):
    ALLOWED[(_builtins, 'set')] = 'set'
    ALLOWED[(_builtins, 'object')] = 'object'
    # Python 3 writes empty bytes so in protocols 0 to 2.
    ALLOWED[(_builtins, 'bytes')] = 'bytes'
for _copyreg in ('copyreg', 'copy_reg'):
    ALLOWED[(_copyreg, '_reconstructor')] = 'reconstructor'
# Whatever stands below these is kept as what it was made of; messages show the name, so it is short and plain.
STAND_IN = re.compile(r'(scipy\.sparse|chumpy)(\.[A-Za-z_][A-Za-z0-9_]{0,40}){1,5}')
# Kinds whose objects take a state; an ordered dict's would be its attributes.
TAKES_STATE = {'reconstruct', 'dtype', 'stand_in', 'reconstructor'}


def allowed_name(module: str, name: str) -> Name:
    """Return what a name stands for.

    Raises:
        UnsafePickleError: it is not on the allow-list.
    """
    kind = ALLOWED.get((module, name))
    if kind is None and STAND_IN.fullmatch(f'{module}.{name}'):
        kind = 'stand_in'
    if kind is None:
        raise UnsafePickleError(
            'a pickle must ask for nothing but arrays of numpy, scipy.sparse and chumpy; got '
            f'{shown(f"{module[:80]}.{name[:80]}")}, which is not on the allow-list'
        )
    return Name(kind, f'{module}.{name}')


# Lists in lists and the like that are begun and not ended.
MAX_OPEN_MARKS = 1000
# Lists, tuples, dicts and calls: Python's own bookkeeping makes them ten times as dear as numbers.
MAX_CONTAINERS = 250_000
# About what one of them takes, and how many are put on the file's account at once.
CONTAINER_BYTES = 200
CHARGED_AT_ONCE = 4096
CONSTANTS = {'NONE': None, 'NEWTRUE': True, 'NEWFALSE': False}
LITERALS = {
    'INT', 'BININT', 'BININT1', 'BININT2', 'LONG', 'LONG1', 'LONG4', 'FLOAT', 'BINFLOAT',
    'STRING', 'BINSTRING', 'SHORT_BINSTRING', 'UNICODE', 'SHORT_BINUNICODE', 'BINUNICODE', 'BINUNICODE8',
    'SHORT_BINBYTES', 'BINBYTES', 'BINBYTES8', 'BYTEARRAY8',
}  # fmt: skip


@dataclass(frozen=True)
class Dialect:
    """What a kind of pickle may ask for.

    `name_of` gives the node of a name or refuses it; `takes_state` are the kinds of names whose objects take a state;
    `persistent` says whether it may name what lies outside of it; `filled` whether stand-ins hold items, as those of
    kinds of lists and dicts do. Opcodes and containers may be more by some for each byte.
    """

    name_of: Callable[[str, str], Name] = allowed_name
    takes_state: Collection[str] = frozenset(TAKES_STATE)
    persistent: bool = False
    filled: bool = False
    opcodes_per_byte: float = 0.0
    containers_per_byte: float = 0.0


ARRAYS = Dialect()


def run(data: bytes) -> object:
    """Run a pickle of arrays.

    Returns:
        The node that it leaves; lists and `Pairs` in it may hold themselves.

    Raises:
        UnsafePickleError: an opcode or a name that is not allowed, or one of them where it is not allowed.
        BrokenPickleError: the opcodes make no sense.
    """
    return run_from(data, 0, ARRAYS, alone=True)[0]


def run_from(data: Data, start: int, dialect: Dialect, alone: bool = False) -> tuple[object, int]:
    """Run a pickle that begins at a byte; as `run`.

    Args:
        data: what holds it.
        start: its first byte.
        dialect: what it may ask for.
        alone: whether nothing may stand behind it.

    Returns:
        The node, and the place of the byte behind the pickle.
    """
    size = len(data) - start
    machine = Machine(size, start, dialect)
    most = MAX_OPCODES + int(dialect.opcodes_per_byte * size)
    offset = start
    for opcode in opcodes_of(data, start, most, dialect.persistent, alone):
        offset = opcode[2]
        try:
            machine.step(opcode)
        except (BrokenPickleError, UnsafePickleError) as error:
            raise type(error)(f'{error} ({opcode[0]} at byte {offset})') from None
    return machine.result(), offset + 1


class Machine:
    """A stack, the places of its open marks, and the memo."""

    def __init__(self, size: int, start: int = 0, dialect: Dialect = ARRAYS) -> None:
        self.size, self.start, self.dialect = size, start, dialect
        self.most_containers = MAX_CONTAINERS + int(dialect.containers_per_byte * size)
        self.stack: list[object] = []
        self.marks: list[int] = []
        self.memo: dict[int, object] = {}
        self.n_containers = 0

    def step(self, opcode: Opcode) -> None:
        """Do what one opcode says."""
        name, argument, offset = opcode
        if name in LITERALS:
            self.stack.append(argument)
        elif name in ACTIONS:
            ACTIONS[name](self)
        elif name in CONSTANTS:
            self.stack.append(CONSTANTS[name])
        else:
            TAKES_ARGUMENT[name](self, argument, offset)

    def result(self) -> object:
        """Return what is left after STOP."""
        if len(self.stack) != 1 or self.marks:
            raise BrokenPickleError(f'{len(self.stack)} values and {len(self.marks)} open marks at its end')
        return self.stack[0]

    def make(self, container: object) -> None:
        """Put a container onto the stack."""
        self.n_containers += 1
        if self.n_containers > self.most_containers:
            raise UnsafePickleError(f'a pickle must have at most {self.most_containers} containers; got more')
        if self.n_containers % CHARGED_AT_ONCE == 0:
            charge('its pickle', CHARGED_AT_ONCE * CONTAINER_BYTES, CHARGED_AT_ONCE)
        self.stack.append(container)

    def pop(self) -> object:
        """Take the top of the stack, above the last mark."""
        self.top()
        return self.stack.pop()

    def top(self) -> object:
        """Look at the top of the stack, above the last mark."""
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise BrokenPickleError('an empty stack')
        return self.stack[-1]

    def pop_mark(self) -> list[object]:
        """Take all above the last mark, and the mark."""
        if not self.marks:
            raise BrokenPickleError('no mark')
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items


def _protocol(machine: Machine, number: int, offset: int) -> None:
    if number not in PROTOCOLS or offset != machine.start:
        raise BrokenPickleError(f'protocol {number}, of {PROTOCOLS[0]} to {PROTOCOLS[-1]}, once and first')


def _frame(machine: Machine, length: int, offset: int) -> None:
    if length > machine.size - (offset - machine.start) - 9:
        raise BrokenPickleError(f'a frame of {length} bytes, of which the rest is missing')


def _put(machine: Machine, index: int, offset: int) -> None:
    machine.memo[index] = machine.top()


def _get(machine: Machine, index: int, offset: int) -> None:
    if index not in machine.memo:
        raise BrokenPickleError(f'memo {shown(index)}, which was never put')
    machine.stack.append(machine.memo[index])


def _global(machine: Machine, names: tuple[str, str], offset: int) -> None:
    machine.make(machine.dialect.name_of(*names))


def _stack_global(machine: Machine) -> None:
    name, module = machine.pop(), machine.pop()
    if not (isinstance(name, str) and isinstance(module, str)):
        raise BrokenPickleError(f'a name that is no text but {shown(name)}')
    machine.make(machine.dialect.name_of(module, name))


def _mark(machine: Machine) -> None:
    if len(machine.marks) >= MAX_OPEN_MARKS:
        raise UnsafePickleError(f'a pickle must have at most {MAX_OPEN_MARKS} open marks; got more')
    machine.marks.append(len(machine.stack))


def _pop(machine: Machine) -> None:
    # As Python's reader does: over nothing but a mark, the mark goes.
    if machine.marks and len(machine.stack) == machine.marks[-1]:
        machine.marks.pop()
    else:
        machine.pop()


def _drop_mark(machine: Machine) -> None:
    machine.pop_mark()


def _append(machine: Machine, items: list[object]) -> None:
    target = machine.top()
    if _is_filled(target, machine):
        target.items.extend((None, item) for item in items)
        return
    if not isinstance(target, list):
        raise UnsafePickleError(f'items must be appended to a list; got {shown(target)}')
    target.extend(items)


def _set_items(machine: Machine, items: list[object]) -> None:
    target = machine.top()
    if not isinstance(target, (Pairs, Made)) or not (
        isinstance(target, Pairs) or target.name.kind == 'ordered_dict' or _is_filled(target, machine)
    ):
        raise UnsafePickleError(f'items must be set in a dict; got {shown(target)}')
    target.items.extend(_pairs(items))


def _is_filled(target: object, machine: Machine) -> TypeGuard[Made]:
    """Check whether a stand-in may hold items here."""
    return machine.dialect.filled and isinstance(target, Made) and target.name.kind == 'stand_in'


def _pairs(items: list[object]) -> list[tuple[object, object]]:
    if len(items) % 2:
        raise BrokenPickleError('a key without a value')
    return list(zip(items[::2], items[1::2]))


def _add_items(machine: Machine) -> None:
    items, target = machine.pop_mark(), machine.top()
    if not isinstance(target, Members):
        raise UnsafePickleError(f'members must be added to a set; got {shown(target)}')
    target.items.extend(items)


def _set_item(machine: Machine) -> None:
    value, key = machine.pop(), machine.pop()
    _set_items(machine, [key, value])


def _tuple(count: int) -> Callable[[Machine], None]:
    def act(machine: Machine) -> None:
        items = [machine.pop() for _ in range(count)]
        machine.make(tuple(reversed(items)))

    return act


def _reduce(machine: Machine) -> None:
    arguments, name = machine.pop(), machine.pop()
    if not isinstance(name, Name) or not isinstance(arguments, tuple):
        raise UnsafePickleError(
            f'a pickle must call allowed names, with a tuple; got {shown(name)} and {shown(arguments)}'
        )
    machine.make(Made(name, arguments))


def _new_object(machine: Machine) -> None:
    arguments, name = machine.pop(), machine.pop()
    if not isinstance(name, Name) or name.kind != 'stand_in' or not isinstance(arguments, tuple):
        raise UnsafePickleError(f'a new object must be one of scipy.sparse or chumpy; got {shown(name)}')
    machine.make(Made(name, arguments))


def _persistent(machine: Machine) -> None:
    machine.make(Made(Name('persistent', 'a storage'), (machine.pop(),)))


def _build(machine: Machine) -> None:
    state, target = machine.pop(), machine.top()
    if not isinstance(target, Made) or target.name.kind not in machine.dialect.takes_state:
        raise UnsafePickleError(f'a state must be given to an array or a stand-in; got {shown(target)}')
    if target.has_state:
        raise UnsafePickleError(f'a state must be given once; got another for {shown(target)}')
    target.state, target.has_state = state, True


TAKES_ARGUMENT: dict[str, Callable[[Machine, Any, int], None]] = {
    'PROTO': _protocol, 'FRAME': _frame, 'GLOBAL': _global,
    'PUT': _put, 'BINPUT': _put, 'LONG_BINPUT': _put, 'GET': _get, 'BINGET': _get, 'LONG_BINGET': _get,
}  # fmt: skip
ACTIONS: dict[str, Callable[[Machine], None]] = {
    'STOP': lambda m: None, 'MARK': _mark, 'POP': _pop, 'POP_MARK': _drop_mark,
    'DUP': lambda m: m.stack.append(m.top()),
    'EMPTY_LIST': lambda m: m.make([]), 'LIST': lambda m: m.make(m.pop_mark()),
    'APPEND': lambda m: _append(m, [m.pop()]), 'APPENDS': lambda m: _append(m, m.pop_mark()),
    'EMPTY_TUPLE': lambda m: m.make(()), 'TUPLE': lambda m: m.make(tuple(m.pop_mark())),
    'TUPLE1': _tuple(1), 'TUPLE2': _tuple(2), 'TUPLE3': _tuple(3),
    'EMPTY_DICT': lambda m: m.make(Pairs()), 'DICT': lambda m: m.make(Pairs(_pairs(m.pop_mark()))),
    'SETITEM': _set_item, 'SETITEMS': lambda m: _set_items(m, m.pop_mark()),
    'EMPTY_SET': lambda m: m.make(Members()), 'ADDITEMS': _add_items,
    'STACK_GLOBAL': _stack_global, 'REDUCE': _reduce, 'NEWOBJ': _new_object, 'BUILD': _build,
    'BINPERSID': _persistent,
    'MEMOIZE': lambda m: m.memo.__setitem__(len(m.memo), m.top()),
}  # fmt: skip
