"""Small files that would stop the machine, given to the commands that read them; what each costs is measured.

A bomb is judged by a bar: it ends within so many CPU seconds and so much memory, with an exit code of an error and
one sentence that names the file, or it is read for less than that. Linux.
"""

import os
import resource
import sys
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from smilfit.cli.main import command_module

MOST_SECONDS, MOST_MIB = 5.0, 1024.0
# Where a bomb is ended that the guards let through.
_HARD_SECONDS, _HARD_MIB = 30, 4300
_MIB = 1 << 20


@dataclass(frozen=True)
class Bomb:
    """A file and the command line that reads it; `{out}` in the line is a folder of its own.

    `named` is the file that the sentence must name; `read` says that it may be read, as long as it costs little.
    """

    line: tuple[str, ...]
    named: Path
    read: bool = False


@dataclass(frozen=True)
class Cost:
    """What a command took of a bomb: exit code (negative: a signal), CPU s, MiB beyond the imports, its words."""

    code: int
    cpu_s: float
    mib: float
    words: str

    def fault(self, bomb: Bomb) -> str:
        """Return what is wrong; nothing is."""
        if self.cpu_s > MOST_SECONDS or self.mib > MOST_MIB:
            return f'{self.cpu_s:.1f} CPU s and {self.mib:.0f} MiB'
        if self.code == 0 and bomb.read:
            return ''
        if self.code not in (1, 2, 3):
            return f'exit code {self.code}: {self.words[-300:]}'
        if 'Traceback' in self.words or 'fault of smilfit' in self.words:
            return f'no sentence: {self.words[-600:]}'
        # Consoles wrap long lines.
        flat = ''.join(self.words.split())
        return (
            '' if bomb.named.name.replace(' ', '') in flat else f'the file is not named: {self.words[-300:]}'
        )


def costs(bombs: Mapping[str, Bomb], folder: Path) -> dict[str, Cost]:
    """Run the command of each bomb in a fork of this process, when all imports are paid."""
    for command in {bomb.line[0] for bomb in bombs.values()}:
        command_module(command)
    _pay_imports()
    return {name: _cost(bomb, folder / f'out_{i}') for i, (name, bomb) in enumerate(bombs.items())}


def _pay_imports() -> None:
    import cv2
    import scipy.spatial
    import sleap_io
    import trimesh

    import smilfit.apis
    import smilfit.networks.inference.infer
    import smilfit.rigs

    _ = cv2, scipy, sleap_io, trimesh, smilfit


def _cost(bomb: Bomb, out: Path) -> Cost:
    line = [part.replace('{out}', str(out)) for part in bomb.line]
    before = int(Path('/proc/self/statm').read_text().split()[1]) * resource.getpagesize()
    with tempfile.TemporaryFile() as printed:
        pid = os.fork()
        if pid == 0:
            _child(line, printed.fileno())
        _, status, used = os.wait4(pid, 0)
        printed.seek(0)
        words = printed.read().decode(errors='replace')
    return Cost(
        code=os.waitstatus_to_exitcode(status),
        cpu_s=used.ru_utime + used.ru_stime,
        mib=max(0.0, used.ru_maxrss * 1024 - before) / _MIB,
        words=words.strip(),
    )


def _child(line: list[str], printed: int) -> None:
    status = 70
    try:
        os.dup2(printed, 1)
        os.dup2(printed, 2)
        sys.stdout, sys.stderr = os.fdopen(1, 'w'), os.fdopen(2, 'w')
        taken = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + _HARD_MIB * _MIB, resource.RLIM_INFINITY))
        resource.setrlimit(resource.RLIMIT_CPU, (_HARD_SECONDS, resource.RLIM_INFINITY))
        from smilfit.cli.main import main

        with warnings.catch_warnings():
            warnings.simplefilter('default')
            try:
                status = main(line) or 0
            except SystemExit as end:
                status = end.code if isinstance(end.code, int) else 1
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)
