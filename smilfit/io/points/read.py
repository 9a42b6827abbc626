"""One door to all files of points in space."""

from collections.abc import Sequence
from pathlib import Path

from smilfit.files import BadFileError, reading, shorten
from smilfit.files.text_files import read_text
from smilfit.io.mat_files import read_mat
from smilfit.io.points.dannce import read_dannce
from smilfit.io.points.nwb import read_nwb_points
from smilfit.io.points.recorded import MOST_NAMES, RecordedPoints, recorded_points
from smilfit.io.points.tables import read_point_csv, read_point_npz
from smilfit.io.points3d import read_tracks
from smilfit.io.recordings.sleap_labels import read_labels, read_track_names
from smilfit.io.recordings.sleap_session import find_labels

_MOST_BYTES = 1 << 20


def read_skeleton(path: str | Path) -> tuple[str, ...]:
    """Read keypoints' names: a text file with a name a line, a Label3D skeleton (.mat), or SLEAP labels (.slp, .h5).

    Raises:
        BadFileError: a file without names, or of another kind.
    """
    path = Path(path)
    if path.suffix.lower() == '.mat':
        stated = read_mat(path).get('joint_names', [])
        names = [stated] if isinstance(stated, str) else list(stated) if isinstance(stated, list) else []
    elif path.suffix.lower() in ('.slp', '.h5', '.hdf5'):
        names = list(read_labels(path).node_names)
    else:
        names = [
            line.split(',')[0].strip() for line in read_text(path, 'a skeleton', _MOST_BYTES).splitlines()
        ]
        names = [name for name in names if name]
    wrong = not names or len(names) > MOST_NAMES or not all(isinstance(n, str) and n for n in names)
    if wrong or len(set(names)) != len(names):
        raise BadFileError(
            f'{path}: a skeleton must name its keypoints, each once (a line each, or joint_names of a .mat file); '
            f'got {shorten(names)}.'
        )
    return tuple(names)


def names_beside(path: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Find keypoints and tracks of a `points3d.h5` in the labels of the cameras' folders beside it; none without.

    Tracks are given where all cameras have the same in one order.
    """
    names: tuple[str, ...] = ()
    tracks: list[tuple[str, ...]] = []
    for folder in sorted(p for p in path.parent.iterdir() if p.is_dir() and not p.name.startswith('.')):
        try:
            labels = find_labels(folder)
        except ValueError:
            # A folder of something else.
            continue
        names = names or read_labels(labels).node_names
        tracks.append(read_track_names(labels))
    return names, tracks[0] if tracks and len(set(tracks)) == 1 else ()


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
            result = _tracks(path)
        elif kind == '.csv':
            result = read_point_csv(path)
        elif kind == '.mat':
            result = read_dannce(path, read_mat(path), image_size)
        elif kind == '.nwb':
            result = read_nwb_points(path)
        elif kind == '.npz':
            result = read_point_npz(path)
        else:
            raise BadFileError(
                f'{path}: points must be a .h5 (points3d.h5), .csv, .mat (DANNCE), .nwb (ndx-pose) or .npz file; got '
                f'{kind or "no ending"!r}.'
            )
    if skeleton is not None:
        return result.named(skeleton)
    if result.names is None:
        raise BadFileError(
            f'{path}: its {result.xyz.shape[2]} keypoints must have names; the file has none. Give the skeleton that '
            'was labelled by --skeleton FILE (a name a line, a .mat with joint_names, a .slp).'
        )
    return result


def _tracks(path: Path) -> RecordedPoints:
    tracks = read_tracks(path, _WHAT)
    _, count, n_nodes, _ = tracks.shape
    names, animals = names_beside(path)
    if count == 1:
        animals = ('',)
    elif len(animals) != count:
        animals = tuple(f'track_{a}' for a in range(count))
    return recorded_points(path, names if len(names) == n_nodes else None, tracks, animals=animals)
