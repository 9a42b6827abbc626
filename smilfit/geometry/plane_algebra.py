"""Products and solves of very many very small matrices, whose entries are planes.

A plane holds one entry of all matrices: `a[i, k]` has the shape of the batch. Libraries that take matrices one by one
need a call each; here every step is one elementwise operation on whole planes, which the processor vectorises.
"""

from typing import NamedTuple

import torch
from torch import Tensor


def product(a: Tensor, b: Tensor) -> Tensor:
    """Multiply (I, K, *n) by (K, J, *n); the batch axes broadcast."""
    left, right = a.unsqueeze(2).unbind(1), b.unbind(0)
    total = left[0] * right[0]
    for x, y in zip(left[1:], right[1:]):
        total.addcmul_(x, y)
    return total


def minus_cross_matrix(r: Tensor) -> Tensor:
    """Make S (3, 3, *n) of r (3, *n) with S o = o x r."""
    x, y, z = r.unbind(0)
    zero = torch.zeros_like(x)
    return torch.stack((zero, z, -y, -z, zero, x, y, -x, zero)).unflatten(0, (3, 3))


class SymmetricFactor(NamedTuple):
    """Symmetric 3x3 matrices K = L diag(pivot) L^T: the multipliers in L and the inverse pivots, a plane each."""

    l10: Tensor
    l20: Tensor
    l21: Tensor
    inverse0: Tensor
    inverse1: Tensor
    inverse2: Tensor

    @classmethod
    def of(cls, k: Tensor, kept: Tensor | None = None) -> 'SymmetricFactor':
        """Factorise positive definite (3, 3, *n); where `kept` (*n) is 0 the inverse is 0.

        A pivot below the rounding of its own diagonal entry has no digit left; it is held at that rounding, so that
        the step stays finite.
        """
        k00, _, _, k10, k11, _, k20, k21, k22 = k.flatten(0, 1).unbind(0)
        kind = torch.finfo(k.dtype)
        floor0, floor1, floor2 = (k.diagonal().abs() * kind.eps + kind.tiny**0.5).unbind(-1)
        inverse0 = torch.maximum(k00, floor0).reciprocal_()
        l10, l20 = k10 * inverse0, k20 * inverse0
        s21 = torch.addcmul(k21, l20, k10, value=-1)
        inverse1 = torch.maximum(torch.addcmul(k11, l10, k10, value=-1), floor1).reciprocal_()
        l21 = s21 * inverse1
        s22 = torch.addcmul(k22, l20, k20, value=-1).addcmul_(l21, s21, value=-1)
        inverse2 = torch.maximum(s22, floor2).reciprocal_()
        if kept is not None:
            inverse0, inverse1, inverse2 = inverse0 * kept, inverse1 * kept, inverse2 * kept
        return cls(l10, l20, l21, inverse0, inverse1, inverse2)

    def solve(self, b: Tensor) -> Tensor:
        """Solve `K x = b` for b (3, columns, *n)."""
        b0, b1, b2 = b.unbind(0)
        y1 = torch.addcmul(b1, self.l10, b0, value=-1)
        y2 = torch.addcmul(b2, self.l20, b0, value=-1).addcmul_(self.l21, y1, value=-1)
        x = torch.empty_like(b)
        x0, x1, x2 = x.unbind(0)
        torch.mul(y2, self.inverse2, out=x2)
        torch.mul(y1, self.inverse1, out=x1).addcmul_(self.l21, x2, value=-1)
        torch.mul(b0, self.inverse0, out=x0).addcmul_(self.l10, x1, value=-1).addcmul_(self.l20, x2, value=-1)
        return x
