"""Turn what a model file holds into arrays of numbers: arrays, lists, and stand-ins of scipy and chumpy.

Every index is checked before numpy sees it, and every size before memory is taken.
"""

import math
from typing import Any

import numpy as np

from smilfit.files.pickles.errors import shown, shown_names
from smilfit.files.pickles.values import StandIn

# A joint regressor of 100 joints and 500,000 vertices fits.
MAX_DENSE_BYTES = 512 << 20
MAX_CHUMPY_DEPTH = 16
# What a list may nest; lists of files are bounded already, in size too.
MAX_LIST_DEPTH = 32
NUMBER_KINDS = 'biuf'
MAX_INTEGER = 2**63 - 1


def as_array(value: Any, what: str = 'value') -> np.ndarray:
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


def whole_numbers(value: Any, what: str) -> np.ndarray:
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


def _as_array(value: Any, what: str, depth: int) -> np.ndarray:
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


def _check_numbers(items: list[Any] | tuple[Any, ...], what: str, depth: int) -> None:
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


def _reshaped(array: np.ndarray, shape: Any, what: str) -> np.ndarray:
    counts = whole_numbers(shape, f'{what}: preferred_shape').ravel().tolist()
    if len(counts) > 32 or min(counts, default=0) < 0 or math.prod(counts) != array.size:
        raise ValueError(
            f'{what}: preferred_shape must hold {array.size} numbers; got {shown(shape)}. Mend the file.'
        )
    return array.reshape(counts)


def _indices(value: Any, count: int, what: str) -> np.ndarray:
    """Give indices, all of them inside; negative ones are an error too."""
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


def _sparse_shape(shape: Any, what: str) -> tuple[int, int]:
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


def _vector(state: dict[str, Any], key: str, what: str) -> np.ndarray:
    if key not in state:
        raise ValueError(
            f'{what}: a sparse matrix must have {key}; got only {shown_names(state)}. Mend the file.'
        )
    # No stand-ins: scipy's own parts are arrays.
    if isinstance(state[key], StandIn):
        raise ValueError(f'{what}: {key} must be an array; got a {state[key].origin}. Mend the file.')
    array = as_array(state[key], f'{what}: {key}')
    if array.ndim != 1:
        raise ValueError(f'{what}: {key} must have one dimension; got {array.shape}. Mend the file.')
    return array


def _majors(pointers: np.ndarray, count: int, n_numbers: int, what: str) -> np.ndarray:
    """Give the row (csr) or column (csc) of every number from where each begins."""
    starts = whole_numbers(pointers, f'{what}: indptr')
    ordered = len(starts) == count + 1 and starts[0] == 0 and starts[-1] == n_numbers
    if not ordered or (starts[1:] < starts[:-1]).any():
        raise ValueError(
            f'{what}: indptr must rise from 0 to {n_numbers} in {count + 1} steps; got {len(starts)} numbers that do '
            'not. Mend the file.'
        )
    return np.repeat(np.arange(count), np.diff(starts))
