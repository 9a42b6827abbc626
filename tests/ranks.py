"""Two processes that talk by gloo, for tests."""

import os
import socket

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def free_port() -> int:
    """Find a port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def on_two_ranks(work, *arguments) -> None:
    """Call a function of a module in two processes, each with a process group."""
    mp.spawn(_one, (free_port(), work, arguments), nprocs=2)


def _one(rank, port, work, arguments) -> None:
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port), RANK=str(rank), WORLD_SIZE='2')
    dist.init_process_group('gloo')
    work(*arguments)
    dist.destroy_process_group()
