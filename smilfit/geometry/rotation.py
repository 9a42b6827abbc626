"""Rotation representations, named `a_to_b`: `axis_angle`, `rot6d`, `rotmat`, `quat_wxyz`.

roma does the work; the axis-angle exponential, which every forward pass of a body model starts with, is
written out in fewer operations and is checked against roma's.
"""

import roma
import torch
from jaxtyping import Float
from torch import Tensor


def axis_angle_to_rotmat(axis_angle: Float[Tensor, '*n 3']) -> Float[Tensor, '*n 3 3']:
    """Exponentiate rotation vectors (rad) by Rodrigues' formula.

    R = I + a [r]x + b [r]x^2 with a = sin(t)/t, b = (1 - cos t)/t^2 = a(t/2)^2 / 2 and t = |r|. Both
    coefficients are even and smooth in t; t is kept off zero before the root so that the gradient there is
    the exact one (the generators of rotation) and not NaN.
    """
    half = 0.5 * (axis_angle.square().sum(-1, keepdim=True) + 1e-20).sqrt()
    sinc_half = half.sin() / half
    quaternion_w = half.cos()
    v = 0.5 * sinc_half * axis_angle
    # R = (2w^2 - 1) I + 2 v v^T + 2 w [v]x for the unit quaternion (w, v).
    twice_v = v + v
    x, y, z = (quaternion_w * twice_v).unbind(-1)
    outer = twice_v.unsqueeze(-1) * v.unsqueeze(-2)
    zero = torch.zeros_like(x)
    cross = torch.stack((zero, -z, y, z, zero, -x, -y, x, zero), -1).unflatten(-1, (3, 3))
    diagonal = (twice_v * v).sum(-1)[..., None, None]
    identity = torch.eye(3, dtype=axis_angle.dtype, device=axis_angle.device)
    # 2w^2 - 1 = 1 - 2|v|^2, without the rounding of a cosine near 1.
    return outer + cross + (1 - diagonal) * identity


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
