"""What becomes of an error at the end of a command: a sentence and an exit code."""

import argparse
import errno
import linecache
import logging
import os
import re
import select
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType

from smilfit.files import free_space, shorten
from smilfit.registry import UnknownNameError

BAD_INPUT, INTERRUPTED, BROKEN_PIPE, TERMINATED = 1, 130, 141, 143
STOPPED = 'Stopped. Give the same command again.'
OUR_FAULT = 'This is a fault of smilfit, not of your input; run again with --traceback and report it.'
_PACKAGE = Path(__file__).resolve().parents[1]
# A sentence may list names and advice; what is longer was not written for people.
_LONGEST = 4000
_MEMORY = ("can't allocate memory", 'out of memory', 'Insufficient memory', 'bad_alloc', 'Unable to allocate')
_DEVICE = (
    'No CUDA GPUs', 'not compiled with CUDA', 'invalid device ordinal', 'Expected one of cpu', 'CUDA driver',
    'no NVIDIA driver', 'Cannot re-initialize CUDA', 'not linked with support for mps', 'MPS backend',
)  # fmt: skip

_OF_WORKER = re.compile(r'[\'"]?Caught \w+ in \w+ worker process')
_LAST_WORDS = re.compile(r'^[\w.]+(?:Error|Exception)?: ', re.MULTILINE)


class TerminatedError(KeyboardInterrupt):
    """The process was asked to end (SIGTERM)."""


def run_reporting_errors(
    command: Callable[[argparse.Namespace], int | None],
    arguments: argparse.Namespace,
    stopped: str = STOPPED,
) -> int:
    """Run a command; what is wrong with its input is `error: ...` on stderr and not a traceback.

    Args:
        command: takes the parsed command line; gives an exit code, or None for 0.
        arguments: of the command. With `traceback` set, an error's place in the code is shown before the message.
        stopped: what to say after Ctrl-C or SIGTERM.

    Returns:
        The command's code; 1 after an error, 130 after Ctrl-C, 143 after SIGTERM, 141 where nobody reads what is
        printed any more.
    """
    logging.basicConfig(level=logging.INFO, format='%(message)s')
    # A log that cannot be written would print a traceback of its own for every line.
    raise_exceptions, logging.raiseExceptions = (
        logging.raiseExceptions,
        bool(getattr(arguments, 'traceback', False)),
    )
    try:
        with _ending_on_sigterm():
            code = command(arguments)
            sys.stdout.flush()
        return code or 0
    except TerminatedError:
        print(f'SIGTERM: {stopped}', file=sys.stderr)
        return TERMINATED
    except KeyboardInterrupt:
        print(stopped, file=sys.stderr)
        return INTERRUPTED
    except Exception as error:  # The last place: what it is, `message_of` says, faults of smilfit among them.
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            return BROKEN_PIPE
        if getattr(arguments, 'traceback', False):
            traceback.print_exception(error, file=sys.stderr)
        print(f'error: {message_of(error)}', file=sys.stderr)
        return BAD_INPUT
    finally:
        logging.raiseExceptions = raise_exceptions


def message_of(error: Exception) -> str:
    """Return what is wrong in a sentence; of an error that no input should cause, that it is ours."""
    text = shorten(_without_worker(error), _LONGEST)
    if isinstance(error, MemoryError) or any(part in str(error) for part in _MEMORY):
        return f'not enough memory: {text}. Use less data at a time, or a machine with more.'
    if isinstance(error, RecursionError):
        return f'something is nested too deeply: {text}.'
    if isinstance(error, OSError):
        return _of_system(error, text)
    if isinstance(error, (ValueError, UnknownNameError, FloatingPointError, ImportError)) or _is_sentence(
        error
    ):
        return text
    if isinstance(error, RuntimeError) and any(part in str(error) for part in _DEVICE):
        return f'--device: {text.rstrip(".")}. Choose one that this machine has, such as cpu.'
    return f'{type(error).__name__}: {text}\n{OUR_FAULT}'


def _without_worker(error: Exception) -> Exception:
    """Return an error that a data loader's worker met as the worker had it; torch puts its traceback into the
    text."""
    message = str(error)
    if not _OF_WORKER.match(message):
        return error
    result = list(_LAST_WORDS.finditer(message))
    return ValueError(message[result[-1].end() :].strip()) if result else error


def _of_system(error: OSError, text: str) -> str:
    """Put the file first where the system's own message has it last."""
    if error.errno is None or error.strerror is None or error.filename is None:
        return text
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f'{shorten(str(error.filename), _LONGEST)}: the disk is full. {free_space(error.filename)} Make room.'
    return f'{shorten(str(error.filename), _LONGEST)}: {error.strerror.lower()}. Check the path and its permissions.'


def _is_sentence(error: Exception) -> bool:
    """Check whether our own code raised this on purpose: its last line there is a `raise`."""
    if not isinstance(error, (KeyError, TypeError, RuntimeError)):
        return False
    if isinstance(error, KeyError) and ' ' not in str(error.args[0] if error.args else ''):
        return False
    frame = _innermost(error.__traceback__)
    if frame is None or not Path(frame.tb_frame.f_code.co_filename).is_relative_to(_PACKAGE):
        return isinstance(error, KeyError)
    line = linecache.getline(frame.tb_frame.f_code.co_filename, frame.tb_lineno)
    return line.lstrip().startswith('raise')


def _innermost(frame: TracebackType | None) -> TracebackType | None:
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return frame


def _nobody_reads() -> bool:
    """Check whether the pipe behind stdout is closed; if so, let the interpreter's last flush go nowhere."""
    try:
        number = sys.stdout.fileno()
    except OSError:
        return False
    look = select.poll()
    look.register(number, select.POLLOUT)
    if not any(event & (select.POLLERR | select.POLLHUP) for _, event in look.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), number)
    return True


@contextmanager
def _ending_on_sigterm() -> Iterator[None]:
    """Turn SIGTERM into an exception inside this context, so that what is open is closed; main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    owner = os.getpid()

    def end(number: int, frame: FrameType | None) -> None:
        if os.getpid() == owner:
            raise TerminatedError
        # A process forked meanwhile, such as a data loader's worker, ends as it would have.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)
