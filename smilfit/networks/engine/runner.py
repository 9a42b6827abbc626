"""From a config to mmengine's Runner, with everything in it built by our registries."""

import copy
import inspect
import itertools
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.device import utils as mmengine_device
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.registry import OPTIMIZERS
from mmengine.runner import set_random_seed
from torch import nn
from torch.utils.data import DataLoader

from smilfit.networks.backbones.feature_cache import FeatureCache
from smilfit.networks.engine.checked_runner import CheckedRunner
from smilfit.networks.engine.checkpoint_loader import (
    LAST,
    body_model_of_entry,
    install_checkpoint_loader,
    read_checkpoint,
    smilfit_entry,
)
from smilfit.networks.engine.configs import PartConfig, building, check_tracking, require_keys, set_resume
from smilfit.networks.engine.data_loading import build_data_loader, check_held_out, follow_training_data
from smilfit.networks.engine.hooks.whole_checkpoint_hook import install_whole_files
from smilfit.networks.engine.label_check import check_labels, files_of, switched_on
from smilfit.networks.engine.mmengine_scope import declare_scope
from smilfit.networks.engine.model_building import build_regressor, load_body_for, names_with_body
from smilfit.networks.engine.training_loops import WholeEpochLoop, WholeIterLoop
from smilfit.networks.engine.training_statistics import (
    Summarise,
    TrainingSet,
    compute_statistics,
    dataset_names,
    look_at,
)
from smilfit.networks.regressors import remember_cameras
from smilfit.networks.training_set import DatasetNames, TrainingStatistics
from smilfit.registry import (
    HOOKS,
    METRICS,
    UnknownNameError,
    build,
    build_dataset,
    did_you_mean,
    reject_unknown,
)


def check_feature_caches(model: nn.Module, dataset: object) -> None:
    """Check that a training set gives the same images in every epoch, and tell the caches how many there are.

    A model without a cache passes. What the model itself makes of images is its own to check.

    Raises:
        ValueError: a transform that changes images.
    """
    parts = [getattr(m, 'cache', None) for m in model.modules()]
    caches = [cache for cache in parts if isinstance(cache, FeatureCache)]
    if not caches:
        return
    for transform in _transforms_of(dataset):
        if not getattr(transform, 'keeps_images', False):
            raise ValueError(
                'train_dataloader.dataset.transforms: images whose features are kept must come again as they were; '
                f'{type(transform).__name__} changes them. Set transforms=[], or leave the cache of the backbone '
                'out.'
            )
    count, augment = getattr(dataset, 'n_images', None), getattr(model, 'augment', None)
    for cache in caches:
        cache.n_expected = None if count is None else count * (getattr(augment, 'n_versions', None) or 1)


def _transforms_of(dataset: object) -> Iterator[object]:
    yield from getattr(dataset, 'transforms', ())
    for part in getattr(dataset, 'datasets', ()):
        yield from _transforms_of(part)


logger = logging.getLogger('smilfit')


# Every run has these, whatever its config lists.
_ALWAYS = ('BadBatchHook', 'CalibrationHook', 'PlainCheckpointHook')
# Hooks without a say in a test: the weights of a checkpoint are the averaged ones already.
_OF_TRAINING = (
    *('LossCurriculumHook', 'EMAHook', 'EarlyStoppingHook', 'BadBatchHook', 'CheckpointHook'),
    'ShapeMixtureEMHook',
)
_ONLY_OF_TRAINING = (
    *('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler'),
    *('val_dataloader', 'val_cfg', 'val_evaluator'),
)
_LOOPS = {'EpochBasedTrainLoop': WholeEpochLoop, 'IterBasedTrainLoop': WholeIterLoop}
_COUNTER = itertools.count(1)


def build_train_runner(
    cfg: Config,
    *,
    body_model: str | Path | None = None,
    device: str = 'auto',
    summarise: Summarise | None = None,
    console_level: str | None = None,
) -> CheckedRunner:
    """Build everything a training needs, after reading the training set's statistics.

    Args:
        cfg: the config; `work_dir` set. It is copied.
        body_model: the body model's file, instead of the config's and the dataset's.
        device: 'auto', 'cpu' or 'cuda'.
        summarise: see `compute_statistics`; what it gives is kept in checkpoints and offered to metrics.
        console_level: see `CheckedRunner`.
    """
    with building(cfg):
        require_keys(cfg, ('model', 'train_dataloader', 'train_cfg', 'optim_wrapper'), 'training')
        cfg = _prepared(cfg, device)
        _require_data_path(cfg, 'train_dataloader')
        if cfg.get('resume') and cfg.get('load_from') is None and (Path(cfg.work_dir) / LAST).is_file():
            set_resume(cfg, 'auto')
        dataset = build_dataset(cfg.train_dataloader.dataset)
        names = _names(dataset, cfg.train_dataloader.dataset)
        body, reference = load_body_for(names, cfg.model, body_model)
        names = names_with_body(names, body, reference)
        looked = look_at(dataset)
        statistics = compute_statistics(dataset, body, names, summarise, samples=looked)
        # In the config that a checkpoint holds.
        remember_cameras(cfg.model, names.camera_names)
        loader = build_data_loader(cfg.train_dataloader, cfg.randomness.seed, dataset, seeded=True)
        model = build_regressor(cfg.model, body, statistics)
        check_feature_caches(model, dataset)
        losses = switched_on(getattr(model, 'loss_weights', {}), cfg.get('custom_hooks') or ())
        check_labels(getattr(model, 'label_needs', {}), losses, looked, len(dataset), files_of(dataset))
        return _runner(cfg, model, statistics, {'train_dataloader': loader}, console_level)


def build_test_runner(
    cfg: Config,
    checkpoint: str | Path,
    *,
    body_model: str | Path | None = None,
    device: str = 'auto',
    averaged: bool = True,
    console_level: str | None = None,
) -> CheckedRunner:
    """Build what testing a checkpoint needs; call `test()` on it.

    The dataset file and the body model that neither the config nor an argument names are the checkpoint's. Of a
    training with `EMAHook` the averaged weights are tested, unless `averaged` is False.
    """
    with building(cfg):
        require_keys(cfg, ('model', 'test_dataloader', 'test_cfg', 'test_evaluator'), 'testing')
        cfg = _prepared(cfg, device)
        stored = read_checkpoint(checkpoint)
        entry = smilfit_entry(checkpoint, stored)
        if cfg.test_dataloader.dataset.get('data_path') is None and entry.get('data_path'):
            cfg.test_dataloader.dataset.data_path = entry['data_path']
        _require_data_path(cfg, 'test_dataloader')
        trained = ((entry.get('config') or {}).get('train_dataloader') or {}).get('dataset') or {}
        if entry.get('data_path') is not None:
            trained = {**trained, 'data_path': entry['data_path']}
            check_held_out(
                trained, cfg.test_dataloader.dataset, "the checkpoint's training", 'test_dataloader'
            )
        dataset = build_dataset(cfg.test_dataloader.dataset)
        names = _names(dataset, cfg.test_dataloader.dataset)
        same = entry.get('body_model_hash') == names.body_model_hash
        trained_with = body_model_of_entry(checkpoint, entry) if same else None
        body, reference = load_body_for(names, cfg.model, body_model, trained_with, checkpoint)
        names = names_with_body(names, body, reference)
        statistics = TrainingStatistics.neutral(body.n_joints, names)
        remember_cameras(cfg.model, entry.get('camera_names') or ())
        statistics.summaries = dict(entry.get('summaries', {}))
        for key in _ONLY_OF_TRAINING:
            cfg.pop(key, None)
        cfg.load_from, cfg.resume = str(checkpoint), False
        given = cfg.get('custom_hooks') or []
        own = [{'type': 'PlainCheckpointHook', 'averaged': averaged}]
        cfg.custom_hooks = own + [hook for hook in given if hook['type'] not in _OF_TRAINING]
        loaders = {'test_dataloader': build_data_loader(cfg.test_dataloader, cfg.randomness.seed, dataset)}
        return _runner(cfg, build_regressor(cfg.model, body, statistics), statistics, loaders, console_level)


def _prepared(cfg: Config, device: str) -> Config:
    """Copy a config, fill in what every run has, and seed before the model's weights are drawn."""
    cfg = copy.deepcopy(cfg)
    install_checkpoint_loader()
    install_whole_files()
    declare_scope()
    chosen = choose_device(device)
    follow_training_data(cfg)
    cfg.setdefault('default_scope', 'smilfit')
    cfg.setdefault('randomness', {'seed': 0})
    cfg.setdefault('launcher', 'none')
    if cfg.launcher != 'none':
        # Else all would draw the same augmentations and poses.
        cfg.randomness.setdefault('diff_rank_seed', True)
        cfg.model_wrapper_cfg = {**model_wrapper_config(chosen), **cfg.get('model_wrapper_cfg', {})}
        if chosen != 'cuda':
            # torch's SyncBatchNorm computes on CUDA only.
            cfg.pop('sync_bn', None)
    _check_length(cfg)
    _end_schedule(cfg)
    _check_optimizer(cfg)
    check_tracking(cfg)
    set_random_seed(cfg.randomness.seed)
    return cfg


def _end_schedule(cfg: Config) -> None:
    """Let a schedule that says no end go on to the last epoch, so that max_epochs is stated once."""
    schedulers = cfg.get('param_scheduler') or []
    for scheduler in schedulers if isinstance(schedulers, (list, tuple)) else [schedulers]:
        if 'end' in scheduler or 'T_max' in scheduler or scheduler['type'] != 'CosineAnnealingLR':
            continue
        begin = scheduler.get('begin', 0)
        by_epoch = scheduler.get('by_epoch', True)
        last = cfg.train_cfg.get('max_epochs' if by_epoch else 'max_iters')
        if last is None:
            raise ValueError(
                f'param_scheduler: a CosineAnnealingLR by {"epoch" if by_epoch else "iteration"} without `end` ends '
                f'with train_cfg.max_{"epochs" if by_epoch else "iters"}; the config does not say it. Set '
                f'by_epoch={not by_epoch} there, or end and T_max.'
            )
        scheduler.T_max = max(1, last - begin)
        scheduler.end = begin + scheduler.T_max


def _check_optimizer(cfg: Config) -> None:
    """Refuse an unknown optimiser; mmengine would fail on it in words of its own."""
    name = ((cfg.get('optim_wrapper') or {}).get('optimizer') or {}).get('type')
    if isinstance(name, str) and OPTIMIZERS.get(name) is None:
        raise UnknownNameError(
            f'optim_wrapper.optimizer: no optimizer {name!r}. {did_you_mean(name, OPTIMIZERS.module_dict)}'
        )
    for key, value in ((cfg.get('optim_wrapper') or {}).get('optimizer') or {}).items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(
                f'optim_wrapper.optimizer.{key} must be finite; got {value}. Correct it in the config, or by '
                f'--cfg-options optim_wrapper.optimizer.{key}=NUMBER.'
            )


def _check_length(cfg: Config) -> None:
    """Refuse a training of no epoch: it would write nothing and say that it is done."""
    for name in ('max_epochs', 'max_iters'):
        value = (cfg.get('train_cfg') or {}).get(name)
        if value is not None and not (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
            raise ValueError(
                f'train_cfg.{name} must be a whole number from 1 on; got {value!r}. Correct it in the config, or by '
                f'--cfg-options train_cfg.{name}=NUMBER.'
            )


def _require_data_path(cfg: Config, loader: str) -> None:
    dataset = cfg[loader].dataset
    if 'data_path' in dataset and dataset.data_path is None:
        raise ValueError(
            f'{loader}.dataset.data_path must name a dataset file; got None. '
            f'Give --cfg-options {loader}.dataset.data_path=FILE.h5.'
        )


def _names(dataset: TrainingSet, dataset_cfg: PartConfig) -> DatasetNames:
    names = dataset_names(dataset)
    path = dataset_cfg.get('data_path')
    return names if path is None else replace(names, data_path=str(Path(path).resolve()))


def _runner(
    cfg: Config,
    model: nn.Module,
    statistics: TrainingStatistics,
    loaders: dict[str, DataLoader],
    console_level: str | None,
) -> CheckedRunner:
    for name in ('val', 'test'):
        loader = cfg.get(f'{name}_dataloader')
        if loader is not None and f'{name}_dataloader' not in loaders:
            loaders[f'{name}_dataloader'] = build_data_loader(loader, cfg.randomness.seed)
    evaluators = {
        f'{name}_evaluator': _metrics(cfg[f'{name}_evaluator'], statistics)
        for name in ('val', 'test')
        if cfg.get(f'{name}_evaluator') is not None and f'{name}_dataloader' in loaders
    }
    taken = {'train_cfg', 'optim_wrapper', 'param_scheduler', 'auto_scale_lr', 'default_hooks'}
    taken |= {'val_cfg', 'test_cfg', 'load_from', 'resume', 'launcher', 'env_cfg', 'log_processor'}
    taken |= {'log_level', 'visualizer', 'default_scope', 'randomness'}
    given = {key: copy.deepcopy(cfg[key]) for key in taken if cfg.get(key) is not None}
    given['default_hooks'] = _default_hooks(given.get('default_hooks') or {})
    if 'train_cfg' in given:
        given['train_cfg'] = _train_loop(given['train_cfg'])
    return CheckedRunner(
        model=model,
        work_dir=cfg.work_dir,
        # mmengine keys its logger and message hub by name and second: two runs of one process would share them.
        experiment_name=f'{Path(cfg.work_dir).name}_{next(_COUNTER)}',
        custom_hooks=_hooks(cfg.get('custom_hooks', [])),
        console_level=console_level,
        cfg=cfg,
        **loaders,
        **evaluators,
        **given,
    )


def _train_loop(cfg: PartConfig) -> dict[str, object]:
    """Have the loop go on in the middle of an epoch, where one of mmengine's is asked for."""
    cfg = dict(cfg)
    by_epoch = cfg.pop('by_epoch', True) if 'type' not in cfg else None
    name = cfg.get('type', 'EpochBasedTrainLoop' if by_epoch else 'IterBasedTrainLoop')
    return {**cfg, 'type': _LOOPS.get(name, name)}


def _default_hooks(configs: Mapping[str, Hook | PartConfig | None]) -> dict[str, Hook | PartConfig | None]:
    """Have checkpoints written by the hook that deletes old ones last, where mmengine's is asked for."""
    hooks = dict(configs)
    checkpoint = hooks.setdefault('checkpoint', {'type': 'CheckpointHook', 'interval': 1})
    if checkpoint is not None:
        hooks['checkpoint'] = _whole(checkpoint)
    return hooks


def _whole(hook: Hook | PartConfig) -> Hook | PartConfig:
    if isinstance(hook, Mapping) and hook.get('type') == 'CheckpointHook':
        return {**hook, 'type': 'WholeCheckpointHook'}
    return hook


def _hooks(configs: list[PartConfig]) -> list[Hook]:
    """Build the hooks of a config, and those without which a run is not safe."""
    configs = [*configs, *({'type': name} for name in _ALWAYS)]
    hooks, types = [], set()
    for cfg in configs:
        cfg = dict(_whole(cfg))
        priority = cfg.pop('priority', None)
        if cfg['type'] in types and cfg['type'] in _ALWAYS:
            continue
        types.add(cfg['type'])
        hook = build(cfg, HOOKS)
        if priority is not None:
            hook.priority = priority
        hooks.append(hook)
    return hooks


def _metrics(configs: PartConfig | Sequence[PartConfig], statistics: TrainingStatistics) -> list[BaseMetric]:
    """Build metrics; what they take of the training set's summaries and a config leaves out is filled in."""
    metrics = []
    for cfg in [configs] if isinstance(configs, Mapping) else configs:
        cls = METRICS.get(cfg['type'])
        known = inspect.signature(cls).parameters if cls is not None else {}
        extras = {key: value for key, value in statistics.summaries.items() if key in known}
        metrics.append(build(cfg, METRICS, **extras))
    return metrics


def choose_device(name: str = 'auto') -> str:
    """Decide on which kind of device this process computes, and tell mmengine.

    Args:
        name: 'auto' (CUDA where there is one), 'cpu' or 'cuda'.

    Raises:
        ValueError: CUDA is asked for and absent.
    """
    reject_unknown('--device', 'device', [name], ('auto', 'cpu', 'cuda'))
    if name == 'auto':
        name = 'cuda' if torch.cuda.is_available() else 'cpu'
    if name == 'cuda' and not torch.cuda.is_available():
        raise ValueError('--device: cuda must be available; torch finds none. Use --device cpu.')
    # mmengine's Runner asks one module constant, set at its import, and offers no argument.
    mmengine_device.DEVICE = name
    return name


def model_wrapper_config(device: str) -> dict[str, object]:
    """Make the config of the distributed wrapper; without CUDA it must be given no device."""
    config: dict[str, object] = {'type': 'MMDistributedDataParallel', 'broadcast_buffers': False}
    if device != 'cuda':
        config['device_ids'] = None
    return config
