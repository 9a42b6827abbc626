"""How well orientations of a rigid body agree with one image: with its keypoints, or with its mask."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from smilfit.geometry.rotation import axis_angle_to_rotmat
from smilfit.handlers import SilhouetteInput
from smilfit.handlers.silhouettes import sample_distance
from smilfit.registrants.view_alignment import align_to_pixels
from smilfit.registrants.view_candidates import (
    cube_rotations,
    distinct_best,
    mirror_images,
    moments,
    parallel_rays_rotation,
    place_by_spread,
    view_directions,
)
from smilfit.structures import Cameras

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
    seen_as = torch.cat((closed.unsqueeze(1), mirror_images(closed, source, weight), grid), 1)
    first = _aligned(source, seen_as, pixels, flat, weight, cameras, usual_depth, 15)
    # What mirrors the best stays in the list as it is: a limb that bends may be what tells them apart.
    best = first.rotation[torch.arange(len(source)), first.error.argmin(1)]
    mirrored = mirror_images(cameras.R[:, 0] @ best, source, weight)
    more = _aligned(source, mirrored, pixels, flat, weight, cameras, usual_depth, 0)
    return Evidence(*(torch.cat((a, b), 1) for a, b in zip(_parts(first), _parts(more))))


def _parts(found: Evidence) -> tuple[Tensor, ...]:
    return found.rotation, found.translation, found.error


def _aligned(
    source: Tensor,
    seen_as: Float[Tensor, 'B G 3 3'],
    pixels: Tensor,
    flat: Tensor,
    weight: Tensor,
    cameras: Cameras,
    usual_depth: Tensor,
    n_iter: int,
) -> Evidence:
    """Start every orientation, as the camera sees it, where the extent of the points says, and move it on."""
    count = seen_as.shape[1]

    def each(x: Tensor) -> Tensor:
        return x.repeat_interleave(count, 0)

    middle, size, _ = moments(flat, weight)
    turn = seen_as.flatten(0, 1)
    turned = each(source) @ turn.transpose(-1, -2)
    at = place_by_spread(turned, each(weight), each(middle), each(size), each(usual_depth))
    many = cameras.map(each)
    extent = moments(pixels, weight)[1]
    start = _in_the_world(turn, at, many)
    sigma = (BENT_SHARE * each(extent)).clamp_min(1.0)
    seen = (each(pixels).unsqueeze(1), each(weight).unsqueeze(1))
    placed = align_to_pixels(each(source), start, many, *seen, sigma, n_iter)
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
    points, there = (x.flatten(0, 1)[view] for x in masks.points_px(N_PIXELS))
    distance = masks.distance_px().flatten(0, 1)[view].unsqueeze(1)
    middle, size, axis = _mask_moments(masks.masks.flatten(0, 1)[view], cameras)
    found = []
    for direction in view_directions(source):
        for half in (0.0, torch.pi):
            turned = source @ direction.t()
            # A face counts by its area in the image.
            weight = (area @ direction.t())[..., 2].abs()
            angle = axis + half - moments(turned[..., :2], weight)[2]
            spin = axis_angle_to_rotmat(torch.stack((0 * angle, 0 * angle, angle), 1))
            at = place_by_spread(turned @ spin.transpose(-1, -2), weight, middle, size, usual_depth)
            rotation, translation = _in_the_world(spin @ direction, at, cameras)
            moved = source @ rotation.transpose(-1, -2) + translation.unsqueeze(1)
            found.append(
                (rotation, translation, _missed(cameras.project(moved)[0][:, 0], points, there, distance))
            )
    return Evidence(*(torch.stack(parts, 1) for parts in zip(*found)))


def _mask_moments(mask: Float[Tensor, 'B H W'], cameras: Cameras) -> tuple[Tensor, Tensor, Tensor]:
    """Give middle, extent and axis of masks, in units of the focal length."""
    stride = -(-max(mask.shape[1:]) // MOMENT_SIDE)
    weight = (mask[:, ::stride, ::stride] > 0.5).to(mask)
    rows, columns = (stride * torch.arange(n).to(mask) for n in weight.shape[1:])
    grid = torch.stack(torch.meshgrid(columns, rows, indexing='xy'), -1).reshape(1, 1, -1, 2)
    flat = cameras.normalise(grid.expand(len(mask), 1, -1, 2))[:, 0]
    return moments(flat, weight.flatten(1))


def _missed(pixels: Tensor, points: Tensor, there: Tensor, distance: Tensor) -> Float[Tensor, ' B']:
    """Say how far a body's faces are from the mask, and the mask's pixels from the body's faces, px^2."""
    outside = sample_distance(distance, pixels.unsqueeze(1))[:, 0].square().mean(1)
    nearest = torch.cdist(points, pixels).amin(2).square()
    share = there.to(nearest) / there.sum(1, keepdim=True).clamp_min(1)
    return outside + (share * nearest).sum(1)


def _in_the_world(
    turn: Float[Tensor, 'N 3 3'], at: Float[Tensor, 'N 3'], cameras: Cameras
) -> tuple[Tensor, Tensor]:
    """Take a body's turn and place from the camera's frame to the world's."""
    back = cameras.R[:, 0].transpose(-1, -2)
    return back @ turn, (back @ (at - cameras.t[:, 0]).unsqueeze(-1)).squeeze(-1)
