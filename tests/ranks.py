"""Some processes that talk by gloo, for tests.

They are forked from one server that has imported what is slow to import, so a process starts in a moment.
"""

import multiprocessing
import os
import socket
import time
from multiprocessing.context import ForkServerContext

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

# Longer than any test's work: who is not done by then waits for another.
LIMIT_S = 120.0
# What the server imports once, for all processes that tests start.
PRELOADED = (
    *('torch.distributed', 'smilfit.networks.engine', 'smilfit.registrants', 'smilfit.evaluation'),
    *('smilfit.datasets', 'smilfit.io.annotations', 'smilfit.drawing'),
)


def free_port() -> int:
    """Find a port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def rank_environment(rank: int, count: int, port: int) -> dict[str, str]:
    """Return what a launcher sets for one process of a group."""
    ranks = {'RANK': str(rank), 'LOCAL_RANK': str(rank), 'WORLD_SIZE': str(count)}
    return {'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': str(port)} | ranks


def fork_context() -> ForkServerContext:
    """Return the context whose processes are forked from the server."""
    context = multiprocessing.get_context('forkserver')
    # Has an effect before the server runs, so all must name the same.
    context.set_forkserver_preload(list(PRELOADED))
    return context


def on_two_ranks(work, *arguments, limit_s: float = LIMIT_S, grouped: bool = True) -> None:
    """Call a function of a module in two processes, each with a process group.

    Args:
        work: the function.
        arguments: what it is called with.
        limit_s: for both to be done.
        grouped: False if the function joins the group itself; a launcher's environment is set.

    Raises:
        TimeoutError: they are not done in time; they are ended.
    """
    fork_context()
    deadline = time.monotonic() + limit_s
    started = (free_port(), grouped, work, arguments)
    context = mp.start_processes(_one, started, nprocs=2, join=False, start_method='forkserver')
    while not context.join(timeout=max(deadline - time.monotonic(), 0.0)):
        if time.monotonic() >= deadline:
            for process in context.processes:
                process.kill()
            raise TimeoutError(f'two ranks must be done in {limit_s} s; they wait for each other.')


def _one(rank, port, grouped, work, arguments) -> None:
    torch.set_num_threads(1)
    os.environ.update(rank_environment(rank, 2, port))
    if not grouped:
        work(*arguments)
        return
    dist.init_process_group('gloo')
    work(*arguments)
    dist.destroy_process_group()
