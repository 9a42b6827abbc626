"""What is common to comparing the surface with something seen both ways: seen to surface, and surface to seen."""

import copy
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from smilfit.handlers.base import BaseHandler, BaseInput, BodyState


class BothWaysHandler(BaseHandler, ABC):
    """Compares the body's surface with something seen, one way and, where it is weighted, the other way.

    A subclass says what is compared (`ways`) and its quadratic model.

    Args:
        handler_key: names it in stages.
        loss: scores squared distances.
        other_weight: factor on the other way; 0 leaves it out.
        device: where its constants live.
        logger: a logger or its name.
    """

    second_order_by = 'reweight'

    def __init__(
        self,
        handler_key: str,
        loss: nn.Module,
        other_weight: float,
        device: torch.device | str | None = None,
        logger: logging.Logger | str | None = None,
    ) -> None:
        super().__init__(handler_key, loss, device, logger)
        # A loss of its own for the other way: its mean is over other points.
        self.other_loss = copy.deepcopy(self.loss)
        self.other_weight = other_weight

    @abstractmethod
    def ways(self, state: BodyState, related_input: BaseInput) -> Iterator[tuple[Tensor, Tensor]]:
        """Give squared distances and their weights, first one way, then, if asked on, the other way."""

    def need(self, related_input: BaseInput | None) -> tuple[str, ...]:
        """Ask for the surface."""
        return ('vertices',)

    def forward(
        self,
        state: BodyState,
        related_input: BaseInput | None = None,
        loss_weight_override: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Score distances one way, and the other way where it is weighted."""
        ways = self.ways(state, related_input)
        value = self.loss(
            *next(ways), loss_weight_override=loss_weight_override, reduction_override=reduction_override
        )
        if not self.other_weight:
            return value
        other = self.other_loss(
            *next(ways),
            loss_weight_override=self.weight_back(loss_weight_override),
            reduction_override=reduction_override,
        )
        return torch.cat((value.flatten(1), other.flatten(1)), 1) if value.ndim else value + other

    def per_frame(
        self,
        state: BodyState,
        related_input: BaseInput | None = None,
        loss_weight_override: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Share the loss out to frames: each way by its own mean."""
        given = (state, related_input, loss_weight_override, reduction_override)
        if hasattr(self.loss, self.second_order_by):
            return self.second_order(*given).energy
        return super().per_frame(*given)

    def weight_back(self, loss_weight_override: float | None) -> float:
        """Give the other way's weight."""
        base = self.get_loss_weight() if loss_weight_override is None else loss_weight_override
        return base * self.other_weight
