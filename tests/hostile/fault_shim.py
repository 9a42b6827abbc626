"""Build the shim that breaks a process off at one of its file operations, and talk to it."""

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = Path(__file__).with_name('fault_shim.c')
MODES = {'kill': 0, 'torn': 1, 'full': 2, 'full once': 3}


def unavailable() -> str | None:
    """Return why faults cannot be injected here; None where they can."""
    if not sys.platform.startswith('linux'):
        return 'faults are injected on Linux only'
    if shutil.which('cc') is None:
        return 'faults are injected by a shim that wants a C compiler, and there is none'
    return None


def loaded() -> bool:
    """Check whether this process was started with the shim."""
    return hasattr(ctypes.CDLL(None), 'fault_arm')


def environment() -> dict[str, str]:
    """Build the shim and give the environment of a process that has it."""
    library = Path(tempfile.mkdtemp(prefix='fault_shim_')) / 'shim.so'
    subprocess.run(['cc', '-shared', '-fPIC', '-O1', '-o', str(library), str(SOURCE), '-ldl'], check=True)
    threads = dict.fromkeys(('OMP_NUM_THREADS', 'MKL_NUM_THREADS'), '1')
    return {**os.environ, **threads, 'LD_PRELOAD': str(library), 'MPLBACKEND': 'Agg'}


def arm(folder: Path, at: int = -1, mode: str = 'kill') -> None:
    """Begin to count operations below a folder, and break off at number `at`; none if negative."""
    ctypes.CDLL(None).fault_arm(str(folder).encode(), ctypes.c_long(at), MODES[mode])


def operations() -> str:
    """Return what was done since `arm`, a letter each: open, write, flush (f), truncate, rename, make, delete."""
    library = ctypes.CDLL(None)
    library.fault_kinds.restype, library.fault_count.restype = ctypes.c_char_p, ctypes.c_long
    return library.fault_kinds()[: library.fault_count()].decode()
