"""The keys of SMILify's JSON configs, and why some mean nothing here."""

from collections.abc import Mapping
from typing import Any

from smilfit.files import BadFileError, shorten
from smilfit.registry import reject_unknown

_PAGES = 'our test command writes pictures and a report'
_STORE = 'it is decided when the dataset file is made'
# By section ('' is the top); a text is why a key is not carried over, None that it is.
KEYS: Mapping[str, Mapping[str, str | None]] = {
    '': {
        'mode': None,
        'num_views_to_use': None,
        'min_views_per_sample': 'a sample of any number of views is used; preprocess --min-views leaves others out',
        'cross_attention_layers': None,
        'cross_attention_heads': None,
        'cross_attention_dropout': None,
    },
    'smal_model': {
        'smal_file': None,
        'shape_family': 'the body model file is one family',
    },
    'dataset': {
        'data_path': None,
        'train_ratio': None,
        'val_ratio': None,
        'test_ratio': None,
        'dataset_fraction': None,
        'from_multiview': 'a single-view network looks at one view of any sample',
        'frame_convention': None,
        'expand_all_views': 'views are drawn anew in every epoch',
        'use_ue_scaling': None,
    },
    'model': {
        'backbone_name': None,
        'freeze_backbone': None,
        'backbone_unfreeze_epoch': None,
        'backbone_lr_multiplier': None,
        'hidden_dim': 'SMILify itself takes the width that goes with the backbone',
        'head_type': None,
        'use_unity_prior': 'SMILify does not use it in its networks',
        'rgb_only': 'the cameras of the data say which losses there are',
        'input_resolution': None,
        'transformer_depth': None,
        'transformer_heads': None,
        'transformer_dim_head': None,
        'transformer_mlp_dim': None,
        'transformer_dropout': None,
        'transformer_ief_iters': None,
        'transformer_trans_scale_factor': None,
    },
    'optimizer': {
        'learning_rate': None,
        'weight_decay': None,
        'gradient_clip_norm': None,
        'optimizer_type': None,
        'lr_schedule': None,
    },
    'loss_curriculum': {'base_weights': None, 'curriculum_stages': None},
    'scale_trans_beta': {
        'mode': None,
        'ignore_loss_weights': 'dataset files hold no true sizes of joints',
        'separate_loss_weights': 'dataset files hold no true sizes of joints',
        'entangled_loss_weights': 'dataset files hold no true sizes of joints',
        'separate_trans_scale_factor': 'SMILify reads model.transformer_trans_scale_factor',
    },
    'mesh_scaling': {
        'allow_mesh_scaling': None,
        'init_mesh_scale': 'the scale begins at 1; units are set by model.unit',
        'use_log_scale': 'it is always the logarithm',
    },
    'augmentation': {
        'enabled': None,
        'geometric_enabled': None,
        'color_jitter_brightness': None,
        'color_jitter_contrast': None,
        'color_jitter_saturation': 'PhotometricJitter has none',
        'gaussian_noise_std': None,
        'gaussian_blur_prob': 'PhotometricJitter blurs by its own rule',
        'gaussian_blur_kernel_range': 'PhotometricJitter blurs by its own rule',
        'random_erasing_prob': 'there is no erasing here',
        'random_erasing_scale_range': 'there is no erasing here',
        'crop_jitter_fraction': None,
        'scale_jitter_range': None,
    },
    'joint_importance': {'enabled': None, 'important_joint_names': None, 'weight_multiplier': None},
    'ignored_joint_locations': {'enabled': None, 'ignored_joint_names': None},
    'ignored_joints': {'ignored_joint_names': _STORE, 'verbose': _STORE},
    'multi_dataset': dict.fromkeys(
        ('enabled', 'datasets', 'validation_split_strategy'), 'name the files in train_dataloader.dataset'
    ),
    'output': {
        'checkpoint_dir': None,
        'plots_dir': _PAGES,
        'visualizations_dir': _PAGES,
        'train_visualizations_dir': _PAGES,
        'singleview_visualizations_dir': _PAGES,
        'save_checkpoint_every': None,
        'generate_visualizations_every': _PAGES,
        'plot_history_every': _PAGES,
        'num_visualization_samples': _PAGES,
    },
    'training': {
        'batch_size': None,
        'num_epochs': None,
        'seed': None,
        'rotation_representation': None,
        'num_workers': None,
        'pin_memory': None,
        'prefetch_factor': 'torch chooses it',
        'resume_checkpoint': 'train --resume goes on; convert-checkpoint makes a checkpoint for load_from',
        'reset_ief_token_embedding': 'it was for checkpoints of an old SMILify',
        'use_gt_camera_init': None,
        'use_mixed_precision': 'train --amp',
        'backbone_chunk_size': 'absent views are not computed; a smaller batch_size needs less memory',
        'gradient_accumulation_steps': None,
        'validate_every_n_epochs': None,
    },
}
# What SMILify itself passes over without a word when a JSON config is given (multi-view).
IGNORED_THERE = {
    'model.hidden_dim': 'the width follows from the backbone',
    'training.prefetch_factor': 'multi-view training does not read it',
    'training.validate_every_n_epochs': 'it is set to 1',
}


def check_keys(where: str, config: Mapping[str, Any]) -> None:
    """Refuse keys that SMILify does not have (it passes over them); a section must be an object.

    Raises:
        UnknownNameError: an unknown key, with the near ones.
        BadFileError: a section that is none.
    """
    sections = [name for name in KEYS if name]
    reject_unknown(where, 'key', config, (*KEYS[''], *sections))
    for name in sections:
        section = config.get(name, {})
        if section is None:
            continue
        if not isinstance(section, Mapping):
            raise BadFileError(
                f'{where}: {name} must be an object; got {shorten(section)}. Correct it there.'
            )
        reject_unknown(f'{where}: {name}', 'key', section, KEYS[name])


def not_carried(config: Mapping[str, Any]) -> list[str]:
    """List the keys of a config that mean nothing here, each with why."""
    told = []
    for section, keys in KEYS.items():
        values = config if not section else config.get(section) or {}
        for key, why in keys.items():
            if why is not None and values.get(key) is not None:
                told.append(f'{section}.{key}'.lstrip('.') + f': {why}')
    return told
