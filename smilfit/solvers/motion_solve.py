"""The Newton step of frames that are coupled in time, by conjugate gradients over the frames' own factors.

The system is H + M: H falls apart into frames, M = sum over terms of 2 D' W D on places of joints, or of points that
hang on them, D differences in time. A factor P of H + damping + the part of M that is diagonal in time preconditions;
with M' = M - diagonal the product (P + M') p needs no product with H, since P p follows the recursion of the
residuals.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from smilfit.geometry.rotation import skew
from smilfit.solvers.chain_steps import ChainFactor, ChainLoads, ChainMotion, ChainQuadratic

# Coefficients of backward differences by order: of the frame itself, the one before, and so on.
DIFFERENCES = {1: (1.0, -1.0), 2: (1.0, -2.0, 1.0)}
# Relative residual of the step in the preconditioner's norm: an inexact Newton step gains nothing from less.
TOLERANCE = 6e-2


@dataclass(frozen=True)
class CarriedPoints:
    """N points of the body, each a weighted few rigid points, one row a pair of point and joint.

    Args:
        places: world unit.
        point: of every row.
        joint: of every row.
        share: of the point that hangs on the joint; a point's sum to 1.
        arm: from the joint to the rigid point, world axes and unit.
    """

    places: Float[Tensor, 'B N 3']
    point: Int[Tensor, ' M']
    joint: Int[Tensor, ' M']
    share: Float[Tensor, ' M']
    arm: Float[Tensor, 'B M 3']

    def velocity(self, motion: ChainMotion) -> Float[Tensor, 'B N 3']:
        """Return the points' velocity."""
        rotated = torch.linalg.cross(motion.angular.index_select(1, self.joint), self.arm)
        rows = self.share.unsqueeze(-1) * (rotated + motion.velocity.index_select(1, self.joint))
        return torch.zeros_like(self.places).index_add_(1, self.point, rows)

    def add_loads(self, loads: ChainLoads, force: Float[Tensor, 'B N 3']) -> None:
        """Add what forces on the points do to their joints, in place."""
        rows = self.share.unsqueeze(-1) * force.index_select(1, self.point)
        loads.force.index_add_(1, self.joint, rows)
        loads.moment.index_add_(1, self.joint, torch.linalg.cross(self.arm, rows))

    def add_quadratic(
        self,
        gradient: Float[Tensor, 'B J 6'],
        hessian: Float[Tensor, 'B J 6 6'],
        force: Float[Tensor, 'B N 3'],
        curvature: Float[Tensor, 'B N'],
    ) -> None:
        """Add a gradient and an isotropic curvature of the points to their joints' twists, in place.

        Of a point that hangs on several joints the hessian is a bound (Jensen).
        """
        rows = self.share.unsqueeze(-1) * force.index_select(1, self.point)
        gradient.index_add_(1, self.joint, torch.cat((torch.linalg.cross(self.arm, rows), rows), -1))
        weight = (self.share * curvature.index_select(1, self.point))[..., None, None]
        # v = v_j + o x arm = [-[arm]x, 1] (o, v_j)
        rotation = -skew(self.arm)
        eye = torch.eye(3, dtype=rotation.dtype, device=rotation.device)
        slope = torch.cat((rotation, eye.expand_as(rotation)), -1)
        hessian.index_add_(1, self.joint, weight * (slope.transpose(-1, -2) @ slope))


@dataclass(frozen=True)
class MotionCoupling:
    """The energy `sum weight |difference of places in time|^2`, places of all joints or of points that they carry.

    Args:
        order: of the backward difference, 1 (velocity) or 2 (acceleration).
        weight: by frame and joint, or by frame and point; 0 over gaps and in the first `order` frames.
        points: whose places they are; None for the joints.

    Raises:
        ValueError: another order.
    """

    order: int
    weight: Float[Tensor, 'B N']
    points: CarriedPoints | None = None

    def __post_init__(self) -> None:
        if self.order not in DIFFERENCES:
            raise ValueError(f'MotionCoupling: order must be 1 or 2; got {self.order}.')

    def differences(self, places: Float[Tensor, 'B N 3']) -> Float[Tensor, 'B N 3']:
        """Return the backward differences; 0 in the first frames."""
        parts = [c * _later(places, k) for k, c in enumerate(DIFFERENCES[self.order])]
        return sum(parts[1:], parts[0]) * self._valid(places)

    def energy(self, places: Float[Tensor, 'B N 3']) -> Float[Tensor, ' B']:
        """Return the energy of every difference at its last frame."""
        return (self.weight * self.differences(places).square().sum(-1)).sum(1)

    def gradient(self, places: Float[Tensor, 'B N 3']) -> Float[Tensor, 'B N 3']:
        """Return the energy's derivative by the places, `2 D' W D x`."""
        weighted = 2 * self.weight.unsqueeze(-1) * self.differences(places)
        parts = [c * _earlier(weighted, k) for k, c in enumerate(DIFFERENCES[self.order])]
        return sum(parts[1:], parts[0])

    def band(self, distance: int) -> Float[Tensor, 'B N']:
        """Return the hessian of a frame's places with those so many frames later, the same for all axes."""
        weight, c = 2 * self.weight * self._valid(self.weight), DIFFERENCES[self.order]
        return sum(
            (c[k] * c[k - distance] * _earlier(weight, k) for k in range(distance, self.order + 1)),
            torch.zeros_like(weight),
        )

    def _valid(self, like: Tensor) -> Tensor:
        valid = torch.arange(len(like), device=like.device) >= self.order
        return valid.to(like).view(-1, *[1] * (like.ndim - 1))


def motion_quadratic(couplings: Sequence[MotionCoupling], places: Float[Tensor, 'B J 3']) -> ChainQuadratic:
    """Return the gradient of the couplings and their curvature's part that is diagonal in time, for `factorise`.

    Args:
        couplings: the terms.
        places: of the joints.
    """
    gradient = places.new_zeros(*places.shape[:2], 6)
    hessian = places.new_zeros(*places.shape[:2], 6, 6)
    for coupling in couplings:
        points = coupling.points
        if points is None:
            gradient[..., 3:] += coupling.gradient(places)
            hessian[..., range(3, 6), range(3, 6)] += coupling.band(0).unsqueeze(-1)
        else:
            points.add_quadratic(gradient, hessian, coupling.gradient(points.places), coupling.band(0))
    return ChainQuadratic(joint_gradient=gradient, joint_hessian=hessian)


def solve_motion(
    factor: ChainFactor,
    couplings: Sequence[MotionCoupling],
    loads: ChainLoads,
    tolerance: float = TOLERANCE,
    n_iter: int = 100,
) -> tuple[ChainMotion, int]:
    """Answer loads under the factor's system and the couplings between frames.

    Args:
        factor: with the couplings' `motion_quadratic` in it.
        couplings: the terms.
        loads: such as the negative gradient.
        tolerance: relative residual at which it ends, in the norm of the preconditioner.
        n_iter: most iterations.

    Returns:
        The motion, and how many iterations it took.
    """
    bands = [(points, _bands_between(some)) for points, some in _by_points(couplings)]
    direction = factor.solve(loads)
    result, residual, applied = direction.plus(direction, -1.0), loads, loads
    start = square = _power(factor, residual, direction)
    for i in range(n_iter):
        if square <= tolerance**2 * start:
            return result, i
        product = _with_bands(applied, bands, direction)
        length = square / _power(factor, product, direction)
        result = result.plus(direction, length)
        residual = residual.plus(product, -length)
        answer = factor.solve(residual)
        before, square = square, _power(factor, residual, answer)
        direction = answer.plus(direction, square / before)
        applied = residual.plus(applied, square / before)
    return result, n_iter


def _by_points(
    couplings: Sequence[MotionCoupling],
) -> list[tuple[CarriedPoints | None, list[MotionCoupling]]]:
    """Gather the couplings of the same places."""
    joints = [c for c in couplings if c.points is None]
    result: list[tuple[CarriedPoints | None, list[MotionCoupling]]] = [(None, joints)] if joints else []
    return result + [(c.points, [c]) for c in couplings if c.points is not None]


def _bands_between(couplings: Sequence[MotionCoupling]) -> list[Float[Tensor, 'B N 1']]:
    """Sum the couplings' hessians of frames one apart, two apart, and so on."""
    furthest = max(c.order for c in couplings)
    bands = [[c.band(k) for c in couplings if c.order >= k] for k in range(1, furthest + 1)]
    return [sum(band[1:], band[0]).unsqueeze(-1) for band in bands]


def _with_bands(
    loads: ChainLoads, bands: Sequence[tuple[CarriedPoints | None, Sequence[Tensor]]], motion: ChainMotion
) -> ChainLoads:
    """Add the product of what lies between frames and a motion."""
    result = ChainLoads(loads.rows.clone(), loads.border)
    for points, between in bands:
        if points is None:
            _add_bands(result.force, between, motion.velocity)
        else:
            velocity = points.velocity(motion)
            force = torch.zeros_like(velocity)
            _add_bands(force, between, velocity)
            points.add_loads(result, force)
    return result


def _add_bands(force: Tensor, bands: Sequence[Tensor], velocity: Tensor) -> None:
    for k, band in enumerate(bands, 1):
        force[k:].addcmul_(band[:-k], velocity[:-k])
        force[:-k].addcmul_(band[:-k], velocity[k:])


def _power(factor: ChainFactor, loads: ChainLoads, motion: ChainMotion) -> float:
    own = factor.steps.reduce((loads.rows * motion.rows).sum(dtype=torch.float64))
    if motion.border.ndim == 1:
        return float(own + loads.border_power(motion))
    return float(own + factor.steps.reduce(loads.border_power(motion)))


def _later(x: Tensor, k: int) -> Tensor:
    """Put every row's k-th predecessor in its place."""
    return x if k == 0 else torch.cat((torch.zeros_like(x[:k]), x[:-k]))[: len(x)]


def _earlier(x: Tensor, k: int) -> Tensor:
    """Put every row's k-th successor in its place."""
    return x if k == 0 else torch.cat((x[k:], torch.zeros_like(x[:k])))[: len(x)]
