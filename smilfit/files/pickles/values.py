"""Turn checked nodes into values: plain containers, arrays that own their memory, and `StandIn`s."""

from collections.abc import Collection, Iterable
from typing import Any

from smilfit.files.pickles.bounds import inner_first
from smilfit.files.pickles.errors import UnsafePickleError, shown
from smilfit.files.pickles.nodes import Made, Members, Name, Pairs, parts
from smilfit.files.pickles.numpy_arrays import array_of, bytes_of

# Python hashes integers by remainder: beyond this, any number of them could be made to collide.
MAX_KEY_INTEGER = 1 << 60
# The hash of tuples of numbers is not keyed either.
MAX_TUPLE_KEYS = 1000
ARRAY_KINDS = {'reconstruct', 'frombuffer', 'scalar'}
# Of these, what they were called with is read by the array that they belong to.
CLOSED_KINDS = ARRAY_KINDS | {'encode', 'bytes'}


class StandIn:
    """Holds what a pickled object of a foreign class was made of; has no behaviour.

    Attributes:
        origin: the class, such as `scipy.sparse.csc.csc_matrix`.
        arguments: what it was called with.
        state: its attributes; where the pickle has another state than a dict, that under `state`.
    """

    def __init__(
        self, origin: str, arguments: tuple[Any, ...] = (), state: dict[str, Any] | None = None
    ) -> None:
        self.origin = origin
        self.arguments = arguments
        self.state = state or {}


def value_of(root: Any, builder: 'Builder | None' = None) -> Any:
    """Make the value of a node that passed `check_size`; what is shared is made once and stays shared.

    Args:
        root: the node.
        builder: makes objects; of arrays if None.

    Raises:
        UnsafePickleError: an array that is not allowed, a key that cannot be one, or a call that makes no sense.
    """
    builder = Builder() if builder is None else builder
    for node in inner_first(root, builder.open_parts):
        builder.add(node)
    return builder.value(root)


def without_keys(root: Any, drop: Collection[str]) -> Any:
    """Leave keys of an outermost dict out, with what stands there."""
    if isinstance(root, Made) and root.name.kind == 'ordered_dict':
        root = Pairs([*items_of(root.arguments), *root.items])
    if not isinstance(root, Pairs):
        return root
    return Pairs([(key, value) for key, value in root.items if not (isinstance(key, str) and key in drop)])


class Builder:
    """Values by node, and how many keys are tuples."""

    closed: Collection[str] = CLOSED_KINDS

    def __init__(self) -> None:
        self.made: dict[int, Any] = {}
        self.n_tuple_keys = 0

    def open_parts(self, node: Any) -> Iterable[Any]:
        """Give the parts of a node whose values are made before its own."""
        return () if isinstance(node, Made) and node.name.kind in self.closed else parts(node)

    def value(self, node: Any) -> Any:
        """Give the value of a leaf, or of a node that was added."""
        if id(node) in self.made:
            return self.made[id(node)]
        if isinstance(node, memoryview):
            return node.tobytes()
        return self.named(node) if isinstance(node, Name) else node

    def named(self, name: Name) -> Any:
        """Give what stands for a name that is not called."""
        return StandIn(name.origin)

    def add(self, node: Any) -> None:
        """Make a node's value of those of its parts."""
        value: Any
        if isinstance(node, list):
            value = [self.value(part) for part in node]
        elif isinstance(node, tuple):
            value = tuple(self.value(part) for part in node)
        elif isinstance(node, Pairs):
            value = self.dict_of(node.items)
        elif isinstance(node, Members):
            value = self.set_of(node.items)
        else:
            value = self.object_of(node)
        self.made[id(node)] = value

    def dict_of(self, items: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
        """Hash keys, which are small by now."""
        return {self.key(key): self.value(value) for key, value in items}

    def set_of(self, items: Any) -> set[str | int]:
        """Make a set of text and integers."""
        if not isinstance(items, list):
            raise UnsafePickleError(f'a set must be made of a list; got {shown(items)}')
        for item in items:
            if not (isinstance(item, str) or _is_small_integer(item)):
                raise UnsafePickleError(f'a set must hold text and integers below 2**60; got {shown(item)}')
        return set(items)

    def key(self, node: Any) -> Any:
        """Check that a node may be a key."""
        if isinstance(node, tuple):
            self.n_tuple_keys += 1
            if self.n_tuple_keys > MAX_TUPLE_KEYS:
                raise UnsafePickleError(f'at most {MAX_TUPLE_KEYS} keys may be tuples; got more')
        for part in node if isinstance(node, tuple) else (node,):
            plain = (
                part is None or isinstance(part, (str, bool, float, memoryview)) or _is_small_integer(part)
            )
            if not plain:
                raise UnsafePickleError(
                    f'a key must be text, a number below 2**60 or a tuple of these; got {shown(part)}'
                )
        if isinstance(node, tuple):
            return tuple(self.value(part) for part in node)
        return self.value(node)

    def object_of(self, node: Made) -> Any:
        """Make what was called, or a stand-in that says what was."""
        kind, arguments = node.name.kind, node.arguments
        if kind in ARRAY_KINDS:
            return array_of(node)
        if kind in ('encode', 'bytes'):
            return bytes(bytes_of(node))
        if kind == 'set':
            return self.set_of(arguments[0] if arguments else [])
        if kind == 'ordered_dict':
            return self.dict_of([*items_of(arguments), *node.items])
        if kind == 'reconstructor':
            return self.stand_in(_rebuilt_class(arguments).origin, (), node)
        if kind in ('stand_in', 'dtype'):
            return self.stand_in(node.name.origin, arguments, node)
        raise UnsafePickleError(f'a pickle must not make a {node.name.origin}; got one')

    def stand_in(self, origin: str, arguments: tuple[Any, ...], node: Made) -> StandIn:
        """Keep arguments and state."""
        state = self.value(node.state)
        if node.has_state and not isinstance(state, dict):
            state = {'state': state}
        return StandIn(origin, tuple(self.value(part) for part in arguments), state)


def _is_small_integer(node: Any) -> bool:
    return isinstance(node, int) and abs(node) < MAX_KEY_INTEGER


def items_of(arguments: tuple[Any, ...]) -> list[tuple[Any, Any]]:
    """Give the items that Python 2 makes an ordered dict with: a list of lists of two."""
    items = arguments[0] if len(arguments) == 1 else []
    if len(arguments) > 1 or not isinstance(items, list):
        raise UnsafePickleError(f'an ordered dict must be made of a list; got {shown(arguments)}')
    for item in items:
        if not (isinstance(item, (list, tuple)) and len(item) == 2):
            raise UnsafePickleError(
                f'an item of an ordered dict must be a key and a value; got {shown(item)}'
            )
    return [(key, value) for key, value in items]


def _rebuilt_class(arguments: tuple[Any, ...]) -> Name:
    """Give the class that `copyreg._reconstructor` makes an object of, in protocols 0 and 1."""
    kinds = [part.kind if isinstance(part, Name) else None for part in arguments]
    if kinds != ['stand_in', 'object', None] or arguments[2] is not None:
        raise UnsafePickleError('an object must be one of scipy.sparse or chumpy, of nothing; got another')
    return arguments[0]
