"""Rotation representations, named `a_to_b`: `axis_angle`, `rot6d`, `rotmat`, `quat_wxyz`.

They are checked against roma's, which takes a second to import.
"""

import math
from functools import lru_cache

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
    quat = rotmat_to_quat_wxyz(rotmat)
    # The half that turns by at most pi.
    quat = torch.where(quat[..., :1] > 0, quat, -quat)
    sine = quat[..., 1:].norm(dim=-1, keepdim=True)
    half = torch.atan2(sine, quat[..., :1])
    # t / sin t, by its series near 0, where the quotient has no gradient.
    small = half.abs() < 1e-3
    safe = torch.where(small, torch.ones_like(half), half)
    return 2 * torch.where(small, 1 + half * half / 6, safe / safe.sin()) * quat[..., 1:]


def rot6d_to_rotmat(rot6d: Float[Tensor, '*n 6']) -> Float[Tensor, '*n 3 3']:
    """Orthonormalise two vectors into the first two columns of a rotation (Zhou et al. 2019, eq. 14-16).

    The six numbers are the first column, then the second; the identity is (1, 0, 0, 0, 1, 0).
    """
    first, second = rot6d[..., :3], rot6d[..., 3:]
    first = first / first.norm(dim=-1, keepdim=True)
    second = second - (first * second).sum(-1, keepdim=True) * first
    second = second / second.norm(dim=-1, keepdim=True)
    return torch.stack((first, second, torch.linalg.cross(first, second)), -1)


def rotmat_to_rot6d(rotmat: Float[Tensor, '*n 3 3']) -> Float[Tensor, '*n 6']:
    """Keep the first two columns of rotation matrices."""
    return rotmat[..., :2].transpose(-1, -2).flatten(-2)


def quat_wxyz_to_rotmat(quat: Float[Tensor, '*n 4']) -> Float[Tensor, '*n 3 3']:
    """Turn unit quaternions (w, x, y, z) into matrices."""
    w, x, y, z = quat.unbind(-1)
    rows = (
        *(w * w + x * x - y * y - z * z, 2 * (x * y - z * w), 2 * (x * z + y * w)),
        *(2 * (x * y + z * w), w * w - x * x + y * y - z * z, 2 * (y * z - x * w)),
        *(2 * (x * z - y * w), 2 * (y * z + x * w), w * w - x * x - y * y + z * z),
    )
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


def rotmat_to_quat_wxyz(rotmat: Float[Tensor, '*n 3 3']) -> Float[Tensor, '*n 4']:
    """Turn rotation matrices into unit quaternions (w, x, y, z).

    Markley, Unit quaternion from rotation matrix, J. Guidance, Control, and Dynamics 31(2), 2008: the row of
    4 q q^T with the largest diagonal, made of unit length.
    """
    (a, b, c), (d, e, f), (g, h, i) = (row.unbind(-1) for row in rotmat.unbind(-2))
    outer = (
        *(1 + a + e + i, h - f, c - g, d - b),
        *(h - f, 1 + a - e - i, b + d, c + g),
        *(c - g, b + d, 1 + e - a - i, f + h),
        *(d - b, c + g, f + h, 1 + i - a - e),
    )
    rows = torch.stack(outer, -1).unflatten(-1, (4, 4))
    best = rows.diagonal(dim1=-2, dim2=-1).argmax(-1)
    chosen = rows.gather(-2, best[..., None, None].expand(*best.shape, 1, 4)).squeeze(-2)
    return chosen / chosen.norm(dim=-1, keepdim=True)


def geodesic_angle(a: Float[Tensor, '*n 3 3'], b: Float[Tensor, '*n 3 3']) -> Float[Tensor, '*n']:
    """Measure the angle (rad) between rotations; differentiable away from 0 and pi."""
    # |b - a| = 2 sqrt 2 sin(angle / 2), Frobenius.
    chord = torch.linalg.matrix_norm(b - a) / math.sqrt(8)
    return 2 * chord.clamp_max(1).asin()


def axis_angle_to_quat(axis_angle: Float[Tensor, '*n 3']) -> Float[Tensor, '*n 4']:
    """Exponentiate rotation vectors (rad)."""
    angle = axis_angle.norm(dim=-1, keepdim=True)
    # sin(t/2) / t is smooth at 0; torch.sinc(x) is sin(pi x) / (pi x).
    factor = 0.5 * torch.sinc(angle * (0.5 / torch.pi))
    return torch.cat(((0.5 * angle).cos(), factor * axis_angle), -1)


def quat_to_axis_angle(quat: Float[Tensor, '*n 4']) -> Float[Tensor, '*n 3']:
    """Take the logarithm; the angle is in [0, pi] rad, whichever of the two signs the quaternion has."""
    quat = torch.where(quat[..., :1] < 0, -quat, quat)
    sine = quat[..., 1:].norm(dim=-1, keepdim=True)
    angle = 2 * torch.atan2(sine, quat[..., :1])
    small = sine < 1e-4
    # t/sin(t/2) = 2 / w (1 - s^2 / (3 w^2)) near 0.
    series = 2 / quat[..., :1].clamp_min(0.5) * (1 - sine.square() / 3)
    return torch.where(small, series, angle / sine.clamp_min(1e-12)) * quat[..., 1:]


def multiply(a: Float[Tensor, '*n 4'], b: Float[Tensor, '*n 4']) -> Float[Tensor, '*n 4']:
    """Compose: first b, then a."""
    return _outer(a, b) @ _PRODUCT.to(a)


def quat_to_rotmat(quat: Float[Tensor, '*n 4']) -> Float[Tensor, '*n 3 3']:
    """Write unit quaternions as matrices."""
    matrix = (_outer(quat, quat) @ _MATRIX.to(quat)).unflatten(-1, (3, 3))
    matrix.diagonal(dim1=-2, dim2=-1).add_(1)
    return matrix


def _outer(a: Float[Tensor, '*n 4'], b: Float[Tensor, '*n 4']) -> Float[Tensor, '*n 16']:
    return (a.unsqueeze(-1) * b.unsqueeze(-2)).flatten(-2)


def left_jacobian_inverse(axis_angle: Float[Tensor, '*n 3']) -> Float[Tensor, '*n 3 3']:
    """Return d log(exp(u) exp(r)) / du at u = 0: `I - [r]x/2 + c [r]x^2`, c = (1 - (t/2) cot(t/2)) / t^2.

    (Sola et al. 2018, eq. 146.)
    """
    squared = axis_angle.square().sum(-1)
    angle = squared.clamp_min(1e-12).sqrt()
    half = 0.5 * angle
    small = squared < 1e-2
    series = 1 / 12 + squared / 720 + squared.square() / 30240
    c = torch.where(small, series, (1 - half / torch.tan(half)) / squared.clamp_min(1e-12))
    outer = axis_angle.unsqueeze(-1) * axis_angle.unsqueeze(-2)
    # [r]x^2 = r r^T - t^2 I.
    matrix = torch.addcmul(skew(-0.5 * axis_angle), c[..., None, None], outer)
    matrix.diagonal(dim1=-2, dim2=-1).add_((1 - c * squared).unsqueeze(-1))
    return matrix


def skew(vector: Float[Tensor, '*n 3']) -> Float[Tensor, '*n 3 3']:
    """Return the matrix of a cross product: `skew(a) b = a x b`."""
    return (vector @ _CROSS.to(vector)).unflatten(-1, (3, 3))


def _tables() -> tuple[Tensor, Tensor, Tensor]:
    """Return what makes the matrix of a cross product, a rotation and a product of quaternions.

    They are (3, 9), and of products of two entries (16, 9) and (16, 4).
    One matrix product with a table takes the place of some thirty operations on entries.
    """
    cross, matrix, product = torch.zeros(3, 3, 3), torch.zeros(4, 4, 3, 3), torch.zeros(4, 4, 4)
    product[0, 0, 0] = 1
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        cross[i, k, j], cross[i, j, k] = 1, -1
        # R = I + 2 w [v]x + 2 (v v^T - |v|^2 I), the identity left out.
        matrix[0, i + 1] = 2 * cross[i]
        matrix[i + 1, i + 1, j, j] = matrix[i + 1, i + 1, k, k] = -2
        matrix[i + 1, j + 1, i, j] = matrix[j + 1, i + 1, j, i] = 2
        # (a_w b_w - a . b, a_w b + b_w a + a x b).
        product[i + 1, i + 1, 0] = -1
        product[0, i + 1, i + 1] = product[i + 1, 0, i + 1] = 1
        product[i + 1, j + 1, k + 1], product[j + 1, i + 1, k + 1] = 1, -1
    return cross.flatten(1), matrix.view(16, 9), product.view(16, 4)


_CROSS, _MATRIX, _PRODUCT = _tables()
