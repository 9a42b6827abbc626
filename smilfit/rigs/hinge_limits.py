"""How far limits of a rotation vector's components are from the ranges of hinges that turn one after the other."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from smilfit.geometry.rotation import axis_angle_to_rotmat, rotmat_to_axis_angle

# Angles of each hinge that are tried, ends and rest included.
_STEPS = 7


class BoxError(NamedTuple):
    """What a box of limits makes of ranges, rad: how far a hinge goes beyond its own, and how much of it is lost."""

    beyond: float
    lost: float


def box_error(axes: Sequence[np.ndarray], spans: Sequence[tuple[float, float]]) -> BoxError:
    """Measure what becomes of the ranges of two or three hinges at right angles as limits along the same axes.

    A body turns by R = R_1(a) R_2(b) R_3(c), each angle within its range. The limits are those ranges of the
    components of R's rotation vector. Both sets are sampled to their corners.

    Args:
        axes: of the hinges in their order, of length 1.
        spans: least and greatest angle of each, rad.
    """
    frame = np.stack((axes[0], axes[1], np.cross(axes[0], axes[1])), 1)
    sign = np.array([1.0, 1.0, np.sign(frame[:, 2] @ axes[2]) if len(axes) == 3 else 1.0])
    low, high = np.zeros(3), np.zeros(3)
    low[: len(spans)], high[: len(spans)] = zip(*spans)
    grid = np.stack(np.meshgrid(*(_tried(a, b) for a, b in zip(low, high)), indexing='ij'), -1).reshape(-1, 3)
    vectors = torch.from_numpy(grid * sign)
    first, second, third = (axis_angle_to_rotmat(v) for v in torch.diag_embed(vectors).unbind(-2))
    components = rotmat_to_axis_angle(first @ second @ third).numpy() * sign
    hinges = _hinge_angles(axis_angle_to_rotmat(vectors).numpy()) * sign
    return BoxError(_outside(hinges, low, high), _outside(components, low, high))


def _tried(low: float, high: float) -> np.ndarray:
    return np.unique(np.append(np.linspace(low, high, _STEPS), np.clip(0.0, low, high)))


def _hinge_angles(turns: Float[np.ndarray, 'n 3 3']) -> Float[np.ndarray, 'n 3']:
    """Give a, b, c of R = R_x(a) R_y(b) R_z(c)."""
    a = np.arctan2(-turns[:, 1, 2], turns[:, 2, 2])
    b = np.arcsin(turns[:, 0, 2].clip(-1, 1))
    return np.stack((a, b, np.arctan2(-turns[:, 0, 1], turns[:, 0, 0])), 1)


def _outside(angles: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    beyond = np.maximum(low - angles, angles - high)
    return min(float(beyond.max().clip(0)), math.pi)
