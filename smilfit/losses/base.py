"""What every loss shares: a weight, a reduction, and one way to reduce."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

REDUCTIONS = ('mean', 'sum', 'none')


def _itself(total: Tensor) -> Tensor:
    return total


class BaseLoss(nn.Module):
    """A loss module with `reduction`, `loss_weight` and overrides of both in `forward`.

    `'mean'` divides by the sum of the valid weights, so that its value depends neither on the batch size nor on
    how many points are missing; `'sum'` adds up; `'none'` returns the weighted terms.

    Args:
        reduction: one of `'mean'`, `'sum'`, `'none'`.
        loss_weight: factor on the result.
    """

    def __init__(self, reduction: str = 'mean', loss_weight: float = 1.0) -> None:
        super().__init__()
        self.reduction = _checked(reduction)
        if not 0 <= loss_weight < math.inf:
            raise ValueError(
                f'{type(self).__name__}: loss_weight must be finite and not negative; got {loss_weight}.'
            )
        self.loss_weight = loss_weight
        # In training on several processes the mean must divide by the weight of all of them.
        self.normaliser: Callable[[Tensor], Tensor] = _itself

    def reduce(
        self,
        terms: Tensor,
        weight: Tensor | None = None,
        loss_weight_override: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Weight and reduce terms whose first dimension is the batch.

        Args:
            terms: not negative, finite wherever the weight is not 0.
            weight: confidences, broadcastable to the terms; None for 1.
            loss_weight_override: used instead of `loss_weight`.
            reduction_override: used instead of `reduction`.
        """
        share = self.share(terms, weight, loss_weight_override, reduction_override)
        weighted = share * (terms if weight is None else terms * weight)
        reduction = self.reduction if reduction_override is None else reduction_override
        return weighted if reduction == 'none' else weighted.sum()

    def share(
        self,
        terms: Tensor,
        weight: Tensor | None = None,
        loss_weight_override: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Give the factor by which every weighted term enters the reduced loss."""
        factor = self.loss_weight if loss_weight_override is None else loss_weight_override
        reduction = self.reduction if reduction_override is None else _checked(reduction_override)
        if reduction != 'mean':
            return terms.new_tensor(float(factor))
        # In float64, so that frames may be added up in any order and in any number of processes.
        total = terms.new_tensor(float(terms.numel()), dtype=torch.float64)
        if weight is not None:
            total = weight.expand_as(terms).sum(dtype=torch.float64)
        return (factor / self.normaliser(total).clamp_min(torch.finfo(terms.dtype).tiny)).to(terms.dtype)

    def root(
        self,
        residual: Tensor,
        weight: Tensor | None = None,
        loss_weight_override: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Weight residuals so that their squares sum to what `reduce` makes of the squares.

        Args:
            residual: its first dimension is the batch.
            weight: as for `reduce`, of the squares.
            loss_weight_override: used instead of `loss_weight`.
            reduction_override: used instead of `reduction`; `'none'` counts as `'sum'`.

        Returns:
            Weighted residuals (B, R).
        """
        share = self.share(residual, weight, loss_weight_override, reduction_override)
        factor = share if weight is None else share * weight
        # A root has no derivative at 0, and a weight needs none.
        return (residual * factor.detach().sqrt()).flatten(1)


def _checked(reduction: str) -> str:
    if reduction not in REDUCTIONS:
        raise ValueError(f'loss: reduction must be one of {REDUCTIONS}; got {reduction!r}.')
    return reduction


def geman_mcclure(squared: Tensor, sigma: float | None) -> Tensor:
    """Bound squared residuals: `s^2 r^2 / (s^2 + r^2)`; quadratic below sigma, at most sigma^2.

    Applied to the residual once. None leaves the square as it is. (Geman and McClure 1987.)
    """
    if sigma is None:
        return squared
    return squared / (1 + squared / sigma**2)
