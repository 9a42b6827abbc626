"""What lies where in the folder of a multi-camera session."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import h5py

from smilfit.files import reading
from smilfit.io.calibration import read_calibration
from smilfit.io.recordings.videos import VIDEO_SUFFIXES
from smilfit.registry import UnknownNameError, did_you_mean

CALIBRATION_FILE = 'calibration.toml'
# What lies beside the cameras' folders.
_FILES = (CALIBRATION_FILE, 'points3d.h5', 'reprojections.h5')


def find_sessions(root: str | Path) -> list[Path]:
    """Find the sessions in a folder, sorted by path; the folder itself may be the only one.

    A session is a folder with `calibration.toml`, or one whose subfolders hold labels. Folders inside a
    session are not searched, nor are hidden ones.

    Raises:
        FileNotFoundError: no such folder, or no session in it.
    """
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f'{root}: sessions must be in a folder; there is no such folder.')
    result = list(_walk(root, set()))
    if not result:
        raise FileNotFoundError(
            f'{root}: a session must be a folder with {CALIBRATION_FILE} or with camera folders that hold '
            '.slp or analysis .h5 files; found none.'
        )
    return result


def _walk(folder: Path, seen: set[Path]) -> Iterable[Path]:
    # Links may lead back to where the walk has been.
    real = folder.resolve()
    if real in seen:
        return
    seen.add(real)
    children = _subfolders(folder)
    if (folder / CALIBRATION_FILE).is_file() or any(_labels_in(child) for child in children):
        yield folder
        return
    for child in children:
        yield from _walk(child, seen)


def match_cameras(folder: Path, calibrated: Sequence[str] | None, exclude: Sequence[str]) -> dict[str, Path]:
    """Pair camera names with their folders, in the calibration's order, without the excluded ones.

    A folder belongs to the calibrated camera of the same name, else of the same name in other case. Without
    a calibration every subfolder with labels is a camera, sorted by name.

    Raises:
        KeyError: an excluded camera that does not exist.
        ValueError: cameras without folder, folders without camera, no camera left.
    """
    folders = {child.name: child for child in _subfolders(folder)}
    with_labels = [name for name, path in folders.items() if _labels_in(path)]
    names = sorted(with_labels) if calibrated is None else list(calibrated)
    pairs = _pair(names, list(folders))
    for name in exclude:
        if name not in names and name not in with_labels:
            raise UnknownNameError(f'{folder}: no camera {name!r} to exclude. {did_you_mean(name, names)}')
    left_out = set(exclude) | {pairs[name] for name in exclude if name in pairs}
    wanted = [name for name in names if name not in left_out]
    no_folder = [name for name in wanted if name not in pairs]
    no_camera = [name for name in with_labels if name not in left_out and name not in pairs.values()]
    if no_folder or no_camera:
        raise ValueError(
            f'{folder}: cameras of {CALIBRATION_FILE} and camera folders must be the same; '
            f'cameras without a folder: {", ".join(no_folder) or "none"}; '
            f'folders without a camera: {", ".join(no_camera) or "none"}. '
            'Rename the folders, or leave cameras out with exclude_cameras.'
        )
    if not wanted:
        raise ValueError(f'{folder}: one camera at least must be left; got none.')
    return {name: folders[pairs[name]] for name in wanted}


def cameras_of(folder: Path) -> tuple[str, ...]:
    """Name all that `match_cameras` takes for cameras: the calibrated ones, and folders with labels."""
    calibration = folder / CALIBRATION_FILE
    names = read_calibration(calibration).names if calibration.is_file() else ()
    with_labels = (child.name for child in _subfolders(folder) if _labels_in(child))
    return tuple(dict.fromkeys((*names, *with_labels)))


def inputs_of(folder: Path) -> tuple[Path, ...]:
    """Return what is read of a session: its cameras' folders, and the files beside these.

    A dataset file in a camera's folder would be taken for its labels the next time.
    """
    return (*(folder / name for name in _FILES), *(path for path in folder.iterdir() if path.is_dir()))


def _pair(cameras: list[str], folders: list[str]) -> dict[str, str]:
    pairs = {name: name for name in cameras if name in folders}
    for name in cameras:
        if name in pairs:
            continue
        same = [f for f in folders if f.lower() == name.lower() and f not in pairs.values()]
        if len(same) == 1:
            pairs[name] = same[0]
    return pairs


def find_labels(folder: Path) -> Path:
    """Find a camera's labels: a `.slp` before an analysis `.h5`, and 'proofread' in the name before others.

    Raises:
        ValueError: none, or several that this rule does not tell apart.
    """
    candidates = _labels_in(folder)
    for rule in (
        lambda path: path.suffix.lower() == '.slp',
        lambda path: 'proofread' in path.stem.lower(),
    ):
        candidates = [path for path in candidates if rule(path)] or candidates
    return _only(folder, candidates, 'labels (.slp or analysis .h5)')


def find_video(folder: Path, labels: Path) -> Path:
    """Find a camera's video: the only one, else the one whose name begins the labels' name.

    Raises:
        ValueError: none, or several that this rule does not tell apart.
    """
    candidates = [path for path in _files(folder) if path.suffix.lower() in VIDEO_SUFFIXES]
    if len(candidates) > 1:
        candidates = [path for path in candidates if labels.stem.startswith(path.stem)] or candidates
    return _only(folder, candidates, f'video ({", ".join(VIDEO_SUFFIXES)})')


def _only(folder: Path, candidates: list[Path], what: str) -> Path:
    if len(candidates) != 1:
        got = ', '.join(path.name for path in candidates) or 'none'
        advice = 'Move the others away.' if candidates else 'Put it there.'
        raise ValueError(f'{folder}: a camera folder must hold one {what}; got {got}. {advice}')
    return candidates[0]


def _labels_in(folder: Path) -> list[Path]:
    files = _files(folder)
    slp = [path for path in files if path.suffix.lower() == '.slp']
    return slp + [path for path in files if path.suffix.lower() in ('.h5', '.hdf5') and _is_analysis(path)]


def _is_analysis(path: Path) -> bool:
    if not h5py.is_hdf5(path):
        # A damaged analysis file must not vanish: reading it gives the error.
        return 'analysis' in path.name.lower()
    with reading(path, 'SLEAP labels'), h5py.File(path, 'r') as file:
        return 'tracks' in file and 'node_names' in file


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith('.'))


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith('.'))
