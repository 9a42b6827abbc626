"""The body at rest: what betas, and other coefficients, do to its points, joint scales and offsets."""

import copy
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class ShapedBody(Protocol):
    """A body whose rest pose follows from betas."""

    def rest_joints(self, betas: Tensor) -> Tensor:
        """Return rest joints (B or 1, J, 3), model unit."""
        ...

    def rest_vertices(self, betas: Tensor) -> Tensor:
        """Return rest vertices (B or 1, V, 3), model unit."""
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


def blend_directions(
    coefficients: Float[Tensor, 'B n'], directions: Float[Tensor, 'n P 3']
) -> Float[Tensor, 'B P 3']:
    """Sum directions of P points, weighted."""
    return (coefficients @ directions.flatten(1)).unflatten(1, (-1, 3))


# A joint scale from shape directions never falls below this: entangled shape spaces can turn it negative.
MIN_JOINT_SCALE = 1e-4


def driven_scales(
    betas: Float[Tensor, 'B S'], directions: Float[Tensor, 'S J 3'], logarithmic: bool
) -> Float[Tensor, 'B J 3']:
    """Return joint scales that betas drive: `exp(directions . betas)` or `1 + directions . betas`, at least 1e-4."""
    driven = driven_offsets(betas, directions)
    return driven.exp() if logarithmic else (1 + driven).clamp_min(MIN_JOINT_SCALE)


def driven_log_rates(
    betas: Float[Tensor, 'B S'], directions: Float[Tensor, 'S J 3'], logarithmic: bool
) -> Float[Tensor, 'B S J 3']:
    """Return how the logarithms of `driven_scales` change a unit of each beta: 0 where a scale is held at its
    least."""
    if logarithmic:
        return directions.expand(len(betas), -1, -1, -1)
    driven = (1 + driven_offsets(betas, directions)).unsqueeze(1)
    held = driven < MIN_JOINT_SCALE
    return torch.where(held, 0, directions / driven.masked_fill(held, 1))


def driven_offsets(betas: Float[Tensor, 'B S'], directions: Float[Tensor, 'S J 3']) -> Float[Tensor, 'B J 3']:
    """Return the joint offsets that betas drive, model unit."""
    return torch.einsum('bs,sjc->bjc', betas, directions)
