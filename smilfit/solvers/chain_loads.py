"""Loads on a tree, its motion, and quadratics beside its own energy, in plain tensors.

A motion's power under loads is `force . velocity + moment . angular + torque . turns + transl . transl + border .
border`, summed over joints. All axes are the world's.
"""

from dataclasses import dataclass, fields, replace
from typing import Any

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class ChainMotion:
    """A change of all frames.

    Args:
        turns: of every joint against its parent, rad.
        transl: of the root.
        border: of the fitted coefficients, then the logarithm of the scale; (q,) where it is shared by all frames.
        angular: velocity of the joint's frame, the sum of the turns from the root.
        velocity: of the joint's place.
    """

    turns: Float[Tensor, 'B J 3']
    transl: Float[Tensor, 'B 3']
    border: Float[Tensor, '*B q']
    angular: Float[Tensor, 'B J 3']
    velocity: Float[Tensor, 'B J 3']

    def plus(self, other: 'ChainMotion', factor: Any = 1.0) -> 'ChainMotion':
        """Add a multiple of another motion."""
        return _plus(self, other, factor)


@dataclass(frozen=True)
class ChainLoads:
    """What the energy's change is linear in; gradients are loads.

    Args:
        force: on the joint's place.
        moment: on the joint's frame.
        torque: on the joint's own turn.
        transl: on the root's translation alone.
        border: on coefficients and scale; (q,) where they are shared.
    """

    force: Float[Tensor, 'B J 3']
    moment: Float[Tensor, 'B J 3']
    torque: Float[Tensor, 'B J 3']
    transl: Float[Tensor, 'B 3']
    border: Float[Tensor, '*B q']

    def plus(self, other: 'ChainLoads', factor: Any = 1.0) -> 'ChainLoads':
        """Add a multiple of other loads."""
        return _plus(self, other, factor)

    def with_force(self, force: Float[Tensor, 'B J 3']) -> 'ChainLoads':
        """Add forces on the joints."""
        return replace(self, force=self.force + force)

    def power(self, motion: ChainMotion) -> Float[Tensor, ' B']:
        """Give the power of every frame but that of a shared border, in float64."""
        pairs = [
            (self.force, motion.velocity),
            (self.moment, motion.angular),
            (self.torque, motion.turns),
            (self.transl, motion.transl),
        ]
        if motion.border.ndim == 2:
            pairs.append((self.border, motion.border))
        return sum((a.double() * b.double()).flatten(1).sum(1) for a, b in pairs)

    def border_power(self, motion: ChainMotion) -> Float[Tensor, '']:
        """Give the power of a border that all frames share."""
        return (self.border.double() * motion.border.double()).sum()


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


def _plus(a: Any, b: Any, factor: Any) -> Any:
    return type(a)(**{f.name: getattr(a, f.name) + factor * getattr(b, f.name) for f in fields(a)})
