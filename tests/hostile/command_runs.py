"""Run commands with bad input in children that are forked when all imports are paid, and judge what they did."""

import os
import re
import shlex
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from smilfit.cli.main import command_module, main

MOST_SECONDS = 30
MOST_BYTES = 2 << 30
# What a run may write before it notices: what it was asked to do, and its log.
_NOTES = ('.log', '.py')


@dataclass(frozen=True)
class Case:
    """A command line that cannot work.

    `line` is split as a shell would and its placeholders are filled with the inputs' paths; `{out}` is a folder that
    is not there yet. `message` is a regular expression that the error must match.
    """

    name: str
    line: str
    code: int
    message: str


USAGE, INPUT = 2, 1


def usage_errors(prefix: str, base: str, *rows: tuple[str, str]) -> list[Case]:
    """Make cases of an option with a value that it cannot have: (option and value, what the message must say)."""
    return [
        Case(f'{prefix} {row}', f'{base} {row}', USAGE, f'argument.*{row.split()[0]}.*{rule}')
        for row, rule in rows
    ]


def input_errors(prefix: str, *rows: tuple[str, str, str]) -> list[Case]:
    """Make cases of inputs that are wrong: (name, command line, what the message must say)."""
    return [Case(f'{prefix}: {name}', line, INPUT, message) for name, line, message in rows]


@dataclass(frozen=True)
class Outcome:
    """What a command did: exit code (negative: the signal that ended it), output, time, memory, files."""

    name: str
    code: int
    out: str
    err: str
    seconds: float
    peak_bytes: int
    written: tuple[str, ...]

    def record(self) -> dict[str, Any]:
        """Return it as JSON takes it."""
        return asdict(self)


def faults(case: Case, outcome: Outcome) -> list[str]:
    """Return what is wrong with how a command refused; nothing where all is right."""
    errors = re.findall(r'^(?:error: |\S.*: error: )(.*)$', outcome.err, re.MULTILINE)
    result = []
    if outcome.code != case.code:
        result.append(f'exit code {outcome.code}, not {case.code}')
    if len(errors) != 1:
        result.append(f'{len(errors)} lines of error, not 1')
    if not re.search(case.message, ' '.join(outcome.err.split())):
        result.append(f'does not say {case.message!r}')
    if 'Traceback' in outcome.err + outcome.out or 'a fault of smilfit' in outcome.err:
        result.append("a traceback, or a fault that is not the input's")
    if outcome.written:
        result.append(f'wrote {", ".join(outcome.written)}')
    if outcome.seconds > MOST_SECONDS:
        result.append(f'took {outcome.seconds:.0f} s')
    if outcome.peak_bytes > MOST_BYTES:
        result.append(f'took {outcome.peak_bytes / 2**30:.1f} GiB')
    return result


def run_case(case: Case, paths: Mapping[str, str], folder: Path) -> Outcome:
    """Run a case in a child of this process.

    Args:
        case: what to run.
        paths: the inputs by name.
        folder: an empty one; the child's working directory, whose `out` the case may name.
    """
    folder.mkdir(parents=True)
    words = [word.format(**paths, out=folder / 'out') for word in shlex.split(case.line)]
    start = time.monotonic()
    with warnings.catch_warnings():
        # Newer pythons warn of threads at a fork; those of the libraries here wait for work.
        warnings.simplefilter('ignore', DeprecationWarning)
        child = os.fork()
    if child == 0:
        _be_the_command(words, folder)
    _, status, usage = os.wait4(child, 0)
    code = os.waitstatus_to_exitcode(status)
    out, err = ((folder / f'{name}.txt').read_text(errors='replace') for name in ('stdout', 'stderr'))
    written = sorted(
        str(p.relative_to(folder))
        for p in folder.rglob('*')
        if p.is_file() and p.suffix not in _NOTES and p.parent != folder and p.parent.name != 'vis_data'
    )
    seconds = time.monotonic() - start
    return Outcome(case.name, code, out, err, seconds, usage.ru_maxrss * 1024, tuple(written))


def _be_the_command(words: list[str], folder: Path) -> None:
    """Become the command; never returns."""
    code = 1
    try:
        signal.alarm(2 * MOST_SECONDS)
        os.chdir(folder)
        for number, name in ((1, 'stdout'), (2, 'stderr')):
            os.dup2(os.open(folder / f'{name}.txt', os.O_WRONLY | os.O_CREAT), number)
        sys.stdout, sys.stderr = open(1, 'w', closefd=False), open(2, 'w', closefd=False)  # noqa: SIM115
        os.environ['COLUMNS'] = '200'
        code = (main if words[0] == 'main' else command_module(words[0]).main)(words[1:])
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code or 0)
