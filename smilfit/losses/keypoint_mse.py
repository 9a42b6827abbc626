"""Squared distance of keypoints, robust on request."""

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.losses.base import BaseLoss, geman_mcclure
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

    def forward(
        self,
        pred: Float[Tensor, 'B *k D'],
        target: Float[Tensor, 'B *k D'],
        pred_conf: Float[Tensor, '#B *#k'] | None = None,
        target_conf: Float[Tensor, 'B *k'] | None = None,
        keypoint_weight: Float[Tensor, ' K'] | None = None,
        loss_weight_override: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Compare; a point whose confidences or weight are 0 takes no part, whatever its coordinates."""
        weight = _product(pred[..., 0].detach(), pred_conf, target_conf, keypoint_weight)
        squared = where_weighted(pred - target, weight.unsqueeze(-1)).square().sum(-1)
        return self.reduce(
            geman_mcclure(squared, self.sigma), weight, loss_weight_override, reduction_override
        )

    def reweight(
        self,
        squared: Float[Tensor, 'B *k'],
        target_conf: Float[Tensor, 'B *k'] | None = None,
        keypoint_weight: Float[Tensor, ' K'] | None = None,
        loss_weight_override: float | None = None,
        reduction_override: str | None = None,
        robust_scale: float = 1.0,
    ) -> tuple[Float[Tensor, 'B *k'], Float[Tensor, 'B *k']]:
        """Turn squared distances into terms and the weights of an equivalent least-squares problem.

        The weight is the derivative of the term with respect to the squared distance: near the present point the
        loss is a sum of `weight * squared` (iteratively reweighted least squares; Holland and Welsch 1977).

        Args:
            squared: squared distances.
            target_conf: confidences.
            keypoint_weight: factors on keypoints.
            loss_weight_override: used instead of `loss_weight`.
            reduction_override: used instead of `reduction`.
            robust_scale: factor on sigma; a solver that starts with a large one sees a milder loss.
        """
        weight = _product(squared, target_conf, keypoint_weight)
        squared = where_weighted(squared, weight)
        weight = weight * self.share(squared, weight, loss_weight_override, reduction_override)
        if self.sigma is None:
            return weight * squared, weight
        damping = 1 + squared / (self.sigma * robust_scale) ** 2
        return weight * squared / damping, weight / damping.square()


def _product(like: Tensor, *factors: Tensor | None) -> Tensor:
    weight = torch.ones_like(like)
    for factor in factors:
        weight = weight if factor is None else weight * factor
    return weight


def where_weighted(value: Tensor, weight: Tensor) -> Tensor:
    """Give 0 where the weight is 0: no number, however large or none at all, counts there, nor does its gradient."""
    return torch.where(weight != 0, value, torch.zeros_like(value))
