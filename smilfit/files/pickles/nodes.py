"""What a pickle's steps are collected in before anything is made of them; nothing here does anything.

Lists, tuples, texts, numbers, truth values and None stand for themselves, bytes are a view of the file's. The
rest are these: none hashes, compares or prints what it holds.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field


@dataclass(eq=False, repr=False, slots=True)
class Name:
    """An allowed name: what it stands for (`pickles.names`), and how the file writes it."""

    kind: str
    origin: str


@dataclass(eq=False, repr=False, slots=True)
class Pairs:
    """A dict's keys and values in order, not hashed."""

    items: list[tuple[object, object]] = field(default_factory=list)


@dataclass(eq=False, repr=False, slots=True)
class Members:
    """A set's members, not hashed."""

    items: list[object] = field(default_factory=list)


@dataclass(eq=False, repr=False, slots=True)
class Made:
    """What a named thing was called with, the state that was given to it, and the items of an ordered dict."""

    name: Name
    arguments: tuple[object, ...]
    state: object = None
    has_state: bool = False
    items: list[tuple[object, object]] = field(default_factory=list)


def parts(node: object) -> Iterable[object]:
    """Return what a node holds; nothing for a leaf."""
    if isinstance(node, (list, tuple)):
        return node
    if isinstance(node, Pairs):
        return [part for pair in node.items for part in pair]
    if isinstance(node, Members):
        return node.items
    if isinstance(node, Made):
        return [*node.arguments, node.state, *(part for pair in node.items for part in pair)]
    return ()


def is_leaf(node: object) -> bool:
    """Check whether a node holds no others."""
    return type(node) not in _INNER


_INNER = {list, tuple, Pairs, Members, Made}


SHOWN_CHARACTERS = 60
SHOWN_NUMBERS = 8
SHOWN_NAMES = 12
SHOWN_NAME_CHARACTERS = 30


class UnsafePickleError(ValueError):
    """A pickle asks for something outside the allow-list, or for more than its size can need."""


class BrokenPickleError(ValueError):
    """The bytes are no whole pickle."""


def shown(value: object) -> str:
    """Write a value of a file's for a message: numbers and text cut short, of all else the kind alone."""
    if isinstance(value, (str, bytes)):
        start = repr(value[:SHOWN_CHARACTERS])
        return start if len(value) <= SHOWN_CHARACTERS else f'{start}... ({len(value)} long)'
    if value is None or isinstance(value, (bool, float)):
        return repr(value)
    if isinstance(value, int):
        return repr(value) if value.bit_length() <= 256 else f'an integer of {value.bit_length()} bits'
    if isinstance(value, memoryview):
        return f'{value.nbytes} bytes'
    if isinstance(value, (Pairs, Members)):
        return f'{"dict" if isinstance(value, Pairs) else "set"} of {len(value.items)}'
    if isinstance(value, (list, tuple)) and len(value) <= SHOWN_NUMBERS and all(map(_is_number, value)):
        return f'({", ".join(map(shown, value))})'
    if isinstance(value, (list, tuple, dict, set)):
        return f'{type(value).__name__} of {len(value)}'
    if isinstance(value, Made):
        return value.name.origin
    shape = getattr(value, 'shape', None)
    kind = getattr(value, 'origin', type(value).__name__)
    return f'{kind} of shape {shape}' if isinstance(shape, tuple) else str(kind)


def shown_names(names: Iterable[object]) -> str:
    """Write the keys of a file's dict for a message, the first of them."""
    texts = sorted(
        shown(name[:SHOWN_NAME_CHARACTERS] if isinstance(name, (str, bytes)) else name) for name in names
    )
    rest = len(texts) - SHOWN_NAMES
    return ', '.join(texts[:SHOWN_NAMES]) + (f' and {rest} more' if rest > 0 else '') if texts else 'no keys'


def _is_number(value: object) -> bool:
    return value is None or isinstance(value, (int, float))


MAX_DEPTH = 64
# What a file may grow to when everything shared is written out wherever it is reached, in bytes: so many times
# its size and a little more, for short files of labels that share long names. Real models stay below 2 times.
MAX_EXPANSION = 8
SPARE_EXPANSION_BYTES = 16 << 20
SLOT_BYTES = 8


def check_size(root: object, file_bytes: int) -> None:
    """Check depth and expansion of what a pickle made; the work is that of visiting every node once.

    Raises:
        UnsafePickleError: a value holds itself, is deeper than `MAX_DEPTH`, or expands beyond the limit.
    """
    limit = MAX_EXPANSION * file_bytes + SPARE_EXPANSION_BYTES
    sizes: dict[int, int] = {}
    depths: dict[int, int] = {}
    for node in inner_first(root, parts):
        size, depth = SLOT_BYTES, 1
        for part in parts(node):
            if is_leaf(part):
                size += _leaf_bytes(part)
            else:
                size += sizes[id(part)]
                depth = max(depth, 1 + depths[id(part)])
        if size > limit:
            raise UnsafePickleError(
                f'a pickle must not hold more than {limit} bytes when shared values are written out; got more'
            )
        if depth > MAX_DEPTH:
            raise _too_deep()
        sizes[id(node)], depths[id(node)] = size, depth


def inner_first(root: object, parts_of: Callable[[object], Iterable[object]]) -> Iterator[object]:
    """Return every node that holds others once, after what it holds; without recursion.

    Raises:
        UnsafePickleError: a value holds itself, or lies deeper than `MAX_DEPTH`.
    """
    if is_leaf(root):
        return
    # False while its parts are visited, True after.
    done = {id(root): False}
    waiting = [(root, iter(parts_of(root)))]
    while waiting:
        node, rest = waiting[-1]
        for part in rest:
            if is_leaf(part):
                continue
            finished = done.get(id(part))
            if finished is None:
                done[id(part)] = False
                if len(waiting) >= MAX_DEPTH:
                    raise _too_deep()
                waiting.append((part, iter(parts_of(part))))
                break
            if not finished:
                raise UnsafePickleError('a value must not hold itself; got one that does')
        else:
            waiting.pop()
            done[id(node)] = True
            yield node


def _too_deep() -> UnsafePickleError:
    return UnsafePickleError(f'values must nest at most {MAX_DEPTH} deep; got more')


def _leaf_bytes(leaf: object) -> int:
    if isinstance(leaf, (str, memoryview)):
        return SLOT_BYTES + len(leaf)
    return SLOT_BYTES
