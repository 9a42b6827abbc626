"""Draw samples of several datasets in given shares, the same whichever process asks."""

from collections.abc import Iterator, Sized

import torch
from mmengine.dist import get_dist_info
from torch.utils.data import Sampler

from smilfit.registry import DATA_SAMPLERS


@DATA_SAMPLERS.register_module()
class MixedSampler(Sampler[int]):
    """Draw from the parts of a `MixedDataset` in proportion to their weights.

    Each epoch's order follows from the seed and the epoch alone; every process takes its own share of it, so none
    draws what another does and a resumed run goes on as an unbroken one. Within a part all samples come once before
    one comes again.

    Args:
        dataset: with `sizes` and `weights` of its parts; any other counts as one part.
        seed: of the order; the same in all processes.
        samples_per_epoch: of all processes together; None for as many as the dataset has.
        shuffle: mix the order; without, parts come one after the other, each in its own order.
    """

    def __init__(
        self,
        dataset: Sized,
        seed: int | None = None,
        samples_per_epoch: int | None = None,
        shuffle: bool = True,
    ) -> None:
        if samples_per_epoch is not None and samples_per_epoch < 1:
            raise ValueError(f'MixedSampler: samples_per_epoch must be at least 1; got {samples_per_epoch}.')
        self.rank, self.world_size = get_dist_info()
        self.sizes = tuple(getattr(dataset, 'sizes', (len(dataset),)))
        weights = torch.tensor(getattr(dataset, 'weights', [1.0]), dtype=torch.float64)
        self.shares = weights / weights.sum()
        self.seed, self.epoch, self.shuffle = seed or 0, 0, shuffle
        total = samples_per_epoch or sum(self.sizes)
        # Every process must take as many steps as the others.
        self.n_each = -(-total // self.world_size)
        self.counts = shared_out(self.n_each * self.world_size, self.shares)

    def set_epoch(self, epoch: int) -> None:
        """Return which epoch comes next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.n_each

    def __iter__(self) -> Iterator[int]:
        parts, first = [], 0
        for which, (size, count) in enumerate(zip(self.sizes, self.counts)):
            parts.append(first + self._of_part(which, size, count))
            first += size
        order = torch.cat(parts)
        if self.shuffle:
            order = order[torch.randperm(len(order), generator=self._generator(len(self.sizes), self.epoch))]
        yield from order[self.rank :: self.world_size].tolist()

    def _of_part(self, which: int, size: int, count: int) -> torch.Tensor:
        """Return the next `count` samples of a part, going on where the epoch before ended."""
        if not self.shuffle:
            return torch.arange(count) % size
        start, chosen = self.epoch * count, []
        for cycle in range(start // size, (start + count - 1) // size + 1 if count else start // size):
            order = torch.randperm(size, generator=self._generator(which, cycle))
            chosen.append(order[max(0, start - cycle * size) : max(0, start + count - cycle * size)])
        return torch.cat(chosen) if chosen else torch.zeros(0, dtype=torch.long)

    def _generator(self, which: int, cycle: int) -> torch.Generator:
        # Large odd factors keep the streams of parts and cycles separate.
        return torch.Generator().manual_seed(
            (self.seed * 1_000_003 + which * 7_919 + cycle * 104_729) % 2**63
        )


def shared_out(total: int, shares: torch.Tensor) -> list[int]:
    """Part a whole number in given shares, which sum to 1, by the largest remainders."""
    exact = shares * total
    counts = exact.floor().long()
    for i in (exact - counts).argsort(descending=True)[: total - int(counts.sum())]:
        counts[i] += 1
    return counts.tolist()
