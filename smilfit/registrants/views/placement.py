"""How well orientations of a rigid body agree with one image: with its keypoints, or with its mask."""

from dataclasses import dataclass, replace
from itertools import permutations, product
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from smilfit.geometry.damping import DAMPING, choose_rows, descend
from smilfit.geometry.robust import GemanMcClure
from smilfit.geometry.rotation import axis_angle_to_rotmat, skew
from smilfit.handlers import SilhouetteInput
from smilfit.handlers.silhouettes import sample_distance
from smilfit.registrants.views.starts import angle_between
from smilfit.structures import Cameras

_POLICY = replace(DAMPING, start=1e-3)
# A step that gains a smaller share is the last: starts are only compared.
_ENOUGH = 1e-6


class Placed(NamedTuple):
    """`x_world = rotation @ x + translation`, and the mean (bounded) squared distance in the image, px^2."""

    rotation: Float[Tensor, 'N 3 3']
    translation: Float[Tensor, 'N 3']
    error: Float[Tensor, ' N']


def align_to_pixels(
    points: Float[Tensor, 'N P 3'],
    start: tuple[Tensor, Tensor],
    cameras: Cameras,
    pixels: Float[Tensor, 'N C P 2'],
    weight: Float[Tensor, 'N C P'],
    sigma_px: Float[Tensor, ' N'],
    n_iter: int = 15,
) -> Placed:
    """Find rotation and translation by Levenberg-Marquardt, each body by itself.

    Args:
        points: before they are moved.
        start: rotations (N, 3, 3) and translations (N, 3).
        cameras: of one set for all, or one a body.
        pixels: where the points are seen.
        weight: 0 where they are not.
        sigma_px: distance beyond which a point counts less and less (Geman-McClure).
        n_iter: steps.
    """
    share = weight / weight.sum((1, 2), keepdim=True).clamp_min(1e-12)
    robust = GemanMcClure(sigma_px[:, None, None])

    def look(placed: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
        rotation, translation = placed
        moved = points @ rotation.transpose(-1, -2) + translation.unsqueeze(1)
        projected, slope = cameras.linearise(moved)
        _, depth, _ = cameras.project(moved)
        difference = torch.where((share > 0).unsqueeze(-1), projected - pixels, torch.zeros_like(pixels))
        bounded, reweighting = robust(difference.square().sum(-1))
        # Behind the camera nothing is seen, whatever its pixels say.
        behind = ((depth <= 0) & (share > 0)).flatten(1).any(1)
        error = torch.where(behind, torch.inf, (share * bounded).sum((1, 2)))
        return error, (rotation, translation, moved, slope, difference, share * reweighting)

    def step(at: tuple[Tensor, ...], damping: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
        rotation, translation, moved, slope, difference, robust_weight = at
        arm = moved - translation.unsqueeze(1)
        jacobian = torch.cat((-slope @ skew(arm).unsqueeze(1), slope), -1)
        back = (robust_weight[..., None, None] * jacobian).transpose(-1, -2)
        matrix = (back @ jacobian).sum((1, 2))
        vector = (back @ difference.unsqueeze(-1)).sum((1, 2)).squeeze(-1)
        scale = matrix.diagonal(dim1=-2, dim2=-1)
        scale = damping.unsqueeze(1) * (scale + 1e-9 * scale.amax(1, keepdim=True).clamp_min(1e-12))
        change = -torch.linalg.solve(matrix + torch.diag_embed(scale), vector)
        following = axis_angle_to_rotmat(change[:, :3]) @ rotation, translation + change[:, 3:]
        return following, (change * (scale * change - vector)).sum(1)

    end = descend(look, step, start, _POLICY, n_iter, _ENOUGH, choose_rows)
    return Placed(end.state[0], end.state[1], end.energy)


def cube_rotations(like: Tensor) -> Float[Tensor, '24 3 3']:
    """List the rotations of a cube, the identity first: no rotation is farther than 63 degrees from one of them."""
    result = []
    for order in permutations(range(3)):
        for signs in product((1.0, -1.0), repeat=3):
            matrix = torch.zeros(3, 3, dtype=torch.float64)
            for row, (column, sign) in enumerate(zip(order, signs)):
                matrix[row, column] = sign
            if torch.linalg.det(matrix) > 0:
                result.append(matrix)
    return torch.stack(result).to(like)


def view_directions(like: Tensor) -> Float[Tensor, '14 3 3']:
    """List rotations that show a body's six sides and eight corners, each one way up."""
    directions: list[Tensor] = []
    result = []
    for rotation in cube_rotations(like):
        if not any(torch.allclose(rotation[2], other) for other in directions):
            directions.append(rotation[2])
            result.append(rotation)
    for corner in product((1.0, -1.0), repeat=3):
        axis = torch.tensor(corner, dtype=torch.float64).to(like) / 3**0.5
        result.append(_showing(axis))
    return torch.stack(result)


def _showing(axis: Float[Tensor, '3']) -> Float[Tensor, '3 3']:
    """Return a rotation whose third row, what points away from the viewer, is an axis."""
    helper = torch.eye(3, dtype=axis.dtype, device=axis.device)[axis.abs().argmin()]
    across = torch.linalg.cross(helper, axis)
    across = across / across.norm()
    return torch.stack((across, torch.linalg.cross(axis, across), axis))


def parallel_rays_rotation(
    source: Float[Tensor, 'B P 3'], flat: Float[Tensor, 'B P 2'], weight: Float[Tensor, 'B P']
) -> Float[Tensor, 'B 3 3']:
    """Find the rotation that shows points as they are seen by parallel rays, at an unknown size.

    The best affine map from points to image is drawn to the nearest scaled rotation's first two rows (POS,
    DeMenthon and Davis 1995). Points in a plane leave a mirror image: see `mirror_images`.
    """
    a, w = _centred(source, weight)
    b, _ = _centred(flat, weight)
    inverse = torch.linalg.pinv((w * a).transpose(-1, -2) @ a, rtol=1e-6, hermitian=True)
    affine = (w * b).transpose(-1, -2) @ a @ inverse
    u, _, vh = torch.linalg.svd(affine, full_matrices=False)
    rows = u @ vh
    return torch.cat((rows, torch.linalg.cross(rows[:, 0], rows[:, 1]).unsqueeze(1)), 1)


def mirror_images(
    rotation: Float[Tensor, 'B 3 3'], source: Float[Tensor, 'B P 3'], weight: Float[Tensor, 'B P']
) -> Float[Tensor, 'B 6 3 3']:
    """Return rotations that look alike to a camera far away: mirrored in depth, and turned about the viewing axis.

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
    rotated = axis_angle_to_rotmat(quarter) @ rotation.unsqueeze(1)
    return torch.cat((mirrored, rotated), 1)


def place_by_spread(
    rotated: Float[Tensor, 'B P 3'],
    weight: Float[Tensor, 'B P'],
    image_centre: Float[Tensor, 'B 2'],
    image_size: Float[Tensor, ' B'],
    depth_of_one: Float[Tensor, ' B'],
) -> Float[Tensor, 'B 3']:
    """Find where turned points must stand, in the camera's frame, to be seen where and as large as they are.

    Args:
        rotated: points, turned as the camera sees them.
        weight: 0 leaves a point out.
        image_centre: where they are seen, divided by the focal length.
        image_size: root of the sum of the variances of what is seen, likewise.
        depth_of_one: the depth where what is seen, or what is turned, has no extent.
    """
    a, w = _centred(rotated, weight)
    size = (w * a[..., :2].square()).sum((1, 2)).sqrt()
    tiny = 1e-9
    depth = torch.where((image_size > tiny) & (size > tiny), size / image_size.clamp_min(tiny), depth_of_one)
    at = torch.cat((image_centre, torch.ones_like(depth).unsqueeze(1)), 1)
    return depth.unsqueeze(1) * at - (w * rotated).sum(1)


def moments(
    points: Float[Tensor, 'B P 2'], weight: Float[Tensor, 'B P']
) -> tuple[Float[Tensor, 'B 2'], Float[Tensor, ' B'], Float[Tensor, ' B']]:
    """Return points' weighted mean, the root of the sum of their variances, and the angle of their longer axis."""
    a, w = _centred(points, weight)
    x, y = (w * a.square()).sum(1).unbind(-1)
    cross = (w.squeeze(-1) * a.prod(-1)).sum(1)
    return (w * points).sum(1), (x + y).sqrt(), 0.5 * torch.atan2(2 * cross, x - y)


def distinct_best(
    error: Float[Tensor, 'B G'], rotation: Float[Tensor, 'B G 3 3'], n: int, least_rad: float
) -> Tensor:
    """Choose the n candidates of least error that differ by an angle (B, n); the best again where none is left."""
    left = error.clone()
    chosen: list[Tensor] = []
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
    """Return points less their weighted mean, and weights that sum to 1."""
    w = (weight / weight.sum(1, keepdim=True).clamp_min(1e-12)).unsqueeze(-1)
    return points - (w * points).sum(1, keepdim=True), w


# Beyond this share of the keypoints' extent a limb is bent, not the body misplaced.
BENT_SHARE = 0.3
# Faces and pixels of the mask that are compared.
N_FACES, N_PIXELS = 400, 200
# Moments of masks are taken of at most so many rows and columns.
MOMENT_SIDE = 64


@dataclass(frozen=True)
class Evidence:
    """G candidates of each frame, `x_world = rotation x + translation`, and how much they miss, px^2."""

    rotation: Float[Tensor, 'B G 3 3']
    translation: Float[Tensor, 'B G 3']
    error: Float[Tensor, 'B G']

    def best(self, n: int, least_rad: float) -> tuple[Tensor, Tensor]:
        """Choose the n best that differ: rotations (B, n, 3, 3) and translations (B, n, 3)."""
        index = distinct_best(self.error, self.rotation, n, least_rad)
        rows = torch.arange(len(index)).unsqueeze(1)
        return self.rotation[rows, index], self.translation[rows, index]


def keypoint_evidence(
    source: Float[Tensor, 'B P 3'],
    pixels: Float[Tensor, 'B P 2'],
    weight: Float[Tensor, 'B P'],
    cameras: Cameras,
    usual_depth: Float[Tensor, ' B'],
) -> Evidence:
    """Align points to where they are seen, from a grid of orientations, the closed form and its mirror images.

    Args:
        source: before they are moved.
        pixels: where they are seen.
        weight: 0 where they are not.
        cameras: (B, 1) of them.
        usual_depth: where one point alone is thought to be.
    """
    # What is not seen must not enter, not even as NaN.
    pixels = torch.where((weight > 0).unsqueeze(-1), pixels, torch.zeros_like(pixels))
    flat = cameras.normalise(cameras.undistort(pixels.unsqueeze(1))[0])[:, 0]
    closed = parallel_rays_rotation(source, flat, weight)
    grid = cube_rotations(source).expand(len(source), -1, -1, -1)
    rotations = torch.cat((closed.unsqueeze(1), mirror_images(closed, source, weight), grid), 1)
    first = _aligned(source, rotations, pixels, flat, weight, cameras, usual_depth, 15)
    # What mirrors the best stays in the list as it is: a limb that bends may be what tells them apart.
    best = first.rotation[torch.arange(len(source)), first.error.argmin(1)]
    mirrored = mirror_images(cameras.R[:, 0] @ best, source, weight)
    more = _aligned(source, mirrored, pixels, flat, weight, cameras, usual_depth, 0)
    return Evidence(*(torch.cat((a, b), 1) for a, b in zip(_parts(first), _parts(more))))


def _parts(evidence: Evidence) -> tuple[Tensor, ...]:
    return evidence.rotation, evidence.translation, evidence.error


def _aligned(
    source: Tensor,
    rotations: Float[Tensor, 'B G 3 3'],
    pixels: Tensor,
    flat: Tensor,
    weight: Tensor,
    cameras: Cameras,
    usual_depth: Tensor,
    n_iter: int,
) -> Evidence:
    """Start every orientation, as the camera sees it, where the extent of the points says, and move it on."""
    count = rotations.shape[1]

    def each(x: Tensor) -> Tensor:
        return x.repeat_interleave(count, 0)

    centre, size, _ = moments(flat, weight)
    rotation = rotations.flatten(0, 1)
    rotated = each(source) @ rotation.transpose(-1, -2)
    at = place_by_spread(rotated, each(weight), each(centre), each(size), each(usual_depth))
    many = cameras.map(each)
    extent = moments(pixels, weight)[1]
    start = _in_the_world(rotation, at, many)
    sigma = (BENT_SHARE * each(extent)).clamp_min(1.0)
    observed = (each(pixels).unsqueeze(1), each(weight).unsqueeze(1))
    placed = align_to_pixels(each(source), start, many, *observed, sigma, n_iter)
    return Evidence(*(x.unflatten(0, (-1, count)) for x in placed))


def mask_evidence(
    vertices: Float[Tensor, 'B V 3'],
    faces: Int[Tensor, 'F 3'],
    masks: SilhouetteInput,
    view: Int[Tensor, ' B'],
    cameras: Cameras,
    usual_depth: Float[Tensor, ' B'],
) -> Evidence:
    """Turn a body to a mask's axis, move it to the mask's middle, and compare extents in both directions.

    Args:
        vertices: before they are moved.
        faces: corners of each triangle.
        masks: of B frames.
        view: which of all images, frame by frame, counts.
        cameras: (B, 1) of them.
        usual_depth: where the body is thought to be when a mask has no extent.
    """
    few = faces[:: max(1, len(faces) // N_FACES)]
    corners = vertices[:, few]
    source = corners.mean(2)
    area = torch.linalg.cross(corners[:, :, 1] - corners[:, :, 0], corners[:, :, 2] - corners[:, :, 0])
    points, valid = (x.flatten(0, 1)[view] for x in masks.points_px(N_PIXELS))
    distance = masks.distance_px().flatten(0, 1)[view].unsqueeze(1)
    centre, size, axis = _mask_moments(masks.masks.flatten(0, 1)[view], cameras)
    result = []
    for direction in view_directions(source):
        for half in (0.0, torch.pi):
            rotated = source @ direction.t()
            # A face counts by its area in the image.
            weight = (area @ direction.t())[..., 2].abs()
            angle = axis + half - moments(rotated[..., :2], weight)[2]
            spin = axis_angle_to_rotmat(torch.stack((0 * angle, 0 * angle, angle), 1))
            at = place_by_spread(rotated @ spin.transpose(-1, -2), weight, centre, size, usual_depth)
            rotation, translation = _in_the_world(spin @ direction, at, cameras)
            moved = source @ rotation.transpose(-1, -2) + translation.unsqueeze(1)
            result.append(
                (rotation, translation, _missed(cameras.project(moved)[0][:, 0], points, valid, distance))
            )
    return Evidence(*(torch.stack(parts, 1) for parts in zip(*result)))


def _mask_moments(mask: Float[Tensor, 'B H W'], cameras: Cameras) -> tuple[Tensor, Tensor, Tensor]:
    """Return middle, extent and axis of masks, in units of the focal length."""
    stride = -(-max(mask.shape[1:]) // MOMENT_SIDE)
    weight = (mask[:, ::stride, ::stride] > 0.5).to(mask)
    rows, columns = (stride * torch.arange(n).to(mask) for n in weight.shape[1:])
    grid = torch.stack(torch.meshgrid(columns, rows, indexing='xy'), -1).reshape(1, 1, -1, 2)
    flat = cameras.normalise(grid.expand(len(mask), 1, -1, 2))[:, 0]
    return moments(flat, weight.flatten(1))


def _missed(pixels: Tensor, points: Tensor, valid: Tensor, distance: Tensor) -> Float[Tensor, ' B']:
    """Return how far a body's faces are from the mask, and the mask's pixels from the body's faces, px^2."""
    outside = sample_distance(distance, pixels.unsqueeze(1))[:, 0].square().mean(1)
    nearest = torch.cdist(points, pixels).amin(2).square()
    share = valid.to(nearest) / valid.sum(1, keepdim=True).clamp_min(1)
    return outside + (share * nearest).sum(1)


def _in_the_world(
    rotation: Float[Tensor, 'N 3 3'], at: Float[Tensor, 'N 3'], cameras: Cameras
) -> tuple[Tensor, Tensor]:
    """Take a body's turn and place from the camera's frame to the world's."""
    back = cameras.R[:, 0].transpose(-1, -2)
    return back @ rotation, (back @ (at - cameras.t[:, 0]).unsqueeze(-1)).squeeze(-1)
