"""Files that appear whole or not at all, and a full disk reported in a sentence."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from smilfit.files.errors import shorten
from smilfit.files.real_folders import begin_file, opener

TEMPORARY = '.tmp'
_FULL = {errno.ENOSPC, errno.EDQUOT}
_FULL_TEXTS = ('No space left on device', 'Disk quota exceeded')


class DiskFullError(OSError):
    """There is no room for an output."""


@contextmanager
def writing(
    path: str | Path, wanted_bytes: int | None = None, foreign: tuple[type[Exception], ...] = ()
) -> Iterator[None]:
    """Write an output inside this context: a full disk is an error that names it and the space that it wants.

    Libraries tell a failed write in their own ways: torch and HDF5 by RuntimeError.

    Args:
        path: the output.
        wanted_bytes: how large it will be, where known.
        foreign: errors that can only mean a failed write here; they become OSError.

    Raises:
        DiskFullError: no room.
        OSError: it cannot be written for another reason.
    """
    caught: tuple[type[BaseException], ...] = (OSError, RuntimeError, *foreign)
    try:
        yield
    except DiskFullError:
        raise
    except caught as error:
        number, text = getattr(error, 'errno', None), str(error)
        if number in _FULL or any(part in text for part in _FULL_TEXTS):
            raise DiskFullError(_no_room(Path(path), wanted_bytes)) from error
        if not isinstance(error, foreign):
            raise
        raise OSError(
            f'{path}: the output must be writable; got {shorten(text)}. Is the disk full? {free_space(path)} Make '
            'room, or choose another folder.'
        ) from error


@contextmanager
def replacing(path: str | Path, wanted_bytes: int | None = None) -> Iterator[Path]:
    """Return a temporary name beside `path`; what was written there takes its place, flushed to the disk, at the end.

    After an error, or where the process is killed, `path` is as it was before; a temporary file that a killed
    process left is replaced by the next one. The temporary name keeps the ending. A link under either name, hard or
    symbolic, loses the name; what it leads to stays as it is.

    Raises:
        DiskFullError: no room; nothing is left behind.
    """
    path = Path(path)
    temporary = path.with_name(f'.{path.stem}{TEMPORARY}{path.suffix}')
    with writing(path, wanted_bytes):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            begin_file(temporary)
        except OSError as error:
            if temporary.is_dir():
                raise IsADirectoryError(
                    f'{path}: the output must be writable; the folder {temporary} is in its way. Remove it.'
                ) from error
            # The user knows of the file, and of no temporary one.
            raise type(error)(error.errno, error.strerror, str(path)) from error
        try:
            yield temporary
            flush_file(temporary)
            temporary.replace(path)
            flush_folder(path.parent)
        except BaseException as error:
            if isinstance(error, OSError) and error.filename == str(temporary):
                # Nobody asked for that name.
                error.filename, error.filename2 = str(path), None
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


def write_bytes(path: str | Path, data: bytes) -> Path:
    """Write a file as a whole."""
    with replacing(path, len(data)) as temporary, open(temporary, 'wb', opener=opener) as file:
        file.write(data)
    return Path(path)


def write_text(path: str | Path, text: str) -> Path:
    """Write a text file (UTF-8) as a whole."""
    return write_bytes(path, text.encode('utf-8'))


def remove_temporary(folder: str | Path) -> None:
    """Delete what killed processes left under temporary names in a folder that nobody else writes."""
    for path in Path(folder).glob(f'.*{TEMPORARY}*'):
        if TEMPORARY in (path.suffix, Path(path.stem).suffix) and path.is_file():
            path.unlink()


def flush_file(path: Path) -> None:
    """Have the system put a file's content on the disk."""
    with open(path, 'rb+', opener=opener) as file:
        os.fsync(file.fileno())


def flush_folder(path: Path) -> None:
    """Have the system put a folder's entries on the disk, where it can (not on Windows)."""
    if os.name != 'posix':
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some network file systems know no such call.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise
    finally:
        os.close(handle)


def _no_room(path: Path, wanted: int | None) -> str:
    size = '' if wanted is None else f' It wants {_readable(wanted)}.'
    room = f'{size} {free_space(path)}'
    return f'{path}: the disk must have room for it; it is full.{room} Make room, and give the command again.'


def free_space(path: str | Path) -> str:
    """Describe in a sentence how much room there is where a path lies."""
    folder = next((p for p in (Path(path), *Path(path).parents) if p.is_dir()), None)
    return '' if folder is None else f'{_readable(shutil.disk_usage(folder).free)} are free in {folder}.'


def _readable(count: float) -> str:
    for unit in ('bytes', 'kB', 'MB', 'GB'):
        if count < 1000 or unit == 'GB':
            return f'{count:.0f} {unit}' if unit == 'bytes' else f'{count:.1f} {unit}'
        count /= 1000
    return ''
