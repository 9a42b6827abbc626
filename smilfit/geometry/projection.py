"""The OpenCV pinhole camera: x_cam = R x_world + t, u = K distort(x_cam / z); pixel centres at integers."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from smilfit.geometry.distortion import distort, distortion_jacobian, fold_radius

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
    """Give `project_points`' pixels and their derivative with respect to the world points, px per world unit.

    Points that have no image have the derivative of their stand-in.
    """
    in_camera = world_to_camera(points, rotation, translation)
    limit = NEAR * in_camera.norm(dim=-1).clamp_min(1e-12)
    depth = torch.maximum(in_camera[..., 2], limit)
    normalised = in_camera[..., :2] / depth.unsqueeze(-1)
    # A clamped depth does not move with the point.
    moves = (in_camera[..., 2] > limit).to(points.dtype)
    # d(x/z) = (dx - (x/z) dz) / z, with the camera's rows of R for dx, dy, dz.
    across, ahead = rotation[..., None, :2, :], rotation[..., None, 2:, :]
    slope = across - (moves.unsqueeze(-1) * normalised).unsqueeze(-1) * ahead
    if dist is not None:
        r_max = (fold_radius(dist) if fold is None else fold).unsqueeze(-1)
        shrink = (r_max / normalised.norm(dim=-1).clamp_min(1e-12)).clamp_max(1.0).unsqueeze(-1)
        lens = distortion_jacobian(normalised * shrink, dist.unsqueeze(-2))
        slope = shrink.unsqueeze(-1) * (lens @ slope)
        normalised = distort(normalised * shrink, dist.unsqueeze(-2))
    focal = intrinsics[..., :2, :2]
    pixels = normalised @ focal.transpose(-1, -2) + intrinsics[..., :2, 2].unsqueeze(-2)
    return pixels, focal.unsqueeze(-3) @ slope / depth[..., None, None]
