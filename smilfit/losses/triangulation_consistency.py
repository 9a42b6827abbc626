"""Triangulated keypoints against the body's."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from smilfit.losses.base import BaseLoss
from smilfit.losses.residuals import Residuals
from smilfit.losses.robust import GemanMcClure
from smilfit.registry import LOSSES


@LOSSES.register_module()
class TriangulationConsistencyLoss(BaseLoss):
    """Squared distance of points that seen keypoints triangulate to from the body's own, which stay where they are.

    Teaches cameras: the gradient flows through the triangulation alone.

    Args:
        sigma: distance (world unit; in training the scene's unit) beyond which a residual counts less and less; None
            never. Cameras that are far off put points anywhere.
        reduction: `'mean'` divides by the number of points that count.
        loss_weight: factor on the result.
    """

    def __init__(self, sigma: float | None = None, reduction: str = 'mean', loss_weight: float = 1.0) -> None:
        super().__init__(reduction, loss_weight)
        if sigma is not None and sigma <= 0:
            raise ValueError(f'TriangulationConsistencyLoss: sigma must be positive or None; got {sigma}.')
        self.sigma = sigma

    def residual(
        self,
        triangulated: Float[Tensor, 'B K 3'],
        target: Float[Tensor, 'B K 3'],
        known: Bool[Tensor, 'B K'],
        keypoint_weight: Float[Tensor, ' K'] | None = None,
    ) -> Residuals:
        """Compare the points that are known."""
        weight = known.to(triangulated.dtype)
        weight = weight if keypoint_weight is None else weight * keypoint_weight
        eye = torch.eye(3, dtype=triangulated.dtype, device=triangulated.device)
        robust = None if self.sigma is None else GemanMcClure(self.sigma)
        return Residuals(triangulated - target.detach(), weight, robust, pointwise=True, slope=eye)
