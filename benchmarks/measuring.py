"""What all benchmarks share: taking turns, printing rows, and writing them with what they were measured on."""

import csv
import json
import os
import platform
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from smilfit.version import __version__

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / 'benchmarks' / 'results'
PACKAGES = ('torch', 'numpy', 'smplx', 'warp-lang', 'mmengine')
BLOCK = 10
# A call shorter than this (s) is repeated, and its median taken.
SHORT, REPEATS = 0.3, 5

Row = dict[str, Any]


def interleaved(functions: Sequence[Callable[[], torch.Tensor]], backward: bool, rounds: int) -> list[float]:
    """Take turns of ten calls, so that what else the machine does falls on all alike; medians in ms.

    Ten, because a fit calls one and the same function again and again: a turn of one call would measure how long
    it takes to fetch everything into the caches after the other function has emptied them.
    """
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(max(3, rounds // BLOCK)):
        for function, mine in zip(functions, times):
            for _ in range(BLOCK):
                start = time.perf_counter()
                out = function()
                if backward:
                    out.square().sum().backward()
                mine.append(1e3 * (time.perf_counter() - start))
    return [float(np.median(t)) for t in times]


def seconds_of(function: Callable[[], Any]) -> tuple[float, Any]:
    """Time a call that may take long: once if it does, else the median of five; and what it gave.

    This process's CPU time, so that what else the machine does counts little; with a GPU the time of the clock.
    """
    times = []
    while not times or (times[0] < SHORT and len(times) < REPEATS):
        start = now()
        out = function()
        times.append(now() - start)
    return float(np.median(times)), out


def now() -> float:
    """Read the clock that `seconds_of` goes by, s."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def machine_load() -> str:
    """Say how busy the machine is: processes that want to run, mean of a minute, and its cores."""
    return f'{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores'


def real_data() -> Path | None:
    """Find the folder of real recordings and models."""
    named = os.environ.get('SMILFIT_REAL_DATA')
    folders = [Path(named)] if named else []
    return next((f for f in (*folders, ROOT.parent / 'shared' / 'real') if f.is_dir()), None)


def real_stick() -> Path | None:
    """Find the real stick insect model."""
    folder = real_data()
    path = None if folder is None else folder / 'models' / 'SMILy_STICK.pkl'
    return path if path is not None and path.is_file() else None


def about() -> Row:
    """Say where and with what the figures were measured."""
    commit = subprocess.run(
        ['git', 'describe', '--always', '--dirty'], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return {
        'machine': f'{_processor()}, {os.cpu_count()} cores',
        'gpu': torch.cuda.get_device_name() if torch.cuda.is_available() else 'none',
        'threads': torch.get_num_threads(),
        'load': machine_load(),
        'python': platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        'smilfit': __version__,
        'commit': commit.stdout.strip(),
    }


def _processor() -> str:
    lines = Path('/proc/cpuinfo').read_text().splitlines() if Path('/proc/cpuinfo').is_file() else []
    names = [line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')]
    return f'{platform.machine()} {names[0] if names else platform.processor()}'.strip()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return 'not installed'


def print_rows(title: str, rows: Sequence[Row]) -> None:
    """Print rows of the same keys as a table."""
    names = list(rows[0])
    cells = [names] + [[_text(row[name]) for name in names] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    print(f'\n{title}')
    for line in cells:
        print('  '.join(f'{cell:>{w}}' for cell, w in zip(line, widths)))


def _text(value: Any) -> str:
    if value is None:
        return '-'
    return f'{value:.4g}' if isinstance(value, float) else str(value)


def save(name: str, rows: Sequence[Row], folder: Path, **more: Any) -> None:
    """Write `name`.json, with what it was measured on, and `name`.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    content: Mapping[str, Any] = {'about': {**more, **about()}, 'rows': list(rows)}
    (folder / f'{name}.json').write_text(json.dumps(content, indent=1))
    with (folder / f'{name}.csv').open('w', newline='') as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
