"""Read body-model pickles without running any code of theirs.

An allow-list unpickler: numpy arrays are rebuilt by functions of our own, scipy's sparse matrices and chumpy's
arrays become inert stand-ins that only hold their state, and anything else is refused by name. Neither scipy
nor chumpy needs to be installed.
"""

import io
import pickle
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np

MAX_FILE_BYTES = 2 << 30


class UnsafePickleError(ValueError):
    """A pickle asks for something outside the allow-list."""


class StandIn:
    """Holds what a pickled object of a foreign class was made of; has no behaviour."""

    origin = ''
    arguments: tuple[Any, ...]
    state: dict[str, Any]

    def __new__(cls, *args: Any) -> 'StandIn':
        """Keep the arguments; unpickling makes objects without __init__."""
        stand_in = super().__new__(cls)
        stand_in.arguments = args
        stand_in.state = {}
        return stand_in

    def __setstate__(self, state: Any) -> None:
        self.state = state if isinstance(state, dict) else {'state': state}


def _stand_in(origin: str) -> type[StandIn]:
    return type('StandIn', (StandIn,), {'origin': origin})


def _frombuffer(
    buffer: Any,
    dtype: np.dtype,
    shape: tuple[int, ...],
    order: str = 'C',
    axis_order: tuple[int, ...] | None = None,
) -> np.ndarray:
    flat = np.frombuffer(buffer, dtype=dtype)
    if order == 'K' and axis_order is not None:
        return flat.reshape(shape).transpose(axis_order)
    return flat.reshape(shape, order=order)


def _reconstruct(subtype: type, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    # Writers always pass an empty array here and fill it by __setstate__; a size would be an attack on memory.
    if subtype is not np.ndarray or tuple(shape) != (0,):
        raise UnsafePickleError(
            f'pickle: an array must be rebuilt empty; got {subtype!r} of shape {shape!r}.'
        )
    return np.ndarray((0,), np.dtype('u1'))


def _scalar(dtype: np.dtype, data: bytes) -> Any:
    return np.frombuffer(data, dtype=dtype, count=1)[0]


def _encode(text: str, encoding: str = 'latin1') -> bytes:
    if encoding not in ('latin1', 'latin-1', 'ascii', 'utf-8'):
        raise UnsafePickleError(f'pickle: text encoding {encoding!r} is not allowed.')
    return text.encode(encoding)


def _rebuild_object(cls: type, base: type, state: Any) -> Any:
    if not (isinstance(cls, type) and issubclass(cls, StandIn)):
        raise UnsafePickleError(f'pickle: an object of {cls!r} is not allowed.')
    return cls()


_ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    ('numpy', 'dtype'): np.dtype,
    ('numpy', 'ndarray'): np.ndarray,
    ('_codecs', 'encode'): _encode,
    ('builtins', 'set'): set,
    ('__builtin__', 'set'): set,
    ('builtins', 'object'): object,
    ('__builtin__', 'object'): object,
    ('copyreg', '_reconstructor'): _rebuild_object,
    ('copy_reg', '_reconstructor'): _rebuild_object,
    ('collections', 'OrderedDict'): dict,
}
for _core in ('numpy.core', 'numpy._core'):
    _ALLOWED[(f'{_core}.multiarray', '_reconstruct')] = _reconstruct
    _ALLOWED[(f'{_core}.multiarray', 'scalar')] = _scalar
    _ALLOWED[(f'{_core}.numeric', '_frombuffer')] = _frombuffer
_STAND_IN_ROOTS = ('scipy.sparse', 'chumpy')


class _AllowListUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        allowed = _ALLOWED.get((module, name))
        if allowed is not None:
            return allowed
        if any(module == root or module.startswith(f'{root}.') for root in _STAND_IN_ROOTS):
            return _stand_in(f'{module}.{name}')
        raise UnsafePickleError(f'pickle asks for {module}.{name}, which is not on the allow-list')

    def persistent_load(self, pid: Any) -> Any:
        raise UnsafePickleError('pickle refers to outside objects (persistent ids), which is not allowed')


def read_pickle(path: str | Path, drop: Collection[str] = ()) -> Any:
    """Read a pickle of plain data and arrays.

    Args:
        path: the file.
        drop: keys of a dict that nobody needs; what stands there may be an array of Python objects.

    Returns:
        Plain containers, numpy arrays (never of objects) and `StandIn`s for scipy and chumpy objects.

    Raises:
        UnsafePickleError: it asks for anything else.
        ValueError: cut short, malformed or too large.
    """
    path = Path(path)
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise ValueError(f'{path}: a pickle must be at most {MAX_FILE_BYTES} bytes; got {size}.')
    with path.open('rb') as file:
        value = _load(file, str(path))
    if isinstance(value, dict):
        value = {key: item for key, item in value.items() if key not in drop}
    _refuse_objects(value, str(path))
    return value


def read_pickle_bytes(data: bytes, where: str) -> Any:
    """Read a pickle that stands inside another file (pandas keeps column labels so); as `read_pickle`.

    Args:
        data: the pickle.
        where: file and place in it, for messages.
    """
    value = _load(io.BytesIO(data), where)
    _refuse_objects(value, where)
    return value


def _load(file: io.BufferedIOBase, where: str) -> Any:
    try:
        return _AllowListUnpickler(file, encoding='latin1').load()
    except UnsafePickleError as error:
        raise UnsafePickleError(
            f'{where}: {error}. Nothing was run. Only numpy, scipy.sparse and chumpy arrays are read; '
            'convert other content to arrays first.'
        ) from error
    except (
        pickle.UnpicklingError,
        EOFError,
        IndexError,
        KeyError,
        TypeError,
        AttributeError,
        ValueError,
    ) as error:
        raise ValueError(
            f'{where}: must be a whole pickle of arrays; got {error!r}. Copy the file again.'
        ) from error


def _refuse_objects(value: Any, where: str) -> None:
    waiting, seen = [value], set()
    while waiting:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, np.ndarray) and item.dtype.hasobject:
            raise UnsafePickleError(
                f'{where}: an array of Python objects is not allowed; convert it to numbers.'
            )
        if isinstance(item, dict):
            waiting.extend(item.values())
        elif isinstance(item, (list, tuple, set)):
            waiting.extend(item)
        elif isinstance(item, StandIn):
            waiting.extend((item.state, item.arguments))


def as_array(value: Any, what: str = 'value') -> np.ndarray:
    """Turn an array, or a scipy or chumpy stand-in, into a numpy array.

    Raises:
        ValueError: something else, or a stand-in of a kind that is not understood.
    """
    if isinstance(value, StandIn):
        if value.origin.startswith('chumpy'):
            return _chumpy_array(value, what)
        return _scipy_array(value, what)
    array = np.asarray(value)
    if array.dtype.hasobject:
        raise ValueError(f'{what}: must be numbers; got {type(value).__name__}.')
    return array


def _chumpy_array(value: StandIn, what: str) -> np.ndarray:
    state = value.state
    if value.origin.endswith('.Select') and 'a' in state and 'idxs' in state:
        picked = as_array(state['a'], what).ravel()[as_array(state['idxs'], what).astype(np.int64)]
        return picked.reshape(state['preferred_shape']) if 'preferred_shape' in state else picked
    if 'x' in state:
        return as_array(state['x'], what)
    raise ValueError(
        f'{what}: a {value.origin} must hold its numbers; got only {sorted(state)}. Evaluate it first.'
    )


def _scipy_array(value: StandIn, what: str) -> np.ndarray:
    state = value.state
    shape = state.get('_shape', state.get('shape'))
    kind = value.origin.rsplit('.', 1)[-1]
    if shape is None or not kind.startswith(('csc', 'csr', 'coo')):
        raise ValueError(f'{what}: a sparse matrix must be csc, csr or coo; got {value.origin}.')
    dense = np.zeros(shape)
    data = as_array(state['data'], what)
    if kind.startswith('coo'):
        # Newer scipy keeps both index arrays as `coords`.
        row, col = state['coords'] if 'coords' in state else (state['row'], state['col'])
        np.add.at(dense, (as_array(row, what), as_array(col, what)), data)
        return dense
    indices, indptr = as_array(state['indices'], what), as_array(state['indptr'], what)
    major = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    np.add.at(dense, (indices, major) if kind.startswith('csc') else (major, indices), data)
    return dense
