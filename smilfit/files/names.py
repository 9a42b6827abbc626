"""Names from files become names of folders and files here, and nowhere else."""

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from smilfit.files.errors import BadFileError, shorten

LONGEST_NAME = 100
# Names that Windows keeps for devices, whatever ending they have.
_DEVICES = {'con', 'prn', 'aux', 'nul', *(f'{d}{n}' for d in ('com', 'lpt') for n in range(1, 10))}
_NOT_IN_STEM = re.compile(r'[^\w.-]+')
# Of a file, at the end of a label or before the number of an entry or a frame.
_ENDING = re.compile(r'(?<=.)\.\w{1,5}(?=$|,| #)')
_SAFE = re.compile(r'[^\w.\- ()+,=@]+')


def check_entry_name(name: str, where: str, what: str = 'a session') -> str:
    """Check that a name from a file can name a folder as it stands, and give it back.

    Args:
        name: of a session or the like.
        where: the file, for the message.
        what: what has the name.

    Raises:
        BadFileError: an empty name, '.', '..', one with a separator, a drive, a control character, or too long.
    """
    if folder_name(name) != name:
        raise BadFileError(
            f'{where}: the name of {what} must serve as the name of a folder (no /, \\, :, no control characters, '
            f'not empty, not "." or "..", at most {LONGEST_NAME} characters); got {shorten(name)!r}. Rename it.'
        )
    return name


def folder_name(name: str) -> str:
    """Turn any name into one that every file system takes as one folder inside another.

    A name that is fine already is given back as it is; two different names give two different folders.
    """
    safe = _SAFE.sub('_', name).strip(' .')
    stem = safe.split('.')[0].lower()
    if safe == name and safe and stem not in _DEVICES and len(safe) <= LONGEST_NAME:
        return safe
    digest = hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]
    return f'{safe[: LONGEST_NAME - 9] or "unnamed"}_{digest}'


def file_stem(label: str, most: int = 60) -> str:
    """Make the readable end of a label (a path, a caption) part of a file's name.

    Letters of any script stay, and what a label says behind the ending of its file: `dog.png #2` gives `dog_2`.
    """
    # Composed: one letter is one character, however it was typed.
    name = unicodedata.normalize('NFC', Path(label.replace('\0', '_')).name)
    return _NOT_IN_STEM.sub('_', _ENDING.sub('', name))[-most:]


def is_file(path: Path) -> bool:
    """Check whether a file stands at a path; False of a name that no file can have."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def inside(folder: str | Path, name: str | Path, where: str = '') -> Path:
    """Return a path below a folder, links followed.

    Args:
        folder: the folder.
        name: relative to it, or absolute.
        where: who names it, for the message.

    Raises:
        BadFileError: it lies elsewhere.
    """
    path = Path(folder) / name
    try:
        lies = path.resolve().is_relative_to(Path(folder).resolve())
    except (OSError, ValueError, RuntimeError):
        lies = False
    if not lies:
        raise BadFileError(
            f'{where or folder}: {shorten(str(name))!r} must lie inside {folder}; it does not. Move the file there, '
            'or name that folder.'
        )
    return path


class Fence:
    """Folders in which files may lie: many paths are checked, and each folder on the way is looked up once.

    Args:
        folders: in which files may lie.
    """

    def __init__(self, folders: Iterable[str | Path]) -> None:
        self.folders = tuple(Path(folder) for folder in folders)
        self._roots = tuple(folder.resolve() for folder in self.folders)
        self._known: dict[Path, bool] = {}

    def holds(self, path: Path) -> bool:
        """Whether a file lies inside; False of what is no path either (a zero byte, a loop of links)."""
        if '\0' in str(path):
            return False
        try:
            if path.name in ('', '..') or path.is_symlink():
                return self._inside(path.resolve())
            if path.parent not in self._known:
                self._known[path.parent] = self._inside(path.parent.resolve())
            return self._known[path.parent]
        except (OSError, ValueError, RuntimeError):
            return False

    def _inside(self, path: Path) -> bool:
        return any(path.is_relative_to(root) for root in self._roots)
