"""Data loaders built by our registries, so that transforms nested in a dataset are built too."""

import copy
import functools
import inspect
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.registry import DATA_SAMPLERS as MMENGINE_DATA_SAMPLERS
from mmengine.registry import FUNCTIONS
from torch.utils.data import DataLoader, Dataset, default_collate

from smilfit.engine.random_state import seed_worker
from smilfit.engine.seeded_loader import SeededLoader
from smilfit.registry import (
    DATA_SAMPLERS,
    UnknownNameError,
    build,
    build_dataset,
    did_you_mean,
    reject_unknown,
)

_BUILT_HERE = ('dataset', 'sampler', 'batch_size', 'num_workers')
LOADER_KEYS = (*_BUILT_HERE, *list(inspect.signature(DataLoader.__init__).parameters)[3:])


def build_data_loader(
    cfg: Mapping[str, Any], seed: int | None, dataset: Dataset | None = None, *, seeded: bool = False
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


def _function(cfg: Any) -> Any:
    """Find a function that a config names, as `dict(type='default_collate')`; a function stays as it is."""
    if not isinstance(cfg, Mapping):
        return cfg
    found = FUNCTIONS.get(cfg['type'])
    if found is None:
        raise UnknownNameError(
            f'data loader: no function {cfg["type"]!r}. {did_you_mean(cfg["type"], FUNCTIONS.module_dict)}'
        )
    arguments = {key: value for key, value in cfg.items() if key != 'type'}
    return functools.partial(found, **arguments) if arguments else found


def follow_training_data(cfg: Any) -> None:
    """Give the validation and the test set the training set's file, where they name none.

    So one option, `train_dataloader.dataset.data_path`, is enough. Changes the config.
    """
    train = cfg.get('train_dataloader')
    path = train.dataset.get('data_path') if train else None
    for name in ('val_dataloader', 'test_dataloader'):
        loader = cfg.get(name)
        if loader and 'dataset' in loader and loader.dataset.get('data_path') is None and path is not None:
            loader.dataset.data_path = path
