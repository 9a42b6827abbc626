"""SLEAP's files for sleap-io, looked through first: tables fit each other and the memory, no video is opened."""

import json
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import h5py
import numpy as np

from smilfit.files import BadFileError, charge, reading, shorten
from smilfit.files.budget import MOST_ARRAY_BYTES, check_budget
from smilfit.io.hdf5_files import open_hdf5, read_table

_WHAT = 'SLEAP labels'
_POINTS = ('points', 'pred_points')
# About what sleap-io takes for a frame, an instance, or a text.
_ROW_BYTES = 600
# A path has fewer.
_MOST_PARTS = 100


def load_slp(path: Path) -> Any:
    """Read a `.slp` file as sleap-io's Labels, no video opened.

    Raises:
        FileNotFoundError: no such file.
        BadFileError: no such labels, or tables that contradict each other or are too large.
    """
    import sleap_io

    with open_hdf5(path, _WHAT) as file:
        _check_tables(path, file)
    return _guarded(path, lambda: sleap_io.load_slp(str(path), open_videos=False))


def load_analysis(path: Path) -> Any:
    """Read an analysis file as sleap-io's Labels, no video opened (sleap-io by itself would open what is named).

    Raises:
        FileNotFoundError: no such file.
        BadFileError: no such labels, or too large ones.
    """
    import sleap_io

    with open_hdf5(path, _WHAT) as file:
        for name in ('tracks', 'node_names'):
            if name not in file:
                raise BadFileError(
                    f'{path}: the file must be SLEAP labels (.slp) or an "Analysis HDF5" export; {name} is missing. '
                    'Export it from SLEAP again.'
                )
        _check_sizes(path, file)
        video = sleap_io.Video(filename=_text(file, 'video_path'), open_backend=False)
        known = json.loads(file.attrs.get('video_backend_metadata', '{}'))
        video.backend_metadata = known if isinstance(known, dict) else {}
    return _guarded(path, lambda: sleap_io.load_analysis_h5(str(path), video=video))


def _guarded(path: Path, load: Any) -> Any:
    with reading(path, _WHAT):
        try:
            return load()
        except (OSError, KeyError, ValueError, IndexError, TypeError, AttributeError) as error:
            raise BadFileError(
                f'{path}: the file must be SLEAP labels (.slp) or an "Analysis HDF5" export; reading failed with: '
                f'{type(error).__name__}: {shorten(error)}. Export it from SLEAP again.'
            ) from None


def _text(file: h5py.File, name: str) -> str:
    value = file[name][()] if name in file else b''
    return value.decode('utf-8', 'replace') if isinstance(value, bytes) else str(value)


def _check_sizes(path: Path, file: h5py.File) -> None:
    """Hold every table against the limit, images of a package aside, which are read one by one."""

    def check(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.shape is not None and not name.endswith('/video'):
            wanted = item.size * max(item.dtype.itemsize, 1)
            check_budget(path, shorten(name), wanted, MOST_ARRAY_BYTES)
            # sleap-io makes an object of each row, and one array of all points.
            rows = 0 if name in _POINTS else item.size if name not in ('tracks', 'occupancy_matrix') else 0
            charge(shorten(name), n_bytes=2 * wanted + _ROW_BYTES * rows, n_objects=rows)

    file.visititems(check)


def _check_tables(path: Path, file: h5py.File) -> None:
    """Check that rows of frames name rows of instances, and those rows of points, about once each."""
    for name in ('frames', 'instances', 'videos_json', 'metadata'):
        if name not in file:
            raise BadFileError(
                f'{path}: the file must be SLEAP labels; the table {name} is missing. Save it from SLEAP again.'
            )
    _check_sizes(path, file)
    frames, instances = (read_table(file[name], path) for name in ('frames', 'instances'))
    _check_ranges(path, 'instances of frames', _columns(path, frames, 3), len(instances))
    points = sum(len(file[name]) for name in ('points', 'pred_points') if name in file)
    _check_ranges(path, 'points of instances', _columns(path, instances, 7), points)


def _columns(path: Path, table: np.ndarray, first: int) -> tuple[np.ndarray, np.ndarray]:
    """Return two columns of a table: of records, as SLEAP writes, or of plain numbers."""
    fields = table.dtype.names
    if len(fields or ()) < first + 2 and (table.ndim != 2 or table.shape[1] < first + 2):
        if table.size == 0:
            return np.zeros(0), np.zeros(0)
        raise BadFileError(
            f'{path}: rows of SLEAP labels must have {first + 2} columns or more; got {len(fields or ())}. Save it '
            'from SLEAP again.'
        )
    pair = (table[fields[i]] if fields else table[:, i] for i in (first, first + 1))
    start, end = (column.astype(np.float64) for column in pair)
    return start, end


def _check_ranges(path: Path, what: str, ranges: tuple[np.ndarray, np.ndarray], count: int) -> None:
    start, end = ranges
    if not ((start >= 0) & (end >= start)).all():
        raise BadFileError(
            f'{path}: {what} must be from a row to a later one; some are negative or the other way round. Save it '
            'from SLEAP again.'
        )
    named = float((end.clip(0, count) - start.clip(0, count)).sum())
    # Rows that are named twice would be read again and again.
    check_budget(path, what, int(named), count, 'rows')


def read_node_orders(path: str | Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Read the names of a .slp file's nodes, by their number and in the order of the skeleton (of the labels).

    Software has taken one for the other.

    Raises:
        FileNotFoundError: no such file.
        BadFileError: no .slp file, or one without a skeleton.
    """
    path = Path(path)
    with open_hdf5(path, _WHAT) as file, reading(path, _WHAT):
        try:
            text = file['metadata'].attrs['json']
            stated = json.loads(bytes(text).decode() if not isinstance(text, str) else text)
            numbered = tuple(str(node['name']) for node in stated['nodes'])
            places = [int(node['id']) for node in stated['skeletons'][0]['nodes']]
            if not places or sorted(places) != list(range(len(numbered))):
                raise ValueError('its skeleton does not have each node once')
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise BadFileError(
                f'{path}: a .slp file must list its nodes and one skeleton of all of them; it does not ({error}). '
                'Save it from SLEAP again.'
            ) from error
    return numbered, tuple(numbered[place] for place in places)


def find_video_file(labels: Path, folder: Path | None, name: str) -> Path:
    """Find a file that another machine named: in the folder given, as it is written, or beside the labels."""
    written = PureWindowsPath(name) if '\\' in name or name[1:2] == ':' else PurePosixPath(name)
    if folder is not None:
        parts = [part for part in written.parts if part != '..']
        tails = (Path(*parts[-n:]) for n in range(min(len(parts), _MOST_PARTS), 0, -1))
        within = [folder / tail for tail in tails if not tail.is_absolute() and not tail.drive]
        return next((path for path in within if _is_file(path)), folder / written.name)
    candidates = (Path(name), labels.parent / written.name)
    return next((path for path in candidates if _is_file(path)), candidates[-1])


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        # A name that no file can have.
        return False
