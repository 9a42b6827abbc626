"""A data loader that can begin anywhere in an epoch and then gives what it would have given there."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_rank
from torch.utils.data import DataLoader, Dataset


class SeededLoader(DataLoader):
    """torch's loader; each batch is drawn with a seed of its own.

    The random numbers of a batch's transforms follow from the run's seed, the epoch, the batch's number and the
    process: any number of workers, kept alive or not, gives the same batches, and a run that goes on in the middle
    of an epoch has the batches of an unbroken one without loading those before.

    Args:
        dataset: samples by index.
        seed: of the run.
        kwargs: of torch's DataLoader.
    """

    def __init__(self, dataset: Dataset, seed: int, **kwargs: Any) -> None:
        super().__init__(SeededSamples(dataset), **kwargs)
        self._indices = _SeededIndices(super()._index_sampler, seed)

    def begin(self, epoch: int, first: int = 0) -> None:
        """Set what the next iteration over the loader is: an epoch, from one of its batches on."""
        self._indices.epoch, self._indices.first = epoch, first

    @property
    def _index_sampler(self) -> Any:
        # What torch's iterators take indices from; one that keeps its workers asks but once.
        return self._indices


class SeededSamples(Dataset):
    """A dataset that is asked for batches of indices with a seed before them; else it is the dataset itself."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __getattr__(self, name: str) -> Any:
        if name == 'dataset' or name.startswith('__'):
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[index]

    def __getitems__(self, seed_and_indices: list[int]) -> list[Any]:
        """Return the samples of a batch."""
        seed, *indices = seed_and_indices
        with seeded(seed):
            return [self.dataset[i] for i in indices]


class _SeededIndices:
    """The batches of a sampler from one on, each with its seed before it."""

    def __init__(self, batches: Any, seed: int) -> None:
        self.batches, self.seed = batches, seed
        self.epoch = self.first = 0

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        entropy = (self.seed, self.epoch, get_rank())
        for number, indices in islice(enumerate(self.batches), self.first, None):
            seed = np.random.SeedSequence((*entropy, number)).generate_state(1, np.uint64)
            yield [int(seed[0] >> np.uint64(1)), *indices]


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed python's, numpy's and torch's generators on the CPU for the time of the context."""
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002 - what transforms use
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])  # noqa: NPY002
        torch.set_rng_state(before[2])


def random_state() -> dict[str, Any]:
    """Read the state of python's, numpy's and torch's generators (of CUDA's too, where there is one)."""
    version, numbers, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002 - what transforms use
    state = {
        'python': {'version': version, 'numbers': list(numbers), 'gauss': gauss},
        'numpy': {
            'name': name,
            'keys': [int(key) for key in keys],
            'position': int(position),
            'has_gauss': int(has_gauss),
            'cached': float(cached),
        },
        'torch': torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state['cuda'] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: dict[str, Any]) -> None:
    """Set all generators to a state read by `random_state`."""
    python, numpy = state['python'], state['numpy']
    random.setstate((python['version'], tuple(python['numbers']), python['gauss']))
    keys = np.asarray(numpy['keys'], dtype=np.uint32)
    np.random.set_state(  # noqa: NPY002
        (numpy['name'], keys, numpy['position'], numpy['has_gauss'], numpy['cached'])
    )
    torch.set_rng_state(state['torch'].cpu())
    if 'cuda' in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state['cuda'].cpu())


def seed_worker(worker_id: int) -> None:
    """Seed a data loader's worker from torch's seed of this epoch.

    mmengine's own function gives a worker the same numpy seed in every epoch, so that every epoch sees the
    same augmentations.
    """
    seed = torch.initial_seed() % 2**32
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
