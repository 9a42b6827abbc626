"""The processes that share a fit: one, or those of torch.distributed."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


class Processes:
    """One process alone, which holds everything."""

    rank = 0
    count = 1

    def sum(self, value: Tensor) -> Tensor:
        """Sum a tensor over all processes."""
        return value

    def gather(self, rows: Tensor) -> Tensor:
        """Join the rows of all processes, in the order of their ranks."""
        return rows

    def gather_list(self, items: list[Any]) -> list[Any]:
        """Join the lists of all processes, in the order of their ranks."""
        return items

    def share(self, n: int) -> slice:
        """Return this process's part of n rows: contiguous, and as equal as can be."""
        return slice(self.rank * n // self.count, (self.rank + 1) * n // self.count)


class DistributedProcesses(Processes):
    """The processes of torch.distributed, whose default group must be there.

    Sums are taken in float64, so that they hardly depend on how many processes share the work. Where another process
    is gone, sums and gatherings raise ConnectionError.
    """

    def __init__(self) -> None:
        if not torch.distributed.is_initialized():
            raise RuntimeError(
                'DistributedProcesses: the process group must be there; it is not. Call '
                'torch.distributed.init_process_group first, or start with a --launcher.'
            )
        self.rank = torch.distributed.get_rank()
        self.count = torch.distributed.get_world_size()

    def sum(self, value: Tensor) -> Tensor:
        """Sum a tensor over all processes."""
        whole = value.detach().double().clone(memory_format=torch.contiguous_format)
        with _all_there():
            torch.distributed.all_reduce(whole)
        return whole.to(value.dtype)

    def gather(self, rows: Tensor) -> Tensor:
        """Join the rows of all processes, in the order of their ranks."""
        parts: list[Tensor | None] = [None] * self.count
        with _all_there():
            torch.distributed.all_gather_object(parts, rows.detach().cpu().numpy())
        return torch.cat([torch.from_numpy(part) for part in parts]).to(rows)

    def gather_list(self, items: list[Any]) -> list[Any]:
        """Join the lists of all processes, in the order of their ranks."""
        parts: list[list[Any] | None] = [None] * self.count
        with _all_there():
            torch.distributed.all_gather_object(parts, items)
        return [item for part in parts for item in part or []]


@contextmanager
def _all_there() -> Iterator[None]:
    """Describe in words that another process does not take part any more."""
    try:
        yield
    except RuntimeError as error:
        raise ConnectionError(
            f'Processes: all processes of this run must be there; one is gone or does not answer: '
            f'{str(error)[-160:]}. Look at its messages, and give the same command again.'
        ) from error
