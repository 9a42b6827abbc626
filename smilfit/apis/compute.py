"""Where a call computes: threads of the CPU, and a device of this process's own."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch

# A process that has done its sessions waits for one that still works; one that is not heard any more ends the run.
PROCESS_TIMEOUT = timedelta(days=14)


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch use so many CPU threads in this context."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def chosen_device(name: str, alone: bool) -> str:
    """Decide where to compute; each process of a machine gets a GPU of its own where no number is asked for.

    Raises:
        ValueError: the machine has no such device.
    """
    if name == 'auto':
        name = 'cuda' if torch.cuda.is_available() else 'cpu'
    if name == 'cuda' and not alone:
        name = f'cuda:{os.environ["LOCAL_RANK"]}'
    result = torch.device(name)
    if result.type == 'cuda' and (result.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f'--device: {name} must be there; torch finds {torch.cuda.device_count()} CUDA devices. Use --device cpu.'
        )
    return name
