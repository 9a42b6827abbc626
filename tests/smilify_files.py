"""SMILify's checkpoints, made again from listings of their names, shapes and configs."""

import ast
import importlib.util
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch

_TENSOR = re.compile(r'  (\S+)  (\([\d, ]*\))  (float32|float64|int64)\s*')
_BUFFER = re.compile(r'  (\S+) = (\[.*\])\s*')


def read_listing(folder: Path, name: str) -> dict[str, Any]:
    """Return `config` and `model_state_dict` of a listed checkpoint, its weights by the rule of `weights_rule.py`."""
    config, state, part = {}, {}, ''
    for line in (folder / f'listing_{name}.txt').read_text().splitlines():
        if not line.startswith(' '):
            part = line.split(':')[0].split(',')[0]
            continue
        if part == 'config':
            key, value = line.strip().split(': ', 1)
            config[key] = ast.literal_eval(value)
        elif part == 'model_state_dict' and (result := _TENSOR.fullmatch(line)):
            state[result[1]] = torch.zeros(ast.literal_eval(result[2]), dtype=getattr(torch, result[3]))
        elif part == 'buffers that are not trained' and (result := _BUFFER.fullmatch(line)):
            values = torch.tensor(ast.literal_eval(result[2]))
            state[result[1]] = values.reshape(state[result[1]].shape)
    # The single view's listing leaves the constants out; they are a ResNet's.
    for name, values in (('mean', (0.485, 0.456, 0.406)), ('std', (0.229, 0.224, 0.225))):
        if not state[f'backbone.pixel_{name}'].any():
            state[f'backbone.pixel_{name}'] = torch.tensor(values).reshape(1, 3, 1, 1)
    spec = importlib.util.spec_from_file_location('weights_rule', folder / 'weights_rule.py')
    rule = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(rule)
    rule.fill(state)
    return {'epoch': 7, 'model_state_dict': state, 'config': config, 'metrics': {'val_loss': 1.0}}


def listed_images(resolution: int, n_views: int) -> torch.Tensor:
    """Return the pictures of which the listed outputs are, (1, C, 3, H, W)."""
    coarse = np.random.RandomState(0).uniform(0, 1, (1, n_views, 3, 4, 4))
    side = resolution // 4
    return torch.tensor(np.kron(coarse, np.ones((1, 1, 1, side, side))), dtype=torch.float32)


def as_smilify(network: torch.nn.Module, config: dict[str, Any]) -> dict[str, Any]:
    """Return the checkpoint that SMILify would write of a network of its kind, with the fitter's own parameters."""
    state = {}
    for key, value in network.state_dict().items():
        result = re.fullmatch(r'trunk\.(linears|norms)\.(\d)\.(.*)', key)
        if result:
            key = f'{"fc" if result[1] == "linears" else "ln"}{int(result[2]) + 1}.{result[3]}'
        state[key] = value
    j, s = network.sizes.n_joints, network.sizes.n_betas
    for name, shape in (
        ('betas', (s,)),
        ('trans', (1, 3)),
        ('fov', (1,)),
        ('joint_rotations', (1, j - 1, 3)),
    ):
        state[name] = torch.zeros(shape)
    return {'epoch': 3, 'model_state_dict': state, 'optimizer_state_dict': {}, 'config': config}


def multi_view_config(**changes: Any) -> dict[str, Any]:
    """Return what a multi-view checkpoint's config says, as far as it is read."""
    return {
        'backbone_name': 'unet_mobilenet_v3',
        'rotation_representation': '6d',
        'head_type': 'transformer_decoder',
        'transformer_config': {'heads': 2, 'ief_iters': 2, 'trans_scale_factor': 0.5, 'dropout': 0.0},
        'cross_attention_heads': 4,
        'scale_trans_mode': 'separate',
        'scale_trans_config': {'separate': {'use_pca_transformation': False}},
        'use_gt_camera_init': True,
        'canonical_camera_order': ['cam0', 'cam1', 'cam2'],
        'smal_file': 'elsewhere/toy.pkl',
        'input_resolution': 64,
    } | changes
