"""Rotation representations, named `a_to_b`: `axis_angle`, `rot6d`, `rotmat`, `quat_wxyz`.

roma does the work; the axis-angle exponential, which every forward pass of a body model starts with, is
written out in fewer operations and is checked against roma's.
"""

from functools import lru_cache

import roma
import torch
from jaxtyping import Float
from torch import Tensor


@lru_cache
def _basis(dtype: torch.dtype, device: torch.device) -> Tensor:
    """Make the (4, 9) map from (v, c) to [v]x + c I, row by row."""
    basis = torch.zeros(4, 3, 3, dtype=dtype)
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        basis[i, k, j], basis[i, j, k] = 1, -1
    basis[3] = torch.eye(3, dtype=dtype)
    return basis.reshape(4, 9).to(device)


def axis_angle_to_rotmat(axis_angle: Float[Tensor, '*n 3']) -> Float[Tensor, '*n 3 3']:
    """Exponentiate rotation vectors (rad) by Rodrigues' formula.

    R = cos t I + a [r]x + b r r^T with a = sin(t)/t, b = (1 - cos t)/t^2 = sinc(t/2)^2 / 2 and t = |r|. All three
    coefficients are even and smooth in t; t is kept off zero before the root so that the gradient there is
    the exact one (the generators of rotation) and not NaN.
    """
    squared = (axis_angle * axis_angle).sum(-1, keepdim=True)
    half = 0.5 * (squared + 1e-20).sqrt()
    sinc_half = half.sin() / half
    b = 0.5 * sinc_half * sinc_half
    a = sinc_half * half.cos()
    outer = (b * axis_angle).unsqueeze(-1) * axis_angle.unsqueeze(-2)
    # cos t = 1 - b t^2, without the rounding of a cosine near 1.
    odd = torch.cat((a * axis_angle, 1 - b * squared), -1) @ _basis(axis_angle.dtype, axis_angle.device)
    return outer + odd.unflatten(-1, (3, 3))


def rotmat_to_axis_angle(rotmat: Float[Tensor, '*n 3 3']) -> Float[Tensor, '*n 3']:
    """Take the logarithm of rotation matrices; the angle is in [0, pi] rad."""
    return roma.rotmat_to_rotvec(rotmat)


def rot6d_to_rotmat(rot6d: Float[Tensor, '*n 6']) -> Float[Tensor, '*n 3 3']:
    """Orthonormalise two vectors into the first two columns of a rotation (Zhou et al. 2019, eq. 14-16).

    The six numbers are the first column, then the second; the identity is (1, 0, 0, 0, 1, 0).
    """
    return roma.special_gramschmidt(rot6d.unflatten(-1, (2, 3)).transpose(-1, -2))


def rotmat_to_rot6d(rotmat: Float[Tensor, '*n 3 3']) -> Float[Tensor, '*n 6']:
    """Keep the first two columns of rotation matrices."""
    return rotmat[..., :2].transpose(-1, -2).flatten(-2)


def quat_wxyz_to_rotmat(quat: Float[Tensor, '*n 4']) -> Float[Tensor, '*n 3 3']:
    """Turn unit quaternions (w, x, y, z) into matrices."""
    return roma.unitquat_to_rotmat(roma.quat_wxyz_to_xyzw(quat))


def rotmat_to_quat_wxyz(rotmat: Float[Tensor, '*n 3 3']) -> Float[Tensor, '*n 4']:
    """Turn rotation matrices into unit quaternions (w, x, y, z)."""
    return roma.quat_xyzw_to_wxyz(roma.rotmat_to_unitquat(rotmat))


def geodesic_angle(a: Float[Tensor, '*n 3 3'], b: Float[Tensor, '*n 3 3']) -> Float[Tensor, '*n']:
    """Measure the angle (rad) between rotations; differentiable away from 0 and pi."""
    return roma.rotmat_geodesic_distance(a, b)
