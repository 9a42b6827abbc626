"""Means over all processes."""

import torch.distributed as dist
from torch import Tensor


def mean_over_processes(total: Tensor) -> Tensor:
    """Average a sum of valid weights over the processes; gives it back where there is one process.

    Distributed training averages the processes' gradients. If each divides its sum of weighted terms by this
    mean instead of by its own weight, the average equals the loss of one process with the joined batch,
    however unevenly what is missing falls on them.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return total
    total = total.detach().clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()
