"""What a term of a fit tells a second-order solver: its value and a quadratic model about the present body.

In all of them `energy` is the term's value by frame, `gradient` its derivative and `curvature` a positive
semi-definite stand-in for its second derivative (Gauss-Newton: a squared residual `w r^2` gives `2 w r` and `2 w`).
Weights and reductions are in the numbers already.
"""

from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.structures.cameras import Cameras


@dataclass(frozen=True)
class PointTerm:
    """A term of points of the body, each by itself: `E(p + v) ~ E + sum_i g_i . v_i + v_i . W_i v_i / 2`.

    All views of a keypoint collapse into one gradient and one curvature. The views' own are kept only where
    cameras are fitted.

    Args:
        names: joints and keypoints; None for all vertices of the mesh.
        energy: by frame.
        gradient: by point, per world unit.
        curvature: by point.
        view_gradient: the gradient's share of every view, in the world's frame.
        view_curvature: the curvature's share of every view.
        cameras: those of the views.
        n_residuals: how many numbers were compared, outliers in part: what noise is estimated with.
    """

    names: tuple[str, ...] | None
    energy: Float[Tensor, ' B']
    gradient: Float[Tensor, 'B N 3']
    curvature: Float[Tensor, 'B N 3 3']
    view_gradient: Float[Tensor, 'B C N 3'] | None = None
    view_curvature: Float[Tensor, 'B C N 3 3'] | None = None
    cameras: Cameras | None = None
    n_residuals: Float[Tensor, ' B'] | None = None


@dataclass(frozen=True)
class ParameterTerm:
    """A term of parameters, by the name of a field of `BodyParams`.

    Rotations count as axis-angle, scale as its logarithm (`'log_scale'`). A gradient is (B, n) with the field's
    numbers flattened. A curvature is (B or 1, n, n), or for `'body_pose'` (B or 1, J-1, 3, 3) where joints do not
    depend on each other.
    """

    energy: Float[Tensor, ' B']
    gradient: dict[str, Tensor] = field(default_factory=dict)
    curvature: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class ResidualTerm:
    """A sum of squares whose derivative is found automatically: `E_b = sum_r residual[b, r]^2`.

    The residual of a frame depends on that frame alone.
    """

    residual: Float[Tensor, 'B R']

    @property
    def energy(self) -> Float[Tensor, ' B']:
        """The term's value by frame."""
        return self.residual.square().sum(1)


@dataclass(frozen=True)
class MotionTerm:
    """A term that couples neighbouring frames: `E_t = weight_t |(D^order p)_t|^2`, `D` the backward difference.

    Args:
        names: joints and keypoints that move.
        order: 1 for velocity, 2 for acceleration.
        weight: of the difference that ends in a frame; 0 where it would reach over a gap or the clip's start.
        energy: by frame.
    """

    names: tuple[str, ...]
    order: int
    weight: Float[Tensor, ' B']
    energy: Float[Tensor, ' B']


@dataclass(frozen=True)
class RotationMotionTerm:
    """A term that couples neighbouring frames by their joints' rotations: `E_t = weight_t |r_t - r_(t-1)|^2`.

    `r` is the first two columns of the local rotation matrix of every joint but the root (6D representation).

    Args:
        weight: of the change that ends in a frame; 0 where it would reach over a gap or the clip's start.
        energy: by frame.
        order: 1, a change from one frame to the next.
    """

    weight: Float[Tensor, ' B']
    energy: Float[Tensor, ' B']
    order: int = 1


def take_rows(term: 'QuadraticTerm', rows: Tensor) -> 'QuadraticTerm':
    """Pick the frames of a term; a curvature that all frames share stays as it is."""
    count = len(term.energy)

    def picked(value: Tensor) -> Tensor:
        return value[rows] if value.shape[0] == count else value

    changes: dict[str, Any] = {}
    for item in fields(term):
        value = getattr(term, item.name)
        if isinstance(value, dict):
            changes[item.name] = {name: picked(v) for name, v in value.items()}
        elif isinstance(value, Tensor):
            changes[item.name] = picked(value)
    return replace(term, **changes)


QuadraticTerm = PointTerm | ParameterTerm | ResidualTerm | MotionTerm | RotationMotionTerm


def isotropic(weight: Float[Tensor, '*b']) -> Float[Tensor, '*b 3 3']:
    """Give `weight` times the identity."""
    return weight[..., None, None] * torch.eye(3, dtype=weight.dtype, device=weight.device)
