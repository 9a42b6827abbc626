"""Unit quaternions (w, x, y, z) as the state of a rotation that is updated step by step."""

import torch
from jaxtyping import Float
from torch import Tensor


def axis_angle_to_quat(axis_angle: Float[Tensor, '*n 3']) -> Float[Tensor, '*n 4']:
    """Exponentiate rotation vectors (rad)."""
    angle = axis_angle.norm(dim=-1, keepdim=True)
    # sin(t/2)/t is smooth and even: 1/2 - t^2/48 near 0.
    small = angle < 1e-3
    factor = torch.where(small, 0.5 - angle.square() / 48, (0.5 * angle).sin() / angle.clamp_min(1e-12))
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
    aw, av, bw, bv = a[..., :1], a[..., 1:], b[..., :1], b[..., 1:]
    scalar = aw * bw - (av * bv).sum(-1, keepdim=True)
    return torch.cat((scalar, aw * bv + bw * av + torch.linalg.cross(av, bv)), -1)


def quat_to_rotmat(quat: Float[Tensor, '*n 4']) -> Float[Tensor, '*n 3 3']:
    """Write unit quaternions as matrices."""
    w, x, y, z = quat.unbind(-1)
    rows = (
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    )  # fmt: skip
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


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
    cross = skew(axis_angle)
    eye = torch.eye(3, dtype=axis_angle.dtype, device=axis_angle.device)
    outer = axis_angle.unsqueeze(-1) * axis_angle.unsqueeze(-2)
    # [r]x^2 = r r^T - t^2 I.
    return eye - 0.5 * cross + c[..., None, None] * (outer - squared[..., None, None] * eye)


def skew(vector: Float[Tensor, '*n 3']) -> Float[Tensor, '*n 3 3']:
    """Give the matrix of a cross product: `skew(a) b = a x b`."""
    x, y, z = vector.unbind(-1)
    o = torch.zeros_like(x)
    return torch.stack((o, -z, y, z, o, -x, -y, x, o), -1).unflatten(-1, (3, 3))
