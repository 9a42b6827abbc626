"""Calls that end in every way a call can end, for the sandbox's own test."""

import ctypes
import os
import time
from pathlib import Path

import numpy as np

MIB = 1 << 20


def end_as_asked(path: Path) -> dict[str, int]:
    """Do what the file's name says."""
    if path.name == 'grow':
        return {'sum': int(np.ones(200 * MIB, np.uint8).sum())}
    if path.name == 'fill':
        np.ones(8 << 30, np.uint8)
    if path.name == 'crash':
        ctypes.string_at(0)
    if path.name == 'hang':
        time.sleep(60)
    if path.name == 'leave':
        os._exit(3)
    if path.name == 'refuse':
        try:
            raise KeyError('inner')
        except KeyError as error:
            raise ValueError(f'{path}: outer') from error
    return {'fine': 1}
