"""What SMILify's JSON configs may say: keys, why some mean nothing here, defaults, and losses as ours."""

import math
from collections.abc import Mapping

from smilfit.files import BadFileError, shorten
from smilfit.networks.regressors import NOMINAL_PX
from smilfit.registry import reject_unknown
from smilfit.smilify.config_text import Plain, Stated

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


def check_keys(where: str, config: Stated) -> None:
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


def not_carried(config: Stated) -> list[str]:
    """List the keys of a config that mean nothing here, each with why."""
    notes = []
    for section, keys in KEYS.items():
        values = config if not section else config.get(section) or {}
        for key, why in keys.items():
            if why is not None and values.get(key) is not None:
                notes.append(f'{section}.{key}'.lstrip('.') + f': {why}')
    return notes


# First epoch: learning rate.
LR_SCHEDULE = {
    0: 5e-5, 10: 3e-5, 20: 2e-5, 60: 1e-5, 100: 1e-5, 150: 2e-6, 200: 2e-6, 250: 1e-6, 300: 1e-5, 350: 1e-6,
    400: 1e-5, 475: 1e-6, 490: 5e-7, 500: 5e-6, 550: 1e-6, 718: 1e-5,
}  # fmt: skip
_NAMES = (
    'keypoint_2d', 'keypoint_3d', 'joint_angle_regularization', 'limb_scale_regularization',
    'limb_trans_regularization', 'fov', 'cam_rot', 'cam_trans',
)  # fmt: skip
# First epoch: the weights in the order of the names; None is not said.
_STAGES = {
    1: (None, None, 0.01, 0.1, 1),
    10: (0.1, None, 0.005, 0.05, 1),
    25: (0.2, None, 0.0025, 0.02, 1),
    35: (None, 1, 0.001, 0.01, 1),
    45: (None, 1, 1e-4, 0.005, 1),
    50: (None, 2, 5e-5, 0.001, 0.5),
    100: (0.2, 2, 1e-5, 1e-7, 0.1),
    300: (0.2, 2, 1e-5, 1e-7, 0.1, 1e-7, 1e-8, 1e-8),
    400: (0.4, 2, 1e-4, 1e-5, 0.1, 1e-7, 1e-8, 1e-8),
    460: (0.2, 2, 1e-5, 0.001, 0.1, 1e-7, 1e-8, 1e-8),
    490: (0.2, 2, 1e-6, 1e-4, 0.1, 1e-7, 1e-8, 1e-8),
    500: (0.2, 20, 1e-7, 1e-5, 0.1, 1e-6, 1e-7, 1e-7),
    560: (0.2, 20, 1e-7, 0.001, 1.0, 1e-6, 1e-7, 1e-7),
    575: (0.2, 20, 1e-7, 0.0025, 1.0, 1e-6, 1e-7, 1e-7),
}
CURRICULUM = {
    epoch: {name: weight for name, weight in zip(_NAMES, row) if weight is not None}
    for epoch, row in _STAGES.items()
}


def head_width(backbone: str) -> int:
    """Return the channels of the head, which SMILify takes from the backbone's name."""
    if backbone.startswith('vit'):
        return 768 if 'base' in backbone else 1024
    if backbone.startswith('resnet'):
        return 2048
    return 256 if backbone == 'unet_mobilenet_v3' else 512


# SMILify's means are over coordinates, ours over points; its images are 1 wide, ours NOMINAL_PX; its angles of
# cameras are degrees, ours rad.
FACTORS: Mapping[str, tuple[str, float]] = {
    'keypoint_2d': ('keypoints2d', 1 / (2 * NOMINAL_PX**2)),
    'keypoint_3d': ('keypoints3d', 1 / 3),
    'global_rot': ('global_orient', 1.0),
    'joint_rot': ('body_pose', 1.0),
    'betas': ('betas', 1.0),
    'trans': ('transl', 1 / 3),
    'fov': ('camera_fov', math.degrees(1.0) ** 2),
    'cam_rot': ('camera_rotation', 1 / 9),
    'cam_trans': ('camera_position', 1 / 3),
    'joint_angle_regularization': ('joint_angles', 1.0),
    'limb_scale_regularization': ('limb_scales', 1 / 3),
    'limb_trans_regularization': ('limb_offsets', 1 / 3),
    'silhouette': ('silhouette', 1.0),
    'triangulation_consistency': ('triangulation_consistency', 1 / 3),
    'ief_intermediate': ('intermediate', 1.0),
}
NOT_HERE = {
    'log_beta_scales': 'dataset files hold no true sizes of joints',
    'betas_trans': 'dataset files hold no true sizes of joints',
}
TRIANGULATION = 'triangulation_consistency'
ONE_VIEW = 'one view triangulates nothing'
FAR_POINTS = 'points that cameras put far away count too; SMILify passes over those beyond 50 units'
# As SMILify has them where a config leaves them out.
BASE = {
    'global_rot': 0.0, 'joint_rot': 0.001, 'betas': 0.0005, 'trans': 0.0005, 'fov': 0.001, 'cam_rot': 0.01,
    'cam_trans': 0.01, 'log_beta_scales': 0.0005, 'betas_trans': 0.0005, 'keypoint_2d': 0.1, 'keypoint_3d': 0.25,
    'silhouette': 0.0, 'joint_angle_regularization': 0.001, 'limb_scale_regularization': 0.01,
    'limb_trans_regularization': 1,
}  # fmt: skip


def converted_weights(
    where: str,
    weights: Mapping[str, float],
    with_sizes: bool,
    with_silhouette: bool,
    with_triangulation: bool,
) -> dict[str, float]:
    """Bring weights to our keys and units.

    Args:
        where: begins messages.
        weights: SMILify's.
        with_sizes: whether the network predicts sizes of joints; else their regularisers are left out.
        with_silhouette: whether outlines are ever compared; else their weight, 0, is left out.
        with_triangulation: whether what cameras triangulate ever is, likewise.

    Raises:
        UnknownNameError: a loss that SMILify does not have.
    """
    reject_unknown(where, 'loss', weights, (*FACTORS, *NOT_HERE))
    valid = {'silhouette': with_silhouette, TRIANGULATION: with_triangulation}
    result = {}
    for key, weight in weights.items():
        left_out = (key.startswith('limb_') and not with_sizes) or not valid.get(key, True)
        if key in FACTORS and not left_out:
            name, factor = FACTORS[key]
            result[name] = float(f'{weight * factor:.6g}')
    return result


def handlers(with_sizes: bool, with_silhouette: bool, with_triangulation: bool) -> list[Plain]:
    """Return the handlers whose losses have these keys."""
    plain = {'type': 'KeypointMSELoss', 'sigma': None}
    result = [
        {'type': 'Keypoint2dHandler', 'handler_key': 'keypoints2d', 'mse_loss': dict(plain)},
        {'type': 'Keypoint3dHandler', 'handler_key': 'keypoints3d', 'mse_loss': dict(plain)},
        _prior('BodyPosePriorHandler', 'joint_angles', 'PoseRegLoss'),
    ]
    if with_sizes:
        result += [
            _prior('JointScalePriorHandler', 'limb_scales', 'JointScalePriorLoss'),
            {
                **_prior('JointOffsetPriorHandler', 'limb_offsets', 'JointOffsetPriorLoss'),
                'of': 'joint_offsets',
            },
        ]
    if with_silhouette:
        loss = {'type': 'SilhouetteL1Loss'}
        result.append({'type': 'SilhouetteHandler', 'handler_key': 'silhouette', 'loss': loss})
    if with_triangulation:
        result.append({'type': 'TriangulationConsistencyHandler', 'handler_key': TRIANGULATION})
    return result


def _prior(kind: str, key: str, loss: str) -> Plain:
    return {'type': kind, 'handler_key': key, 'prior_loss': {'type': loss}}
