"""What a loss states, once: residuals, or an energy where it is no sum of squares. All else is derived here."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from smilfit.body_models.data import BodyModelData
from smilfit.geometry.robust import Robust
from smilfit.structures import Cameras

REDUCTIONS = ('mean', 'sum', 'none')


@dataclass(frozen=True)
class PointSource:
    """The loss's first argument follows points of the body, each of its vectors one point.

    Args:
        argument: that argument (B, *views, K, d), as it was handed to the loss.
        names: the K joints and keypoints; None for all vertices.
        slope: gives the derivative (B, *views, K, d, 3) of the argument's vectors by their points, per world unit,
            when it is asked for; None where they are the points.
        index: which of the points each vector follows, where it is not the one at its own place.
        share: by how much it follows each of them; they sum to 1.
        cameras: the argument is the pixels of the points under these; its first dimension after the batch is theirs.
    """

    argument: Tensor
    names: tuple[str, ...] | None
    slope: Callable[[], Tensor] | None = None
    index: Tensor | None = None
    share: Tensor | None = None
    cameras: Cameras | None = None


@dataclass(frozen=True)
class ParameterSource:
    """The loss's first argument is a parameter of the body, but for a factor.

    Args:
        argument: that argument (B, *n), as it was handed to the loss.
        name: of the parameter, as in `BodyParams`; `'log_focal'` for focal lengths.
        factor: argument per parameter.
    """

    argument: Tensor
    name: str
    factor: float = 1.0


@dataclass(frozen=True)
class Residuals:
    """Residuals before weights and reduction: a sum of `weight * rho(|value|^2)`.

    Args:
        value: (B, *terms, D); the first dimension is the batch.
        weight: confidences, 0 for what takes no part, whatever its value. Of the shape (B, *terms) each vector is one
            term; of the value's own shape each number is. None: each number, with the weight 1.
        robust: bounds squared residuals; None leaves them.
        count: what a mean divides by, instead of the sum of the weights.
        factor: on the whole.
        order: 1 or 2: the residual is the backward difference of that order of `value` over consecutive frames.
        pointwise: each of the value's vectors depends on the vector at the same place of the loss's first argument,
            and on no other. Derivatives are then found in D passes.
        slope: derivative of `value` by the loss's first argument where the loss knows it: pointwise
            broadcastable to (B, *terms, D, d), else (B or 1, R, n) of flattened residuals and arguments.
        source: where that argument comes from; a handler says it.
        interval: (*terms, 2): the value is by how far each number of that argument is outside of this interval.
        interval_map: (*terms, D, D): the numbers are those of `map @ vector` of each vector of the argument instead.
    """

    value: Tensor
    weight: Tensor | None = None
    robust: Robust | None = None
    count: float | None = None
    factor: float = 1.0
    order: int = 0
    pointwise: bool = False
    slope: Tensor | None = None
    source: PointSource | ParameterSource | None = None
    interval: Tensor | None = None
    interval_map: Tensor | None = None

    @property
    def by_vector(self) -> bool:
        """Whether each vector is one term, not each number."""
        return self.weight is not None and self.weight.ndim == self.value.ndim - 1

    def weights(self, continuous: Bool[Tensor, ' B'] | None = None) -> Tensor:
        """Return every term's weight; a difference over time that would reach over a gap or the start has none.

        Args:
            continuous: whether a frame and the `order` frames before it follow one another; None: all do.
        """
        weight = torch.ones_like(self.value).detach() if self.weight is None else self.weight
        if self.order:
            follows = torch.arange(len(weight), device=weight.device) >= self.order
            follows = follows if continuous is None else follows & continuous.to(weight.device)
            weight = weight * follows.to(weight).reshape(-1, *(1,) * (weight.ndim - 1))
        return weight

    def differences(self) -> Tensor:
        """Return the value, or its backward difference over frames; 0 for the first ones."""
        if not self.order:
            return self.value
        change = torch.zeros_like(self.value)
        if len(self.value) > self.order:
            change[self.order :] = self.value.diff(n=self.order, dim=0)
        return change

    def terms(self, continuous: Bool[Tensor, ' B'] | None = None, widening: float = 1.0) -> 'Terms':
        """Square, bound and weight."""
        weight = self.weights(continuous)
        value = where_weighted(self.differences(), weight.unsqueeze(-1) if self.by_vector else weight)
        squared = value.square().sum(-1) if self.by_vector else value.square()
        bounded, slope = (squared, None) if self.robust is None else self.robust(squared, widening)
        return Terms(self.factor * weight * bounded, weight, slope, value)

    def total(self) -> Tensor:
        """Return what a mean divides by, for these frames; float64, so that frames may be added in any order."""
        if self.count is not None:
            return self.value.new_tensor(self.count, dtype=torch.float64)
        weight = self.value.new_ones(()).expand(self.value.shape) if self.weight is None else self.weight
        return weight.sum(dtype=torch.float64)


@dataclass(frozen=True)
class Terms:
    """Weighted terms (B, *terms) and, for solvers, what they are made of.

    Args:
        weighted: factor, weight and robust function applied.
        weight: the weights alone.
        slope: the robust function's derivative; None for 1.
        value: residuals, 0 where the weight is 0.
    """

    weighted: Tensor
    weight: Tensor
    slope: Tensor | None
    value: Tensor


@dataclass(frozen=True)
class Energies:
    """Terms that are no squares (B, *terms), before weights and reduction.

    Args:
        value: finite wherever the weight is not 0.
        weight: as of `Residuals`; None for 1.
        count: what a mean divides by, instead of the sum of the weights.
    """

    value: Tensor
    weight: Tensor | None = None
    count: float | None = None

    def weighted(self) -> Tensor:
        """Return weighted terms."""
        return self.value if self.weight is None else where_weighted(self.value, self.weight) * self.weight

    def total(self) -> Tensor:
        """Return what a mean divides by, for these frames."""
        if self.count is not None:
            return self.value.new_tensor(self.count, dtype=torch.float64)
        if self.weight is None:
            return self.value.new_tensor(float(self.value.numel()), dtype=torch.float64)
        return self.weight.expand_as(self.value).sum(dtype=torch.float64)


Stated = tuple[Residuals | Energies, ...]


def as_stated(stated: Tensor | Residuals | Energies | Sequence[Residuals | Energies]) -> Stated:
    """Take a plain tensor (B, ...) for residuals of weight 1, and one statement for a list of one."""
    if isinstance(stated, Tensor):
        return (Residuals(stated if stated.ndim > 1 else stated.unsqueeze(-1)),)
    return (stated,) if isinstance(stated, (Residuals, Energies)) else tuple(stated)


def weighted_terms(
    stated: Residuals | Energies, continuous: Bool[Tensor, ' B'] | None = None, widening: float = 1.0
) -> Tensor:
    """Return weighted terms (B, *terms) before reduction."""
    if isinstance(stated, Energies):
        return stated.weighted()
    return stated.terms(continuous, widening).weighted


def share_of(
    total: Tensor, weight: float, reduction: str, like: Tensor, over: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """Return the factor by which weighted terms enter a reduced loss.

    Args:
        total: what a mean divides by.
        weight: of the loss.
        reduction: one of `REDUCTIONS`.
        like: of the result's type.
        over: turns this process's total into that of all, in training on several.
    """
    if checked_reduction(reduction) != 'mean':
        return like.new_tensor(float(weight))
    total = total if over is None else over(total)
    # Over a tiny number instead, weights above 4 would be infinite, and infinitely often nothing is no number.
    share = weight / torch.where(total > 0, total, torch.ones_like(total))
    return torch.where(total > 0, share, torch.zeros_like(share)).to(like.dtype)


def reduced(
    stated: Stated,
    weight: float,
    reduction: str,
    continuous: Bool[Tensor, ' B'] | None = None,
    over: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Reduce what a loss states: a number, or with `'none'` weighted terms (B, *terms).

    `'mean'` divides by the sum of the weights, so that its value depends neither on the batch size nor on how many
    points are missing; `'sum'` adds up.
    """
    parts = []
    for item in stated:
        terms = weighted_terms(item, continuous)
        parts.append(share_of(item.total(), weight, reduction, terms, over) * terms)
    if reduction != 'none':
        return torch.stack([part.sum() for part in parts]).sum()
    return parts[0] if len(parts) == 1 else torch.cat([part.flatten(1) for part in parts], 1)


def where_weighted(value: Tensor, weight: Tensor) -> Tensor:
    """Return 0 where the weight is 0: no number, however large or none at all, counts there, nor does its
    gradient."""
    return torch.where(weight != 0, value, torch.zeros_like(value))


def checked_reduction(reduction: str) -> str:
    """Return it back.

    Raises:
        ValueError: an unknown one.
    """
    if reduction not in REDUCTIONS:
        raise ValueError(f'loss: reduction must be one of {REDUCTIONS}; got {reduction!r}.')
    return reduction


def from_source(stated: Stated, source: PointSource | ParameterSource) -> Stated:
    """Return where the first argument of residuals comes from."""
    return tuple(replace(s, source=source) if isinstance(s, Residuals) else s for s in stated)


_WAYS = ('residual', 'energy', 'forward')


class BaseLoss(nn.Module):
    """A loss with `reduction` and `loss_weight`, which a stage or an epoch may say otherwise.

    A subclass states one of

    * `residual(...)`: unreduced residuals, a tensor (B, ...) or `Residuals` with confidences and a robust function;
    * `energy(...)`: terms that are no squares, a tensor (B, ...) or `Energies`;
    * `forward(..., loss_weight_override, reduction_override)`, as XRMoCap's losses do.

    Everything else is derived from it: value, mean, shares of frames, gradient and hessian.

    Args:
        reduction: `'mean'` divides by the sum of the weights, `'sum'` adds up, `'none'` gives weighted terms.
        loss_weight: factor on the result.
    """

    # Width of the robust function, which a solver may widen at first; None for a plain square.
    sigma: float | None = None
    # Distance beyond which a term costs the same; None for no limit.
    limit: float | None = None
    # How many frames before it a frame's terms depend on.
    frame_order: int = 0
    # What users should know of the model that it was bound to.
    note: str = ''

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        stated = [way for way in _WAYS if getattr(cls, way) is not getattr(BaseLoss, way)]
        if len(stated) > 1:
            raise TypeError(
                f'{cls.__name__}: a loss must state one of residual, energy and forward; got '
                f'{" and ".join(stated)}, which may contradict each other. Keep residual where the loss is a sum of '
                'squares.'
            )

    def __init__(self, reduction: str = 'mean', loss_weight: float = 1.0) -> None:
        super().__init__()
        self.reduction = checked_reduction(reduction)
        if not 0 <= loss_weight < math.inf:
            raise ValueError(
                f'{type(self).__name__}: loss_weight must be finite and not negative; got {loss_weight}.'
            )
        self.loss_weight = loss_weight

    @property
    def states_residual(self) -> bool:
        """Whether the loss is a sum of squares, not an energy."""
        return type(self).residual is not BaseLoss.residual

    def bind_body(self, data: BodyModelData) -> None:
        """Take what the loss needs from a model (limits, priors); nothing unless a subclass says so."""

    def residual(self, *args: Any, **kwargs: Any) -> Tensor | Residuals | tuple[Residuals, ...]:
        """Return unreduced residuals."""
        raise NotImplementedError(f'{type(self).__name__}: a loss must define residual(...) or energy(...).')

    def energy(self, *args: Any, **kwargs: Any) -> Tensor | Energies:
        """Return terms that are no squares."""
        raise NotImplementedError(f'{type(self).__name__}: a loss must define residual(...) or energy(...).')

    def stated(self, *args: object, **kwargs: object) -> Stated:
        """Return what the loss states of its arguments, before weights and reduction."""
        if type(self).forward is not BaseLoss.forward:
            return (Energies(self(*args, loss_weight_override=1.0, reduction_override='none', **kwargs)),)
        if type(self).energy is not BaseLoss.energy:
            result = self.energy(*args, **kwargs)
            return (Energies(result),) if isinstance(result, Tensor) else as_stated(result)
        return as_stated(self.residual(*args, **kwargs))

    def forward(
        self,
        *args: Any,
        loss_weight_override: float | None = None,
        reduction_override: str | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """Return the reduced loss.

        Args:
            args: the loss's own.
            loss_weight_override: used instead of `loss_weight`.
            reduction_override: used instead of `reduction`.
            kwargs: the loss's own.
        """
        weight = self.loss_weight if loss_weight_override is None else loss_weight_override
        reduction = self.reduction if reduction_override is None else checked_reduction(reduction_override)
        return reduced(self.stated(*args, **kwargs), weight, reduction)


class ForwardLoss(BaseLoss):
    """A module of another making, with XRMoCap's `forward(..., loss_weight_override, reduction_override)`.

    Args:
        module: the loss; its own `reduction` and `loss_weight` hold where a stage gives none.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__(getattr(module, 'reduction', 'mean'), getattr(module, 'loss_weight', 1.0))
        self.module = module

    def bind_body(self, data: BodyModelData) -> None:
        """Let the module take what it needs."""
        bind = getattr(self.module, 'bind_body', None)
        if callable(bind):
            bind(data)

    def energy(self, *args: object, **kwargs: object) -> Energies:
        """Return its unreduced terms; one number stands for all frames."""
        value = self.module(*args, loss_weight_override=1.0, reduction_override='none', **kwargs)
        return Energies(value.reshape(1) if value.ndim == 0 else value)


def as_loss(module: nn.Module) -> BaseLoss:
    """Wrap a loss of another making."""
    return module if isinstance(module, BaseLoss) else ForwardLoss(module)
