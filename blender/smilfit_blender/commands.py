"""smilfit's own commands, run by a Python that has it: Blender's has neither smilfit nor torch."""

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import bpy

from .errors import AddonError

VARIABLE = 'SMILFIT_PYTHON'
_POLL_S = 0.1
_HOW = (
    f'Install smilfit (pip install smilfit) and name its Python in the preferences of the add-on, or in {VARIABLE}, '
    'or put `smilfit` on the PATH.'
)


def command_prefix(named=''):
    """Give how smilfit is called: what the preferences name, else SMILFIT_PYTHON, else `smilfit` on the PATH.

    What is named is a Python interpreter, or the program `smilfit`.

    Raises:
        AddonError: there is none.
    """
    for where, path in (('the preferences', named), (VARIABLE, os.environ.get(VARIABLE, ''))):
        if not path:
            continue
        found = shutil.which(bpy.path.abspath(path))
        if found is None:
            raise AddonError(f'{where}: must name a Python that has smilfit; {path!r} is no program. {_HOW}')
        if Path(found).name.lower().startswith('python'):
            return [found, '-m', 'smilfit.cli.main']
        return [found]
    found = shutil.which('smilfit')
    if found is None:
        raise AddonError(f'smilfit must be there for this; it was not found. {_HOW}')
    return [found]


def run_smilfit(context, *arguments, allowed=(0,)):
    """Run a command of smilfit and wait for it; the cursor shows that it works. Gives the lines it printed.

    Args:
        context: of Blender.
        arguments: of the command.
        allowed: exit codes that are no failure.

    Raises:
        AddonError: it failed; the message is its own.
    """
    addon = context.preferences.addons.get(__package__)
    words = [*command_prefix(addon.preferences.python if addon else ''), *map(str, arguments)]
    environment = dict(os.environ)
    # Blender's own Python must not tell another one where its library is.
    environment.pop('PYTHONHOME', None)
    manager = context.window_manager
    manager.progress_begin(0, 100)
    try:
        with tempfile.TemporaryFile() as printed:
            try:
                process = subprocess.Popen(
                    words, stdin=subprocess.DEVNULL, stdout=printed, stderr=subprocess.STDOUT, env=environment
                )
            except OSError as error:
                raise AddonError(f'{words[0]}: must start; {error.strerror}. {_HOW}') from None
            steps = 0
            while process.poll() is None:
                time.sleep(_POLL_S)
                steps += 1
                # How long it takes is not known: the number shows that it works.
                manager.progress_update(steps % 100)
            printed.seek(0)
            text = printed.read().decode('utf-8', 'replace')
    finally:
        manager.progress_end()
    lines = [line for line in text.splitlines() if line.strip()]
    if process.returncode not in allowed:
        told = '\n'.join(lines[-6:]) or f'it ended with code {process.returncode}'
        raise AddonError(f'smilfit {" ".join(map(str, arguments[:2]))}: {told}')
    return lines
