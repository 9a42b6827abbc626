"""Unit quaternions (w, x, y, z) as the state of a rotation that is updated step by step."""

import torch
from jaxtyping import Float
from torch import Tensor


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
    """Give d log(exp(u) exp(r)) / du at u = 0: `I - [r]x/2 + c [r]x^2`, c = (1 - (t/2) cot(t/2)) / t^2.

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
    """Give the matrix of a cross product: `skew(a) b = a x b`."""
    return (vector @ _CROSS.to(vector)).unflatten(-1, (3, 3))


def _tables() -> tuple[Tensor, Tensor, Tensor]:
    """Say what makes the matrix of a cross product, a rotation and a product of quaternions.

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
