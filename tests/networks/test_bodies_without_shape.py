"""A rig of another program has bones and a skin, and often nothing else: it trains under every config."""

from dataclasses import replace

import pytest
import torch

from smilfit.apis import synthesize
from smilfit.apis.shipped_configs import find_config
from smilfit.body_models import save_body_model
from smilfit.networks.engine import build_train_runner, load_experiment
from smilfit.synthetic import SynthesisOptions, make_quadruped

SMALL = {'model.backbone.name': 'test_convnext', 'model.backbone.pretrained': False}
CONFIGS = {
    'keypoint_unet.py': {'model.augment.side': 64},
    'multiview_limbs.py': {},
    'single_view_images.py': {**SMALL, 'model.backbone.out_index': 0},
}


@pytest.fixture(scope='module')
def bare(tmp_path_factory):
    folder = tmp_path_factory.mktemp('bare')
    data = make_quadruped()
    rig = replace(data, shapedirs=None, shape_mean=None, shape_cov=None, joint_limits=None)
    rig = replace(rig, joint_groups={}, keypoint_sets={}, landmarks={})
    save_body_model(rig, folder / 'rig.smil.json')
    synthesize(
        folder / 'rig.smil.json',
        folder / 'made.h5',
        SynthesisOptions(n_sessions=3, n_frames=4, n_cameras=2),
        store={'target_resolution': 64},
    )
    return folder / 'made.h5'


@pytest.mark.parametrize('config', CONFIGS)
def test_it_trains(bare, tmp_path, config):
    options = {**CONFIGS[config], 'train_dataloader.dataset.data_path': str(bare)}
    options |= {'train_dataloader.dataset.split': 'all', 'train_dataloader.num_workers': 0}
    options |= {'train_dataloader.batch_size': 4}
    cfg = load_experiment(find_config(f'train/{config}'), options, tmp_path)
    for key in ('val_dataloader', 'val_cfg', 'val_evaluator'):
        cfg[key] = None
    runner = build_train_runner(cfg, device='cpu', console_level='ERROR')
    model = runner.model.train()
    batch = model.data_preprocessor(next(iter(runner._train_dataloader)), True)
    losses = model(**batch, mode='loss')
    assert all(bool(value.isfinite().all()) for value in losses.values()), losses
    total = torch.stack([v.sum() for k, v in losses.items() if k.startswith('loss')]).sum()
    total.backward()
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None)
