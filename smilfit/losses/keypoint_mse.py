"""Squared distance of keypoints, robust on request."""

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.losses.base import BaseLoss
from smilfit.losses.residuals import Residuals
from smilfit.losses.robust import GemanMcClure
from smilfit.registry import LOSSES


@LOSSES.register_module()
class KeypointMSELoss(BaseLoss):
    """Squared Euclidean distance between keypoints, 2D or 3D, bounded by Geman-McClure.

    Args:
        sigma: distance in the points' unit (px for 2D, the world's for 3D) beyond which a residual counts less
            and less; None never.
        reduction: `'mean'` divides by the sum of confidences.
        loss_weight: factor on the result.
    """

    def __init__(self, sigma: float | None = None, reduction: str = 'mean', loss_weight: float = 1.0) -> None:
        super().__init__(reduction, loss_weight)
        if sigma is not None and sigma <= 0:
            raise ValueError(f'KeypointMSELoss: sigma must be positive or None; got {sigma}.')
        self.sigma = sigma

    def residual(
        self,
        pred: Float[Tensor, 'B *k D'],
        target: Float[Tensor, 'B *k D'],
        pred_conf: Float[Tensor, '#B *#k'] | None = None,
        target_conf: Float[Tensor, 'B *k'] | None = None,
        keypoint_weight: Float[Tensor, ' K'] | None = None,
    ) -> Residuals:
        """Compare; a point whose confidences or weight are 0 takes no part, whatever its coordinates."""
        weight = torch.ones_like(pred[..., 0]).detach()
        for factor in (pred_conf, target_conf, keypoint_weight):
            weight = weight if factor is None else weight * factor
        eye = torch.eye(pred.shape[-1], dtype=pred.dtype, device=pred.device)
        robust = None if self.sigma is None else GemanMcClure(self.sigma)
        return Residuals(pred - target, weight, robust, pointwise=True, slope=eye)
