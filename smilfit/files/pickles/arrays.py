"""Turn what a model file holds into arrays of numbers: arrays, lists, and stand-ins of scipy and chumpy.

Every index is checked before numpy sees it, and every size before memory is taken.
"""

import math
from collections.abc import Collection, Iterable
from typing import Any

import numpy as np

from smilfit.files.pickles.nodes import (
    Made,
    Members,
    Name,
    Pairs,
    UnsafePickleError,
    inner_first,
    parts,
    shown,
    shown_names,
)
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
        self, origin: str, arguments: tuple[object, ...] = (), state: dict[str, object] | None = None
    ) -> None:
        self.origin = origin
        self.arguments = arguments
        self.state = state or {}


def value_of(root: object, builder: 'Builder | None' = None) -> Any:
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


def without_keys(root: object, drop: Collection[str]) -> object:
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
        self.made: dict[int, object] = {}
        self.n_tuple_keys = 0

    def open_parts(self, node: object) -> Iterable[object]:
        """Return the parts of a node whose values are made before its own."""
        return () if isinstance(node, Made) and node.name.kind in self.closed else parts(node)

    def value(self, node: object) -> object:
        """Return the value of a leaf, or of a node that was added."""
        if id(node) in self.made:
            return self.made[id(node)]
        if isinstance(node, memoryview):
            return node.tobytes()
        return self.named(node) if isinstance(node, Name) else node

    def named(self, name: Name) -> object:
        """Return what stands for a name that is not called."""
        return StandIn(name.origin)

    def add(self, node: object) -> None:
        """Make a node's value of those of its parts."""
        value: object
        if isinstance(node, list):
            value = [self.value(part) for part in node]
        elif isinstance(node, tuple):
            value = tuple(self.value(part) for part in node)
        elif isinstance(node, Pairs):
            value = self.dict_of(node.items)
        elif isinstance(node, Members):
            value = self.set_of(node.items)
        elif isinstance(node, Made):
            value = self.object_of(node)
        else:
            raise TypeError(f'a node must hold others; got {shown(node)}')
        self.made[id(node)] = value

    def dict_of(self, items: Iterable[tuple[object, object]]) -> dict[object, object]:
        """Hash keys, which are small by now."""
        return {self.key(key): self.value(value) for key, value in items}

    def set_of(self, items: object) -> set[str | int]:
        """Make a set of text and integers."""
        if not isinstance(items, list):
            raise UnsafePickleError(f'a set must be made of a list; got {shown(items)}')
        for item in items:
            if not (isinstance(item, str) or _is_small_integer(item)):
                raise UnsafePickleError(f'a set must hold text and integers below 2**60; got {shown(item)}')
        return set(items)

    def key(self, node: object) -> object:
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

    def object_of(self, node: Made) -> object:
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

    def stand_in(self, origin: str, arguments: tuple[object, ...], node: Made) -> StandIn:
        """Keep arguments and state."""
        state = self.value(node.state)
        if not isinstance(state, dict):
            state = {'state': state} if node.has_state else {}
        return StandIn(origin, tuple(self.value(part) for part in arguments), state)


def _is_small_integer(node: object) -> bool:
    return isinstance(node, int) and abs(node) < MAX_KEY_INTEGER


def items_of(arguments: tuple[object, ...]) -> list[tuple[object, object]]:
    """Return the items that Python 2 makes an ordered dict with: a list of lists of two."""
    items = arguments[0] if len(arguments) == 1 else []
    if len(arguments) > 1 or not isinstance(items, list):
        raise UnsafePickleError(f'an ordered dict must be made of a list; got {shown(arguments)}')
    for item in items:
        if not (isinstance(item, (list, tuple)) and len(item) == 2):
            raise UnsafePickleError(
                f'an item of an ordered dict must be a key and a value; got {shown(item)}'
            )
    return [(key, value) for key, value in items]


def _rebuilt_class(arguments: tuple[object, ...]) -> Name:
    """Return the class that `copyreg._reconstructor` makes an object of, in protocols 0 and 1."""
    kinds = [part.kind if isinstance(part, Name) else None for part in arguments]
    rebuilt = arguments[0] if kinds == ['stand_in', 'object', None] else None
    if not isinstance(rebuilt, Name) or arguments[2] is not None:
        raise UnsafePickleError('an object must be one of scipy.sparse or chumpy, of nothing; got another')
    return rebuilt


# A joint regressor of 100 joints and 500,000 vertices fits.
MAX_DENSE_BYTES = 512 << 20
MAX_CHUMPY_DEPTH = 16
# What a list may nest; lists of files are bounded already, in size too.
MAX_LIST_DEPTH = 32
NUMBER_KINDS = 'biuf'
MAX_INTEGER = 2**63 - 1


def as_array(value: object, what: str = 'value') -> np.ndarray:
    """Turn an array, numbers in lists, or a scipy or chumpy stand-in, into a numpy array of numbers.

    Args:
        value: as `read_pickle` or `numpy.load` gives it.
        what: file and key, for messages.

    Raises:
        ValueError: text, Python objects, complex numbers, lists of unequal lengths, an index outside, a stand-in of
            another kind, or a sparse matrix that would need more than `MAX_DENSE_BYTES`.
    """
    try:
        return _as_array(value, what, MAX_CHUMPY_DEPTH)
    except MemoryError:
        raise ValueError(
            f'{what}: must fit into memory; got numbers that do not. Close other programs.'
        ) from None


def whole_numbers(value: object, what: str) -> np.ndarray:
    """Turn what `as_array` takes into int64.

    Raises:
        ValueError: as there, truth values, or a number that is not whole or does not fit.
    """
    array = as_array(value, what)
    if array.dtype.kind == 'i':
        return array.astype(np.int64)
    if array.dtype.kind == 'b' and array.size:
        raise ValueError(f'{what}: must be whole numbers; got true and false. Save it as integers.')
    if array.dtype.kind == 'u':
        wrong = array > np.uint64(MAX_INTEGER)
    else:
        # In float64, of which every number below 2**63 is an int64.
        with np.errstate(invalid='ignore'):
            wide = array.astype(np.float64)
            wrong = ~((np.trunc(wide) == wide) & (np.abs(wide) < 2.0**63))
    if wrong.any():
        raise ValueError(
            f'{what}: must be whole numbers; got {array[wrong][0]!s}. Round them in the authoring tool.'
        )
    return array.astype(np.int64)


def _as_array(value: object, what: str, depth: int) -> np.ndarray:
    if isinstance(value, StandIn):
        if value.origin.split('.')[0] == 'chumpy':
            return _chumpy_array(value, what, depth)
        if value.origin.startswith('scipy.sparse'):
            return _scipy_array(value, what)
        raise ValueError(f'{what}: must be numbers; got a {value.origin}. Save it as an array.')
    if isinstance(value, (list, tuple)):
        _check_numbers(value, what, MAX_LIST_DEPTH)
    elif not isinstance(value, (np.ndarray, np.generic, bool, int, float)):
        raise ValueError(f'{what}: must be numbers; got {shown(value)}. Save it as an array.')
    try:
        array = np.asarray(value)
    except (ValueError, OverflowError) as error:
        raise ValueError(
            f'{what}: must be numbers in rows of equal length; got {error}. Mend the file.'
        ) from None
    if array.dtype.kind not in NUMBER_KINDS:
        kind = {'O': 'Python objects', 'S': 'text', 'U': 'text', 'c': 'complex numbers'}.get(
            array.dtype.kind, array.dtype
        )
        raise ValueError(f'{what}: must be numbers; got {kind}. Save it as an array of numbers.')
    return array


def _check_numbers(items: list[object] | tuple[object, ...], what: str, depth: int) -> None:
    """Check lists before numpy sees them: of texts it makes a table as wide as the longest."""
    if depth == 0:
        raise ValueError(f'{what}: lists must nest at most {MAX_LIST_DEPTH} deep; got more. Mend the file.')
    for item in items:
        if isinstance(item, (list, tuple)):
            _check_numbers(item, what, depth - 1)
        elif isinstance(item, (np.ndarray, np.generic)):
            if item.dtype.kind not in NUMBER_KINDS:
                raise ValueError(
                    f'{what}: must be numbers; got a list with {item.dtype}. Save it as an array.'
                )
        elif not isinstance(item, (bool, int, float)):
            raise ValueError(f'{what}: must be numbers; got a list with {shown(item)}. Save it as an array.')


def _chumpy_array(value: StandIn, what: str, depth: int) -> np.ndarray:
    if depth == 0:
        raise ValueError(
            f'{what}: chumpy arrays must nest at most {MAX_CHUMPY_DEPTH} deep; got more. Evaluate it first.'
        )
    state = value.state
    if value.origin.endswith('.Select') and 'a' in state and 'idxs' in state:
        source = _as_array(state['a'], what, depth - 1).ravel()
        # Indices are arrays in chumpy's files; a choice of a choice of indices would double the work at every level.
        if isinstance(state['idxs'], StandIn):
            raise ValueError(
                f'{what}: idxs must be an array; got a {state["idxs"].origin}. Evaluate it first.'
            )
        picked = source[_indices(state['idxs'], len(source), f'{what}: idxs')]
        return _reshaped(picked, state['preferred_shape'], what) if 'preferred_shape' in state else picked
    if 'x' in state:
        return _as_array(state['x'], what, depth - 1)
    raise ValueError(
        f'{what}: a {value.origin} must hold its numbers; got only {shown_names(state)}. Evaluate it first.'
    )


def _reshaped(array: np.ndarray, shape: object, what: str) -> np.ndarray:
    counts = whole_numbers(shape, f'{what}: preferred_shape').ravel().tolist()
    if len(counts) > 32 or min(counts, default=0) < 0 or math.prod(counts) != array.size:
        raise ValueError(
            f'{what}: preferred_shape must hold {array.size} numbers; got {shown(shape)}. Mend the file.'
        )
    return array.reshape(counts)


def _indices(value: object, count: int, what: str) -> np.ndarray:
    """Return indices, all of them inside; negative ones are an error too."""
    indices = whole_numbers(value, what)
    outside = (indices < 0) | (indices >= count)
    if outside.any():
        raise ValueError(f'{what}: must be 0 to {count - 1}; got {indices[outside][0]}. Mend the file.')
    return indices


def _scipy_array(value: StandIn, what: str) -> np.ndarray:
    state, kind = value.state, value.origin.rsplit('.', 1)[-1]
    shape = state.get('_shape', state.get('shape'))
    if shape is None or not kind.startswith(('csc', 'csr', 'coo')):
        raise ValueError(
            f'{what}: a sparse matrix must be csc, csr or coo; got {value.origin}. Save it as one of them.'
        )
    rows, columns = _sparse_shape(shape, what)
    data = _vector(state, 'data', what)
    if kind.startswith('coo'):
        # Newer scipy keeps both index arrays as `coords`.
        both = state['coords'] if 'coords' in state else (state.get('row'), state.get('col'))
        if not isinstance(both, (tuple, list)) or len(both) != 2:
            raise ValueError(f'{what}: coords must be rows and columns; got {shown(both)}. Mend the file.')
        row, column = (_indices(b, n, f'{what}: coords').ravel() for b, n in zip(both, (rows, columns)))
    else:
        minor_count, major_count = (rows, columns) if kind.startswith('csc') else (columns, rows)
        minor = _indices(_vector(state, 'indices', what), minor_count, f'{what}: indices')
        major = _majors(_vector(state, 'indptr', what), major_count, len(minor), what)
        row, column = (minor, major) if kind.startswith('csc') else (major, minor)
    if not len(row) == len(column) == len(data):
        raise ValueError(
            f'{what}: a sparse matrix must have an index for every number; got {len(row)}, {len(column)} and '
            f'{len(data)}. Mend the file.'
        )
    dense = np.zeros((rows, columns))
    with np.errstate(invalid='ignore', over='ignore'):
        np.add.at(dense, (row, column), data)
    return dense


def _sparse_shape(shape: object, what: str) -> tuple[int, int]:
    counts = whole_numbers(shape, f'{what}: shape').ravel().tolist()
    if len(counts) != 2 or min(counts) < 0:
        raise ValueError(
            f'{what}: the shape of a sparse matrix must be two counts; got {shown(shape)}. Mend the file.'
        )
    n_bytes = 8 * max(counts[0], 1) * max(counts[1], 1)
    if n_bytes > MAX_DENSE_BYTES:
        raise ValueError(
            f'{what}: a sparse matrix must be at most {MAX_DENSE_BYTES} bytes written out; got {counts[0]} x '
            f'{counts[1]}, which are {n_bytes}. Leave out what is empty.'
        )
    return counts[0], counts[1]


def _vector(state: dict[str, object], key: str, what: str) -> np.ndarray:
    if key not in state:
        raise ValueError(
            f'{what}: a sparse matrix must have {key}; got only {shown_names(state)}. Mend the file.'
        )
    # No stand-ins: scipy's own parts are arrays.
    stored = state[key]
    if isinstance(stored, StandIn):
        raise ValueError(f'{what}: {key} must be an array; got a {stored.origin}. Mend the file.')
    array = as_array(stored, f'{what}: {key}')
    if array.ndim != 1:
        raise ValueError(f'{what}: {key} must have one dimension; got {array.shape}. Mend the file.')
    return array


def _majors(pointers: np.ndarray, count: int, n_numbers: int, what: str) -> np.ndarray:
    """Return the row (csr) or column (csc) of every number from where each begins."""
    starts = whole_numbers(pointers, f'{what}: indptr')
    ordered = len(starts) == count + 1 and starts[0] == 0 and starts[-1] == n_numbers
    if not ordered or (starts[1:] < starts[:-1]).any():
        raise ValueError(
            f'{what}: indptr must rise from 0 to {n_numbers} in {count + 1} steps; got {len(starts)} numbers that do '
            'not. Mend the file.'
        )
    return np.repeat(np.arange(count), np.diff(starts))
