"""Write pose tables as the tools write them: DeepLabCut's csv, and pandas' two layouts of HDF5."""

import csv
import pickle
from pathlib import Path

import h5py
import numpy as np

Column = tuple[str, ...]


def columns_of(parts, individuals=None, coords=('x', 'y'), scorer='me') -> list[Column]:
    if individuals is None:
        return [(scorer, part, coord) for part in parts for coord in coords]
    return [(scorer, i, part, coord) for i in individuals for part in parts for coord in coords]


def write_csv(path: Path, columns: list[Column], rows: list[tuple[str, ...]], values: np.ndarray) -> Path:
    """Header rows, blank cells under further columns of row labels, nothing for what is missing."""
    levels = ('scorer', 'bodyparts', 'coords') if len(columns[0]) == 3 else (
        'scorer', 'individuals', 'bodyparts', 'coords')  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open('w', newline='') as file:
        writer = csv.writer(file)
        for i, level in enumerate(levels):
            writer.writerow([level] + [''] * (len(rows[0]) - 1) + [column[i] for column in columns])
        for row, numbers in zip(rows, values):
            writer.writerow([*row, *('' if np.isnan(x) else repr(float(x)) for x in numbers)])
    return path


def write_table_h5(
    path: Path, columns: list[Column], rows: list[str] | list[int], values: np.ndarray
) -> Path:
    """pandas' layout 'table': one compound dataset, labels in pickles of protocol 0."""
    index = np.array(rows) if isinstance(rows[0], int) else np.char.encode(np.array(rows))
    records = np.empty(len(rows), [('index', index.dtype), ('values_block_0', 'f8', (len(columns),))])
    records['index'], records['values_block_0'] = index, values
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, 'w') as file:
        group = file.create_group('df_with_missing')
        group.attrs['pandas_type'] = np.bytes_(b'frame_table')
        group.attrs['non_index_axes'] = np.bytes_(pickle.dumps([(1, list(columns))], 0))
        dataset = group.create_dataset('table', data=records)
        dataset.attrs['values_block_0_kind'] = np.bytes_(pickle.dumps(list(columns), 0))
    return path


def write_fixed_h5(path: Path, columns: list[Column], rows: list[Column], values: np.ndarray) -> Path:
    """pandas' layout 'fixed': arrays, labels as levels and codes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, 'w') as file:
        group = file.create_group('df_with_missing')
        group.attrs['pandas_type'] = np.bytes_(b'frame')
        group.attrs['nblocks'] = 1
        group.create_dataset('block0_values', data=values)
        for key, labels in (('axis0', columns), ('axis1', rows), ('block0_items', columns)):
            group.attrs[f'{key}_variety'] = np.bytes_(b'multi')
            group.attrs[f'{key}_nlevels'] = len(labels[0])
            for n in range(len(labels[0])):
                names, codes = np.unique([label[n] for label in labels], return_inverse=True)
                group.create_dataset(f'{key}_level{n}', data=np.char.encode(names))
                group.create_dataset(f'{key}_label{n}', data=codes.astype(np.int8))
    return path
