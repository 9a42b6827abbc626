"""Processes of one run hear from each other: one that is gone ends the others, one that works long does not."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.ranks import free_port

ROOT = Path(__file__).resolve().parents[2]
LOST_AFTER_S = 4.0
# From the loss on, all must be over in this time.
LIMIT_S = 50.0
SCRIPT = """
import sys, time
from datetime import timedelta
import torch
from smilfit.engine import process_group
from smilfit.solvers import DistributedProcesses

def work(kind):
    processes = DistributedProcesses()
    processes.sum(torch.ones(1))
    print('ready', flush=True)
    while kind == 'together':
        processes.gather(torch.ones(2))
        time.sleep(0.05)
    if kind == 'waiting' and processes.rank:
        time.sleep(600)
    if kind == 'long' and processes.rank:
        time.sleep({lost_after} * 2)

try:
    with process_group('pytorch', 'cpu', timedelta(days=14), timedelta(seconds={lost_after})):
        work(sys.argv[1])
except OSError as error:
    print('error:', error, file=sys.stderr)
    sys.exit(1)
"""


class Run:
    """Some processes of one group."""

    def __init__(self, folder, kind, count):
        script = folder / 'run.py'
        script.write_text(SCRIPT.format(lost_after=LOST_AFTER_S))
        told = {'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': str(free_port()), 'WORLD_SIZE': str(count)}
        plain = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1', **told}
        self.processes = [
            subprocess.Popen(
                [sys.executable, str(script), kind],
                env={**plain, 'RANK': str(rank), 'LOCAL_RANK': str(rank)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(count)
        ]
        for process in self.processes:
            assert process.stdout.readline() == 'ready\n'

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for process in self.processes:
            # Ends a stopped process too.
            process.kill()
            process.communicate()

    def ends(self, ranks):
        """Wait for processes; gives exit codes and what they said."""
        deadline = time.monotonic() + LIMIT_S
        said = [self.processes[r].communicate(timeout=deadline - time.monotonic())[1] for r in ranks]
        return [self.processes[r].returncode for r in ranks], said


@pytest.mark.parametrize(
    ('kind', 'how', 'count', 'lost'),
    [
        ('together', signal.SIGKILL, 2, 1),
        ('waiting', signal.SIGKILL, 2, 1),
        ('waiting', signal.SIGSTOP, 2, 1),
        ('together', signal.SIGKILL, 3, 1),
        ('together', signal.SIGSTOP, 3, 0),
    ],
)
def test_a_lost_process_ends_the_others_with_a_sentence(tmp_path, kind, how, count, lost):
    with Run(tmp_path, kind, count) as run:
        time.sleep(1.0)
        run.processes[lost].send_signal(how)
        codes, said = run.ends([r for r in range(count) if r != lost])
    assert codes == [1] * (count - 1)
    for words in said:
        assert 'error: Processes: a process of this run is gone (rank ' in words
        assert 'Traceback' not in words
    # One of them at least has found out by itself; the others may have lost that one first.
    assert any(f'(rank {lost})' in words for words in said)


def test_a_process_that_works_long_is_waited_for(tmp_path):
    with Run(tmp_path, 'long', 2) as run:
        codes, said = run.ends([0, 1])
    assert codes == [0, 0], said
