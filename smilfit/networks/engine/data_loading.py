"""Data loaders built by our registries, so that transforms nested in a dataset are built too."""

import copy
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.registry import DATA_SAMPLERS as MMENGINE_DATA_SAMPLERS
from mmengine.registry import FUNCTIONS
from torch.utils.data import DataLoader, Dataset, default_collate

from smilfit.networks.engine.seeded_loader import SeededLoader, seed_worker
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

# How a file is parted; see `split_samples`.
_SPLITTING = ('split_by', 'ratios', 'block_size', 'gap')


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
    result = FUNCTIONS.get(cfg['type'])
    if result is None:
        raise UnknownNameError(
            f'data loader: no function {cfg["type"]!r}. {did_you_mean(cfg["type"], FUNCTIONS.module_dict)}'
        )
    arguments = {key: value for key, value in cfg.items() if key != 'type'}
    return functools.partial(result, **arguments) if arguments else result


def follow_training_data(cfg: Any) -> None:
    """Return the validation and the test set the training set's file and way of splitting, where they name none.

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


def check_held_out(trained: Mapping[str, Any], other: Mapping[str, Any], name: str, other_name: str) -> None:
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
