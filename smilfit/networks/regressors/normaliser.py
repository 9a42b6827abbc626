"""Means over all processes."""

from collections.abc import Callable, Mapping

import torch
import torch.distributed as dist
from torch import Tensor

from smilfit.losses import Energies, reduced


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


def weighted_means(
    stated: Mapping[str, Energies],
    weights: Mapping[str, float],
    over: Callable[[Tensor], Tensor] | None = mean_over_processes,
) -> dict[str, Tensor]:
    """Reduce losses to weighted means over all processes, which talk once for all of them.

    Args:
        stated: what each loss states.
        weights: of these losses, and perhaps of others.
        over: turns this process's totals into those of all; None leaves them.
    """
    if not stated:
        return {}
    totals = torch.stack([terms.total() for terms in stated.values()])
    means = totals if over is None else over(totals)
    return {
        key: reduced((terms,), weights[key], 'mean', over=lambda own, mean=mean: mean.to(own))
        for (key, terms), mean in zip(stated.items(), means)
    }
