"""Robust functions: what a squared residual costs, and by how much it is reweighted."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor


@runtime_checkable
class Robust(Protocol):
    """A function rho of squared residuals, applied to each of them once."""

    def __call__(self, squared: Tensor, widening: float = 1.0) -> tuple[Tensor, Tensor]:
        """Give `rho(s)` and its derivative by s, of the shape of `squared`.

        The derivative is the weight of an equivalent least-squares problem (iteratively reweighted least squares;
        Holland and Welsch 1977). `widening` multiplies the function's width: a solver that starts with a large one
        sees a milder loss (graduated non-convexity; Blake and Zisserman 1987).
        """


@dataclass(frozen=True)
class GemanMcClure:
    """`s / (1 + s / sigma^2)`: quadratic below sigma, at most sigma^2 (Geman and McClure 1987).

    Args:
        sigma: width, in the residual's unit; None leaves the square as it is.
        limit: residuals farther than this pay for this distance and have no gradient; None for no limit.
    """

    sigma: float | None = None
    limit: float | None = None

    def __call__(self, squared: Tensor, widening: float = 1.0) -> tuple[Tensor, Tensor]:
        """Give `rho(s)` and its derivative by s."""
        near = torch.ones_like(squared)
        if self.limit is not None:
            near = (squared < self.limit**2).to(squared)
            squared = squared.clamp_max(self.limit**2)
        if self.sigma is None:
            return squared, near
        damping = 1 + squared / (self.sigma * widening) ** 2
        return squared / damping, near / damping.square()


@dataclass(frozen=True)
class Absolute:
    """`sqrt(s)`: absolute values, reweighted by `1 / (2 |r|)`, which is bounded near 0.

    Args:
        least: residuals below this are reweighted as if they were this large.
    """

    least: float = 1e-6

    def __call__(self, squared: Tensor, widening: float = 1.0) -> tuple[Tensor, Tensor]:
        """Give `rho(s)` and its derivative by s; the root of 0 has the gradient 0."""
        some = squared > 0
        root = torch.where(some, torch.where(some, squared, 1.0).sqrt(), 0.0)
        return root, 0.5 / root.detach().clamp_min(self.least)
