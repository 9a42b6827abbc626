"""Processes of one run hear from each other: one that is gone ends the others, one that works long does not."""

import contextlib
import os
import signal
import sys
import time
from datetime import timedelta

import pytest
import torch

from smilfit.solvers import DistributedProcesses
from smilfit.solvers.processes import process_group
from tests.ranks import fork_context, free_port, rank_environment

LOST_AFTER_S = 4.0
# From the loss on, all must be over in this time.
LIMIT_S = 50.0
# What the processes do, what befalls one, how many there are, which one it befalls.
LOSSES = [
    ('together', signal.SIGKILL, 2, 1),
    ('waiting', signal.SIGKILL, 2, 1),
    ('waiting', signal.SIGSTOP, 2, 1),
    ('together', signal.SIGKILL, 3, 1),
    ('together', signal.SIGSTOP, 3, 0),
]
LONG = ('long', None, 2, None)


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
        time.sleep(LOST_AFTER_S * 2)


def one_process(kind, environment, out, err):
    """Work as a command does, whose words go to files."""
    os.environ.update(environment)
    for path, stream in ((out, sys.stdout), (err, sys.stderr)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), stream.fileno())
    torch.set_num_threads(1)
    try:
        with process_group('pytorch', 'cpu', timedelta(days=14), timedelta(seconds=LOST_AFTER_S)):
            work(kind)
    except OSError as error:
        print('error:', error, file=sys.stderr)
        sys.exit(1)


class Run:
    """Some processes of one group."""

    def __init__(self, folder, kind, how, count, lost):
        self.how, self.lost, self.ranks = how, lost, range(count)
        self.files = [(folder / f'{rank}.out', folder / f'{rank}.err') for rank in self.ranks]
        port, context = free_port(), fork_context()
        self.processes = [
            context.Process(
                target=one_process, args=(kind, rank_environment(rank, count, port), *self.files[rank])
            )
            for rank in self.ranks
        ]
        for process in self.processes:
            process.start()

    def wait_until_ready(self):
        """Wait for all to have talked once."""
        deadline = time.monotonic() + LIMIT_S
        while not all(out.exists() and out.read_text() == 'ready\n' for out, _ in self.files):
            assert time.monotonic() < deadline, [err.read_text() for _, err in self.files if err.exists()]
            time.sleep(0.05)

    def lose(self):
        """Kill or stop one process, where one is to be lost."""
        if self.how is not None:
            os.kill(self.processes[self.lost].pid, self.how)

    def ends(self, deadline):
        """Wait for the processes that are left; gives exit codes and messages."""
        left = [rank for rank in self.ranks if rank != self.lost]
        for rank in left:
            self.processes[rank].join(max(deadline - time.monotonic(), 0.0))
        return [self.processes[r].exitcode for r in left], [self.files[r][1].read_text() for r in left]

    def close(self):
        """End all, a stopped one too."""
        for process in self.processes:
            process.kill()
            process.join()


@pytest.fixture(scope='module')
def outcomes(tmp_path_factory):
    """Exit codes and messages of every run: nearly all of their time is waiting, so they wait at once."""
    with contextlib.ExitStack() as stack:
        runs = {}
        for case in (*LOSSES, LONG):
            runs[case] = Run(tmp_path_factory.mktemp('run'), *case)
            stack.callback(runs[case].close)
        for run in runs.values():
            run.wait_until_ready()
        time.sleep(1.0)
        for run in runs.values():
            run.lose()
        deadline = time.monotonic() + LIMIT_S
        yield {case: run.ends(deadline) for case, run in runs.items()}


@pytest.mark.parametrize('case', LOSSES, ids=lambda case: f'{case[0]}-{case[1].name}-{case[2]}-{case[3]}')
def test_a_lost_process_ends_the_others_with_a_sentence(outcomes, case):
    codes, messages = outcomes[case]
    *_, count, lost = case
    assert codes == [1] * (count - 1)
    for words in messages:
        assert 'error: Processes: a process of this run is gone (rank ' in words
        assert 'Traceback' not in words
    # One of them at least has found out by itself; the others may have lost that one first.
    assert any(f'(rank {lost})' in words for words in messages)


def test_a_process_that_works_long_is_waited_for(outcomes):
    codes, messages = outcomes[LONG]
    assert codes == [0, 0], messages
