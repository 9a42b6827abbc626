"""One sum a file: the memory, the objects and the CPU time that reading it may take, with all that it references.

A limit an array does not bound a file of many arrays. Readers charge what they are about to allocate or to make; the
sum is held against limits that grow with the bytes that really lie on the disk, so that honest files of any size pass
and a file of a few kilobytes cannot fill the memory. `read_in_child` has the system hold the same limits.
"""

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from smilfit.files.errors import BadFileError, OverBudgetError, shorten

# What any file may take, and what it may take more for each byte of its own. Text of numbers takes some ten times
# its bytes when it is parsed; a number packed by a general packer rarely less than a quarter of a byte.
BASE_BYTES, BYTES_PER_BYTE = 1 << 29, 16.0
BASE_OBJECTS, OBJECTS_PER_BYTE = 300_000, 0.25
BASE_SECONDS, SECONDS_PER_BYTE = 3.0, 0.5e-6
# A number in the environment that multiplies all limits, for files that one trusts and slow machines.
FACTOR = 'SMILFIT_READING_BUDGET'


class Account:
    """What reading one file has taken so far, of what it may take.

    Args:
        path: the file that a person gave; messages name it.
        what: what it should be, for messages, such as 'a scan'.
    """

    def __init__(self, path: str | Path, what: str) -> None:
        self.path, self.what = path, what
        self.n_bytes = self.n_objects = 0
        self._factor = _factor()
        self._stored = 0
        self._admitted: set[tuple[int, int]] = set()
        # Called when the limits grow: what the system holds must grow with them.
        self.on_growth: Callable[[], None] | None = None
        self._start = time.thread_time()
        self.admit(path)

    def allowed(self, base: float, per_byte: float) -> float:
        """Return what may be taken of anything: so much of any file, and so much more for each byte on the disk."""
        return self._factor * (base + per_byte * self._stored)

    @property
    def most_bytes(self) -> int:
        """Bytes of memory that may be allocated."""
        return int(self.allowed(BASE_BYTES, BYTES_PER_BYTE))

    @property
    def most_objects(self) -> int:
        """Things (rows, nodes, entries, labels) that may be made."""
        return int(self.allowed(BASE_OBJECTS, OBJECTS_PER_BYTE))

    @property
    def most_seconds(self) -> float:
        """CPU seconds of this thread that may pass."""
        return self.allowed(BASE_SECONDS, SECONDS_PER_BYTE)

    @property
    def seconds(self) -> float:
        """CPU seconds of this thread that have passed, with those of children."""
        return time.thread_time() - self._start

    @seconds.setter
    def seconds(self, taken: float) -> None:
        # The clock of a forked child begins anew, and this one does not see what a child takes.
        self._start = time.thread_time() - taken

    def admit(self, path: str | Path) -> None:
        """Let the limits grow by a file's bytes on the disk, once however often it is referenced.

        Holes of a sparse file do not count. What is no file, or not there, adds nothing.
        """
        try:
            status = os.stat(path)
        except (OSError, ValueError):
            return
        key = (status.st_dev, status.st_ino)
        # Windows gives neither numbers of files on every disk, nor blocks.
        if key in self._admitted and key[1]:
            return
        self._admitted.add(key)
        blocks = getattr(status, 'st_blocks', None)
        self._stored += status.st_size if blocks is None else min(status.st_size, 512 * blocks)
        if self.on_growth is not None:
            self.on_growth()

    def charge(self, thing: str, n_bytes: int = 0, n_objects: int = 0) -> None:
        """Add what is about to be taken, before it is.

        Args:
            thing: what takes it, for the message.
            n_bytes: memory, bytes.
            n_objects: things to be made.

        Raises:
            BadFileError: the sum is over its limit, or reading has taken longer than it may.
        """
        if n_bytes < 0 or n_objects < 0:
            raise BadFileError(
                f'{self.path}: {thing} must not be of negative size; got {shorten(min(n_bytes, n_objects))}. The '
                'file is damaged: copy it again, or make it anew.'
            )
        self.n_bytes += n_bytes
        self.n_objects += n_objects
        if self.n_bytes > self.most_bytes:
            raise self.refusal(f'{_mebibytes(self.most_bytes)} of memory', _mebibytes(self.n_bytes), thing)
        if self.n_objects > self.most_objects:
            raise self.refusal(f'{self.most_objects:,} objects', shorten(self.n_objects), thing)
        if self.seconds > self.most_seconds:
            raise self.refusal(f'{self.most_seconds:.3g} CPU seconds', f'{self.seconds:.3g}', thing)

    def refusal(self, most: str, taken: str, thing: str | None = None) -> OverBudgetError:
        """Return the error of a file that takes too much.

        Args:
            most: the limit, with its unit.
            taken: what was taken or asked for.
            thing: where reading stood, where known.
        """
        place = '' if thing is None else f' with {thing}'
        return OverBudgetError(
            f'{self.path}: reading {self.what} must take at most {most}; got {taken}{place}. It is damaged, or made '
            f'to stop the machine: make it anew, or in smaller pieces. For a file that you trust, set {FACTOR}=4, '
            'which allows four times as much.'
        )


_open: ContextVar[Account | None] = ContextVar('smilfit_reading_account', default=None)


@contextmanager
def accounted(path: str | Path, what: str) -> Iterator[Account]:
    """Read a file inside this context on one account; inside another file's account, on that one.

    Args:
        path: the file; its bytes on the disk let the limits grow.
        what: what it should be, for messages.
    """
    outer = _open.get()
    if outer is not None:
        outer.admit(path)
        yield outer
        return
    account = Account(path, what)
    token = _open.set(account)
    try:
        yield account
    finally:
        _open.reset(token)


def charge(thing: str, n_bytes: int = 0, n_objects: int = 0) -> None:
    """Charge the account of the file that is being read; nothing where none is.

    Raises:
        BadFileError: it has taken more than it may.
    """
    account = _open.get()
    if account is not None:
        account.charge(thing, n_bytes, n_objects)


def _factor() -> float:
    text = os.environ.get(FACTOR, '1')
    try:
        factor = float(text)
    except ValueError:
        factor = math.nan
    if not 0 < factor < 1e6:
        raise ValueError(
            f'{FACTOR}: must be a number above 0 in the environment; got {shorten(text)!r}. Correct or unset it.'
        )
    return factor


def _mebibytes(count: float) -> str:
    return f'{count / (1 << 20):,.0f} MiB'
