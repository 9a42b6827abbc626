"""Some processes that talk by gloo, for tests."""

import os
import socket
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

# Longer than any test's work: who is not done by then waits for another.
LIMIT_S = 120.0


def free_port() -> int:
    """Find a port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def on_two_ranks(work, *arguments, limit_s: float = LIMIT_S) -> None:
    """Call a function of a module in two processes, each with a process group.

    Raises:
        TimeoutError: they are not done in time; they are ended.
    """
    deadline = time.monotonic() + limit_s
    context = mp.spawn(_one, (free_port(), work, arguments), nprocs=2, join=False)
    while not context.join(timeout=max(deadline - time.monotonic(), 0.0)):
        if time.monotonic() >= deadline:
            for process in context.processes:
                process.kill()
            raise TimeoutError(f'two ranks must be done in {limit_s} s; they wait for each other.')


def _one(rank, port, work, arguments) -> None:
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port), RANK=str(rank), WORLD_SIZE='2')
    dist.init_process_group('gloo')
    work(*arguments)
    dist.destroy_process_group()
