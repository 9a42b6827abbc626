"""Turn a JSON config of SMILify's training into a config of ours: the same network, losses and schedule."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from smilfit.apis.network_options import ConversionOptions
from smilfit.apis.options import with_options
from smilfit.apis.output_paths import check_not_an_input, check_output_file
from smilfit.apis.shipped_configs import configs_folder
from smilfit.files import BadFileError, shorten, write_text
from smilfit.files.text_files import read_strict_json
from smilfit.networks.engine.hooks.epoch_hooks import NEVER
from smilfit.registry import UnknownNameError, did_you_mean, read_config
from smilfit.smilify.checkpoint import BODY
from smilfit.smilify.config_tables import (
    BASE,
    CURRICULUM,
    FAR_POINTS,
    IGNORED_THERE,
    LR_SCHEDULE,
    NOT_HERE,
    ONE_VIEW,
    TRIANGULATION,
    check_keys,
    converted_weights,
    handlers,
    head_width,
    not_carried,
)
from smilfit.smilify.config_text import Plain, Stated, config_text
from smilfit.smilify.layers import BACKBONES, UNETS, VITS

Value = TypeVar('Value')


class Values:
    """A section of the JSON; null is as good as absent, as in SMILify."""

    def __init__(self, where: str, config: Stated, section: str) -> None:
        self._where, self._values = f'{where}: {section}'.rstrip(': '), config
        if section:
            self._values = config.get(section) or {}

    def get(self, key: str, default: object = None) -> Any:
        """Return a value; its kind must be that of the default."""
        value = self._values.get(key)
        if value is None:
            return default
        kinds: tuple[type, ...] = (int, float) if type(default) is float else (type(default),)
        if default is not None and (
            not isinstance(value, kinds) or isinstance(value, bool) != isinstance(default, bool)
        ):
            raise BadFileError(
                f'{self._where}.{key} must be a {type(default).__name__}; got {shorten(value)}. Correct it there.'
            )
        return value

    def choice(self, key: str, default: str, known: Mapping[str, str]) -> str:
        """Return what one of some names stands for."""
        value = self.get(key, default)
        if value not in known:
            raise UnknownNameError(
                f'{self._where}.{key} must be one of {sorted(known)}; got {value!r}. {did_you_mean(value, known)}'
            )
        return known[value]

    def epochs(self, key: str, default: Mapping[int, Value]) -> dict[int, Value]:
        """Return values by first epoch, whose keys are texts in JSON."""
        result = self.get(key, {})
        try:
            return {int(epoch): value for epoch, value in (result or default).items()}
        except ValueError:
            raise BadFileError(
                f'{self._where}.{key} must have epochs as keys; got {shorten(list(result))}. Correct it there.'
            ) from None


_ROTATIONS = {'6d': 'rot6d', 'axis_angle': 'axis_angle'}
_JOINT_SIZES = {'ignore': 'none', 'separate': 'joints', 'entangled_with_betas': 'none'}


def converted_model(
    where: str, config: Stated, single: bool, unit: float
) -> tuple[Plain, dict[int, dict[str, float]], list[str]]:
    """Return the model, the schedule of its loss weights, and what is to be told.

    Args:
        where: for messages.
        config: the JSON.
        single: whether it trains on single views.
        unit: the data's units in one of the network's.
    """
    network, training = Values(where, config, 'model'), Values(where, config, 'training')
    dataset, sizes = Values(where, config, 'dataset'), Values(where, config, 'scale_trans_beta')
    losses = Values(where, config, 'loss_curriculum')
    backbone = network.choice('backbone_name', 'vit_large_patch16_224', {name: name for name in BACKBONES})
    head = network.choice('head_type', 'transformer_decoder', {h: h for h in ('transformer_decoder', 'mlp')})
    mode = sizes.get('mode', 'entangled_with_betas')
    joint_sizes = sizes.choice('mode', 'entangled_with_betas', _JOINT_SIZES)
    scaled = Values(where, config, 'mesh_scaling').get('allow_mesh_scaling', True)
    weights = losses.get('base_weights', {}) or BASE
    stages = losses.epochs('curriculum_stages', CURRICULUM)
    every = [weights, *stages.values()]
    with_sizes = joint_sizes != 'none'
    outlines = any(w.get('silhouette', 0) > 0 for w in every)
    triangulated = any(w.get(TRIANGULATION, 0) > 0 for w in every)
    notes = [f'loss {key}: {why}' for key, why in NOT_HERE.items() if any(w.get(key, 0) > 0 for w in every)]
    if triangulated:
        notes.append(f'loss {TRIANGULATION}: {ONE_VIEW if single else FAR_POINTS}')
    compared = (with_sizes, outlines, triangulated and not single)
    notes.append('loss joint_rot, global_rot: squared distances of rotations here, plain ones there')
    by_ten = single and dataset.get('use_ue_scaling', True)
    placed = 'root_scaled' if scaled and head != 'mlp' else 'as_posed'
    side = 224 if backbone in VITS else network.get('input_resolution')
    smal_file = Values(where, config, 'smal_model').get('smal_file')
    model = {
        'type': 'SmilifyRegressor',
        'network': {
            'type': 'SmilifyNetwork',
            'backbone': backbone,
            'head': head,
            'rotation': training.choice('rotation_representation', '6d', _ROTATIONS),
            'joint_sizes': joint_sizes,
            'mesh_scale': scaled,
            **_layers(where, config, single, backbone),
        },
        'body_model': {**BODY, 'model_path': smal_file} if smal_file else dict(BODY),
        **_cameras(dataset, training, single),
        'placement': 'root_by_ten' if by_ten else placed,
        'by_directions': mode == 'entangled_with_betas',
        'unit': unit,
        'resolution': side,
        'handlers': handlers(*compared),
        'keypoint_weights': _keypoint_weights(where, config),
        'loss_weights': converted_weights(f'{where}: loss_curriculum.base_weights', weights, *compared),
        'intermediate_weight': float(weights.get('ief_intermediate', 0.0)),
    }
    schedule = {
        epoch: converted_weights(f'{where}: loss_curriculum.curriculum_stages.{epoch}', stage, *compared)
        for epoch, stage in sorted(stages.items())
    }
    return model, schedule, notes


def _layers(where: str, config: Stated, single: bool, backbone: str) -> Plain:
    """Return the network's sizes."""
    network, top = Values(where, config, 'model'), Values(where, config, '')
    result = {
        'dim': head_width(backbone),
        'depth': network.get('transformer_depth', 6),
        'heads': network.get('transformer_heads', 8),
        'dim_head': network.get('transformer_dim_head', 64),
        'mlp_dim': network.get('transformer_mlp_dim', 1024),
        'dropout': network.get('transformer_dropout', 0.1),
        'n_iters': network.get('transformer_ief_iters', 3),
        'offset_step': network.get('transformer_trans_scale_factor', 1.0),
        'pretrained': True,
    }
    if not single:
        result['fusion_layers'] = top.get('cross_attention_layers', 2)
        result['fusion_heads'] = top.get('cross_attention_heads', 8)
        result['fusion_dropout'] = top.get('cross_attention_dropout', 0.1)
    return result


def _cameras(dataset: Values, training: Values, single: bool) -> Plain:
    if not single:
        corrected = training.get('use_gt_camera_init', True)
        # The training set's cameras.
        return {
            'camera_names': None,
            'camera_use': 'corrected' if corrected else 'predicted',
            'frame': 'world',
        }
    if dataset.get('frame_convention', 'model_centric') == 'camera_centric':
        return {'camera_use': 'given', 'frame': 'first_camera'}
    return {'camera_use': 'predicted', 'frame': 'own'}


def _keypoint_weights(where: str, config: Stated) -> dict[str, float]:
    important, ignored = (
        Values(where, config, key) for key in ('joint_importance', 'ignored_joint_locations')
    )
    result: dict[str, float] = {}
    if important.get('enabled', True):
        factor = float(important.get('weight_multiplier', 10.0))
        result |= dict.fromkeys(important.get('important_joint_names', []), factor)
    if ignored.get('enabled', True):
        result |= dict.fromkeys(ignored.get('ignored_joint_names', []), 0.0)
    return result


def frozen_parts(where: str, config: Stated) -> tuple[list[str], float]:
    """Return which part of the backbone is frozen and slower: of a UNet only its encoder."""
    network = Values(where, config, 'model')
    backbone = network.get('backbone_name', 'vit_large_patch16_224')
    part = 'network.backbone.backbone' + ('.encoder' if backbone in UNETS else '')
    return [part], network.get('backbone_lr_multiplier', 0.1)


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
    values, notes = _converted(where, config, options.unit)
    header = [f'Written from {Path(source).name}, a config of SMILify: python tools/train.py {out.name}.', '']
    header += ['Not carried over, or different:', *(f'  {line}' for line in notes)] if notes else []
    return ConvertedConfig(write_text(out, config_text(values, header)), tuple(notes))


def _converted(where: str, config: Stated, unit: float) -> tuple[Plain, list[str]]:
    single = config['mode'] == 'singleview'
    notes = not_carried(config)
    for key, why in IGNORED_THERE.items():
        section, name = key.split('.')
        if (config.get(section) or {}).get(name) is not None and not single:
            notes.append(f'{key}: SMILify ignores it, {why}')
    training, optimizer = Values(where, config, 'training'), Values(where, config, 'optimizer')
    dataset, output = Values(where, config, 'dataset'), Values(where, config, 'output')
    base = configs_folder() / '_base_'
    runtime = read_config(base / 'default_runtime.py').to_dict()
    loaders = read_config(base / 'datasets' / 'multiview.py').to_dict()
    model, schedule, more = converted_model(where, config, single, unit)
    notes += more
    rates = optimizer.epochs('lr_schedule', LR_SCHEDULE)
    rate = optimizer.get('learning_rate', 5e-5)
    if 0 in rates and rates[0] != rate:
        notes.append(f'optimizer.learning_rate: SMILify ignores it, lr_schedule says {rates[0]} at epoch 0')
    epochs = training.get('num_epochs', 1000)
    parts, multiplier = frozen_parts(where, config)
    if single:
        notes.append(
            'optimizer.gradient_clip_norm: SMILify clips at 0.1 in single-view training, whatever it says'
        )
    notes.append('splits: by stretches of time; SMILify draws frames, so that neighbours are in both')
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
    return values, notes


def _hooks(network: Values, parts: list[str], schedule: Mapping[int, Mapping[str, float]]) -> list[Plain]:
    """Freeze the backbone's parts, for a time or for ever, and change losses, where that is asked for."""
    result: list[Plain] = []
    unfreeze = network.get('backbone_unfreeze_epoch')
    if unfreeze is not None or network.get('freeze_backbone', True):
        start = NEVER if unfreeze is None else unfreeze
        result.append({'type': 'StagedUnfreezeHook', 'schedule': {start: parts}})
    if schedule:
        result.append({'type': 'LossCurriculumHook', 'schedule': schedule})
    return result


def _loaders(
    where: str,
    config: Stated,
    shipped: Stated,
    dataset: Values,
    training: Values,
    single: bool,
) -> Plain:
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


def _transforms(where: str, config: Stated) -> list[Plain]:
    augmentation = Values(where, config, 'augmentation')
    if not augmentation.get('enabled', False):
        return []
    result: list[Plain] = [
        {
            'type': 'PhotometricJitter',
            'brightness': augmentation.get('color_jitter_brightness', 0.2),
            'contrast': augmentation.get('color_jitter_contrast', 0.2),
            'noise': augmentation.get('gaussian_noise_std', 0.015),
        }
    ]
    if augmentation.get('geometric_enabled', False):
        low, high = augmentation.get('scale_jitter_range', [0.9, 1.1])
        scale, shift = max(1 - low, high - 1), augmentation.get('crop_jitter_fraction', 0.0)
        result.append({'type': 'CropJitter', 'shift': shift, 'scale': round(scale, 6), 'rotation_deg': 0.0})
    return result


def _rates(rates: Mapping[int, float], epochs: int) -> list[Plain]:
    """Hold the learning rate from each epoch to the next; one of these gives the rate back in its last epoch."""
    starts = sorted(epoch for epoch in rates if epoch < epochs)
    ends = [*starts[1:], epochs]
    return [
        {'type': 'ConstantLR', 'factor': rates[a] / rates[0], 'begin': a, 'end': b + 1, 'by_epoch': True}
        for a, b in zip(starts, ends)
        if rates[a] != rates[0]
    ]
