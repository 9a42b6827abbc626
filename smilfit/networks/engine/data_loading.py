"""Data loaders built by our registries; a training one can begin anywhere in an epoch."""

import copy
import functools
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import get_rank
from mmengine.registry import DATA_SAMPLERS as MMENGINE_DATA_SAMPLERS
from mmengine.registry import FUNCTIONS
from torch.utils.data import BatchSampler, DataLoader, Dataset, default_collate

from smilfit.networks.engine.configs import PartConfig
from smilfit.registry import (
    DATA_SAMPLERS,
    ConfigError,
    UnknownNameError,
    build,
    build_dataset,
    did_you_mean,
    reject_unknown,
)
from smilfit.registry.config_options import LOADER_KEYS


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
    def _index_sampler(self) -> '_SeededIndices':
        # What torch's iterators take indices from; one that keeps its workers asks but once.
        return self._indices


class SeededSamples(Dataset):
    """A dataset that is asked for batches of indices with a seed before them; else it is the dataset itself."""

    dataset: Any

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __getattr__(self, name: str) -> object:
        if name == 'dataset' or name.startswith('__'):
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> object:
        return self.dataset[index]

    def __getitems__(self, seed_and_indices: list[int]) -> list[object]:
        """Return the samples of a batch."""
        seed, *indices = seed_and_indices
        with seeded(seed):
            return [self.dataset[i] for i in indices]


class _SeededIndices:
    """The batches of a sampler from one on, each with its seed before it."""

    def __init__(self, batches: BatchSampler, seed: int) -> None:
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


# States of python's, numpy's and torch's generators, by name, as checkpoints hold them.
RandomState = Mapping[str, Any]


def random_state() -> RandomState:
    """Read the state of python's, numpy's and torch's generators (of CUDA's too, where there is one)."""
    version, numbers, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002 - what transforms use
    state: dict[str, object] = {
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


def set_random_state(state: RandomState) -> None:
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


# How a file is parted; see `split_samples`.
_SPLITTING = ('split_by', 'ratios', 'block_size', 'gap')


def build_data_loader(
    cfg: PartConfig, seed: int | None, dataset: Dataset | None = None, *, seeded: bool = False
) -> DataLoader:
    """Build a data loader from an mmengine-style dict.

    Samples are joined by torch's `default_collate`. Workers are seeded anew in every epoch.

    Args:
        cfg: `dataset`, `sampler`, `batch_size`, `num_workers` and other arguments of torch's DataLoader.
        seed: seed of the sampler.
        dataset: the dataset, where the caller has it.
        seeded: make a `SeededLoader`, of whose epochs a training can begin in the middle.
    """
    reject_unknown('data loader', 'key', cfg, LOADER_KEYS)
    dataset = build_dataset(cfg['dataset']) if dataset is None else dataset
    sampler_cfg = copy.deepcopy(dict(cfg.get('sampler', {'type': 'DefaultSampler', 'shuffle': False})))
    sampler_type = sampler_cfg['type']
    known = DATA_SAMPLERS.get(sampler_type) or MMENGINE_DATA_SAMPLERS.get(sampler_type)
    sampler = build({**sampler_cfg, 'type': known or sampler_type}, DATA_SAMPLERS, dataset=dataset, seed=seed)
    others = {key: value for key, value in cfg.items() if key not in ('dataset', 'sampler')}
    if others.get('num_workers', 0) == 0:
        others.pop('persistent_workers', None)
        others.pop('prefetch_factor', None)
    for key, default in (('collate_fn', default_collate), ('worker_init_fn', seed_worker)):
        others[key] = _function(others.get(key, default))
    batch = others.get('batch_size', 1)
    if others.get('drop_last') and isinstance(batch, int) and batch > len(sampler):
        raise ValueError(
            f'data loader: batch_size must be at most the {len(sampler)} samples of a process, for drop_last leaves '
            f'the rest out; got {batch}. Lower it, or set drop_last=False.'
        )
    if len(sampler) == 0:
        raise ValueError(
            'data loader: the dataset must hold a sample; it holds none. Check data_path, split and sessions.'
        )
    if seeded:
        entropy = torch.initial_seed() if seed is None else seed
        return SeededLoader(dataset, entropy, sampler=sampler, **others)
    return DataLoader(dataset, sampler=sampler, **others)


def _function(cfg: Callable | PartConfig) -> Callable:
    """Find a function that a config names, as `dict(type='default_collate')`; a function stays as it is."""
    if not isinstance(cfg, Mapping):
        return cfg
    result = FUNCTIONS.get(cfg['type'])
    if result is None:
        raise UnknownNameError(
            f'data loader: no function {cfg["type"]!r}. {did_you_mean(cfg["type"], FUNCTIONS.module_dict)}'
        )
    arguments = {key: value for key, value in cfg.items() if key != 'type'}
    return functools.partial(result, **arguments) if arguments else result


def follow_training_data(cfg: Config) -> None:
    """Take the training set's file and way of splitting for validation and test sets that name none.

    So one option, `train_dataloader.dataset.data_path` or `.split_by`, is enough. Changes the config.

    Raises:
        ConfigError: parts of one file that are split in different ways, so that they may share samples.
    """
    train = cfg.get('train_dataloader')
    if not train or 'dataset' not in train:
        return
    for name in ('val_dataloader', 'test_dataloader'):
        loader = cfg.get(name)
        if not loader or 'dataset' not in loader:
            continue
        if loader.dataset.get('data_path') is None and train.dataset.get('data_path') is not None:
            loader.dataset.data_path = train.dataset.data_path
        if 'split' in loader.dataset:
            for key in _SPLITTING:
                if key in train.dataset and key not in loader.dataset:
                    loader.dataset[key] = copy.deepcopy(train.dataset[key])
        check_held_out(train.dataset, loader.dataset, 'train_dataloader', name)


def check_held_out(trained: PartConfig, other: PartConfig, name: str, other_name: str) -> None:
    """Check that two parts of one file are parted in the same way; what was trained on would be tested else.

    Raises:
        ConfigError: names the key that differs.
    """
    splits = (trained.get('split'), other.get('split'))
    files = [d.get('data_path') and Path(d['data_path']).expanduser().resolve() for d in (trained, other)]
    if files[0] != files[1] or None in splits or 'all' in splits:
        return
    for key in _SPLITTING:
        if key in trained and key in other and trained[key] != other[key]:
            raise ConfigError(
                f'{other_name}.dataset.{key} must be that of {name}, as both are parts of {trained["data_path"]}; '
                f'got {other[key]!r} and {trained[key]!r}, and samples that were trained on would be tested. Leave '
                f'it out there: it follows the training set.'
            )
