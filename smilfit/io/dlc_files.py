"""DeepLabCut's tables, written: as csv, and as the data frame that pandas keeps in HDF5.

The HDF5 file has pandas' layout `fixed` (`block0_values`, labels as levels and codes), which holds no pickle. It is
written by h5py, with the attributes that PyTables asks for; `pandas.read_hdf` reads it where PyTables is installed.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Float

from smilfit.files import replacing

COORDS = ('x', 'y', 'likelihood')
LEVELS = ('scorer', 'bodyparts', 'coords')
# What deeplabcut itself names the group.
KEY = 'df_with_missing'


def write_dlc_csv(
    path: str | Path,
    values: Float[np.ndarray, 'T K 3'],
    names: Sequence[str],
    rows: Sequence[int] | Sequence[str],
    scorer: str,
) -> Path:
    """Write a table: x, y (px, NaN where missing) and likelihood of each body part, a row a frame."""
    path = Path(path)
    with replacing(path) as temporary, temporary.open('w', newline='', encoding='utf-8') as file:
        table = csv.writer(file)
        for level, labels in zip(LEVELS, _columns(names, scorer)):
            table.writerow([level, *labels])
        for row, numbers in zip(rows, values.reshape(len(values), -1)):
            table.writerow([row, *('' if np.isnan(n) else repr(float(n)) for n in numbers)])
    return path


def write_dlc_hdf5(
    path: str | Path,
    values: Float[np.ndarray, 'T K 3'],
    names: Sequence[str],
    rows: Sequence[int] | Sequence[str],
    scorer: str,
) -> Path:
    """Write the same as a data frame of pandas."""
    path = Path(path)
    columns = _columns(names, scorer)
    with replacing(path) as temporary, h5py.File(temporary, 'w') as file:
        _attributes(file, {'TITLE': '', 'CLASS': 'GROUP', 'VERSION': '1.0', 'PYTABLES_FORMAT_VERSION': '2.1'})
        group = file.create_group(KEY)
        _attributes(group, {
            'TITLE': '', 'CLASS': 'GROUP', 'VERSION': '1.0', 'pandas_type': 'frame', 'pandas_version': '0.15.2',
            'encoding': 'UTF-8', 'errors': 'strict', 'axis0_variety': 'multi', 'axis1_variety': 'regular',
            'block0_items_variety': 'multi', 'ndim': np.int64(2), 'nblocks': np.int64(1),
        })  # fmt: skip
        for key in ('axis0', 'block0_items'):
            group.attrs[f'{key}_nlevels'] = np.int64(len(LEVELS))
            for n, (level, labels) in enumerate(zip(LEVELS, columns)):
                _level(group, key, n, level, labels)
        _index(group, rows)
        block = _array(group, 'block0_values', values.reshape(len(values), -1).astype(np.float64))
        # A truth value of h5py is none to PyTables.
        block.attrs['transposed'] = np.int64(1)
    return path


def _columns(names: Sequence[str], scorer: str) -> list[list[str]]:
    parts = [name for name in names for _ in COORDS]
    return [[scorer] * len(parts), parts, list(COORDS) * len(names)]


def _level(group: h5py.Group, key: str, n: int, level: str, labels: Sequence[str]) -> None:
    """Write one level of columns: its names once, and which of them each column has."""
    own = list(dict.fromkeys(labels))
    _attributes(group, {f'{key}_name{n}': level})
    names = _array(group, f'{key}_level{n}', _text(own))
    _attributes(names, {'kind': 'string', 'name': level})
    codes = np.array([own.index(label) for label in labels], np.int16)
    _array(group, f'{key}_label{n}', codes)


def _index(group: h5py.Group, rows: Sequence[int] | Sequence[str]) -> None:
    if all(isinstance(row, str) for row in rows):
        index = _array(group, 'axis1', _text([str(row) for row in rows]))
        _attributes(index, {'kind': 'string', 'name': 'N.'})
    else:
        index = _array(group, 'axis1', np.array(rows, np.int64))
        _attributes(index, {'kind': 'integer', 'name': 'N.'})


def _array(group: h5py.Group, name: str, data: np.ndarray) -> h5py.Dataset:
    made = group.create_dataset(name, data=data)
    _attributes(made, {'TITLE': '', 'CLASS': 'ARRAY', 'VERSION': '2.4', 'FLAVOR': 'numpy'})
    return made


def _text(labels: Sequence[str]) -> np.ndarray:
    return np.array([label.encode() for label in labels] or [b''], dtype=np.bytes_)


def _attributes(of: h5py.Group | h5py.Dataset, values: dict[str, object]) -> None:
    """Write attributes as PyTables does: text as UTF-8 of fixed length, which it reads as text and not as bytes."""
    for name, value in values.items():
        if isinstance(value, str):
            data = value.encode()
            kind = h5py.string_dtype('utf-8', max(len(data), 1))
            of.attrs.create(name, np.array(data, dtype=kind), dtype=kind)
        else:
            of.attrs[name] = value
