"""Start NVIDIA Warp, and keep what it tells unasked from the user. Imported only where warp is used."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from tempfile import TemporaryFile

import torch
import warp as wp

# Written by Warp's library itself at every start, whatever its log level, where a machine has no CUDA.
_NO_DRIVER = b'Warp CUDA warning: Could not find or load the NVIDIA CUDA driver.'


@contextmanager
def quietly() -> Iterator[None]:
    """Start warp if it is not, without its announcements of version and compilations; warnings are shown."""
    level = wp.config.log_level
    wp.config.log_level = max(level, wp.LOG_WARNING)
    try:
        _start()
        yield
    finally:
        wp.config.log_level = level


@cache
def _start() -> None:
    if torch.cuda.is_available():
        wp.init()
        return
    with _stderr_without(_NO_DRIVER):
        wp.init()


@contextmanager
def _stderr_without(start: bytes) -> Iterator[None]:
    """Hold back what the process writes to stderr, and write it afterwards, but lines that start so.

    Python's own `sys.stderr` cannot stop what a C library writes.
    """
    sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # Closed: nobody reads it.
        yield
        return
    try:
        with TemporaryFile() as held:
            os.dup2(held.fileno(), 2)
            try:
                yield
            finally:
                sys.stderr.flush()
                os.dup2(kept, 2)
                held.seek(0)
                for line in held:
                    if not line.startswith(start):
                        os.write(2, line)
    finally:
        os.close(kept)
