"""What losses that are sums of squares of a pose have in common."""

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor

from smilfit.losses.base import BaseLoss


class PoseSquaresLoss(BaseLoss, ABC):
    """A sum of squares of the joints' rotations (axis-angle, without the root).

    A subclass says of what (`roots`), and may give the first and second derivative (`gradient`, `curvature`).
    """

    @abstractmethod
    def roots(self, body_pose: Float[Tensor, 'B j 3']) -> Float[Tensor, 'B ...']:
        """Give what is squared, before weights."""

    def forward(
        self,
        body_pose: Float[Tensor, 'B j 3'],
        loss_weight_override: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Score joint rotations."""
        return self.reduce(self.roots(body_pose).square(), None, loss_weight_override, reduction_override)

    def residual(
        self,
        body_pose: Float[Tensor, 'B j 3'],
        loss_weight_override: float | None = None,
        reduction_override: str | None = None,
    ) -> Float[Tensor, 'B R']:
        """Give the weighted roots, whose squares sum to the loss."""
        return self.root(self.roots(body_pose), None, loss_weight_override, reduction_override)
