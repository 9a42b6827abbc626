"""Every case of docs/benchmarks.md on this checkout and on another one, in turns.

    python -m benchmarks.before_after CHECKOUT [--only TEXT ...] [--rounds N] [--out DIR]

One worker process for each, one thread, CPU time; the order changes from round to round, medians count. Exit code 1
if a case is slower than before by more than the limit, or failed. `figures` are what both ended at (energy, error).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from benchmarks.before_after.cases import cases
from benchmarks.measuring import RESULTS, ROOT, Row, machine_load, print_rows, real_data, save

LIMIT = 1.05
# A case is repeated until so much CPU time (s) is spent on it, between these numbers of rounds.
SPENT, LEAST_ROUNDS = 6.0, 3


class Worker:
    """A process that runs cases with the code of one checkout and the cases of this one."""

    def __init__(self, checkout: Path, folder: Path) -> None:
        place = folder / f'cases_for_{checkout.name}'
        place.mkdir()
        (place / 'benchmarks').symlink_to(ROOT / 'benchmarks')
        path = os.pathsep.join((str(place), str(checkout)))
        data = {'SMILFIT_REAL_DATA': str(real_data())} if real_data() else {}
        self.process = subprocess.Popen(
            [sys.executable, '-P', '-m', 'benchmarks.before_after.worker'],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=folder,
            env={
                **os.environ,
                **data,
                'PYTHONPATH': path,
                'OMP_NUM_THREADS': '1',
                'PYTHONDONTWRITEBYTECODE': '1',
            },
        )

    def ask(self, case: str) -> dict[str, Any]:
        """Run a case once."""
        asked, answers = _pipe(self.process.stdin), _pipe(self.process.stdout)
        asked.write(json.dumps({'case': case}) + '\n')
        asked.flush()
        line = answers.readline()
        return json.loads(line) if line else {'error': f'worker ended with {self.process.wait()}'}

    def close(self) -> None:
        """End the process."""
        _pipe(self.process.stdin).close()
        self.process.wait()


def main(argv: Sequence[str] | None = None) -> int:
    """Compare."""
    parser = argparse.ArgumentParser(
        prog='python -m benchmarks.before_after',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('checkout', type=Path, help='folder of the other commit, for example a git worktree')
    parser.add_argument('--only', nargs='+', metavar='TEXT', help='cases whose name holds one of these')
    parser.add_argument('--rounds', type=int, default=9, help='most calls of each case')
    parser.add_argument('--out', type=Path, default=RESULTS, help='folder for JSON and CSV')
    arguments = parser.parse_args(argv)
    chosen = [n for n in cases() if not arguments.only or any(text in n for text in arguments.only)]
    if not chosen:
        parser.error(f'no case holds {arguments.only}. There are: {"; ".join(cases())}')
    with tempfile.TemporaryDirectory() as folder:
        workers = [Worker(place.resolve(), Path(folder)) for place in (arguments.checkout, ROOT)]
        rows = []
        for name in chosen:
            rows.append(compare(name, workers, arguments.rounds))
            print_rows('', rows[-1:])
        for worker in workers:
            worker.close()
    print_rows(f'before and after, CPU ms a call; load {machine_load()}', rows)
    save('before_after', rows, arguments.out, checkout=_commit(arguments.checkout), load=machine_load())
    slower = [row['case'] for row in rows if row['note']]
    print(f'slower by more than {LIMIT - 1:.0%}, or failed: {"; ".join(slower) or "none"}')
    return int(bool(slower))


def compare(name: str, workers: Sequence[Worker], rounds: int) -> Row:
    """Run one case in turns."""
    seconds: list[list[float]] = [[] for _ in workers]
    figures = [0.0] * len(workers)
    row: Row = {'case': name, 'before_ms': None, 'after_ms': None, 'ratio': None, 'figures': '', 'note': ''}
    for i in range(rounds):
        if i >= LEAST_ROUNDS and sum(map(sum, seconds)) > SPENT:
            break
        for w in (0, 1) if i % 2 else (1, 0):
            found = workers[w].ask(name)
            if 'error' in found:
                return {**row, 'note': ('before: ', 'after: ')[w] + found['error']}
            seconds[w].append(found['seconds'])
            figures[w] = found['figure']
    before, after = (1e3 * float(np.median(s)) for s in seconds)
    note = 'SLOWER' if after > LIMIT * before else ''
    values = {'before_ms': before, 'after_ms': after, 'ratio': after / before}
    return {**row, **values, 'figures': ' / '.join(f'{f:.5g}' for f in figures), 'note': note}


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


def _commit(checkout: Path) -> str:
    found = subprocess.run(
        ['git', 'describe', '--always', '--dirty'], cwd=checkout, capture_output=True, text=True, check=False
    )
    return found.stdout.strip()


if __name__ == '__main__':
    sys.exit(main())
