"""Products and solves of very many very small matrices, whose entries are planes.

A plane holds one entry of all matrices: `a[i, k]` has the shape of the batch. Libraries that take matrices one by one
need a call each; here every step is one elementwise operation on whole planes, which the processor vectorises.
"""

from typing import NamedTuple

import torch
from torch import Tensor


def product(a: Tensor, b: Tensor) -> Tensor:
    """Multiply (I, K, *n) by (K, J, *n).

    One way whatever the size: a matrix's product has the same last digit in every batch.
    """
    columns, rows = a.unsqueeze(2).unbind(1), b.unbind(0)
    total = columns[0] * rows[0]
    for column, row in zip(columns[1:], rows[1:]):
        total.addcmul_(column, row)
    return total


def minus_cross_matrix(r: Tensor) -> Tensor:
    """Make S (3, 3, *n) of r (3, *n) with S o = o x r."""
    x, y, z = r.unbind(0)
    zero = torch.zeros_like(x)
    return torch.stack((zero, z, -y, -z, zero, x, y, -x, zero)).unflatten(0, (3, 3))


class SymmetricFactor(NamedTuple):
    """Symmetric 3x3 matrices K = L diag(pivots) L^T, by planes.

    `column` (2, 1, *n) is the first column of L, `last` (*n) its other entry, `inverse` (3, 1, *n) 1 / pivots.
    """

    column: Tensor
    last: Tensor
    inverse: Tensor

    @classmethod
    def of(cls, k: Tensor, floor: Tensor) -> 'SymmetricFactor':
        """Factorise (3, 3, *n) without an eigenvalue below `floor` (*n), positive.

        In exact numbers no pivot is below it either; one that rounding puts there is held at it.
        """
        row0, row1, row2 = k.unbind(0)
        inverse = k.new_empty(3, *k.shape[2:])
        inverse0, inverse1, inverse2 = inverse.unbind(0)
        torch.maximum(row0[0], floor, out=inverse0).reciprocal_()
        above = row0[1:]
        column = above * inverse0
        l10, l20 = column.unbind(0)
        s11, s12 = torch.addcmul(row1[1:], l10, above, value=-1).unbind(0)
        torch.maximum(s11, floor, out=inverse1).reciprocal_()
        last = s12 * inverse1
        s22 = torch.addcmul(row2[2], l20, above[1], value=-1).addcmul_(last, s12, value=-1)
        torch.maximum(s22, floor, out=inverse2).reciprocal_()
        return cls(column.unsqueeze(1), last, inverse.unsqueeze(1))

    @classmethod
    def joined(cls, factors: list['SymmetricFactor'], dim: int) -> 'SymmetricFactor':
        """Put factors of several blocks together along a batch axis, counted from the last."""
        return cls(*(torch.cat(planes, dim) for planes in zip(*factors)))

    def solve_(self, b: Tensor) -> Tensor:
        """Solve `K x = b` in the place of b (3, J, *n)."""
        b0, b1, b2 = b.unbind(0)
        l10, l20 = self.column.squeeze(1).unbind(0)
        b[1:].addcmul_(self.column, b0, value=-1)
        b2.addcmul_(self.last, b1, value=-1)
        b.mul_(self.inverse)
        b1.addcmul_(self.last, b2, value=-1)
        b0.addcmul_(l10, b1, value=-1).addcmul_(l20, b2, value=-1)
        return b
