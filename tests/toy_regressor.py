"""A tiny regressor on the toy body, and batches for it."""

import torch
from torch.utils.data import default_collate

from smilfit.handlers import Keypoint2dHandler, Keypoint3dHandler
from smilfit.losses import KeypointMSELoss
from smilfit.networks import (
    CameraHead,
    CrossViewFusion,
    MultiViewRegressor,
    OrientationHead,
    RegressorPreprocessor,
    TimmBackbone,
    TransformerDecoderHead,
)
from tests.toy_samples import toy_body, toy_sample

WEIGHTS = {
    'keypoints2d_mse': 1e-3,
    'keypoints3d_mse': 1.0,
    'global_orient': 0.1,
    'body_pose': 0.1,
    'betas': 0.1,
    'transl': 1.0,
    'scale': 1.0,
    'camera': 1.0,
}


def make_regressor(
    backbone: str = 'test_convnext', with_cameras: bool = True, with_votes: bool = False, **kwargs
) -> MultiViewRegressor:
    torch.manual_seed(0)
    network = TimmBackbone(backbone)
    weights = {k: v for k, v in WEIGHTS.items() if with_cameras or k != 'camera'}
    return MultiViewRegressor(
        network,
        CrossViewFusion(network.dim, 32, 1, 4),
        TransformerDecoderHead(5, 2, 32, 32, 1, 4),
        toy_body(),
        handlers=[
            Keypoint2dHandler(KeypointMSELoss(sigma=100.0)),
            Keypoint3dHandler(),
            *kwargs.pop('further_handlers', ()),
        ],
        camera_head=CameraHead(32, 16) if with_cameras else None,
        orientation_head=OrientationHead(network.dim, 16) if with_votes else None,
        loss_weights=kwargs.pop('loss_weights', weights),
        **kwargs,
    )


def make_batch(indices=(0, 1), n_views=3, missing=None, **options) -> dict:
    samples = [toy_sample(i, n_views, missing=(missing or {}).get(i), **options) for i in indices]
    return RegressorPreprocessor()(default_collate(samples))


def shaken(model: torch.nn.Module, size: float = 0.3) -> torch.nn.Module:
    """Return the layers that start at zero some weight, so that the output depends on the input."""
    generator = torch.Generator().manual_seed(3)
    for layer in (model.head.correct, getattr(model.camera_head, 'out', None)):
        if layer is not None:
            layer.weight.data = 0.1 * size * torch.randn(layer.weight.shape, generator=generator)
    return model
