"""The model that a JSON config of SMILify's describes, and its losses, as a config of ours."""

from collections.abc import Mapping
from typing import Any

from smilfit.apis.smilify_checkpoint import BODY
from smilfit.apis.smilify_defaults import CURRICULUM, head_width
from smilfit.apis.smilify_losses import (
    BASE,
    FAR_POINTS,
    NOT_HERE,
    ONE_VIEW,
    TRIANGULATION,
    converted_weights,
    handlers,
)
from smilfit.apis.smilify_values import Values
from smilfit.models.regressors.smilify.backbones import BACKBONES, UNETS, VITS

_ROTATIONS = {'6d': 'rot6d', 'axis_angle': 'axis_angle'}
_JOINT_SIZES = {'ignore': 'none', 'separate': 'joints', 'entangled_with_betas': 'none'}


def converted_model(
    where: str, config: Mapping[str, Any], single: bool, unit: float
) -> tuple[dict[str, Any], dict[int, dict[str, float]], list[str]]:
    """Give the model, the schedule of its loss weights, and what is to be told.

    Args:
        where: for messages.
        config: the JSON.
        single: whether it trains on single views.
        unit: the data's units in one of the network's.
    """
    said, training = Values(where, config, 'model'), Values(where, config, 'training')
    dataset, sizes = Values(where, config, 'dataset'), Values(where, config, 'scale_trans_beta')
    losses = Values(where, config, 'loss_curriculum')
    backbone = said.choice('backbone_name', 'vit_large_patch16_224', {name: name for name in BACKBONES})
    head = said.choice('head_type', 'transformer_decoder', {h: h for h in ('transformer_decoder', 'mlp')})
    mode = sizes.get('mode', 'entangled_with_betas')
    joint_sizes = sizes.choice('mode', 'entangled_with_betas', _JOINT_SIZES)
    scaled = Values(where, config, 'mesh_scaling').get('allow_mesh_scaling', True)
    weights = losses.get('base_weights', {}) or BASE
    stages = losses.epochs('curriculum_stages', CURRICULUM)
    every = [weights, *stages.values()]
    with_sizes = joint_sizes != 'none'
    outlines = any(w.get('silhouette', 0) > 0 for w in every)
    triangulated = any(w.get(TRIANGULATION, 0) > 0 for w in every)
    told = [f'loss {key}: {why}' for key, why in NOT_HERE.items() if any(w.get(key, 0) > 0 for w in every)]
    if triangulated:
        told.append(f'loss {TRIANGULATION}: {ONE_VIEW if single else FAR_POINTS}')
    compared = (with_sizes, outlines, triangulated and not single)
    told.append('loss joint_rot, global_rot: squared distances of rotations here, plain ones there')
    by_ten = single and dataset.get('use_ue_scaling', True)
    placed = 'root_scaled' if scaled and head != 'mlp' else 'as_posed'
    side = 224 if backbone in VITS else said.get('input_resolution')
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
    return model, schedule, told


def _layers(where: str, config: Mapping[str, Any], single: bool, backbone: str) -> dict[str, Any]:
    """Give the network's sizes."""
    said, top = Values(where, config, 'model'), Values(where, config, '')
    found = {
        'dim': head_width(backbone),
        'depth': said.get('transformer_depth', 6),
        'heads': said.get('transformer_heads', 8),
        'dim_head': said.get('transformer_dim_head', 64),
        'mlp_dim': said.get('transformer_mlp_dim', 1024),
        'dropout': said.get('transformer_dropout', 0.1),
        'n_iters': said.get('transformer_ief_iters', 3),
        'offset_step': said.get('transformer_trans_scale_factor', 1.0),
        'pretrained': True,
    }
    if not single:
        found['fusion_layers'] = top.get('cross_attention_layers', 2)
        found['fusion_heads'] = top.get('cross_attention_heads', 8)
        found['fusion_dropout'] = top.get('cross_attention_dropout', 0.1)
    return found


def _cameras(dataset: Values, training: Values, single: bool) -> dict[str, Any]:
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


def _keypoint_weights(where: str, config: Mapping[str, Any]) -> dict[str, float]:
    important, ignored = (
        Values(where, config, key) for key in ('joint_importance', 'ignored_joint_locations')
    )
    found: dict[str, float] = {}
    if important.get('enabled', True):
        factor = float(important.get('weight_multiplier', 10.0))
        found |= dict.fromkeys(important.get('important_joint_names', []), factor)
    if ignored.get('enabled', True):
        found |= dict.fromkeys(ignored.get('ignored_joint_names', []), 0.0)
    return found


def frozen_parts(where: str, config: Mapping[str, Any]) -> tuple[list[str], float]:
    """Say which part of the backbone is frozen and slower: of a UNet only its encoder."""
    said = Values(where, config, 'model')
    backbone = said.get('backbone_name', 'vit_large_patch16_224')
    part = 'network.backbone.backbone' + ('.encoder' if backbone in UNETS else '')
    return [part], said.get('backbone_lr_multiplier', 0.1)
