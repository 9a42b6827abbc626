"""Loads on a tree, its motion, and quadratics beside its own energy, in plain tensors.

A motion's power under loads is `force . velocity + moment . angular + torque . turns + transl . transl + border .
border`, summed over joints. All axes are the world's.
"""

from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

Kind = TypeVar('Kind', bound='_Rows')


@dataclass(frozen=True)
class _Rows:
    """Vectors of all frames by joint, three kinds one after the other, and one of the root; and the border's.

    Args:
        rows: of all joints against the first kind, the second, the third; then the root's.
        border: of coefficients, then the logarithm of the scale; (q,) where it is shared by all frames.
    """

    rows: Float[Tensor, 'B R 3']
    border: Float[Tensor, '*B q']

    def plus(self: Kind, other: Kind, factor: Any = 1.0) -> Kind:
        """Add a multiple of another."""
        border = self.border + factor * other.border
        return type(self)(torch.add(self.rows, other.rows, alpha=factor), border)

    def _kind(self, i: int) -> Float[Tensor, 'B J 3']:
        n = self.rows.shape[1] // 3
        return self.rows[:, n * i : n * (i + 1)]


class ChainMotion(_Rows):
    """A change of all frames."""

    @property
    def velocity(self) -> Float[Tensor, 'B J 3']:
        """Return the velocity of the joints' places."""
        return self._kind(0)

    @property
    def angular(self) -> Float[Tensor, 'B J 3']:
        """Return the angular velocity of the joints' frames, the sum of the turns from the root."""
        return self._kind(1)

    @property
    def turns(self) -> Float[Tensor, 'B J 3']:
        """Return the turns of every joint against its parent, rad."""
        return self._kind(2)

    @property
    def transl(self) -> Float[Tensor, 'B 3']:
        """Return the root's translation."""
        return self.rows[:, -1]

    def no_turn_beyond(self, longest: float) -> 'ChainMotion':
        """Shorten the turns to so many rad at most."""
        rows = self.rows.clone()
        turns = ChainMotion(rows, self.border).turns
        turns *= longest / turns.norm(dim=-1, keepdim=True).clamp_min(longest)
        return ChainMotion(rows, self.border)


class ChainLoads(_Rows):
    """What the energy's change is linear in; gradients are loads."""

    @property
    def force(self) -> Float[Tensor, 'B J 3']:
        """Return the forces on the joints' places."""
        return self._kind(0)

    @property
    def moment(self) -> Float[Tensor, 'B J 3']:
        """Return the moments on the joints' frames."""
        return self._kind(1)

    @property
    def torque(self) -> Float[Tensor, 'B J 3']:
        """Return the torques on the joints' own turns."""
        return self._kind(2)

    @property
    def transl(self) -> Float[Tensor, 'B 3']:
        """Return the load on the root's translation alone."""
        return self.rows[:, -1]

    def with_force(self, force: Float[Tensor, 'B J 3']) -> 'ChainLoads':
        """Add forces on the joints."""
        result = ChainLoads(self.rows.clone(), self.border)
        result.force.add_(force)
        return result

    def power(self, motion: ChainMotion) -> Float[Tensor, ' B']:
        """Return the power of every frame but that of a shared border, in float64."""
        own = (self.rows * motion.rows).sum((1, 2), dtype=torch.float64)
        if motion.border.ndim == 1:
            return own
        return own + (self.border * motion.border).sum(1, dtype=torch.float64)

    def border_power(self, motion: ChainMotion) -> Float[Tensor, '']:
        """Return the power of a border that all frames share."""
        return (self.border * motion.border).sum(dtype=torch.float64)


@dataclass(frozen=True)
class ChainQuadratic:
    """An energy beside the tree's own: `gradient . m + m . hessian m / 2` of a motion m. What is None is zero.

    Args:
        joint_gradient: by (angular velocity of the joint's frame, velocity of its place).
        joint_hessian: by the same, symmetric; given together with the gradient.
        turn_gradient: by the joint's own turn.
        turn_hessian: by the same, symmetric; given together with the gradient.
        border_cross: by the joint's twist and the border.
        border_gradient: by the border.
        border_hessian: by the border, symmetric.
    """

    joint_gradient: Float[Tensor, 'B J 6'] | None = None
    joint_hessian: Float[Tensor, 'B J 6 6'] | None = None
    turn_gradient: Float[Tensor, 'B J 3'] | None = None
    turn_hessian: Float[Tensor, 'B J 3 3'] | None = None
    border_cross: Float[Tensor, 'B J 6 q'] | None = None
    border_gradient: Float[Tensor, 'B q'] | None = None
    border_hessian: Float[Tensor, 'B q q'] | None = None

    def __post_init__(self) -> None:
        for name in ('joint', 'turn'):
            if (getattr(self, f'{name}_gradient') is None) != (getattr(self, f'{name}_hessian') is None):
                raise ValueError(
                    f'ChainQuadratic: {name}_gradient and {name}_hessian must be given together; got one of them. '
                    'Give zeros for the other.'
                )
