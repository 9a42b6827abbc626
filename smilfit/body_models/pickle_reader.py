"""Read body-model pickles without running any code of theirs.

The public door to `smilfit.files.pickles`, an interpreter that makes inert nodes only: numpy arrays are
made of checked numbers and bytes, scipy's sparse matrices and chumpy's arrays become stand-ins that only hold
their state, and anything else is refused by name. Neither scipy nor chumpy needs to be installed.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from smilfit.files.pickles import (
    BrokenPickleError,
    StandIn,
    UnsafePickleError,
    as_array,
    check_size,
    run,
    value_of,
    whole_numbers,
    without_keys,
)

__all__ = ['StandIn', 'UnsafePickleError', 'as_array', 'read_pickle', 'read_pickle_bytes', 'whole_numbers']

MAX_FILE_BYTES = 2 << 30


def read_pickle(path: str | Path, drop: Collection[str] = ()) -> Any:
    """Read a pickle of plain data and arrays.

    Args:
        path: the file.
        drop: keys of a dict that nobody needs; what stands there may be an array of Python objects.

    Returns:
        Plain containers, numpy arrays (bool, integer, float or text; they own their memory and can be written to) and
        `StandIn`s for scipy and chumpy objects.

    Raises:
        UnsafePickleError: it asks for anything else, or for more than a file of its size can need.
        ValueError: cut short, malformed or too large.
    """
    path = Path(path)
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise ValueError(
            f'{path}: a pickle must be at most {MAX_FILE_BYTES} bytes; got {size}. Save its arrays as .npz.'
        )
    try:
        with path.open('rb') as file:
            # No more than it says to have: a device has no end.
            data = file.read(size + 1)
    except MemoryError:
        raise _too_large(str(path), size) from None
    if len(data) != size:
        raise ValueError(
            f'{path}: a pickle must be a file that nobody writes to; got another size while reading.'
        )
    return _read(data, str(path), drop)


def read_pickle_bytes(data: bytes, where: str) -> Any:
    """Read a pickle that stands inside another file (pandas keeps column labels so); as `read_pickle`.

    Args:
        data: the pickle.
        where: file and place in it, for messages.
    """
    return _read(data, where, ())


def _read(data: bytes, where: str, drop: Collection[str]) -> Any:
    try:
        root = without_keys(run(data), drop)
        check_size(root, len(data))
        return value_of(root)
    except UnsafePickleError as error:
        raise UnsafePickleError(
            f'{where}: {error}. Nothing was run. Convert the content to arrays of numbers first.'
        ) from None
    except BrokenPickleError as error:
        raise ValueError(
            f'{where}: must be a whole pickle of arrays; got {error}. Copy the file again.'
        ) from None
    except MemoryError:
        raise _too_large(where, len(data)) from None


def _too_large(where: str, size: int) -> ValueError:
    return ValueError(
        f'{where}: must fit into memory; got a pickle of {size} bytes that does not. Close other programs.'
    )
