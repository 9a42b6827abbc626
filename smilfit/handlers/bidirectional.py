"""Comparing the surface with something seen in both directions: seen to surface, and surface to seen."""

import logging
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from smilfit.handlers.base import BaseHandler, BodyState
from smilfit.losses import Residuals, Stated


class BidirectionalDistanceHandler(BaseHandler, ABC):
    """Compares the body's surface with something seen, forward and, where it is weighted, backward.

    Each direction is a mean of its own.

    Args:
        handler_key: names it in stages.
        loss: scores differences of points and their matches.
        backward_weight: factor on the backward direction; 0 leaves it out.
        device: where its constants live.
        logger: a logger or its name.
    """

    def __init__(
        self,
        handler_key: str,
        loss: nn.Module,
        backward_weight: float,
        device: torch.device | str | None = None,
        logger: logging.Logger | str | None = None,
    ) -> None:
        super().__init__(handler_key, loss, device, logger)
        self.backward_weight = backward_weight

    @abstractmethod
    def forward_terms(self, state: BodyState, related_input: Any) -> Stated:
        """Compare in the first direction."""

    @abstractmethod
    def backward_terms(self, state: BodyState, related_input: Any) -> Stated:
        """Compare in the other direction."""

    def need(self, related_input: object) -> tuple[str, ...]:
        """Ask for the surface."""
        return ('vertices',)

    def stated(self, state: BodyState, related_input: Any) -> Stated:
        """Compare in one direction, and in the other where it is weighted."""
        result = self.forward_terms(state, related_input)
        if not self.backward_weight:
            return result
        back = self.backward_terms(state, related_input)
        factor = self.backward_weight
        weighted = (
            replace(item, factor=factor)
            if isinstance(item, Residuals)
            else replace(item, value=factor * item.value)
            for item in back
        )
        return (*result, *weighted)
