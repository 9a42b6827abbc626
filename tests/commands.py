"""Commands as a user runs them, each in a process of its own, without the seconds that its imports take."""

import os
import runpy
import sys
import tempfile
import traceback
from pathlib import Path

from tests.ranks import fork_context

ROOT = Path(__file__).resolve().parents[1]


def run(*arguments, code=0) -> str:
    """Run a tool, such as `tools/fit.py` with its arguments; gives all that it prints.

    Its process is forked from the server that has imported the libraries, and works in the repository's root.

    Raises:
        AssertionError: it ends otherwise than with `code`; shows what it printed.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / 'out.txt'
        process = fork_context().Process(target=_be_the_tool, args=(tuple(map(str, arguments)), str(out)))
        process.start()
        process.join()
        printed = out.read_text(errors='replace')
    assert process.exitcode == code, printed[-6000:]
    return printed


def _be_the_tool(words: tuple[str, ...], out: str) -> None:
    """Become the tool; never returns."""
    os.chdir(ROOT)
    file = os.open(out, os.O_WRONLY | os.O_CREAT)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(file, stream.fileno())
    os.environ |= {'OMP_NUM_THREADS': '1', 'COLUMNS': '200'}
    sys.argv = list(words)
    code = 1
    try:
        runpy.run_path(words[0], run_name='__main__')
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    # A tool's process is done here; multiprocessing's own end is not a part of it.
    sys.exit(code)
