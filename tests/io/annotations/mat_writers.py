"""Write MATLAB files of version 7.3 (HDF5) as MATLAB lays them out; scipy writes version 5."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np


def write_mat73(path: Path, variables: dict[str, Any]) -> Path:
    """Write arrays, text, lists (cells) and dicts (structs); dimensions run backwards, cells hold references."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # MATLAB keeps its own header in front of the HDF5 file.
    with h5py.File(path, 'w', userblock_size=512) as file:
        heap = file.create_group('#refs#')
        for name, value in variables.items():
            _write(file, heap, name, value)
    return path


def _write(group: h5py.Group, heap: h5py.Group, name: str, value: Any) -> h5py.Group | h5py.Dataset:
    if isinstance(value, dict):
        node = group.create_group(name)
        for key, item in value.items():
            _write(node, heap, key, item)
        node.attrs['MATLAB_class'] = np.bytes_(b'struct')
        return node
    if isinstance(value, list):
        kind, data = b'cell', np.array([[_heaped(heap, item)] for item in value], dtype=h5py.ref_dtype)
    elif isinstance(value, str):
        kind, data = b'char', np.array([[ord(c)] for c in value], dtype=np.uint16)
    else:
        data = np.atleast_2d(value)
        kind = b'logical' if data.dtype == bool else b'double' if data.dtype == float else b'uint8'
        data = (data.astype(np.uint8) if data.dtype == bool else data).T
    empty = data.size == 0
    node = group.create_dataset(name, data=np.array([0, 0], np.uint64) if empty else data)
    node.attrs['MATLAB_class'] = np.bytes_(kind)
    if empty:
        node.attrs['MATLAB_empty'] = np.uint8(1)
    return node


def _heaped(heap: h5py.Group, value: Any) -> h5py.Reference:
    return _write(heap, heap, f'r{len(heap)}', value).ref
