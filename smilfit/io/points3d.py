"""Points that another tool triangulated or projected: `points3d.h5` and `reprojections.h5`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np

from smilfit.files import BadFileError, replacing
from smilfit.io.hdf5_files import open_hdf5, read_numbers
from smilfit.registry import UnknownNameError, did_you_mean


def read_points3d(
    path: str | Path, node_names: Sequence[str], animal: int = 0, n_animals: int = 1
) -> np.ndarray:
    """Read `tracks` (frames, animals, nodes, 3), of one animal: (frames, nodes, 3), NaN where missing.

    The file names neither nodes nor animals; nodes are in the order of the labels' skeleton, animals in that of their
    tracks.

    Raises:
        ValueError: not such a file, another count of nodes or animals, some NaN coordinates of a point.
    """
    path = Path(path)
    tracks = read_tracks(path)
    if tracks.shape[1] != n_animals:
        wanted = 'one animal' if n_animals == 1 else f'the {n_animals} animals of the labels'
        raise ValueError(
            f'{path}: tracks must be of {wanted}; got {tracks.shape[1]}. '
            'Leave the file out (with_3d=False) and triangulate the labels instead.'
        )
    if tracks.shape[2] != len(node_names):
        raise ValueError(
            f'{path}: tracks must have the {len(node_names)} nodes of the labels; got {tracks.shape[2]}.'
        )
    xyz = tracks[:, animal]
    reject_half_points(str(path), xyz, node_names)
    return xyz


def read_tracks(path: Path, what: str = 'the file') -> np.ndarray:
    """Read `tracks` (frames, animals, nodes, 3), NaN where missing, of all animals.

    Raises:
        KeyError: no such table.
        BadFileError: one of another shape or kind.
    """
    tracks = _read_dataset(path, 'tracks', what)
    if tracks.ndim != 4 or tracks.shape[-1] != 3:
        raise BadFileError(f'{path}: tracks must be (frames, animals, nodes, 3); got {tracks.shape}.')
    return tracks


def write_points3d(
    path: str | Path, xyz: np.ndarray, node_names: Sequence[str] = (), unit: str | None = None
) -> Path:
    """Write points (frames, nodes, 3) or (frames, animals, nodes, 3), NaN where missing, as `tracks`.

    Nodes' names and the unit, where they are given, stand in attributes of `tracks`: who reads it by its shape alone
    passes over them.
    """
    xyz = np.asarray(xyz, dtype=np.float64)
    if xyz.ndim not in (3, 4) or xyz.shape[-1] != 3:
        raise ValueError(
            f'write_points3d: points must be (frames, nodes, 3) or (frames, animals, nodes, 3); got {xyz.shape}.'
        )
    return _write_datasets(
        path,
        {'tracks': xyz[:, None] if xyz.ndim == 3 else xyz},
        {'Description': 'Shape: (n_frames, n_tracks, n_nodes, 3).'}
        | ({'node_names': list(node_names)} if node_names else {})
        | ({'unit': unit} if unit else {}),
    )


def read_reprojections(
    path: str | Path, camera_names: Sequence[str], node_names: Sequence[str]
) -> np.ndarray:
    """Read one dataset a camera, (frames, 1, nodes, 2) px: (frames, cameras, nodes, 2), NaN where missing.

    Raises:
        KeyError: a camera that the file lacks.
        ValueError: ill-shaped, of several animals, or some NaN coordinates of a point.
    """
    path = Path(path)
    views: list[np.ndarray] = []
    for name in camera_names:
        view = _read_dataset(path, name)
        if view.ndim != 4 or view.shape[1:] != (1, len(node_names), 2):
            raise ValueError(f'{path}: {name} must be (frames, 1, {len(node_names)}, 2); got {view.shape}.')
        if views and view.shape[0] != len(views[0]):
            raise ValueError(
                f'{path}: cameras must have equally many frames; got {len(views[0])} of '
                f'{camera_names[0]!r} and {view.shape[0]} of {name!r}.'
            )
        reject_half_points(f'{path}: {name}', view[:, 0], node_names)
        views.append(view[:, 0])
    return np.stack(views, 1)


def write_reprojections(path: str | Path, views: Mapping[str, np.ndarray]) -> Path:
    """Write each camera's pixels (frames, nodes, 2), NaN where missing, as (frames, 1, nodes, 2)."""
    arrays = {name: np.asarray(view, dtype=np.float64)[:, None] for name, view in views.items()}
    return _write_datasets(path, arrays, {})


def reject_half_points(where: str, points: np.ndarray, node_names: Sequence[str]) -> None:
    """Refuse points with some, not all, coordinates NaN (all NaN means missing) or with an infinite one.

    Args:
        where: the file, for the message.
        points: (frames, nodes, D).
        node_names: names for the message.
    """
    finite = np.isfinite(points)
    bad = (finite.any(-1) & ~finite.all(-1)) | np.isinf(points).any(-1)
    if bad.any():
        frame, node = (int(i) for i in np.argwhere(bad)[0])
        raise ValueError(
            f'{where}: the coordinates of a point must be all numbers or all NaN; got '
            f'{points[frame, node].tolist()} for {node_names[node]!r} in frame {frame} '
            f'({int(bad.sum())} such points). Correct the point or clear it.'
        )


def _read_dataset(path: Path, name: str, what: str = 'the file') -> np.ndarray:
    with open_hdf5(path, what) as file:
        if name not in file:
            raise UnknownNameError(
                f'{path}: no dataset {name!r}. {did_you_mean(name, file)} Is it another file?'
            )
        table = file[name]
        if not isinstance(table, h5py.Dataset) or table.dtype.kind not in 'biuf':
            raise BadFileError(f'{path}: {name} must be a table of numbers; it is not. Export it again.')
        return read_numbers(table, path)


def _write_datasets(
    path: str | Path, arrays: Mapping[str, np.ndarray], attributes: Mapping[str, object]
) -> Path:
    path = Path(path)
    with replacing(path) as temporary, h5py.File(temporary, 'w') as file:
        for name, array in arrays.items():
            dataset = file.create_dataset(name, data=array, fletcher32=True)
            dataset.attrs.update(attributes)
    return path
