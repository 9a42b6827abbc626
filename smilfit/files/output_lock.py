"""One process writes an output; another one learns which."""

import json
import logging
import os
import socket
import stat
import sys
import time
import weakref
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from smilfit.files.atomic import writing
from smilfit.files.errors import shorten
from smilfit.files.real_folders import NO_FOLLOW, LinkedOutputError, is_link

logger = logging.getLogger('smilfit')

# What a lock file says is short; more is not read.
_MOST_BYTES = 4096


class OutputHeldError(OSError):
    """Another process writes the output."""


class OutputLock:
    """Hold an output for the time of a context.

    The system lets go of the lock when the process ends, however it ends: a lock file that a killed process left
    holds nothing. Children that a process forks do not hold it on.

    Args:
        path: the lock file, which lies in or beside the output.
        output: what it stands for, for messages.

    Raises:
        OutputHeldError: another process holds it; the message says which.
        LinkedOutputError: the lock file is a link, or has a second name: another file must not be emptied.
    """

    def __init__(self, path: Path, output: Path) -> None:
        self.path, self.output = path, output
        self._handle: int | None = None

    @classmethod
    def of_folder(cls, folder: str | Path) -> 'OutputLock':
        """Lock a folder of results."""
        return cls(Path(folder) / '.lock', Path(folder))

    @classmethod
    def of_file(cls, path: str | Path) -> 'OutputLock':
        """Lock a file."""
        path = Path(path)
        return cls(path.with_name(f'.{path.name}.lock'), path)

    def __enter__(self) -> 'OutputLock':
        try:
            with writing(self.output):
                self._acquire()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        if hasattr(os, 'register_at_fork'):
            itself = weakref.ref(self)
            os.register_at_fork(after_in_child=lambda: _close_of(itself))
        return self

    def _acquire(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            self._refuse_link()
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | NO_FOLLOW, 0o644)
            try:
                if not _lock(handle):
                    raise OutputHeldError(self._held(handle))
                # Its last holder may have removed the file between our opening and locking it.
                if _is_same(handle, self.path):
                    if os.fstat(handle).st_nlink > 1:
                        raise LinkedOutputError(self._linked())
                    break
            except BaseException:
                os.close(handle)
                raise
            os.close(handle)
        self._handle = handle
        os.ftruncate(handle, 0)
        os.write(handle, json.dumps(_who()).encode()[:_MOST_BYTES])

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handle is None:
            return
        self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Close the handle of this process."""
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)

    def _refuse_link(self) -> None:
        with suppress(FileNotFoundError):
            result = self.path.lstat()
            if is_link(result) or not stat.S_ISREG(result.st_mode):
                raise LinkedOutputError(self._linked())

    def _linked(self) -> str:
        return (
            f'{self.path}: the lock of {self.output} must be a file of its own; it is a link, has a second name, or '
            'is no file. Remove it, or choose another output.'
        )

    def _held(self, handle: int) -> str:
        try:
            who = json.loads(os.read(handle, _MOST_BYTES))
            by = f'process {int(who["pid"])} on {shorten(who["host"])}, since {shorten(who["since"])}'
            by += f' ({shorten(who["command"])})'
        except (OSError, ValueError, KeyError, TypeError):
            by = 'another process'
        return f'{self.output}: is being written by {by}. Wait until it is done, or choose another output.'


def _close_of(lock: 'weakref.ref[OutputLock]') -> None:
    result = lock()
    if result is not None:
        result.close()


def _who() -> dict[str, object]:
    return {
        'pid': os.getpid(),
        'host': socket.gethostname(),
        'since': time.strftime('%Y-%m-%d %H:%M:%S'),
        'command': ' '.join([Path(sys.argv[0]).name, *sys.argv[1:]])[:1000],
    }


def _lock(handle: int) -> bool:
    """Take the system's lock on an open file; False where another process has it."""
    if sys.platform == 'win32':
        import msvcrt

        # Beyond the text, which others must be able to read.
        os.lseek(handle, 1 << 20, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        finally:
            os.lseek(handle, 0, os.SEEK_SET)
        return True
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        logger.warning(
            'This file system keeps no locks (%s): see to it that one process writes.', shorten(error)
        )
    return True


def _is_same(handle: int, path: Path) -> bool:
    try:
        valid = path.lstat()
    except FileNotFoundError:
        return False
    mine = os.fstat(handle)
    return (mine.st_dev, mine.st_ino) == (valid.st_dev, valid.st_ino)
