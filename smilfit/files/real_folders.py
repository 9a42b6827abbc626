"""A folder of results that somebody else made: no link in it is written or deleted through.

The folder itself may be a link, and so may what lies above it: that is the user's own choice. Below it every folder
must be a real one. Where the system has handles of folders (POSIX), files are put and removed by them, so that a
folder that is exchanged for a link meanwhile is not followed either.
"""

import logging
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath

from smilfit.files.errors import BadFileError, shorten

logger = logging.getLogger('smilfit')

# Entries of a folder of results that are looked at beforehand; those behind them are when something is written there.
MOST_ENTRIES = 200_000
_MOST_SHOWN = 300
NO_FOLLOW = getattr(os, 'O_NOFOLLOW', 0)
_BINARY = getattr(os, 'O_BINARY', 0)
_FOLDER = os.O_RDONLY | getattr(os, 'O_DIRECTORY', 0)
# Of Windows: a reparse point that stands for another name, as links and junctions do. Files of a cloud do not.
_REPARSE_POINT, _OTHER_NAME = 0x400, 0x20000000


class LinkedOutputError(OSError):
    """A link stands where a real file or folder of results must be."""


def is_link(status: os.stat_result) -> bool:
    """Check whether an entry, by its own `lstat`, is a symbolic link, or on Windows a junction or the like."""
    if stat.S_ISLNK(status.st_mode):
        return True
    attributes, tag = getattr(status, 'st_file_attributes', 0), getattr(status, 'st_reparse_tag', 0)
    return bool(attributes & _REPARSE_POINT and tag & _OTHER_NAME)


def is_alone(path: Path) -> bool:
    """Check whether a path is a file of its own: no link, nothing special, and without another name (a hard link)."""
    try:
        result = path.lstat()
    except FileNotFoundError:
        return False
    return not is_link(result) and stat.S_ISREG(result.st_mode) and result.st_nlink <= 1


def real_folder(root: str | Path, name: str | PurePath) -> Path:
    """Return a folder below another one; it need not be there, but what is of it must not be a link.

    Args:
        root: the folder of results.
        name: relative to it.

    Raises:
        LinkedOutputError: a link.
        BadFileError: the name leads elsewhere.
    """
    place = Path(root)
    for part in _parts(root, name):
        place = place / part
        try:
            result = place.lstat()
        except (FileNotFoundError, NotADirectoryError):
            break
        if is_link(result):
            raise LinkedOutputError(_linked_message(place))
    return Path(root, name)


def put_file(source: Path, root: Path, name: str) -> None:
    """Return a file its name below a folder; folders are made, and a link of that name is replaced and not followed.

    Raises:
        LinkedOutputError: a folder on the way is a link.
    """
    *folders, last = _parts(root, name, file=True)
    with _opened(root, folders, make=True) as handle:
        if handle is None:
            source.replace(Path(root, *folders, last))
        else:
            os.replace(source, last, dst_dir_fd=handle)


def remove_file(root: Path, name: str) -> None:
    """Delete a file below a folder, if it is there, and the folders that are empty then.

    Raises:
        LinkedOutputError: a folder on the way is a link.
    """
    *folders, last = _parts(root, name, file=True)
    try:
        with _opened(root, folders) as handle:
            if handle is None:
                Path(root, *folders, last).unlink()
            else:
                os.unlink(last, dir_fd=handle)
    except (FileNotFoundError, NotADirectoryError):
        pass
    while folders:
        last = folders.pop()
        try:
            with _opened(root, folders) as handle:
                if handle is None:
                    Path(root, *folders, last).rmdir()
                else:
                    os.rmdir(last, dir_fd=handle)
        except OSError:
            # It holds something, or is gone.
            return


def check_tree(root: str | Path) -> None:
    """Look for links below a folder of results before work starts, without following any.

    A link to a folder outside, or to nothing, is refused. One to a file stays: a file of results takes its place and
    leaves the other as it is. Hidden entries are not looked at: what smilfit keeps under such names it never follows.

    Raises:
        LinkedOutputError: the first link found.
    """
    real = Path(os.path.realpath(root))
    waiting, count = [real], 0
    while waiting:
        try:
            entries = list(os.scandir(waiting.pop()))
        except OSError:
            # Not a folder, or one that may not be read; nor will anything be written there.
            continue
        for entry in entries:
            if entry.name.startswith('.'):
                continue
            count += 1
            if _is_linked(entry):
                if not _is_harmless(Path(entry.path), real):
                    raise LinkedOutputError(_linked_message(Path(root, Path(entry.path).relative_to(real))))
            elif entry.is_dir(follow_symlinks=False):
                waiting.append(Path(entry.path))
        if count > MOST_ENTRIES:
            logger.info(
                '%s: holds more than %d files; links among the others are refused when something is written there.',
                root,
                MOST_ENTRIES,
            )
            return


def check_own_files(folder: str | Path) -> None:
    """Check that a folder which others write into by plain opening holds real files without a second name alone.

    Raises:
        LinkedOutputError: a link, a hard link, or something that is no file.
    """
    for place, folders, files in os.walk(folder):
        for name in folders:
            if is_link((Path(place) / name).lstat()):
                raise LinkedOutputError(_linked_message(Path(place) / name))
        for name in files:
            if not is_alone(Path(place) / name):
                raise LinkedOutputError(_linked_message(Path(place) / name))


def opener(path: str, flags: int) -> int:
    """Open a file as `open(..., opener=opener)` does, but no link."""
    return os.open(path, flags | NO_FOLLOW | _BINARY, 0o666)


def begin_file(path: Path) -> None:
    """Make an empty file of one's own under a name; whatever file or link has the name loses it, nothing else."""
    path.unlink(missing_ok=True)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_FOLLOW, 0o666))


def _parts(root: str | Path, name: str | PurePath, file: bool = False) -> tuple[str, ...]:
    path = PurePath(name)
    if path.is_absolute() or path.drive or '..' in path.parts or (file and not path.parts):
        raise BadFileError(
            f'{root}: the name of a file of results must lie inside; got {shorten(str(name))!r}. Rename it.'
        )
    return path.parts


@contextmanager
def _opened(root: Path, folders: list[str], make: bool = False) -> Iterator[int | None]:
    """Return a handle of a folder below another, reached without links; None on systems without such handles."""
    if os.name != 'posix':
        if folders:
            made = real_folder(root, PurePath(*folders))
            if make:
                made.mkdir(parents=True, exist_ok=True)
        yield None
        return
    handle, place = os.open(root, _FOLDER), Path(root)
    try:
        for name in folders:
            place = place / name
            if make:
                with suppress(FileExistsError):
                    os.mkdir(name, dir_fd=handle)
            try:
                inner = os.open(name, _FOLDER | NO_FOLLOW, dir_fd=handle)
            except OSError as error:
                if is_link(os.lstat(name, dir_fd=handle)):
                    raise LinkedOutputError(_linked_message(place)) from error
                raise type(error)(error.errno, error.strerror, str(place)) from error
            os.close(handle)
            handle = inner
        yield handle
    finally:
        os.close(handle)


def _is_linked(entry: 'os.DirEntry[str]') -> bool:
    return entry.is_symlink() if os.name == 'posix' else is_link(entry.stat(follow_symlinks=False))


def _is_harmless(link: Path, root: Path) -> bool:
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError):
        return False
    return target.is_file() or target.is_relative_to(root)


def _linked_message(place: Path) -> str:
    kind = 'has another name elsewhere, or is no file'
    with suppress(OSError):
        if is_link(place.lstat()):
            kind = f'is a link to {shorten(os.readlink(place), _MOST_SHOWN)}'
    return (
        f'{shorten(str(place), _MOST_SHOWN)}: must be a file or folder of its own, as results go there; '
        f'it {kind}. Nothing was written through it: remove it, or choose another folder for the results.'
    )
