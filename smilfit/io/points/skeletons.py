"""Names of keypoints that a file of points does not tell, from the files of the skeleton that was labelled."""

from pathlib import Path

from smilfit.files import BadFileError, shorten
from smilfit.files.budget import read_text
from smilfit.io.annotations.mat_files import read_mat
from smilfit.io.points.recorded import MOST_NAMES
from smilfit.io.session_folder import find_labels
from smilfit.io.sleap_labels import read_labels, read_track_names

_MOST_BYTES = 1 << 20


def read_skeleton(path: str | Path) -> tuple[str, ...]:
    """Read keypoints' names: a text file with a name a line, a Label3D skeleton (.mat), or SLEAP labels (.slp, .h5).

    Raises:
        BadFileError: a file without names, or of another kind.
    """
    path = Path(path)
    if path.suffix.lower() == '.mat':
        names = read_mat(path).get('joint_names', [])
        names = [names] if isinstance(names, str) else list(names)
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
