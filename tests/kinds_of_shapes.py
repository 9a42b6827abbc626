"""A regressor of shapes of several kinds, small enough to train in a second, and its experiment."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from torch import nn
from torch.utils.data import Dataset

from smilfit.body_models import SMIL, save_body_model
from smilfit.networks import BodyRegressor, SceneFrame
from smilfit.networks.regressors.body_regressor import Prediction
from smilfit.networks.scene_frame import cameras_of
from smilfit.registry import DATASETS, MODELS
from smilfit.structures import BodyParams
from tests.toy_samples import JOINT_NAMES, ring_cameras, toy_data

S = 4
N_KINDS = 3
# Of what an image tells of a coefficient; of a coefficient within a kind; of the kinds' means.
NOISE, WITHIN, APART = 1.0, 0.3, 4.0
# What makes the prior as strong beside the labels' losses as it is beside noise of 1: a coefficient moves one of five
# joints by 0.3, and the prior is a mean over S.
PRIOR_WEIGHT = 0.3**2 / 5 * S
# What a pixel's 255 values reach.
_RANGE = 16.0


def kind_means(seed: int = 0) -> np.ndarray:
    """Return the means (3, S) of the kinds, equally far from each other and from the model's."""
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((S, S)))
    return APART * rotation[:N_KINDS]


def shapes_body() -> SMIL:
    """The toy with four coefficients, each of which moves one joint along one axis."""
    data = toy_data()
    directions = np.zeros((20, 3, S))
    for s, (joint, axis) in enumerate(((1, 0), (2, 1), (3, 2), (4, 1))):
        directions[4 * joint : 4 * joint + 4, axis, s] = 0.3
    return SMIL(replace(data, name='shapes', shapedirs=directions))


@DATASETS.register_module(force=True)
class ShapeDataset(Dataset):
    """Images whose first pixels are a shape with noise; the labelled joints are those of that noisy shape.

    `shapes` are the true ones, `kinds` whose they are; `known` of the samples have them as parameters.
    """

    def __init__(self, data_path=None, n=90, seed=0, known=0.0, transforms=()) -> None:
        self.data_path, self.n, self.transforms = data_path, n, list(transforms)
        rng = np.random.default_rng(100 + seed)
        self.kinds = np.arange(n) % N_KINDS
        self.shapes = kind_means()[self.kinds] + WITHIN * rng.standard_normal((n, S))
        noisy = self.shapes + NOISE * rng.standard_normal((n, S))
        self.pixels = np.clip(np.round((noisy / _RANGE + 0.5) * 255), 0, 255).astype(np.uint8)
        self.known = rng.random(n) < known
        body = shapes_body()
        params = BodyParams.zeros(n, body.n_joints, S)
        noisy = torch.tensor((self.pixels / 255.0 - 0.5) * _RANGE, dtype=torch.float32)
        self.joints = body(params.replace(betas=noisy)).joints.detach()
        self.cameras = ring_cameras(1, 8)
        self.metainfo = {
            'keypoint_names': JOINT_NAMES,
            'camera_names': ('cam0',),
            'unit': 'mm',
            'body_model_file': 'shapes.smil.json',
            'body_model_hash': body.data.content_hash(),
            'session_names': ('made',),
        }

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, index: int) -> dict:
        image = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
        image[0, 0, 0, :S] = torch.from_numpy(self.pixels[index])
        params = BodyParams.zeros(1, 5, S).replace(betas=torch.tensor(self.shapes[index : index + 1]).float())
        return {
            'inputs': {'image': image, 'view_mask': torch.ones(1, dtype=torch.bool), **self.cameras},
            'data_samples': {
                'keypoints2d': torch.zeros(1, 5, 2),
                'confidence2d': torch.zeros(1, 5),
                'keypoints3d': self.joints[index],
                'confidence3d': torch.ones(5),
                'params': {name: value[0] for name, value in params.as_dict().items()},
                'has_params': torch.tensor(False),
                'has_betas': torch.tensor(bool(self.known[index])),
                'session': torch.tensor(0),
                'frame': torch.tensor(index),
                'index': torch.tensor(index),
            },
        }


@MODELS.register_module(force=True)
class ShapeReader(BodyRegressor):
    """Reads the shape off the pixels; all else rests."""

    def __init__(self, body_model, dim=64, **kwargs) -> None:
        super().__init__(body_model, **kwargs)
        self.net = nn.Sequential(
            nn.Linear(S, dim), nn.GELU(), nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, S)
        )

    def predict_parameters(self, inputs) -> Prediction:
        pixels = inputs['image'][:, 0, 0, 0, :S]
        shape = self.net(4 * (pixels - 0.5))
        eye = torch.eye(3).expand(len(shape), 5, 3, 3)
        params = BodyParams(eye[:, 0], eye[:, 1:], shape, torch.zeros(len(shape), 3), torch.ones(len(shape)))
        frame = SceneFrame(torch.zeros(len(shape), 3), torch.tensor(1.0))
        return Prediction((params,), cameras_of(inputs), frame, None)


def shape_experiment(folder: Path, epochs: int, hook: dict | None = None, **changes) -> Config:
    """Make the config of a run; `hook` are arguments of the hook, `changes` dotted options."""
    folder.mkdir(exist_ok=True, parents=True)
    model = folder / 'shapes.smil.json'
    if not model.exists():
        save_body_model(shapes_body().data, model)
    cfg = Config(
        {
            'work_dir': str(folder / 'work'),
            'default_scope': 'smilfit',
            'randomness': {'seed': 3},
            'model': {
                'type': 'ShapeReader',
                'body_model': str(model),
                'handlers': [
                    {
                        'type': 'Keypoint3dHandler',
                        'handler_key': 'keypoints3d',
                        'mse_loss': {'type': 'KeypointMSELoss', 'sigma': 100.0},
                    },
                    {
                        'type': 'BetasPriorHandler',
                        'handler_key': 'shape_prior',
                        'prior_loss': {'type': 'ShapeMixturePriorLoss'},
                    },
                ],
                'loss_weights': {'keypoints3d': 1.0, 'shape_prior': PRIOR_WEIGHT},
            },
            'train_dataloader': {
                'batch_size': 30,
                'num_workers': 0,
                'dataset': {'type': 'ShapeDataset', 'data_path': str(folder / 'none.h5')},
                'sampler': {'type': 'DefaultSampler', 'shuffle': True},
            },
            'train_cfg': {'type': 'EpochBasedTrainLoop', 'max_epochs': epochs},
            'optim_wrapper': {'type': 'OptimWrapper', 'optimizer': {'type': 'AdamW', 'lr': 1e-2}},
            'default_hooks': {'checkpoint': {'type': 'CheckpointHook', 'interval': epochs}},
            'custom_hooks': [{'type': 'ShapeMixtureEMHook', **(hook or {})}],
            'log_level': 'WARNING',
        }
    )
    cfg.merge_from_dict(changes)
    return cfg
