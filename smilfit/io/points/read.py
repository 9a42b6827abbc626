"""One door to all files of points in space."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from smilfit.files import BadFileError, reading
from smilfit.files.budget import MOST_ARRAY_BYTES, check_budget
from smilfit.io.annotations.mat_files import read_mat
from smilfit.io.hdf5_files import open_hdf5, read_table
from smilfit.io.points.dannce import read_dannce
from smilfit.io.points.nwb import read_nwb_points
from smilfit.io.points.recorded import RecordedPoints, recorded_points
from smilfit.io.points.skeletons import names_beside
from smilfit.io.points.tables import read_point_csv, read_point_npz

_WHAT = 'points in space'


def read_recorded_points(
    path: str | Path,
    skeleton: Sequence[str] | None = None,
    image_size: tuple[int, int] | None = None,
) -> RecordedPoints:
    """Read points that another tool placed, by the kind of file that its name ends with.

    | file | kind |
    |---|---|
    | `.h5` | `points3d.h5` of sleap-anipose (`tracks`) |
    | `.csv` | anipose's 3D poses; a wide or a tidy table |
    | `.mat` | DANNCE: Label3D's labels with cameras, predictions |
    | `.nwb` | ndx-pose |
    | `.npz` | `xyz`, `names`, `confidence` |

    Args:
        path: the file.
        skeleton: names of the keypoints where the file has none; those of a `points3d.h5` are found in the labels
            beside it.
        image_size: width and height of the cameras' images, px, for files that have cameras but do not say.

    Raises:
        FileNotFoundError: no such file.
        BadFileError: another kind of file, a damaged one, or one that names no keypoint without a skeleton.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if not path.is_file():
        raise FileNotFoundError(f'{path}: points must be a file; there is none. Check the path.')
    with reading(path, _WHAT):
        if kind in ('.h5', '.hdf5'):
            found = _tracks(path)
        elif kind == '.csv':
            found = read_point_csv(path)
        elif kind == '.mat':
            found = read_dannce(path, read_mat(path), image_size)
        elif kind == '.nwb':
            found = read_nwb_points(path)
        elif kind == '.npz':
            found = read_point_npz(path)
        else:
            raise BadFileError(
                f'{path}: points must be a .h5 (points3d.h5), .csv, .mat (DANNCE), .nwb (ndx-pose) or .npz file; got '
                f'{kind or "no ending"!r}.'
            )
    if skeleton is not None:
        return found.named(skeleton)
    if found.names is None:
        raise BadFileError(
            f'{path}: its {found.xyz.shape[2]} keypoints must have names; the file has none. Give the skeleton that '
            'was labelled by --skeleton FILE (a name a line, a .mat with joint_names, a .slp).'
        )
    return found


def _tracks(path: Path) -> RecordedPoints:
    with open_hdf5(path, _WHAT) as file:
        if 'tracks' not in file:
            raise BadFileError(
                f'{path}: points3d.h5 must hold tracks; it has {sorted(file)[:8]}. Is it another file?'
            )
        table = file['tracks']
        check_budget(path, 'tracks', 8 * (getattr(table, 'size', 0) or 0), MOST_ARRAY_BYTES)
        tracks = np.asarray(read_table(table, path), np.float64)
    if tracks.ndim != 4 or tracks.shape[-1] != 3:
        raise BadFileError(f'{path}: tracks must be (frames, animals, nodes, 3); got {tracks.shape}.')
    names, animals = names_beside(path)
    if len(animals) != tracks.shape[1]:
        animals = ('',) if tracks.shape[1] == 1 else tuple(f'track_{a}' for a in range(tracks.shape[1]))
    if tracks.shape[1] == 1:
        animals = ('',)
    return recorded_points(path, names if len(names) == tracks.shape[2] else None, tracks, animals=animals)
