"""A tiny experiment on the toy body."""

import numpy as np
from mmengine.config import Config
from mmengine.evaluator import BaseMetric

from smilfit.networks.engine import build_train_runner
from smilfit.registry import METRICS
from tests.toy_samples import write_toy_model


@METRICS.register_module(force=True)
class ToyMetric(BaseMetric):
    """Mean keypoint error, world unit; keeps the baseline that it was given."""

    default_prefix = ''

    def __init__(self, baseline=None) -> None:
        super().__init__()
        self.baseline = baseline

    def process(self, data_batch, data_samples) -> None:
        for sample in data_samples:
            error = (sample['keypoints3d'] - sample['truth']['keypoints3d']).norm(dim=-1).mean()
            self.results.append(float(error))

    def compute_metrics(self, results) -> dict:
        return {'toy_error_mm': float(np.mean(results))}


def keypoint_model(body_model, **parts) -> dict:
    """Make the config of a small keypoint regressor; `parts` are more of it, or others."""
    return {
        'type': 'KeypointRegressor',
        'body_model': body_model,
        'backbone': {'type': 'SmallUNet', 'widths': (8, 8), 'fine_dim': 8},
        'heatmap_head': {'type': 'KeypointHeatmapHead', 'stride': 2},
        'boxes': {'type': 'OwnBoxes'},
        'consensus': {'type': 'MeetInSpace'},
        'augment': {'type': 'CropAugment', 'side': 32},
        **parts,
    }


def train_keypoints(folder, **augment) -> Config:
    """Train a small keypoint regressor for an epoch; its config. The checkpoint is `work/epoch_1.pth`."""
    cfg = experiment(folder, **{'train_cfg.max_epochs': 1})
    lifter = {'type': 'PointLifter', 'dim': 32, 'n_blocks': 1, 'sampler': {'type': 'PoseSampler'}}
    cfg.custom_hooks = []
    cfg.model = keypoint_model(cfg.model['body_model'], lifter=lifter)
    cfg.model['augment'] |= augment
    build_train_runner(cfg, device='cpu').train()
    return cfg


def experiment(folder, backbone='test_convnext', **changes) -> Config:
    """Make a config of a run of seconds; `changes` are dotted options."""
    path = folder / 'data'
    path.mkdir(exist_ok=True)
    model_file = write_toy_model(path)
    cfg = {
        'work_dir': str(folder / 'work'),
        'default_scope': 'smilfit',
        'randomness': {'seed': 5},
        'model': {
            'type': 'MultiViewRegressor',
            'backbone': {'type': 'TimmBackbone', 'name': backbone},
            'fusion': {'type': 'CrossViewFusion', 'dim': 32, 'n_layers': 1, 'n_heads': 4},
            'head': {'type': 'TransformerDecoderHead', 'dim': 32, 'n_layers': 1, 'n_heads': 4},
            'camera_head': {'type': 'CameraHead', 'dim': 16},
            'body_model': model_file,
            'handlers': [
                {
                    'type': 'Keypoint2dHandler',
                    'handler_key': 'keypoints2d',
                    'mse_loss': {'type': 'KeypointMSELoss', 'sigma': 100.0},
                },
                {'type': 'Keypoint3dHandler', 'handler_key': 'keypoints3d'},
            ],
            'loss_weights': {'keypoints2d': 1e-3, 'keypoints3d': 1.0, 'transl': 1.0, 'camera': 1.0},
        },
        'train_dataloader': {
            'batch_size': 4,
            'num_workers': 0,
            'dataset': {'type': 'ToyDataset', 'data_path': str(path / 'toy.h5'), 'n': 8},
            'sampler': {'type': 'DefaultSampler', 'shuffle': True},
        },
        'val_dataloader': {
            'batch_size': 4,
            'num_workers': 0,
            'dataset': {'type': 'ToyDataset', 'data_path': None, 'n': 4, 'first': 50},
            'sampler': {'type': 'DefaultSampler', 'shuffle': False},
        },
        'test_dataloader': {
            'batch_size': 4,
            'num_workers': 0,
            'dataset': {'type': 'ToyDataset', 'data_path': None, 'n': 4, 'first': 60},
            'sampler': {'type': 'DefaultSampler', 'shuffle': False},
        },
        'train_cfg': {'type': 'EpochBasedTrainLoop', 'max_epochs': 2, 'val_interval': 1},
        'val_cfg': {'type': 'ValLoop'},
        'test_cfg': {'type': 'TestLoop'},
        'val_evaluator': [{'type': 'ToyMetric'}],
        'test_evaluator': [{'type': 'ToyMetric'}],
        'optim_wrapper': {
            'type': 'OptimWrapper',
            'optimizer': {'type': 'AdamW', 'lr': 1e-3},
            'clip_grad': {'max_norm': 1.0},
        },
        'param_scheduler': [
            {'type': 'LinearLR', 'start_factor': 0.1, 'begin': 0, 'end': 1},
            {'type': 'CosineAnnealingLR', 'eta_min_ratio': 0.1, 'begin': 1, 'T_max': 3, 'end': 4},
        ],
        'default_hooks': {
            'checkpoint': {
                'type': 'CheckpointHook', 'interval': 1, 'save_best': 'toy_error_mm', 'rule': 'less'
            }
        },
        'custom_hooks': [
            {'type': 'LossCurriculumHook', 'schedule': {0: {'transl': 0.5}, 3: {'keypoints3d': 2.0}}}
        ],
        'log_level': 'WARNING',
    }  # fmt: skip
    cfg = Config(cfg)
    cfg.merge_from_dict(changes)
    return cfg
