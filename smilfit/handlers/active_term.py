"""A handler at work: with its observation, and the weight and reduction that a stage or an epoch gives it."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.handlers.base import BaseHandler
from smilfit.handlers.inputs import BaseInput
from smilfit.handlers.state import BodyState
from smilfit.losses.residuals import Residuals, Stated, checked_reduction, share_of, weighted_terms


@dataclass(frozen=True)
class ActiveTerm:
    """One term of an energy.

    Args:
        handler: states residuals.
        related_input: what was observed; None for a prior.
        weight: factor on the loss.
        reduction: `'mean'` or `'sum'`; None for the loss's own.
        totals: what the means divide by, of all frames of a clip, where a solver looks at some of them at a time.
        over: turns what this process's mean divides by into that of all, in training on several.
    """

    handler: BaseHandler
    related_input: BaseInput | None
    weight: float
    reduction: str | None = None
    totals: tuple[Tensor, ...] | None = None
    over: Callable[[Tensor], Tensor] | None = None

    @property
    def kind(self) -> str:
        """Return the reduction; an unreduced term counts as a sum."""
        reduction = checked_reduction(self.reduction or self.handler.loss.reduction)
        return 'sum' if reduction == 'none' else reduction

    @property
    def name(self) -> str:
        """Name the term in messages."""
        return f'{type(self.handler).__name__} {self.handler.handler_key!r}'

    def stated(self, state: BodyState) -> Stated:
        """Return what the handler states."""
        result = self.handler.stated(state, self.related_input)
        order = max((item.order for item in result if isinstance(item, Residuals)), default=0)
        if order > self.handler.frame_order:
            raise TypeError(
                f'{self.name}: frame_order must say how many frames before it a frame depends on; it is '
                f'{self.handler.frame_order}, and the residuals are of order {order}. Set frame_order = {order} in '
                f'{type(self.handler.loss).__name__}.'
            )
        return result

    def continuous(self, state: BodyState) -> Tensor | None:
        """Return which frames follow those that they depend on; None where frames stand alone."""
        order = self.handler.frame_order
        return state.continuous(order) if order else None

    def shares(self, stated: Stated, like: Tensor) -> list[Tensor]:
        """Return the factor by which each statement's weighted terms enter the energy."""
        totals = self.totals or tuple(item.total() for item in stated)
        over = self.over if self.totals is None else None
        return [share_of(total, self.weight, self.kind, like, over) for total in totals]

    def value(self, state: BodyState) -> Tensor:
        """Return the term's value."""
        return torch.stack([part.sum() for part in self._weighted(state)]).sum()

    def per_frame(self, state: BodyState, widening: float = 1.0) -> Float[Tensor, ' B']:
        """Return the term's value by frame; what is one number for all is shared out equally."""
        count = state.params.batch_size
        rows = []
        for part in self._weighted(state, widening):
            part = part.reshape(len(part), -1).sum(1) if part.ndim else part.reshape(1)
            rows.append(part.expand(count) / count if len(part) == 1 < count else part)
        return torch.stack(rows).sum(0)

    def _weighted(self, state: BodyState, widening: float = 1.0) -> list[Tensor]:
        stated, continuous = self.stated(state), self.continuous(state)
        terms = [weighted_terms(item, continuous, widening) for item in stated]
        return [share * part for share, part in zip(self.shares(stated, state.params.transl), terms)]

    def take(self, index: Tensor) -> 'ActiveTerm':
        """Pick frames."""
        return self if self.related_input is None else replace(self, related_input=self.related_input[index])

    @property
    def robust(self) -> bool:
        """Whether a solver may begin with a wider robust function."""
        return self.handler.loss.sigma is not None
