"""The OpenCV pinhole camera: x_cam = R x_world + t, u = K distort(x_cam / z); pixel centres at integers."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

# Inside this share of the fold radius the inverse is well conditioned in float64.
_INSIDE_FOLD = 1.0 - 1e-9
# Steps in which Newton in the plane undoes any but a strong lens.
_MILD_STEPS = 6


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
    points: Float[Tensor, '*n 2'],
    dist: Float[Tensor, '*#n 5'],
    n_iter: int = 50,
    tolerance: float = 1e-12,
    fold: Float[Tensor, '*#f'] | None = None,
) -> tuple[Float[Tensor, '*n 2'], Bool[Tensor, '*n']]:
    """Invert the lens distortion of normalised image coordinates.

    Newton in the plane from where the points are; where that does not end inside the fold for all of them, the
    radius is found by safeguarded Newton first. Everything runs in float64 and comes back in the input's type.

    Gradients flow to the points (by the implicit function theorem), not to the coefficients.

    Args:
        points: normalised coordinates.
        dist: lens coefficients.
        n_iter: most steps.
        tolerance: of the distorted coordinates.
        fold: `fold_radius(dist)` where the caller has it already.

    Returns:
        The undistorted coordinates and whether each is valid: inside the fold, and converged to
        `tolerance` (normalised units). An invalid point is returned as (0, 0), never as a far-away number.
    """
    dtype = points.dtype
    target = points.detach().double()
    finite = target.isfinite().all(-1)
    # One fold a lens, before there is one row a point.
    r_max = (fold_radius(dist.detach().double()) if fold is None else fold.double()) * _INSIDE_FOLD
    dist = dist.detach().double()
    x = target
    error = distort(x, dist) - target
    for _ in range(_MILD_STEPS):
        if error.abs().amax(-1)[finite].le(0.01 * tolerance).all():
            break
        x = x - _solve_2x2(distortion_jacobian(x, dist), error)
        error = distort(x, dist) - target
    valid = finite & (error.abs().amax(-1) <= tolerance) & (x.norm(dim=-1) < r_max)
    if not valid[finite].all():
        x, valid = _undistort_carefully(target, dist, r_max, n_iter, tolerance)
        valid &= finite
    x = torch.where(valid[..., None], x, torch.zeros_like(x)).to(dtype)
    if torch.is_grad_enabled() and points.requires_grad:
        # The derivative of the inverse is the inverse of the derivative; the value stays.
        inverse = torch.linalg.inv(distortion_jacobian(x.double(), dist)).to(dtype)
        moved = torch.where(valid[..., None], points - points.detach(), torch.zeros_like(x))
        x = x + (inverse @ moved.unsqueeze(-1)).squeeze(-1)
    return x, valid


def _undistort_carefully(
    target: Tensor, dist: Tensor, r_max: Tensor, n_iter: int, tolerance: float
) -> tuple[Tensor, Tensor]:
    """Invert strong lenses too: never leaves the fold, whatever a step wants."""
    r_max = torch.broadcast_to(r_max / _INSIDE_FOLD, target.shape[:-1])
    dist = torch.broadcast_to(dist, (*target.shape[:-1], 5))
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
    return x, solvable & (residual <= tolerance) & (x.norm(dim=-1) < r_max * _INSIDE_FOLD)


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
    """Return the derivative of `distort` by the coordinates."""
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


# Smallest depth with an image, as a share of the camera's distance to the point.
NEAR = 1e-4


def world_to_camera(
    points: Float[Tensor, '*#b P 3'],
    rotation: Float[Tensor, '*#b C 3 3'],
    translation: Float[Tensor, '*#b C 3'],
) -> Float[Tensor, '*b C P 3']:
    """Move world points into each camera's frame (+x right, +y down, +z forward)."""
    return points.unsqueeze(-3) @ rotation.transpose(-1, -2) + translation.unsqueeze(-2)


def project_points(
    points: Float[Tensor, '*#b P 3'],
    intrinsics: Float[Tensor, '*#b C 3 3'],
    rotation: Float[Tensor, '*#b C 3 3'],
    translation: Float[Tensor, '*#b C 3'],
    dist: Float[Tensor, '*#b C 5'] | None = None,
    fold: Float[Tensor, '*#b C'] | None = None,
    near: float = NEAR,
) -> tuple[Float[Tensor, '*b C P 2'], Float[Tensor, '*b C P'], Bool[Tensor, '*b C P']]:
    """Project world points into cameras.

    A point at or behind the camera plane, or beyond the fold of the lens polynomial, has no image. It is
    marked invalid and its pixel is computed from clamped coordinates: finite, with a gradient that moves it
    back to where the camera can see, never a folded or mirrored position.

    Args:
        points: world points, shared by all cameras.
        intrinsics: K in px.
        rotation: world to camera.
        translation: world to camera, world unit.
        dist: lens coefficients (k1, k2, p1, p2, k3); None for an ideal lens.
        fold: `fold_radius(dist)` where the caller has it already; it is found here otherwise.
        near: smallest depth with an image, as a share of the camera's distance to the point.

    Returns:
        Pixels (x, y), depth in world units, and whether each point has an image (inside or outside the
        image's frame).
    """
    pixels, valid, depth = _pixels(
        world_to_camera(points, rotation, translation), intrinsics, dist, fold, near
    )
    return pixels, depth, valid


def _pixels(
    in_camera: Tensor, intrinsics: Tensor, dist: Tensor | None, fold: Tensor | None, near: float = NEAR
) -> tuple[Tensor, Tensor, Tensor]:
    depth = in_camera[..., 2]
    limit = near * in_camera.detach().norm(dim=-1).clamp_min(1e-12)
    valid = depth > limit
    normalised = in_camera[..., :2] / torch.maximum(depth, limit).unsqueeze(-1)
    if dist is not None:
        r_max = (fold_radius(dist) if fold is None else fold).unsqueeze(-1)
        radius = normalised.norm(dim=-1)
        inside = radius < r_max
        valid = valid & inside
        shrink = torch.where(inside, torch.ones_like(radius), r_max / radius.detach().clamp_min(1e-12))
        normalised = distort(normalised * shrink.unsqueeze(-1), dist.unsqueeze(-2))
    homogeneous = torch.cat((normalised, torch.ones_like(normalised[..., :1])), -1)
    pixels = homogeneous @ intrinsics.transpose(-1, -2)
    return pixels[..., :2], valid, depth


def linearise_projection(
    points: Float[Tensor, '*#b P 3'],
    intrinsics: Float[Tensor, '*#b C 3 3'],
    rotation: Float[Tensor, '*#b C 3 3'],
    translation: Float[Tensor, '*#b C 3'],
    dist: Float[Tensor, '*#b C 5'] | None = None,
    fold: Float[Tensor, '*#b C'] | None = None,
) -> tuple[Float[Tensor, '*b C P 2'], Float[Tensor, '*b C P 2 3']]:
    """Return `project_points`' pixels and their derivative with respect to the world points, px per world unit.

    Points that have no image have the derivative of their stand-in.
    """
    pixels, slope, _ = locate_points(points, intrinsics, rotation, translation, dist, fold)
    return pixels, slope


def locate_points(
    points: Float[Tensor, '*#b P 3'],
    intrinsics: Float[Tensor, '*#b C 3 3'],
    rotation: Float[Tensor, '*#b C 3 3'],
    translation: Float[Tensor, '*#b C 3'],
    dist: Float[Tensor, '*#b C 5'] | None = None,
    fold: Float[Tensor, '*#b C'] | None = None,
) -> tuple[Float[Tensor, '*b C P 2'], Float[Tensor, '*b C P 2 3'], Bool[Tensor, '*b C P']]:
    """Return `linearise_projection`'s pixels and derivative, and whether each point has an image."""
    in_camera = world_to_camera(points, rotation, translation)
    limit = NEAR * in_camera.norm(dim=-1).clamp_min(1e-12)
    depth = torch.maximum(in_camera[..., 2], limit)
    normalised = in_camera[..., :2] / depth.unsqueeze(-1)
    # A clamped depth does not move with the point.
    valid = in_camera[..., 2] > limit
    moves = valid.to(points.dtype)
    # d(x/z) = (dx - (x/z) dz) / z, with the camera's rows of R for dx, dy, dz.
    across, ahead = rotation[..., None, :2, :], rotation[..., None, 2:, :]
    slope = across - (moves.unsqueeze(-1) * normalised).unsqueeze(-1) * ahead
    if dist is not None:
        r_max = (fold_radius(dist) if fold is None else fold).unsqueeze(-1)
        radius = normalised.norm(dim=-1)
        valid = valid & (radius < r_max)
        shrink = (r_max / radius.clamp_min(1e-12)).clamp_max(1.0).unsqueeze(-1)
        lens = distortion_jacobian(normalised * shrink, dist.unsqueeze(-2))
        slope = shrink.unsqueeze(-1) * (lens @ slope)
        normalised = distort(normalised * shrink, dist.unsqueeze(-2))
    focal = intrinsics[..., :2, :2]
    pixels = normalised @ focal.transpose(-1, -2) + intrinsics[..., :2, 2].unsqueeze(-2)
    return pixels, focal.unsqueeze(-3) @ slope / depth[..., None, None], valid


# Of the points' mean spread: what holds directions in which the source has no extent.
_RIDGE = 1e-3


class ScaledOrthographic(NamedTuple):
    """`target ≈ scale * (rotation @ source)[:2] + translation`."""

    rotation: Float[Tensor, 'B 3 3']
    translation: Float[Tensor, 'B 2']
    scale: Float[Tensor, 'B']


def scaled_orthographic(
    source: Float[Tensor, 'B N 3'],
    target: Float[Tensor, 'B N 2'],
    weights: Float[Tensor, 'B N'],
    n_steps: int = 8,
) -> ScaledOrthographic:
    """Find the rotation, scale and shift under which a source looks like a flat target.

    The affine map of least squares, made a scaled rotation (DeMenthon and Davis 1995, POS), starts a loop that fills
    in the depth which the present rotation gives and aligns in three dimensions; each step lowers the squared
    distance in the image. Computed in float64.

    Args:
        source: points.
        target: where they are seen; axes as of an image, the third axis points away from the viewer.
        weights: 0 leaves a pair out.
        n_steps: of the loop.
    """
    dtype = source.dtype
    source, target, weights = source.double(), target.double(), weights.double()
    w = (weights / weights.sum(-1, keepdim=True).clamp_min(1e-300)).unsqueeze(-1)
    source_mean, target_mean = (w * source).sum(-2), (w * target).sum(-2)
    a, b = source - source_mean.unsqueeze(-2), target - target_mean.unsqueeze(-2)
    inertia = a.transpose(-1, -2) @ (w * a)
    spread = inertia.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None].clamp_min(1e-300)
    eye = torch.eye(3, dtype=a.dtype, device=a.device)
    affine = torch.linalg.solve(inertia + _RIDGE * spread * eye, a.transpose(-1, -2) @ (w * b))
    U, S, Vh = torch.linalg.svd(affine.transpose(-1, -2), full_matrices=False)
    rows = U @ Vh
    rotation = torch.cat((rows, torch.linalg.cross(rows[..., 0, :], rows[..., 1, :]).unsqueeze(-2)), -2)
    scale = S.mean(-1)
    for _ in range(n_steps):
        rotated = a @ rotation.transpose(-1, -2)
        scale = (w * rotated[..., :2] * b).sum((-1, -2)) / (w * rotated[..., :2].square()).sum(
            (-1, -2)
        ).clamp_min(1e-300)
        filled = torch.cat((b, scale.clamp_min(1e-300)[..., None, None] * rotated[..., 2:]), -1)
        U, _, Vh = torch.linalg.svd(filled.transpose(-1, -2) @ (w * a))
        sign = torch.ones_like(U[..., 0])
        sign[..., 2] = torch.linalg.det(U @ Vh).sign()
        rotation = (U * sign.unsqueeze(-2)) @ Vh
    rotated = a @ rotation.transpose(-1, -2)
    scale = (w * rotated[..., :2] * b).sum((-1, -2)) / (w * rotated[..., :2].square()).sum(
        (-1, -2)
    ).clamp_min(1e-300)
    moved = (rotation @ source_mean.unsqueeze(-1)).squeeze(-1)[..., :2]
    translation = target_mean - scale.unsqueeze(-1) * moved
    return ScaledOrthographic(rotation.to(dtype), translation.to(dtype), scale.to(dtype))
