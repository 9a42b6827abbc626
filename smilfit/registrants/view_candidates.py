"""Orientations that a body may have in an image: grids, the closed form for parallel rays, its mirror images."""

from itertools import permutations, product

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.geometry.rotation import axis_angle_to_rotmat
from smilfit.registrants.hypotheses import angle_between


def cube_rotations(like: Tensor) -> Float[Tensor, '24 3 3']:
    """List the rotations of a cube, the identity first: no rotation is farther than 63 degrees from one of them."""
    found = []
    for order in permutations(range(3)):
        for signs in product((1.0, -1.0), repeat=3):
            matrix = torch.zeros(3, 3, dtype=torch.float64)
            for row, (column, sign) in enumerate(zip(order, signs)):
                matrix[row, column] = sign
            if torch.linalg.det(matrix) > 0:
                found.append(matrix)
    return torch.stack(found).to(like)


def view_directions(like: Tensor) -> Float[Tensor, '14 3 3']:
    """List rotations that show a body's six sides and eight corners, each one way up."""
    seen, found = [], []
    for rotation in cube_rotations(like):
        if not any(torch.allclose(rotation[2], other) for other in seen):
            seen.append(rotation[2])
            found.append(rotation)
    for corner in product((1.0, -1.0), repeat=3):
        axis = torch.tensor(corner, dtype=torch.float64).to(like) / 3**0.5
        found.append(_showing(axis))
    return torch.stack(found)


def _showing(axis: Float[Tensor, '3']) -> Float[Tensor, '3 3']:
    """Give a rotation whose third row, what points away from the viewer, is an axis."""
    helper = torch.eye(3, dtype=axis.dtype, device=axis.device)[axis.abs().argmin()]
    across = torch.linalg.cross(helper, axis)
    across = across / across.norm()
    return torch.stack((across, torch.linalg.cross(axis, across), axis))


def parallel_rays_rotation(
    source: Float[Tensor, 'B P 3'], seen: Float[Tensor, 'B P 2'], weight: Float[Tensor, 'B P']
) -> Float[Tensor, 'B 3 3']:
    """Find the rotation that shows points as they are seen by parallel rays, at an unknown size.

    The best affine map from points to image is drawn to the nearest scaled rotation's first two rows (POS,
    DeMenthon and Davis 1995). Points in a plane leave a mirror image: see `mirror_images`.
    """
    a, w = _centred(source, weight)
    b, _ = _centred(seen, weight)
    inverse = torch.linalg.pinv((w * a).transpose(-1, -2) @ a, rtol=1e-6, hermitian=True)
    affine = (w * b).transpose(-1, -2) @ a @ inverse
    u, _, vh = torch.linalg.svd(affine, full_matrices=False)
    rows = u @ vh
    return torch.cat((rows, torch.linalg.cross(rows[:, 0], rows[:, 1]).unsqueeze(1)), 1)


def mirror_images(
    rotation: Float[Tensor, 'B 3 3'], source: Float[Tensor, 'B P 3'], weight: Float[Tensor, 'B P']
) -> Float[Tensor, 'B 6 3 3']:
    """Give rotations that look alike to a camera far away: mirrored in depth, and turned about the viewing axis.

    What is mirrored in the image's plane is no rotation; it becomes one by mirroring the points across a
    plane that they nearly keep to: those of their three principal axes. A body and its quarter turns in the
    image are the other three.
    """
    a, w = _centred(source, weight)
    axes = torch.linalg.eigh((w * a).transpose(-1, -2) @ a).eigenvectors
    eye = torch.eye(3, dtype=rotation.dtype, device=rotation.device)
    across = eye - 2 * axes.transpose(-1, -2).unsqueeze(-1) * axes.transpose(-1, -2).unsqueeze(-2)
    depth = torch.diag(rotation.new_tensor([1.0, 1.0, -1.0]))
    mirrored = depth @ rotation.unsqueeze(1) @ across
    quarter = torch.pi / 2 * rotation.new_tensor([[0, 0, 1.0], [0, 0, 2.0], [0, 0, 3.0]])
    turned = axis_angle_to_rotmat(quarter) @ rotation.unsqueeze(1)
    return torch.cat((mirrored, turned), 1)


def place_by_spread(
    turned: Float[Tensor, 'B P 3'],
    weight: Float[Tensor, 'B P'],
    seen_middle: Float[Tensor, 'B 2'],
    seen_size: Float[Tensor, ' B'],
    depth_of_one: Float[Tensor, ' B'],
) -> Float[Tensor, 'B 3']:
    """Find where turned points must stand, in the camera's frame, to be seen where and as large as they are.

    Args:
        turned: points, turned as the camera sees them.
        weight: 0 leaves a point out.
        seen_middle: where they are seen, divided by the focal length.
        seen_size: root of the sum of the variances of what is seen, likewise.
        depth_of_one: the depth where what is seen, or what is turned, has no extent.
    """
    a, w = _centred(turned, weight)
    size = (w * a[..., :2].square()).sum((1, 2)).sqrt()
    tiny = 1e-9
    depth = torch.where((seen_size > tiny) & (size > tiny), size / seen_size.clamp_min(tiny), depth_of_one)
    at = torch.cat((seen_middle, torch.ones_like(depth).unsqueeze(1)), 1)
    return depth.unsqueeze(1) * at - (w * turned).sum(1)


def moments(
    points: Float[Tensor, 'B P 2'], weight: Float[Tensor, 'B P']
) -> tuple[Float[Tensor, 'B 2'], Float[Tensor, ' B'], Float[Tensor, ' B']]:
    """Give points' weighted mean, the root of the sum of their variances, and the angle of their longer axis."""
    a, w = _centred(points, weight)
    x, y = (w * a.square()).sum(1).unbind(-1)
    cross = (w.squeeze(-1) * a.prod(-1)).sum(1)
    return (w * points).sum(1), (x + y).sqrt(), 0.5 * torch.atan2(2 * cross, x - y)


def distinct_best(
    error: Float[Tensor, 'B G'], rotation: Float[Tensor, 'B G 3 3'], n: int, least_rad: float
) -> Tensor:
    """Choose the n candidates of least error that differ by an angle (B, n); the best again where none is left."""
    left = error.clone()
    chosen = []
    for _ in range(n):
        best = left.argmin(1)
        lost = left.gather(1, best.unsqueeze(1)).isinf().squeeze(1)
        best = torch.where(lost, chosen[0], best) if chosen else best
        chosen.append(best)
        picked = rotation[torch.arange(len(best), device=best.device), best]
        near = angle_between(rotation, picked.unsqueeze(1)) < least_rad
        left = left.masked_fill(near, torch.inf)
    return torch.stack(chosen, 1)


def _centred(points: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Give points less their weighted mean, and weights that sum to 1."""
    w = (weight / weight.sum(1, keepdim=True).clamp_min(1e-12)).unsqueeze(-1)
    return points - (w * points).sum(1, keepdim=True), w
