"""Read a file in a process of its own, whose memory and CPU time the system bounds.

Parsers of other people, and C libraries, keep no account: a few bytes may have them fill the memory, go round for
ever, or crash. A child forked for the file dies in our place, and its end becomes a sentence that names the file. It
runs our own function and hands back what that returns; nothing of the file is run on either side. Where processes
cannot be forked (Windows) or it is not safe to (macOS), the file is read here, on its account alone.
"""

import faulthandler
import logging
import math
import os
import pickle
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from contextvars import ContextVar
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

from smilfit.files.account import Account, accounted
from smilfit.files.errors import BadFileError

Result = TypeVar('Result')

_CAN_FORK = sys.platform == 'linux'
# A child that takes no CPU time for so long waits for a lock of a thread that it does not have.
_STALLED_S = 30.0
_ADVICE = 'The file is damaged or of another kind: copy it again, or make it anew.'


@dataclass
class _Outcome:
    """What came back: the function's value or its error, with what it logged and warned of on the way."""

    value: Any = None
    error: BaseException | None = None
    # Where the error arose, in words: tracebacks do not travel.
    trace: str = ''
    n_bytes: int = 0
    n_objects: int = 0
    records: list[logging.LogRecord] = field(default_factory=list)
    warned: list[tuple[Warning, type[Warning], str, int]] = field(default_factory=list)


class ChildTraceback(Exception):
    """Where an error arose in the child: the cause of the error as it is raised here."""


# Whether this process is such a child: what it reads, it reads itself.
_inside: ContextVar[bool] = ContextVar('smilfit_read_in_child', default=False)


def read_in_child(
    path: str | Path, what: str, read: Callable[..., Result], *args: object, **options: object
) -> Result:
    """Call `read(*args, **options)` in a child whose memory and CPU time are those that the file may take.

    What is returned is copied to this process: arrays and plain records, rather than a great many small objects.
    Modules that `read` needs are best imported before, so that they count for nothing and stay loaded.

    Args:
        path: the file that is read, whose bytes on the disk say what it may take (see `Account`).
        what: what it should be, for messages.
        read: a function of ours, which reads files and changes nothing.
        args: its arguments.
        options: its named arguments.

    Raises:
        BadFileError: it takes more than it may, or ends the process that reads it.
        Exception: whatever `read` raises.
    """
    with accounted(path, what) as account:
        if _inside.get() or not _CAN_FORK:
            return read(*args, **options)
        outcome = _in_child(account, lambda: read(*args, **options))
        if outcome is None:
            return read(*args, **options)
        account.n_bytes, account.n_objects = outcome.n_bytes, outcome.n_objects
    for record in outcome.records:
        logging.getLogger(record.name).handle(record)
    for message, category, file, line in outcome.warned:
        warnings.warn_explicit(message, category, file, line)
    if isinstance(outcome.error, MemoryError):
        raise account.refusal(f'{account.most_bytes >> 20:,} MiB of memory', 'more') from outcome.error
    if outcome.error is not None:
        raise outcome.error from ChildTraceback(f'\n{outcome.trace}')
    return outcome.value


def _in_child(account: Account, call: Callable[[], object]) -> _Outcome | None:
    """Return what a forked child makes of a call; None where it waits for ever for what it does not have."""
    ours, theirs = Pipe(duplex=False)
    before = account.seconds
    child = _fork()
    if child == 0:
        _run(account, call, theirs, before)
    theirs.close()
    ended = False
    try:
        outcome = _receive(ours, child)
        if outcome is None:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            ended = True
            return None
        _, status, usage = os.wait4(child, 0)
        ended = True
    finally:
        ours.close()
        if not ended:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    taken = usage.ru_utime + usage.ru_stime
    account.seconds += taken
    if isinstance(outcome, _Outcome):
        return outcome
    raise _killed(account, status, taken)


def _fork() -> int:
    with ExitStack() as stack:
        # Threads that the child does not have may hold this lock; held by this one, it is free in the child.
        if 'h5py' in sys.modules:
            from h5py._objects import phil

            stack.enter_context(phil)
        # The child makes no use of other threads, of which Python 3.12 and later warn.
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter('ignore', DeprecationWarning)
        return os.fork()


def _run(account: Account, call: Callable[[], object], pipe: Connection, seconds: float) -> None:
    """Do a child's work; never returns."""
    status = 1
    try:
        _inside.set(True)
        account.seconds = seconds
        outcome = _Outcome()
        with warnings.catch_warnings(record=True) as warned:

            def keep(self: logging.Logger, record: logging.LogRecord) -> None:
                record.msg, record.args, record.exc_info = record.getMessage(), None, None
                outcome.records.append(record)

            logging.Logger.callHandlers = keep  # type: ignore[method-assign]
            # A crash becomes a sentence; what Python would print of it is nobody's.
            faulthandler.disable()
            if 'torch' in sys.modules:
                # Pools of threads are not there in a child.
                sys.modules['torch'].set_num_threads(1)
            bounds = _bound(account)
            try:
                outcome.value = call()
            except BaseException as error:  # All that the file causes goes back, interrupts too.
                outcome.trace = traceback.format_exc()
                outcome.error = error.with_traceback(None)
                error.__cause__ = error.__context__ = None
            outcome.n_bytes, outcome.n_objects = account.n_bytes, account.n_objects
            bounds()
        outcome.warned = [(w.message, w.category, w.filename, w.lineno) for w in warned]  # type: ignore[misc]
        _send(pipe, outcome)
        status = 0
    finally:
        os._exit(status)


def _bound(account: Account) -> Callable[[], None]:
    """Have the system bound this process; what comes back lifts the bound on memory, for the way home."""
    import resource

    with open('/proc/self/statm', encoding='ascii') as file:
        taken = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    _, hard_s = resource.getrlimit(resource.RLIMIT_CPU)
    before, began = account.n_bytes, account.seconds

    def hold() -> None:
        most = taken + max(account.most_bytes - before, 1 << 20)
        bounded = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(resource.RLIMIT_AS, (bounded, hard))
        # Of whole seconds; the process had taken none when it began.
        seconds = max(math.floor(account.most_seconds - began), 1)
        if hard_s == resource.RLIM_INFINITY or hard_s > seconds:
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, hard_s))

    hold()
    # What the file references and is admitted in the child counts there, too.
    account.on_growth = hold
    return lambda: resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _send(pipe: Connection, outcome: _Outcome) -> None:
    """Send an outcome: arrays as they lie in memory, what is around them pickled."""
    arrays: list[pickle.PickleBuffer] = []
    try:
        text = pickle.dumps(outcome, 5, buffer_callback=arrays.append)
    except Exception as error:  # Whatever cannot travel, the child must not end without an outcome.
        arrays.clear()
        cause = outcome.error or error
        text = pickle.dumps(_Outcome(error=RuntimeError(f'{type(cause).__name__}: {cause}')), 5)
    pipe.send_bytes(len(arrays).to_bytes(8, 'little'))
    pipe.send_bytes(text)
    for array in arrays:
        view = array.raw()
        pipe.send_bytes(view.nbytes.to_bytes(8, 'little'))
        # Nothing is sent of an empty one.
        if view.nbytes:
            pipe.send_bytes(view)


def _receive(pipe: Connection, child: int) -> _Outcome | bool | None:
    """Return the outcome; False where the child ended without one, None where it stands still."""
    moved, before = time.monotonic(), -1.0
    while not pipe.poll(1.0):
        now = _cpu_ticks(child)
        if now != before:
            moved, before = time.monotonic(), now
        elif time.monotonic() - moved > _STALLED_S:
            return None
    try:
        count = int.from_bytes(pipe.recv_bytes(), 'little')
        text = pipe.recv_bytes()
        arrays = []
        for _ in range(count):
            array = bytearray(int.from_bytes(pipe.recv_bytes(), 'little'))
            if array:
                pipe.recv_bytes_into(array)
            arrays.append(array)
    except EOFError:
        return False
    # The bytes are our own function's, in a process of ours: no file chose them. A file that takes the child over may
    # already do what its user may, of whom the child is one process: another format here would guard nothing.
    return pickle.loads(text, buffers=arrays)


def _cpu_ticks(child: int) -> float:
    try:
        with open(f'/proc/{child}/stat', encoding='ascii', errors='replace') as file:
            fields = file.read().rpartition(')')[2].split()
    except OSError:
        return -1.0
    return float(fields[11]) + float(fields[12])


def _killed(account: Account, status: int, seconds: float) -> BadFileError:
    """Describe in a sentence what ended a child."""
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    if number == signal.SIGXCPU:
        return account.refusal(f'{account.most_seconds:.3g} CPU seconds', f'{seconds:.3g}, and was not done')
    if number == signal.SIGKILL:
        return account.refusal(f'{account.most_bytes >> 20:,} MiB of memory', 'more: the system ended it')
    end = f'signal {number}' if number else f'exit status {os.WEXITSTATUS(status)}'
    return BadFileError(
        f'{account.path}: {account.what} must be whole and well-formed; the library that reads it ended with {end}. '
        f'{_ADVICE}'
    )
