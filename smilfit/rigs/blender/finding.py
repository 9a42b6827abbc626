"""Find Blender: a program, or a Python interpreter that has the package bpy."""

import os
import shutil
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

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


class NoBlenderError(ImportError):
    """There is no Blender on this machine, or none that starts; the message says how to get one."""


@dataclass(frozen=True)
class Blender:
    """A Blender that was found.

    `prefix` is the command line before a script's path; the script's arguments follow behind `--`. `found_by` says
    in words why it is this one.
    """

    prefix: tuple[str, ...]
    found_by: str

    def command(self, script: str | Path, *arguments: str | Path) -> list[str]:
        """Give the command line that runs a script without a window."""
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
    """Give the interpreter of the environment `blender` in another environment's folder."""
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
