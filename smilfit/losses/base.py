"""What every loss shares: it states residuals or an energy, and its value follows."""

import math
from typing import Any

from torch import Tensor, nn

from smilfit.body_models.data import BodyModelData
from smilfit.losses.residuals import Energies, Residuals, Stated, as_stated, checked_reduction, reduced

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
