"""What drawing a body's keypoints to observed ones has in common, in images and in space."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Generic

import torch
from torch import Tensor, nn

from smilfit.handlers.base import BaseHandler
from smilfit.handlers.keypoint_input import KeypointInput, Keypoints
from smilfit.handlers.state import BodyState
from smilfit.losses import PointSource, Stated
from smilfit.losses.residuals import from_source


class KeypointMSEHandler(BaseHandler, ABC, Generic[Keypoints]):
    """Compares keypoints of the body with observed ones, point by point.

    A subclass says what is compared (`pair`), its usual key and its usual loss.

    Args:
        mse_loss: compares points; `default_loss()` if None.
        handler_key: names it in stages; `default_key` if None.
        device: where its constants live.
        logger: a logger or its name.
    """

    default_key: ClassVar[str]

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
    def pair(self, state: BodyState, seen: Keypoints) -> tuple[Tensor, Tensor, PointSource]:
        """Return the body's points, the observed ones in the same frame and unit, and where the former come from."""

    def need(self, related_input: KeypointInput[Keypoints]) -> tuple[str, ...]:
        """Ask for the observed keypoints."""
        return related_input.keypoints.names

    def observed(
        self, related_input: KeypointInput[Keypoints], keypoint_weights: Mapping[str, float]
    ) -> Tensor:
        """Return which frames have a keypoint whose weight is not 0."""
        seen = related_input.keypoints
        counts = [keypoint_weights.get(name, 1.0) != 0 for name in seen.names]
        return seen.visible[..., torch.tensor(counts, device=seen.confidence.device)].flatten(1).any(1)

    def stated(self, state: BodyState, related_input: KeypointInput[Keypoints]) -> Stated:
        """Compare keypoints."""
        seen = related_input.keypoints
        pred, target, source = self.pair(state, seen)
        stated = self.loss.stated(
            pred=pred,
            target=target,
            target_conf=seen.confidence,
            keypoint_weight=state.weights_of(seen.names),
        )
        return from_source(stated, source)
