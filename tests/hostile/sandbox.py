"""Run a reader on hostile files, each in a forked process with bounded memory and time.

`run_cases('module:function', files)` starts one Python process, which imports the module once and forks for every
file: what a case breaks, fills or hangs ends with its own process. POSIX only.
"""

import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
MIB = 1 << 20
# How much of what a case printed is kept, characters.
_OUTPUT = 400


@dataclass(frozen=True)
class Outcome:
    """What became of one file.

    `outcome` is 'refused' (an exception), 'accepted' (a value), 'memory' (MemoryError), 'timeout' or 'crash' (a
    signal, or an end without a word). `families` names the exception's class and its bases, `causes` the classes
    behind it, innermost last. `peak_mib` is what the process grew by, `cpu_s` what it computed.
    """

    name: str
    outcome: str
    kind: str = ''
    message: str = ''
    families: tuple[str, ...] = ()
    causes: tuple[str, ...] = ()
    value: Any = None
    seconds: float = 0.0
    cpu_s: float = 0.0
    peak_mib: float = 0.0
    output: str = ''


def run_cases(
    function: str,
    files: Mapping[str, str | Path],
    seconds: float = 5.0,
    memory_mib: int = 2048,
    most_seconds: float = 600.0,
) -> dict[str, Outcome]:
    """Call a function with every file, one forked process a file.

    Args:
        function: 'module:function'; it takes a `Path` and gives something that JSON holds.
        files: name of the case -> file.
        seconds: of the wall clock, for one case.
        memory_mib: address space that a case may take beyond what its imports took.
        most_seconds: for all together.

    Raises:
        RuntimeError: the process that forks failed: an unknown function, an import error.
    """
    order = {
        'function': function,
        'files': {name: str(path) for name, path in files.items()},
        'seconds': seconds,
        'memory_mib': memory_mib,
    }
    path = os.pathsep.join(p for p in (str(ROOT), os.environ.get('PYTHONPATH', '')) if p)
    environment = os.environ | {'PYTHONPATH': path, 'OMP_NUM_THREADS': '1', 'MKL_NUM_THREADS': '1'}
    done = subprocess.run(
        [sys.executable, '-m', 'tests.hostile.sandbox'],
        input=json.dumps(order),
        capture_output=True,
        text=True,
        env=environment,
        timeout=most_seconds,
    )
    if done.returncode:
        raise RuntimeError(f'sandbox: {function} must run; got {done.stderr[-2000:]}')
    result = [json.loads(line) for line in done.stdout.splitlines()]
    return {row['name']: _outcome(row) for row in result}


def run_one(name: str, call: Callable[[Path], Any], path: Path, seconds: float, memory_mib: int) -> Outcome:
    """Fork, call, and tell what became of it."""
    begin, before = time.monotonic(), _resident()
    with tempfile.TemporaryFile() as printed, tempfile.TemporaryFile() as channel:
        pid = os.fork()
        if pid == 0:
            _child(call, path, seconds, memory_mib, printed.fileno(), channel.fileno())
        _, status, used = os.wait4(pid, 0)
        took = time.monotonic() - begin
        printed.seek(0)
        channel.seek(0)
        text = printed.read().decode(errors='replace').strip()[-_OUTPUT:]
        report = channel.read()
    measured = {
        'name': name,
        'seconds': round(took, 3),
        'cpu_s': round(used.ru_utime + used.ru_stime, 3),
        'peak_mib': round(max(0.0, used.ru_maxrss * 1024 - before) / MIB, 1),
        'output': text,
    }
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        outcome = 'timeout' if number == signal.SIGALRM else 'crash'
        return Outcome(outcome=outcome, kind=signal.Signals(number).name, **measured)
    if not report:
        return Outcome(outcome='crash', kind=f'exit {os.WEXITSTATUS(status)}', **measured)
    return _outcome(json.loads(report) | measured)


def _outcome(row: Mapping[str, Any]) -> Outcome:
    lists = {name: tuple(row[name]) for name in ('families', 'causes') if name in row}
    return Outcome(**{**row, **lists})


def describe(call: Callable[[Path], Any], path: Path) -> dict[str, Any]:
    """Call, and say whether it gave a value or an exception."""
    try:
        return {'outcome': 'accepted', 'value': call(path)}
    except MemoryError as error:
        return {'outcome': 'memory', **_error_record(error)}
    except Exception as error:  # Whatever a hostile file causes is what is looked for here.
        return {'outcome': 'refused', **_error_record(error)}


def _error_record(error: BaseException) -> dict[str, Any]:
    causes, cause = [], error.__cause__ or error.__context__
    while cause is not None and len(causes) < 10:
        causes.append(type(cause).__name__)
        cause = cause.__cause__ or cause.__context__
    return {
        'kind': type(error).__name__,
        'message': str(error),
        'families': [base.__name__ for base in type(error).__mro__],
        'causes': causes,
    }


def _child(
    call: Callable[[Path], Any], path: Path, seconds: float, memory_mib: int, printed: int, channel: int
) -> None:
    """Do one case and end the process, whatever happens."""
    status = 70
    try:
        os.dup2(printed, 1)
        os.dup2(printed, 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        # Imports reserve much address space that they never use: the limit counts from there.
        limit = _pages(0) + memory_mib * MIB
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        # The default action ends the process, also inside a loop of C code that never looks at signals.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        report = describe(call, path)
        signal.setitimer(signal.ITIMER_REAL, 0)
        os.write(channel, json.dumps(report).encode())
        status = 0
    finally:
        os._exit(status)


def _pages(field: int) -> int:
    return int(Path('/proc/self/statm').read_text().split()[field]) * os.sysconf('SC_PAGE_SIZE')


def _resident() -> int:
    return _pages(1)


def main() -> None:
    """Read the order from standard input; write one JSON line a case."""
    order = json.load(sys.stdin)
    module, _, name = order['function'].partition(':')
    call = getattr(importlib.import_module(module), name)
    for case, path in order['files'].items():
        outcome = run_one(case, call, Path(path), order['seconds'], order['memory_mib'])
        print(json.dumps(asdict(outcome)), flush=True)


if __name__ == '__main__':
    main()
