"""A Gaussian over poses that nobody has recorded: those that a source of poses draws."""

from typing import Any

import torch

from smilfit.body_models import LimitPoses, PoseSource
from smilfit.body_models.data import BodyModelData
from smilfit.losses.pose_gaussian import fit_pose_gaussian
from smilfit.losses.pose_prior import MahalanobisPosePriorLoss
from smilfit.registry import LOSSES

N_DRAWN = 2000


@LOSSES.register_module()
class SampledPosePriorLoss(MahalanobisPosePriorLoss):
    """Squared Mahalanobis distance of the pose from those that a source draws.

    Args:
        poses: draws poses, such as those that a lifter is trained on; `LimitPoses` if None: any model has a prior.
        **kwargs: of `MahalanobisPosePriorLoss`.
    """

    def __init__(self, poses: PoseSource | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.poses = LimitPoses() if poses is None else poses

    def bind_body(self, data: BodyModelData) -> None:
        """Draw poses of the model and fit the Gaussian to them."""
        self.poses.bind(data)
        self.prior = fit_pose_gaussian(self.poses(N_DRAWN, torch.Generator().manual_seed(0)))
        super().bind_body(data)
