"""Run a script inside Blender, in a process of its own: bpy asks for another numpy than we have."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from smilfit.files import shorten

VARIABLE = 'SMILFIT_BLENDER'
GET_IT = (
    'Install Blender 4.2 to 4.5 (blender.org) so that `blender` is on the PATH, or run `python3.11 -m venv '
    f'blender-env` and `blender-env/bin/pip install "bpy>=4.2,<5"`, and set {VARIABLE}=blender-env/bin/python (a '
    'checkout of smilfit: `make blender`).'
)
# No window, no sound; neither the user's settings and add-ons nor code of the files that are opened.
_OF_PROGRAM = ('--background', '--factory-startup', '--disable-autoexec', '-noaudio', '--python')
# Nothing of the environment or the working directory is imported; bpy itself never loads the user's settings.
_OF_INTERPRETER = ('-I',)
_BIN = 'Scripts' if os.name == 'nt' else 'bin'
# The longest that a file of ours took is 4 s.
LIMIT_S = 300.0
_START = Path(__file__).with_name('starting.py')
# Blender's own come from it; those of Python would reach into its interpreter.
_NOT_PASSED = ('BLENDER_', 'PYTHON')
_NEWEST_READ = 1 << 20
_LONGEST = 2000


class NoBlenderError(ImportError):
    """There is no Blender on this machine, or none that starts; the message says how to get one."""


@dataclass(frozen=True)
class Blender:
    """A Blender that was found.

    `prefix` is the command line before a script's path; the script's arguments follow behind `--`. `origin` says
    in words why it is this one.
    """

    prefix: tuple[str, ...]
    origin: str

    def command(self, script: str | Path, *arguments: str | Path) -> list[str]:
        """Return the command line that runs a script without a window."""
        return [*self.prefix, str(Path(script).resolve()), '--', *map(str, arguments)]


def find_blender() -> Blender:
    """Find Blender.

    Looked for in this order: what the environment variable SMILFIT_BLENDER names (a `blender` program, or a Python
    interpreter that has bpy), `blender` on the PATH, an environment `blender` in the one that runs (where `make
    blender` puts it), and the running interpreter, if it has bpy. That it runs shows only when it is used.

    Raises:
        NoBlenderError: none of them is there.
    """
    named = os.environ.get(VARIABLE, '')
    if named:
        return _named(named)
    program = shutil.which('blender')
    if program is not None:
        return Blender((program, *_OF_PROGRAM), f'{program}, on the PATH')
    beside = beside_environment(sys.prefix)
    if beside.is_file():
        return Blender((str(beside), *_OF_INTERPRETER), f'bpy of {beside}')
    if find_spec('bpy') is not None:
        return Blender((sys.executable, *_OF_INTERPRETER), f'bpy of {sys.executable}')
    raise NoBlenderError(
        f'Blender must be there to read .fbx, .blend and .dae; got none: no {VARIABLE}, no `blender` on the PATH, no '
        f'package bpy. {GET_IT}'
    )


def beside_environment(prefix: str | Path) -> Path:
    """Return the interpreter of the environment `blender` in another environment's folder."""
    return Path(prefix) / 'blender' / _BIN / ('python.exe' if os.name == 'nt' else 'python')


def _named(named: str) -> Blender:
    """Take what the variable names: a path, or a program on the PATH."""
    path = shutil.which(named)
    if path is None:
        raise NoBlenderError(
            f'{VARIABLE} must be a `blender` program or a Python interpreter that has bpy; got {named!r}, which is '
            f'no program. {GET_IT}'
        )
    # Not resolved: an environment's interpreter is a link to one without its packages.
    absolute = os.path.abspath(path)
    is_python = Path(absolute).name.lower().startswith('python')
    return Blender((absolute, *(_OF_INTERPRETER if is_python else _OF_PROGRAM)), f'{VARIABLE}={named}')


class BlenderError(ValueError):
    """A script failed inside Blender, or Blender itself did.

    `kind` is the class name of the script's exception; empty where Blender ended by itself. `trace` is where in the
    script it arose, or the last lines that Blender printed.
    """

    def __init__(self, message: str, kind: str = '', trace: str = '') -> None:
        super().__init__(message)
        self.kind, self.trace = kind, trace


def run_in_blender(
    script: str | Path, *arguments: str | Path, limit_s: float = LIMIT_S, blender: Blender | None = None
) -> str:
    """Run a Python script inside Blender, without a window, and wait for its end.

    The user's settings, start-up files and add-ons are not loaded, and no code of a .blend file runs (text blocks
    that register themselves, Python drivers), whatever the user allows in Blender. The folder of Blender's user
    files is a temporary one.

    Args:
        script: imports bpy; finds its arguments in `sys.argv[1:]`.
        arguments: for the script.
        limit_s: after so many seconds it is stopped.
        blender: which one; None: as `find_blender` finds it.

    Returns:
        What the script and Blender printed, at most the last megabyte.

    Raises:
        NoBlenderError: there is none, or it does not start.
        BlenderError: the script raised (`kind` and message are its exception's), took too long, or Blender crashed.
    """
    blender = find_blender() if blender is None else blender
    with tempfile.TemporaryDirectory(prefix='smilfit-blender-') as folder:
        outcome = Path(folder) / 'outcome.json'
        command = blender.command(_START, outcome, Path(script).resolve(), *arguments)
        with (Path(folder) / 'printed').open('w+b') as printed:
            code = _run(command, blender, limit_s, printed, Path(folder))
            text = _last(printed)
        result = json.loads(outcome.read_text(encoding='utf-8')) if outcome.is_file() else None
        if result is None or result['kind'] == 'Unfinished':
            raise _ended(blender, code, text, started=result is not None)
        _raise_failure(result, blender)
        return text


def _run(command: list[str], blender: Blender, limit_s: float, printed: IO[bytes], folder: Path) -> int:
    """Run a command with its own temporary folder; what it prints goes to a file."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(_NOT_PASSED) or k == VARIABLE}
    for name in ('user', 'temporary'):
        (folder / name).mkdir()
    environment['BLENDER_USER_RESOURCES'] = str(folder / 'user')
    environment |= dict.fromkeys(('TMPDIR', 'TEMP', 'TMP'), str(folder / 'temporary'))
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            env=environment,
            # A `blender` that is a shell script has children, which are ended with it.
            start_new_session=os.name == 'posix',
        )
    except OSError as error:
        raise NoBlenderError(
            f'Blender ({blender.origin}) does not start: {error.strerror}. {GET_IT}'
        ) from None
    try:
        return process.wait(limit_s)
    except subprocess.TimeoutExpired:
        raise BlenderError(
            f'Blender ({blender.origin}) was still at work after {limit_s:g} s and was stopped.',
            'TimeoutError',
        ) from None
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End what still runs: after the time limit, Ctrl-C, SIGTERM."""
    if process.poll() is None:
        if os.name == 'posix':
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()


def _last(printed: IO[bytes]) -> str:
    printed.seek(max(0, printed.seek(0, os.SEEK_END) - _NEWEST_READ))
    return printed.read().decode('utf-8', 'replace')


def _raise_failure(outcome: dict[str, str], blender: Blender) -> None:
    kind = outcome['kind']
    if kind == '':
        return
    if kind == 'NoBpy':
        raise NoBlenderError(
            f'Blender ({blender.origin}) does not start: {shorten(outcome["message"], 300)}. {GET_IT}'
        )
    # Operators put a whole traceback into one message; what counts is its end.
    raise BlenderError(outcome['message'].strip()[-_LONGEST:], kind, outcome['trace'])


def _ended(blender: Blender, code: int, text: str, started: bool) -> Exception:
    """Report that Blender ended before the script did."""
    lines = [line for line in text.splitlines() if line.strip()][-12:]
    last = shorten(lines[-1], 200) if lines else 'nothing'
    how = f'signal {-code} ({_signal_name(-code)})' if code < 0 else f'exit code {code}'
    if not started:
        return NoBlenderError(
            f'Blender ({blender.origin}) does not start: it ended with {how}; it printed last: {last}. {GET_IT}'
        )
    return BlenderError(
        f'Blender ({blender.origin}) ended by itself with {how}; it printed last: {last}.',
        trace='\n'.join(lines),
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return 'unknown'
