"""Open a published model file, pickle or npz, and take out what is asked for."""

import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from smilfit.files.numpy_files import npz_names, read_npz
from smilfit.files.pickles import (
    BrokenPickleError,
    StandIn,
    UnsafePickleError,
    as_array,
    check_size,
    run,
    shown,
    shown_names,
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


logger = logging.getLogger('smilfit')

# Present in published files, and without meaning for a forward pass.
KNOWN_UNUSED = {
    'bs_style', 'bs_type', 'J_regressor_prior', 'weights_prior', 'vert_sym_idxs', 'allow_pickle', 'part2num',
    'joint2num', 'ft', 'vt', 'dynamic_lmk_faces_idx', 'dynamic_lmk_bary_coords', 'lmk_faces_idx', 'lmk_bary_coords',
    'hands_coeffsl', 'hands_coeffsr',
}  # fmt: skip


def read_model_arrays(path: str | Path, wanted: Collection[str]) -> dict[str, Any]:
    """Read some keys of a model file; keys that are not wanted and not known are reported in the log.

    Args:
        path: a `.pkl` (read by the allow-list reader) or a `.npz`, of which nothing else is opened: SMPL-X's
            hold tables of Python objects that are not needed.
        wanted: the keys; one that the file lacks is absent from the result.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a pickle of something else, or an npz whose wanted key holds Python objects.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'{path}: the body model file is not there.')
    if path.suffix == '.npz':
        keys = npz_names(path, 'a body model')
        values = read_npz(path, wanted, 'a body model')
    else:
        raw = read_pickle(path, drop=KNOWN_UNUSED - set(wanted))
        if not isinstance(raw, dict):
            raise ValueError(f'{path}: a body model pickle must hold a dict; got {type(raw).__name__}.')
        keys = set(raw)
        values = {key: raw[key] for key in keys & set(wanted)}
    ignored = keys - set(wanted) - KNOWN_UNUSED
    if ignored:
        logger.info('%s: keys without a meaning here were not read: %s', path.name, shown_names(ignored))
    return values


def model_array(
    raw: Mapping[str, object], key: str, path: Path, dimensions: Collection[int], whole: bool = False
) -> np.ndarray | None:
    """Take a key's numbers, float64 or int64; None where the file lacks the key or has nothing there.

    Args:
        raw: the file's values by key.
        key: the key.
        path: for messages.
        dimensions: how many dimensions there may be.
        whole: whether they must be whole numbers.

    Raises:
        ValueError: no numbers, numbers that are not whole, or another count of dimensions.
    """
    if key not in raw:
        return None
    where = f'{path}: {key}'
    array = (
        whole_numbers(raw[key], where) if whole else as_array(raw[key], where).astype(np.float64, copy=False)
    )
    if array.size == 0:
        return None
    if array.ndim not in dimensions:
        counts = ' or '.join(map(str, sorted(dimensions)))
        raise ValueError(
            f'{where} must have {counts} dimensions; got shape {array.shape}. Is it a model file?'
        )
    return array


def required_array(
    raw: Mapping[str, object], key: str, path: Path, dimensions: Collection[int], whole: bool = False
) -> np.ndarray:
    """Take numbers that must be there; as `model_array`.

    Raises:
        ValueError: as there, or nothing is there.
    """
    array = model_array(raw, key, path, dimensions, whole)
    if array is None:
        raise ValueError(f'{path}: {key} must hold numbers; got none. Is it a model file?')
    return array


def truth_value(raw: Mapping[str, object], key: str, path: Path) -> bool:
    """Take a truth value; False where the file lacks the key.

    Raises:
        ValueError: something else than one of true, false, 0 and 1.
    """
    array = as_array(raw.get(key, False), f'{path}: {key}')
    if array.size != 1 or array.ravel()[0] not in (0, 1):
        raise ValueError(f'{path}: {key} must be true or false; got {shown(raw[key])}. Write one of them.')
    return bool(array.ravel()[0])
