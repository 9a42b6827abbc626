"""Brown-Conrady lens distortion, its inverse, and the radius where its polynomial folds back.

Coefficients are OpenCV's (k1, k2, p1, p2, k3). For normalised image coordinates (x, y), r^2 = x^2 + y^2:
    x' = x (1 + k1 r^2 + k2 r^4 + k3 r^6) + 2 p1 x y + p2 (r^2 + 2 x^2)
    y' = y (1 + k1 r^2 + k2 r^4 + k3 r^6) + p1 (r^2 + 2 y^2) + 2 p2 x y

A barrel lens (k1 < 0) maps radii up to a fold one-to-one and larger ones back inside. No camera sees the
world twice: beyond the fold the model does not describe the lens, and a point there is invalid.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

# Inside this share of the fold radius the inverse is well conditioned in float64.
_INSIDE_FOLD = 1.0 - 1e-9


def fold_radius(dist: Float[Tensor, '*n 5']) -> Float[Tensor, '*n']:
    """Find the undistorted radius up to which the radial polynomial grows; inf where it always does.

    It is the square root of the smallest positive root of 1 + 3 k1 s + 5 k2 s^2 + 7 k3 s^3 in s = r^2.
    """
    flat = dist.detach().reshape(-1, 5).double().cpu().numpy()
    radii = np.full(len(flat), np.inf)
    for i, (k1, k2, _, _, k3) in enumerate(flat):
        roots = np.roots([7 * k3, 5 * k2, 3 * k1, 1.0])
        real = roots[np.abs(roots.imag) < 1e-9 * np.maximum(1.0, np.abs(roots.real))].real
        if (real > 0).any():
            radii[i] = np.sqrt(real[real > 0].min())
    return torch.as_tensor(radii, dtype=dist.dtype, device=dist.device).reshape(dist.shape[:-1])


def distort(points: Float[Tensor, '*n 2'], dist: Float[Tensor, '*#n 5']) -> Float[Tensor, '*n 2']:
    """Apply lens distortion to normalised image coordinates. Gives no opinion on the fold."""
    k1, k2, p1, p2, k3 = dist.unbind(-1)
    x, y = points.unbind(-1)
    r2 = x * x + y * y
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    xy2 = 2 * x * y
    return torch.stack(
        (
            x * radial + p1 * xy2 + p2 * (r2 + 2 * x * x),
            y * radial + p1 * (r2 + 2 * y * y) + p2 * xy2,
        ),
        -1,
    )


def undistort(
    points: Float[Tensor, '*n 2'], dist: Float[Tensor, '*#n 5'], n_iter: int = 50, tolerance: float = 1e-12
) -> tuple[Float[Tensor, '*n 2'], Bool[Tensor, '*n']]:
    """Invert the lens distortion of normalised image coordinates.

    The radius is found by safeguarded Newton inside the fold, then Newton in the plane takes in the
    tangential terms. Everything runs in float64 and comes back in the input's type.

    Gradients flow to the points (by the implicit function theorem), not to the coefficients.

    Returns:
        The undistorted coordinates and whether each is valid: inside the fold, and converged to
        `tolerance` (normalised units). An invalid point is returned as (0, 0), never as a far-away number.
    """
    dtype = points.dtype
    target = points.detach().double()
    # One fold a lens, before there is one row a point.
    r_max = torch.broadcast_to(fold_radius(dist.detach().double()), target.shape[:-1])
    dist = torch.broadcast_to(dist.detach().double(), (*target.shape[:-1], 5))
    x, solvable = _undistort_radius(target, dist, r_max, n_iter)
    for _ in range(n_iter):
        error = distort(x, dist) - target
        if error.abs().amax(-1)[solvable].le(0.01 * tolerance).all():
            break
        x = x - _solve_2x2(distortion_jacobian(x, dist), error)
        # A wild tangential step must not leave the region in which the model holds.
        radius = x.norm(dim=-1, keepdim=True)
        x = torch.where(radius > r_max[..., None], x * (r_max[..., None] / radius), x)
    residual = (distort(x, dist) - target).abs().amax(-1)
    valid = solvable & (residual <= tolerance) & (x.norm(dim=-1) < r_max * _INSIDE_FOLD)
    valid &= target.isfinite().all(-1)
    x = torch.where(valid[..., None], x, torch.zeros_like(x)).to(dtype)
    if torch.is_grad_enabled() and points.requires_grad:
        # The derivative of the inverse is the inverse of the derivative; the value stays.
        inverse = torch.linalg.inv(distortion_jacobian(x.double(), dist)).to(dtype)
        moved = torch.where(valid[..., None], points - points.detach(), torch.zeros_like(x))
        x = x + (inverse @ moved.unsqueeze(-1)).squeeze(-1)
    return x, valid


def _undistort_radius(target: Tensor, dist: Tensor, r_max: Tensor, n_iter: int) -> tuple[Tensor, Tensor]:
    """Solve r (1 + k1 r^2 + k2 r^4 + k3 r^6) = r_d on [0, r_max) by Newton within a shrinking bracket."""
    k1, k2, _, _, k3 = dist.unbind(-1)

    def forward(r: Tensor) -> Tensor:
        s = r * r
        return r * (1 + s * (k1 + s * (k2 + s * k3)))

    r_d = target.norm(dim=-1)
    low = torch.zeros_like(r_d)
    # Without a fold the polynomial grows, but slower than r if k1 < 0 for a while: double until it brackets.
    high = torch.where(r_max.isfinite(), r_max, torch.ones_like(r_d) + r_d)
    for _ in range(60):
        short = ~r_max.isfinite() & (forward(high) < r_d)
        if not short.any():
            break
        high = torch.where(short, 2 * high, high)
    # Tangential terms move a point a little: a radius just beyond the fold may still be solvable.
    solvable = forward(high) >= r_d * (1 - 1e-3)
    r = torch.minimum(r_d, high)
    for _ in range(n_iter):
        value = forward(r) - r_d
        # The step in the plane, which follows, needs no better start.
        if value.abs()[solvable].le(1e-13).all():
            break
        low = torch.where(value < 0, r, low)
        high = torch.where(value >= 0, r, high)
        s = r * r
        slope = 1 + s * (3 * k1 + s * (5 * k2 + s * 7 * k3))
        newton = r - value / torch.where(slope.abs() < 1e-14, torch.ones_like(slope), slope)
        inside = (newton > low) & (newton < high)
        r = torch.where(inside, newton, 0.5 * (low + high))
    scale = r / r_d.clamp_min(1e-300)
    return target * torch.where(r_d > 0, scale, torch.ones_like(scale))[..., None], solvable


def distortion_jacobian(
    points: Float[Tensor, '*n 2'], dist: Float[Tensor, '*#n 5']
) -> Float[Tensor, '*n 2 2']:
    """Give the derivative of `distort` by the coordinates."""
    k1, k2, p1, p2, k3 = dist.unbind(-1)
    x, y = points.unbind(-1)
    r2 = x * x + y * y
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    slope = 2 * (k1 + r2 * (2 * k2 + r2 * 3 * k3))
    cross = slope * x * y + 2 * p1 * x + 2 * p2 * y
    return torch.stack(
        (
            radial + slope * x * x + 2 * p1 * y + 6 * p2 * x,
            cross,
            cross,
            radial + slope * y * y + 6 * p1 * y + 2 * p2 * x,
        ),
        -1,
    ).unflatten(-1, (2, 2))


def _solve_2x2(matrix: Tensor, vector: Tensor) -> Tensor:
    (a, b), (c, d) = (row.unbind(-1) for row in matrix.unbind(-2))
    u, v = vector.unbind(-1)
    determinant = a * d - b * c
    safe = torch.where(determinant.abs() < 1e-12, torch.ones_like(determinant), determinant)
    return torch.stack(((d * u - b * v) / safe, (a * v - c * u) / safe), -1)
