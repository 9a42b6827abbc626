"""Turn a JSON config of SMILify's training into a config of ours: the same network, losses and schedule."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smilfit.apis.network_options import ConversionOptions
from smilfit.apis.options import with_options
from smilfit.apis.output_paths import check_not_an_input, check_output_file
from smilfit.apis.shipped_configs import configs_folder
from smilfit.apis.smilify_defaults import LR_SCHEDULE
from smilfit.apis.smilify_keys import IGNORED_THERE, check_keys, not_carried
from smilfit.apis.smilify_model import converted_model, frozen_parts
from smilfit.apis.smilify_values import Values
from smilfit.engine.config_text import config_text
from smilfit.engine.staged_unfreeze_hook import NEVER
from smilfit.files import BadFileError, shorten, write_text
from smilfit.files.strict_json import read_strict_json
from smilfit.registry import read_config

_OPTIMIZERS = {'adamw': 'AdamW', 'adam': 'Adam', 'sgd': 'SGD'}


@dataclass(frozen=True)
class ConvertedConfig:
    """The file that was written, and what of the old one has another meaning or none."""

    path: Path
    told: tuple[str, ...]


@with_options(ConversionOptions)
def convert_smilify_config(
    source: str | Path, out: str | Path, options: ConversionOptions
) -> ConvertedConfig:
    """Convert a config.

    Args:
        source: the JSON file, of "mode" "singleview" or "multiview".
        out: the .py file to write.

    Raises:
        UnknownNameError: a key or name that SMILify does not have, with the near ones.
        BadFileError: a value of another kind.
        FileExistsError: `out` is there already.
    """
    out = check_output_file(out, 'OUT')
    check_not_an_input(out, (source,), 'OUT')
    if out.exists() and not options.force:
        raise FileExistsError(f'{out}: is there already. Give --force to replace it, or another name.')
    config = read_strict_json(source, "a config of SMILify's")
    where = str(source)
    check_keys(where, config)
    if config.get('mode') not in ('singleview', 'multiview'):
        raise BadFileError(
            f"{where}: mode must be 'singleview' or 'multiview'; got {shorten(config.get('mode'))}."
        )
    values, told = _converted(where, config, options.unit)
    header = [f'Written from {Path(source).name}, a config of SMILify: python tools/train.py {out.name}.', '']
    header += ['Not carried over, or different:', *(f'  {line}' for line in told)] if told else []
    return ConvertedConfig(write_text(out, config_text(values, header)), tuple(told))


def _converted(where: str, config: Mapping[str, Any], unit: float) -> tuple[dict[str, Any], list[str]]:
    single = config['mode'] == 'singleview'
    told = not_carried(config)
    for key, why in IGNORED_THERE.items():
        section, name = key.split('.')
        if (config.get(section) or {}).get(name) is not None and not single:
            told.append(f'{key}: SMILify ignores it, {why}')
    training, optimizer = Values(where, config, 'training'), Values(where, config, 'optimizer')
    dataset, output = Values(where, config, 'dataset'), Values(where, config, 'output')
    base = configs_folder() / '_base_'
    runtime = read_config(base / 'default_runtime.py').to_dict()
    loaders = read_config(base / 'datasets' / 'multiview.py').to_dict()
    model, schedule, more = converted_model(where, config, single, unit)
    told += more
    rates = optimizer.epochs('lr_schedule', LR_SCHEDULE)
    rate = optimizer.get('learning_rate', 5e-5)
    if 0 in rates and rates[0] != rate:
        told.append(f'optimizer.learning_rate: SMILify ignores it, lr_schedule says {rates[0]} at epoch 0')
    epochs = training.get('num_epochs', 1000)
    parts, multiplier = frozen_parts(where, config)
    if single:
        told.append(
            'optimizer.gradient_clip_norm: SMILify clips at 0.1 in single-view training, whatever it says'
        )
    told.append('splits: by stretches of time; SMILify draws frames, so that neighbours are in both')
    rates = {0: rate, **rates}
    values = {
        **runtime,
        'work_dir': str(Path('work_dirs') / output.get('checkpoint_dir', f'{config["mode"]}_checkpoints')),
        'randomness': {'seed': training.get('seed', 1234)},
        'model': model,
        **_loaders(where, config, loaders, dataset, training, single),
        'train_cfg': {
            'type': 'EpochBasedTrainLoop',
            'max_epochs': epochs,
            'val_interval': training.get('validate_every_n_epochs', 1),
        },
        'val_cfg': {'type': 'ValLoop'},
        'test_cfg': {'type': 'TestLoop'},
        'val_evaluator': [{'type': 'MultiViewPoseMetric'}],
        'test_evaluator': [{'type': 'MultiViewPoseMetric'}],
        'optim_wrapper': {
            'type': 'OptimWrapper',
            'optimizer': {
                'type': optimizer.choice('optimizer_type', 'adamw', _OPTIMIZERS),
                'lr': rates[0],
                'weight_decay': optimizer.get('weight_decay', 1e-4),
            },
            'clip_grad': {'max_norm': optimizer.get('gradient_clip_norm', 1.0)},
            'accumulative_counts': training.get('gradient_accumulation_steps', 1),
            'paramwise_cfg': {'custom_keys': {part: {'lr_mult': multiplier} for part in parts}},
        },
        'param_scheduler': _rates(rates, epochs),
        'custom_hooks': _hooks(Values(where, config, 'model'), parts, schedule),
    }
    values['default_hooks']['checkpoint']['interval'] = output.get('save_checkpoint_every', 10)
    return values, told


def _hooks(
    said: Values, parts: list[str], schedule: Mapping[int, Mapping[str, float]]
) -> list[dict[str, Any]]:
    """Freeze the backbone's parts, for a time or for ever, and change losses, where that is asked for."""
    found: list[dict[str, Any]] = []
    unfreeze = said.get('backbone_unfreeze_epoch')
    if unfreeze is not None or said.get('freeze_backbone', True):
        start = NEVER if unfreeze is None else unfreeze
        found.append({'type': 'StagedUnfreezeHook', 'schedule': {start: parts}})
    if schedule:
        found.append({'type': 'LossCurriculumHook', 'schedule': schedule})
    return found


def _loaders(
    where: str,
    config: Mapping[str, Any],
    shipped: Mapping[str, Any],
    dataset: Values,
    training: Values,
    single: bool,
) -> dict[str, Any]:
    ratios = tuple(
        dataset.get(f'{name}_ratio', default)
        for name, default in (('train', 0.85), ('val', 0.05), ('test', 0.1))
    )
    views = 1 if single else Values(where, config, '').get('num_views_to_use')
    loaders = {key: shipped[key] for key in ('train_dataloader', 'val_dataloader', 'test_dataloader')}
    for key, loader in loaders.items():
        loader['batch_size'] = training.get('batch_size', 8)
        loader['num_workers'] = training.get('num_workers', 8)
        loader['pin_memory'] = training.get('pin_memory', True)
        loader['dataset'] |= {'ratios': ratios, 'views': views}
        if key == 'train_dataloader':
            path, fraction = dataset.get('data_path'), dataset.get('dataset_fraction', 0.5)
            loader['dataset'] |= {
                'data_path': path,
                'fraction': fraction,
                'transforms': _transforms(where, config),
            }
    return loaders


def _transforms(where: str, config: Mapping[str, Any]) -> list[dict[str, Any]]:
    said = Values(where, config, 'augmentation')
    if not said.get('enabled', False):
        return []
    found: list[dict[str, Any]] = [
        {
            'type': 'PhotometricJitter',
            'brightness': said.get('color_jitter_brightness', 0.2),
            'contrast': said.get('color_jitter_contrast', 0.2),
            'noise': said.get('gaussian_noise_std', 0.015),
        }
    ]
    if said.get('geometric_enabled', False):
        low, high = said.get('scale_jitter_range', [0.9, 1.1])
        scale, shift = max(1 - low, high - 1), said.get('crop_jitter_fraction', 0.0)
        found.append({'type': 'CropJitter', 'shift': shift, 'scale': round(scale, 6), 'rotation_deg': 0.0})
    return found


def _rates(rates: Mapping[int, float], epochs: int) -> list[dict[str, Any]]:
    """Hold the learning rate from each epoch to the next; one of these gives the rate back in its last epoch."""
    starts = sorted(epoch for epoch in rates if epoch < epochs)
    ends = [*starts[1:], epochs]
    return [
        {'type': 'ConstantLR', 'factor': rates[a] / rates[0], 'begin': a, 'end': b + 1, 'by_epoch': True}
        for a, b in zip(starts, ends)
        if rates[a] != rates[0]
    ]
