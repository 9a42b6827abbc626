"""What drawing a body's keypoints to observed ones has in common, in pictures and in space."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from smilfit.handlers.base import BaseHandler, BaseInput, BodyState
from smilfit.structures import Keypoints2d, Keypoints3d, PointTerm

# Squared distances -> terms and weights of an equivalent least-squares problem.
Reweight = Callable[[Tensor], tuple[Tensor, Tensor]]


class KeypointMSEHandler(BaseHandler, ABC):
    """Compares keypoints of the body with observed ones, point by point.

    A subclass says what is compared (`pair`), its usual key and its usual loss.

    Args:
        mse_loss: compares points; `default_loss()` if None.
        handler_key: names it in stages; `default_key` if None.
        device: where its constants live.
        logger: a logger or its name.
    """

    default_key: ClassVar[str]
    second_order_by = 'reweight'

    def __init__(
        self,
        mse_loss: nn.Module | None = None,
        handler_key: str | None = None,
        device: torch.device | str | None = None,
        logger: logging.Logger | str | None = None,
    ) -> None:
        loss = self.default_loss() if mse_loss is None else mse_loss
        super().__init__(handler_key or self.default_key, loss, device, logger)

    @staticmethod
    @abstractmethod
    def default_loss() -> nn.Module:
        """Make the usual loss."""

    @abstractmethod
    def pair(self, state: BodyState, seen: Keypoints2d | Keypoints3d) -> tuple[Tensor, Tensor]:
        """Give the body's points and the observed ones, in one frame and unit."""

    def need(self, related_input: BaseInput | None) -> tuple[str, ...]:
        """Ask for the observed keypoints."""
        return related_input.keypoints.names

    def observed(self, related_input: BaseInput, keypoint_weights: Mapping[str, float]) -> Tensor:
        """Say which frames have a keypoint whose weight is not 0."""
        seen = related_input.keypoints
        counts = [keypoint_weights.get(name, 1.0) != 0 for name in seen.names]
        return seen.visible[..., torch.tensor(counts, device=seen.confidence.device)].flatten(1).any(1)

    def forward(
        self,
        state: BodyState,
        related_input: BaseInput | None = None,
        loss_weight_override: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Compare keypoints."""
        seen = related_input.keypoints
        pred, target = self.pair(state, seen)
        return self.loss(
            pred=pred,
            target=target,
            target_conf=seen.confidence,
            keypoint_weight=state.weights_of(seen.names),
            loss_weight_override=loss_weight_override,
            reduction_override=reduction_override,
        )

    @abstractmethod
    def quadratic(self, state: BodyState, seen: Keypoints2d | Keypoints3d, reweight: Reweight) -> PointTerm:
        """Give the quadratic model, where `reweight` turns squared distances into terms and weights."""

    def _quadratic(
        self, state: BodyState, related_input: BaseInput | None, weight: float | None, reduction: str | None
    ) -> PointTerm:
        seen = related_input.keypoints
        factors = (seen.confidence, state.weights_of(seen.names), weight, reduction, state.robust_scale)

        def reweight(squared: Tensor) -> tuple[Tensor, Tensor]:
            return self.loss.reweight(squared, *factors)

        return self.quadratic(state, seen, reweight)


def count_inliers(terms: Tensor, weight: Tensor, squared: Tensor) -> Tensor:
    """Count compared points, an outlier by the share of its weight that a robust loss leaves it.

    With `rho = s / (1 + s / sigma^2)` the share is `rho' = (rho / s)^2`: what terms and weights tell of it.
    """
    plain = weight * squared
    share = torch.where(
        terms > 0, plain / terms.clamp_min(torch.finfo(terms.dtype).tiny), torch.ones_like(terms)
    )
    return torch.where(weight > 0, share.square(), torch.zeros_like(share))
