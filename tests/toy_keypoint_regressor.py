"""A tiny keypoint regressor on the toy body."""

import torch

from smilfit.body_models.pose_sampling import PoseSampler
from smilfit.networks import (
    CropAugment,
    GivenBoxes,
    KeypointHeatmapHead,
    KeypointRegressor,
    MeetInSpace,
    OwnBoxes,
    PointLifter,
    SmallUNet,
    TrainingStatistics,
)
from tests.toy_samples import toy_body


def make_keypoint_regressor(
    own_boxes: bool = True, lifter: bool = True, mirror: float = 0.5, **kwargs
) -> KeypointRegressor:
    torch.manual_seed(0)
    body = toy_body()
    backbone = SmallUNet(widths=(16, 16, 24, 24), fine_dim=16)
    statistics = TrainingStatistics(torch.zeros(3), 1.8, 1.15, torch.eye(3).expand(5, 3, 3))
    return KeypointRegressor(
        backbone,
        KeypointHeatmapHead(backbone.dims, backbone.strides, 5, stride=2),
        body,
        statistics,
        OwnBoxes() if own_boxes else GivenBoxes(),
        MeetInSpace(),
        PointLifter(body, sampler=PoseSampler(body, scale=1.15), dim=64, n_blocks=1) if lifter else None,
        augment=CropAugment(side=64, whole=0.3, rotation_deg=10.0, mirror=mirror),
        lifter_samples=16,
        **kwargs,
    )
