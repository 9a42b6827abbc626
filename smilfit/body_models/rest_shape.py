"""The unposed body of given betas, computed once for many poses."""

import copy
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class ShapedBody(Protocol):
    """A body whose rest pose follows from betas."""

    def rest_joints(self, betas: Tensor) -> Tensor:
        """Give rest joints (B or 1, J, 3), model unit."""
        ...

    def rest_vertices(self, betas: Tensor) -> Tensor:
        """Give rest vertices (B or 1, V, 3), model unit."""
        ...


class RestShape:
    """An unposed body of given betas: joints now, vertices when first needed, both kept.

    Hand it back to the body model to fit poses of a fixed shape without computing the shape again.
    """

    def __init__(self, body: ShapedBody, betas: Float[Tensor, 'B S']) -> None:
        self.betas = betas
        self.joints = body.rest_joints(betas)
        self._body = body
        self._vertices: Tensor | None = None

    def take(self, rows: Tensor) -> 'RestShape':
        """Pick bodies; a shape that all share stays as it is."""
        if self.betas.shape[0] == 1:
            return self
        part = copy.copy(self)
        part.betas = self.betas[rows]
        part.joints = self.joints[rows] if self.joints.shape[0] > 1 else self.joints
        part._vertices = None
        return part

    @property
    def vertices(self) -> Float[Tensor, 'B V 3']:
        """Rest vertices."""
        if self._vertices is None:
            self._vertices = self._body.rest_vertices(self.betas)
        return self._vertices
