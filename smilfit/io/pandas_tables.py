"""Data frames as pandas writes them into HDF5, read without pandas."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Float

from smilfit.body_models.files.model_arrays import read_pickle_bytes
from smilfit.files import BadFileError, charge, shorten
from smilfit.io.hdf5_files import open_hdf5, read_numbers, read_table

_MOST_BLOCKS = 1000


@dataclass(frozen=True)
class PandasTable:
    """Labels are tuples, one part a level. Columns that are no numbers are left out."""

    columns: tuple[tuple[str, ...], ...]
    rows: tuple[tuple[str, ...], ...]
    values: Float[np.ndarray, 'n columns']


def read_pandas_table(path: str | Path) -> PandasTable:
    """Read the one data frame of a file.

    Raises:
        UnsafePickleError: the column labels ask for anything but plain text.
        ValueError: not HDF5, no data frame or several, or one whose parts do not fit each other.
    """
    path = Path(path)
    with open_hdf5(path) as file:
        try:
            name, table = _read_frame(path, file)
        except (KeyError, IndexError, TypeError, AttributeError, RuntimeError, OSError) as error:
            raise BadFileError(
                f'{path}: the file must hold a data frame as pandas writes it; got {type(error).__name__}: '
                f'{shorten(error)}. Convert it to csv.'
            ) from None
    if table.values.shape != (len(table.rows), len(table.columns)):
        raise BadFileError(
            f'{path}: {name} must have {len(table.rows)} x {len(table.columns)} values, rows x columns; '
            f'got {table.values.shape}.'
        )
    return table


def _read_frame(path: Path, file: h5py.File) -> tuple[str, PandasTable]:
    frames = {name: group for name, group in file.items() if isinstance(group, h5py.Group)}
    frames = {name: group for name, group in frames.items() if 'pandas_type' in group.attrs}
    if len(frames) != 1:
        raise BadFileError(
            f'{path}: the file must hold one data frame of pandas (such as df_with_missing); '
            f'got {[shorten(n, 40) for n in list(frames) or list(file)][:10]}. Save one alone.'
        )
    ((name, group),) = frames.items()
    read = _read_table if 'table' in group else _read_fixed
    return name, read(group, f'{path}: {name}')


def _read_table(group: h5py.Group, where: str) -> PandasTable:
    dataset = group['table']
    records = read_table(dataset, where)
    fields = records.dtype.names or ()
    blocks = sorted(name for name in fields if name.startswith('values_block_'))
    columns: list[tuple[str, ...]] = []
    values = []
    for block in blocks:
        # One block holds all columns in order; of several, each names its own.
        source = group.attrs['non_index_axes'] if len(blocks) == 1 else dataset.attrs[f'{block}_kind']
        labels = _unpickled(source, where)
        labels = labels[0][1] if len(blocks) == 1 else labels
        if np.issubdtype(records[block].dtype, np.number):
            columns += [_label(label, where) for label in labels]
            values.append(records[block].reshape(len(records), len(labels)).astype(np.float64))
    index = [records[name] for name in fields if not name.startswith('values_block_')]
    _charge_labels('labels of rows', len(records), len(index))
    rows = tuple(zip(*([_text(part) for part in level] for level in index)))
    return PandasTable(
        tuple(columns), rows, np.concatenate(values, 1) if values else np.zeros((len(rows), 0))
    )


def _read_fixed(group: h5py.Group, where: str) -> PandasTable:
    columns: list[tuple[str, ...]] = []
    values = []
    rows = tuple(_fixed_labels(group, 'axis1'))
    for i in range(min(int(group.attrs['nblocks']), _MOST_BLOCKS)):
        block = group[f'block{i}_values']
        if not np.issubdtype(block.dtype, np.number):
            continue
        columns += _fixed_labels(group, f'block{i}_items')
        values.append(read_numbers(block, group.name))
    return PandasTable(
        tuple(columns), rows, np.concatenate(values, 1) if values else np.zeros((len(rows), 0))
    )


def _fixed_labels(group: h5py.Group, key: str) -> list[tuple[str, ...]]:
    if _text(group.attrs[f'{key}_variety']) != 'multi':
        _charge_labels(key, _length(group, key))
        return [(_text(part),) for part in read_table(group[key], key)]
    levels = []
    for n in range(min(int(group.attrs[f'{key}_nlevels']), _MOST_BLOCKS)):
        _charge_labels(key, _length(group, f'{key}_label{n}'))
        names, codes = (read_table(group[f'{key}_{kind}{n}'], key) for kind in ('level', 'label'))
        # A code of -1 is a label without a name.
        levels.append([_text(names[code]) if code >= 0 else '' for code in codes])
    return list(zip(*levels))


def _length(group: h5py.Group, key: str) -> int:
    """Return how long a row of labels is, before it is read; what is no row is refused by its reader."""
    return int(getattr(group[key], 'size', 0) or 0)


def _charge_labels(what: str, count: int, levels: int = 1) -> None:
    charge(what, n_bytes=100 * count * levels, n_objects=count)


def _unpickled(value: object, where: str) -> Any:
    data = value.tobytes() if isinstance(value, (np.ndarray, np.void)) else value
    if isinstance(data, str) and all(ord(character) < 256 for character in data):
        data = data.encode('latin1')
    if not isinstance(data, bytes):
        raise ValueError(
            f'{where}: column labels must be bytes; got {shorten(value)}. Convert the table to csv.'
        )
    return read_pickle_bytes(data, where)


def _label(label: object, where: str) -> tuple[str, ...]:
    parts = label if isinstance(label, (tuple, list)) else (label,)
    if not all(isinstance(part, (str, bytes, int)) for part in parts):
        raise BadFileError(
            f'{where}: a column label must be text; got {shorten(label)}. Convert the table to csv.'
        )
    return tuple(_text(part) for part in parts)


def _text(value: object) -> str:
    return value.decode('utf-8', 'replace') if isinstance(value, bytes) else str(value)
