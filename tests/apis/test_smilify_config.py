"""JSON configs of SMILify become configs of ours, which build and train."""

import json

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.optim.scheduler import ConstantLR
from torch.utils.data import default_collate

from smilfit.cli.main import main
from smilfit.networks.engine import build_train_runner, load_experiment
from smilfit.registry import build_dataset
from smilfit.smilify.config_tables import CURRICULUM, LR_SCHEDULE
from tests.toy_samples import write_toy_model

MULTI = {
    'mode': 'multiview',
    'num_views_to_use': 2,
    'cross_attention_heads': 4,
    'dataset': {'data_path': 'sessions.h5', 'train_ratio': 0.7, 'val_ratio': 0.2, 'dataset_fraction': 1.0},
    'model': {
        'backbone_name': 'unet_mobilenet_v3',
        'freeze_backbone': True,
        'backbone_unfreeze_epoch': 1,
        'backbone_lr_multiplier': 0.05,
        'transformer_depth': 1,
        'transformer_heads': 2,
        'transformer_ief_iters': 2,
        'transformer_trans_scale_factor': 0.01,
        'hidden_dim': 777,
    },
    'optimizer': {'learning_rate': 1e-3, 'lr_schedule': {'0': 1e-4, '3': 5e-5, '5': 1e-5}},
    'loss_curriculum': {
        'base_weights': {'keypoint_2d': 0.1, 'keypoint_3d': 0.25, 'ief_intermediate': 0.1, 'fov': 0.001},
        'curriculum_stages': {
            '1': {'keypoint_3d': 1, 'limb_scale_regularization': 0.3, 'ief_intermediate': 0.2}
        },
    },
    'scale_trans_beta': {'mode': 'separate'},
    'joint_importance': {'important_joint_names': ['left'], 'weight_multiplier': 4.0},
    'ignored_joint_locations': {'ignored_joint_names': ['right']},
    'training': {'batch_size': 2, 'num_epochs': 2, 'seed': 42, 'use_gt_camera_init': True, 'num_workers': 0},
}


def _convert(tmp_path, config) -> int:
    (tmp_path / 'theirs.json').write_text(json.dumps(config))
    return main(['convert-config', str(tmp_path / 'theirs.json'), str(tmp_path / 'ours.py'), '--force'])


def _toy(cfg: Config, tmp_path) -> Config:
    """Put the toy's samples in place of a dataset file, and train at once."""
    data = {'type': 'ToyDataset', 'data_path': str(tmp_path / 'toy.h5'), 'n': 4}
    for name in ('train', 'val', 'test'):
        cfg[f'{name}_dataloader'] = {**cfg[f'{name}_dataloader'], 'num_workers': 0, 'dataset': data}
    cfg.model.network.pretrained = False
    cfg.model.body_model.model_path = write_toy_model(tmp_path)
    cfg.work_dir = str(tmp_path / 'work')
    return cfg


def test_what_a_multi_view_config_says_is_kept(tmp_path, capsys):
    assert _convert(tmp_path, MULTI) == 0
    printed = capsys.readouterr().out
    assert 'optimizer.learning_rate: SMILify ignores it, lr_schedule says 0.0001' in printed
    assert 'model.hidden_dim: SMILify itself takes the width' in printed
    text = (tmp_path / 'ours.py').read_text()
    assert '#   model.hidden_dim' in text
    cfg = load_experiment(tmp_path / 'ours.py')
    network, dataset = cfg.model.network, cfg.train_dataloader.dataset
    assert (network.backbone, network.dim, network.n_iters, network.offset_step) == (
        'unet_mobilenet_v3',
        256,
        2,
        0.01,
    )
    assert (network.rotation, network.joint_sizes, network.fusion_heads) == ('rot6d', 'joints', 4)
    assert (dataset.data_path, dataset.ratios, dataset.fraction, dataset.views) == (
        'sessions.h5',
        (0.7, 0.2, 0.1),
        1.0,
        2,
    )
    assert cfg.randomness.seed == 42
    assert cfg.model.keypoint_weights == {'left': 4.0, 'right': 0.0}
    assert cfg.model.camera_use == 'corrected'
    assert cfg.model.camera_names is None
    assert cfg.optim_wrapper.optimizer.lr == 1e-4
    weights = cfg.model.loss_weights
    assert weights['keypoints3d'] == pytest.approx(0.25 / 3, rel=1e-5)
    assert weights['keypoints2d'] == pytest.approx(0.1 / (2 * 256**2), rel=1e-5)
    # The best epoch is chosen by what no loss weight changes; there the curriculum's own changes choose it.
    assert cfg.default_hooks.checkpoint.save_best == 'pck_auc_original'
    [curriculum] = [hook for hook in cfg.custom_hooks if hook['type'] == 'LossCurriculumHook']
    assert curriculum['schedule'][1]['limb_scales'] == pytest.approx(0.1)


@pytest.mark.filterwarnings('ignore::UserWarning')
def test_triangulation_by_predicted_cameras_is_trained(tmp_path, capsys):
    """Where a stage asks for it; a single view has nothing to triangulate, and that is said."""
    stages = {**MULTI['loss_curriculum'], 'curriculum_stages': {'1': {'triangulation_consistency': 0.6}}}
    assert _convert(tmp_path, {**MULTI, 'loss_curriculum': stages}) == 0
    assert 'SMILify passes over those beyond 50 units' in capsys.readouterr().out
    cfg = _toy(load_experiment(tmp_path / 'ours.py'), tmp_path)
    [curriculum] = [hook for hook in cfg.custom_hooks if hook['type'] == 'LossCurriculumHook']
    assert curriculum['schedule'][1] == {'triangulation_consistency': pytest.approx(0.2)}
    model = build_train_runner(cfg, device='cpu').model
    batch = model.data_preprocessor(
        default_collate([build_dataset(cfg.train_dataloader.dataset)[i] for i in (0, 1)])
    )
    model.set_loss_weights({**dict.fromkeys(model.loss_weights, 0.0), 'triangulation_consistency': 1.0})
    losses = model(**batch, mode='loss')
    losses['loss_triangulation_consistency'].backward()
    heads = [p.grad for n, p in model.named_parameters() if 'camera' in n and p.grad is not None]
    assert max(float(g.abs().max()) for g in heads) > 0
    assert _convert(tmp_path, {**MULTI, 'mode': 'singleview', 'loss_curriculum': stages}) == 0
    assert 'one view triangulates nothing' in capsys.readouterr().out
    handlers = load_experiment(tmp_path / 'ours.py').model.handlers
    assert 'TriangulationConsistencyHandler' not in {handler['type'] for handler in handlers}


@pytest.mark.filterwarnings('ignore::UserWarning')
def test_a_converted_config_trains(tmp_path):
    """Frozen for one epoch, then slower than the heads; what the curriculum says holds; cameras are remembered."""
    assert _convert(tmp_path, MULTI) == 0
    cfg = _toy(load_experiment(tmp_path / 'ours.py'), tmp_path)
    cfg.val_evaluator = [{'type': 'ToyMetric'}]
    cfg.default_hooks.checkpoint.update(save_best=None)
    cfg.default_hooks.checkpoint.pop('rule')
    runner = build_train_runner(cfg, device='cpu')
    model = runner.model
    encoder = model.network.backbone.backbone.encoder
    rates = {
        id(p): g['lr']
        for g in runner.build_optim_wrapper(cfg.optim_wrapper).optimizer.param_groups
        for p in g['params']
    }
    assert all(rates[id(p)] == pytest.approx(5e-6) for p in encoder.parameters())
    assert all(rates[id(p)] == pytest.approx(1e-4) for p in model.network.transformer_head.parameters())
    before = {name: value.clone() for name, value in encoder.named_parameters()}
    seen = []

    class Watch(Hook):
        def after_train_epoch(self, runner) -> None:
            seen.append(any(not torch.equal(before[n], p) for n, p in encoder.named_parameters()))

    runner.register_hook(Watch())
    runner.train()
    assert seen == [False, True]
    assert model.loss_weights['intermediate'] == 0.2
    assert model.loss_weights['keypoints3d'] == pytest.approx(1 / 3, rel=1e-5)
    assert runner.cfg.model.camera_names == ['cam0', 'cam1', 'cam2']


@pytest.mark.filterwarnings('ignore::UserWarning')
@pytest.mark.parametrize('head', ['mlp', 'transformer_decoder'])
def test_a_single_view_config_builds(head, tmp_path):
    config = {
        'mode': 'singleview',
        'dataset': {'from_multiview': True, 'frame_convention': 'camera_centric', 'use_ue_scaling': False},
        'model': {**MULTI['model'], 'head_type': head},
        'mesh_scaling': None,
        'training': {'num_epochs': 1000},
    }
    assert _convert(tmp_path, config) == 0
    cfg = load_experiment(tmp_path / 'ours.py')
    assert cfg.model.frame == 'first_camera'
    assert cfg.model.placement == ('as_posed' if head == 'mlp' else 'root_scaled')
    assert cfg.model.by_directions
    # What the config leaves out is as SMILify has it.
    [curriculum] = [hook for hook in cfg.custom_hooks if hook['type'] == 'LossCurriculumHook']
    assert curriculum['schedule'].keys() == CURRICULUM.keys()
    assert len(cfg.param_scheduler) == len(LR_SCHEDULE) - 1
    runner = build_train_runner(_toy(cfg, tmp_path), device='cpu')
    batch = runner.model.data_preprocessor(next(iter(runner.train_dataloader)))
    losses = runner.model(**batch, mode='loss')
    sum(value for name, value in losses.items() if name.startswith('loss')).backward()


def test_learning_rates_are_those_of_the_schedule(tmp_path):
    config = {**MULTI, 'training': {**MULTI['training'], 'num_epochs': 8}}
    assert _convert(tmp_path, config) == 0
    cfg = load_experiment(tmp_path / 'ours.py')
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.AdamW([weight], lr=cfg.optim_wrapper.optimizer.lr)
    schedulers = [
        ConstantLR(optimizer, **{k: v for k, v in s.items() if k != 'type'}) for s in cfg.param_scheduler
    ]
    rates = []
    for _ in range(8):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    assert rates == pytest.approx([1e-4] * 3 + [5e-5] * 2 + [1e-5] * 3)


def test_what_smilify_would_pass_over_is_refused(tmp_path, capsys):
    cases = (
        ({'mode': 'multiview', 'modle': {}}, "or 'model'?"),
        ({'mode': 'multiview', 'model': {'backbone': 'resnet50'}}, "'backbone_name'"),
        ({'mode': 'multiview', 'model': {'backbone_name': 'resnet51'}}, "'resnet50'"),
        ({'mode': 'multiview', 'training': {'batch_size': '8'}}, 'training.batch_size must be a int'),
        ({'mode': 'multiview', 'loss_curriculum': {'base_weights': {'keypoint_3D': 1}}}, "'keypoint_3d'"),
        ({'mode': 'multiview', 'optimizer': {'lr_schedule': {'first': 1e-4}}}, 'epochs as keys'),
        ({'mode': 'multi'}, "mode must be 'singleview' or 'multiview'"),
        ({}, 'mode must be'),
        ({'mode': 'multiview', 'model': []}, 'model must be an object'),
    )
    for config, words in cases:
        assert _convert(tmp_path, config) == 1
        assert words in capsys.readouterr().err
        assert not (tmp_path / 'ours.py').exists()
