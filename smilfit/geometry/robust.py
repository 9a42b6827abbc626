"""Robust functions: what a squared residual costs, and by how much it is reweighted."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor


@runtime_checkable
class Robust(Protocol):
    """A function rho of squared residuals, applied to each of them once."""

    def __call__(self, squared: Tensor, widening: float = 1.0) -> tuple[Tensor, Tensor]:
        """Return `rho(s)` and its derivative by s, of the shape of `squared`.

        The derivative is the weight of an equivalent least-squares problem (iteratively reweighted least squares;
        Holland and Welsch 1977). `widening` multiplies the function's width: a solver that starts with a large one
        sees a milder loss (graduated non-convexity; Blake and Zisserman 1987).
        """


@dataclass(frozen=True)
class GemanMcClure:
    """`s / (1 + s / sigma^2)`: quadratic below sigma, at most sigma^2 (Geman and McClure 1987).

    Args:
        sigma: width, in the residual's unit: one, or a tensor that broadcasts against the squared residuals; None
            leaves the square as it is.
        limit: residuals farther than this pay for this distance and have no gradient; None for no limit.
    """

    sigma: float | Tensor | None = None
    limit: float | None = None

    def __call__(self, squared: Tensor, widening: float = 1.0) -> tuple[Tensor, Tensor]:
        """Return `rho(s)` and its derivative by s."""
        near = torch.ones_like(squared)
        if self.limit is not None:
            near = (squared < self.limit**2).to(squared)
            squared = squared.clamp_max(self.limit**2)
        if self.sigma is None:
            return squared, near
        damping = 1 + squared / (self.sigma * widening) ** 2
        return squared / damping, near / damping.square()


@dataclass(frozen=True)
class Charbonnier:
    """`sqrt(s + eps^2) - eps`: a distance that is smooth at 0 (Charbonnier et al. 1997).

    Args:
        eps: below it the cost is quadratic, in the residual's unit.

    Raises:
        ValueError: an eps that is not above 0.
    """

    eps: float

    def __post_init__(self) -> None:
        if not self.eps > 0:
            raise ValueError(f'Charbonnier: eps must be positive; got {self.eps}. Give a small distance.')

    def __call__(self, squared: Tensor, widening: float = 1.0) -> tuple[Tensor, Tensor]:
        """Return `rho(s)` and its derivative by s."""
        eps = self.eps * widening
        root = (squared + eps**2).sqrt()
        return root - eps, 0.5 / root


@dataclass(frozen=True)
class Cauchy:
    """`sigma^2 log(1 + s / sigma^2)`: quadratic below sigma, and the less steep the farther off.

    But for a factor the negative logarithm of a Student's t distribution: of errors that are mostly small, and
    very large at times (Lange, Little and Taylor 1989). Unlike `GemanMcClure` it has no bound: what is far off
    still counts.

    Args:
        sigma: width, in the residual's unit; one, or a tensor that broadcasts against the squared residuals.
    """

    sigma: float | Tensor

    def __call__(self, squared: Tensor, widening: float = 1.0) -> tuple[Tensor, Tensor]:
        """Return `rho(s)` and its derivative by s."""
        width = (self.sigma * widening) ** 2
        far = squared / width
        return width * torch.log1p(far), 1 / (1 + far)


@dataclass(frozen=True)
class Absolute:
    """`sqrt(s)`: absolute values, reweighted by `1 / (2 |r|)`; a parabola near 0, where that has no bound.

    This is Huber's function (1964) of a width so small that values are absolute ones but for half of it, and value,
    gradient and weight belong to each other everywhere.

    Args:
        least: residuals below this are squared.
    """

    least: float = 1e-6

    def __call__(self, squared: Tensor, widening: float = 1.0) -> tuple[Tensor, Tensor]:
        """Return `rho(s)` and its derivative by s."""
        large = squared > self.least**2
        root = torch.where(large, squared, self.least**2).sqrt()
        value = torch.where(large, root - 0.5 * self.least, squared / (2 * self.least))
        return value, 0.5 / root.detach()
