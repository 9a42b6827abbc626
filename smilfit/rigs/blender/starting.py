"""What Blender runs first: no code of files is allowed, then the script; how it ended is written to a file.

Runs inside Blender and is never imported: `starting.py -- OUTCOME.json SCRIPT.py [ARGUMENT ...]`.
"""

import json
import os
import runpy
import sys
import traceback
from pathlib import Path


def _outcome(kind: str, message: str, trace: str) -> dict[str, str]:
    return {'kind': kind, 'message': message, 'trace': trace}


def _write(path: str, outcome: dict[str, str]) -> None:
    Path(path).write_text(json.dumps(outcome), encoding='utf-8')


def _run(script: str) -> dict[str, str]:
    try:
        import bpy
    except ImportError as error:
        return _outcome('NoBpy', f'import bpy: {error}', '')
    # Also where a program was started without --disable-autoexec: the script opens files of others.
    bpy.context.preferences.filepaths.use_scripts_auto_execute = False
    # As Python does for a script: it finds the files beside it.
    sys.path.insert(0, str(Path(script).parent))
    try:
        runpy.run_path(script, run_name='__main__')
    except SystemExit as error:
        if error.code not in (None, 0):
            return _outcome('SystemExit', f'{error.code}', '')
    except BaseException as error:  # Blender would end with 0 all the same: smilfit is told by the outcome.
        return _outcome(type(error).__name__, f'{error}', traceback.format_exc())
    return _outcome('', '', '')


def main() -> None:
    """Run the script and end without tidying up, which crashes here and there and takes time."""
    outcome, script, *arguments = sys.argv[sys.argv.index('--') + 1 :]
    sys.argv = [script, *arguments]
    _write(outcome, _outcome('Unfinished', '', ''))
    result = _run(script)
    sys.stdout.flush()
    sys.stderr.flush()
    _write(outcome, result)
    os._exit(0)


main()
