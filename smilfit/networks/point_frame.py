"""The animal's own frame, in closed form from its keypoints: heading, place and size, without labels."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from smilfit.geometry.alignment import procrustes
from smilfit.geometry.projection import scaled_orthographic

# Rounds of reweighting, and of how many standard deviations a point begins to be doubted.
ROUNDS = 3
DOUBT = 3.0


class PointFrame(NamedTuple):
    """`x_world = scale * rotation @ x_own + origin`; own lengths are the body model's."""

    rotation: Float[Tensor, 'B 3 3']
    origin: Float[Tensor, 'B 3']
    scale: Float[Tensor, 'B']

    def points_from_world(self, points: Float[Tensor, 'B N 3']) -> Float[Tensor, 'B N 3']:
        """Bring points into the frame."""
        return (points - self.origin.unsqueeze(1)) @ self.rotation / self.scale[:, None, None]

    def points_to_world(self, points: Float[Tensor, 'B N 3']) -> Float[Tensor, 'B N 3']:
        """Bring points into the world."""
        turned = points @ self.rotation.transpose(-1, -2)
        return self.scale[:, None, None] * turned + self.origin.unsqueeze(1)

    def where(self, chosen: Tensor, other: 'PointFrame') -> 'PointFrame':
        """Take this frame where chosen (B,), else the other."""
        pairs = zip(self, other)
        return PointFrame(*(torch.where(chosen.reshape(-1, *(1,) * (a.ndim - 1)), a, b) for a, b in pairs))


def frame_of_points(
    xyz: Float[Tensor, 'B K 3'],
    covariance: Float[Tensor, 'B K 3 3'],
    confidence: Float[Tensor, 'B K'],
    reference: Float[Tensor, 'K 3'],
    spread: Float[Tensor, ' K'],
) -> PointFrame:
    """Lay the mean pose on points in space (weighted special Procrustes, with scale).

    A point weighs `confidence / (its own variance + that of the pose there)`, and less where it stays further from
    the mean pose than both allow. All that moves, turns or scales the points moves, turns or scales the frame alike.

    Args:
        xyz: points; those of confidence 0 are not looked at.
        covariance: of each.
        confidence: of each.
        reference: the keypoints of the mean pose, model unit.
        spread: the variance per axis of each about the mean pose, over poses, model unit^2.
    """
    source = reference.expand(len(xyz), -1, -1)
    xyz = torch.where((confidence > 0).unsqueeze(-1), xyz, torch.zeros_like(xyz))
    own = covariance.diagonal(dim1=-2, dim2=-1).mean(-1).clamp_min(0)
    own = torch.where(confidence > 0, own, torch.zeros_like(own))
    scale = _size(xyz, own, confidence) / _size(source, own, confidence).clamp_min(1e-12)
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    trust = torch.ones_like(confidence)
    for _ in range(ROUNDS):
        variance = own + spread * scale.square().unsqueeze(1)
        result = procrustes(
            source, xyz, confidence * trust * spread.mean() / variance * scale.square().unsqueeze(1)
        )
        scale = torch.where(result.determined & (result.scale > 0), result.scale, scale)
        off = (result.apply(source) - xyz).square().sum(-1) / (3 * variance).clamp_min(1e-300)
        trust = (1 + off / DOUBT**2).reciprocal().square()
    return PointFrame(
        result.rotation, result.translation, torch.where(scale > 0, scale, torch.ones_like(scale))
    )


def frame_of_rays(
    centre: Float[Tensor, 'B 3'],
    rays: Float[Tensor, 'B K 3'],
    weights: Float[Tensor, 'B K'],
    reference: Float[Tensor, 'K 3'],
    spread: Float[Tensor, ' K'],
    scale: Float[Tensor, ''],
) -> PointFrame:
    """Lay the mean pose on the rays of one view.

    Seen along the middle ray the body is flat; `scaled_orthographic` gives its turn, and its apparent size the depth
    at which an animal of the given scale looks so. Turning the camera about its centre or rolling it turns the frame.

    Args:
        centre: of the camera.
        rays: unit directions.
        weights: 0 leaves a ray out.
        reference: the keypoints of the mean pose, model unit.
        spread: the variance per axis of each about the mean pose, model unit^2.
        scale: the expected scale of the animal, world unit per model unit.
    """
    weights = weights * spread.mean() / spread
    centre_point = (weights.unsqueeze(-1) * rays).sum(1)
    seen = centre_point.norm(dim=-1, keepdim=True)
    ahead = torch.where(
        seen > 0, centre_point / seen.clamp_min(1e-12), centre_point.new_tensor([0.0, 0.0, 1.0])
    )
    view = _looking_along(ahead)
    flat = rays @ view.transpose(-1, -2)
    depth = flat[..., 2:].clamp_min(1e-3)
    weights = weights * (flat[..., 2] > 1e-3)
    source = reference.expand(len(rays), -1, -1)
    trust = torch.ones_like(weights)
    for _ in range(ROUNDS):
        result = scaled_orthographic(source, flat[..., :2] / depth, weights * trust, n_steps=4)
        size = result.scale.clamp_min(1e-6)
        turned = (source @ result.rotation.transpose(-1, -2))[..., :2]
        off = (
            (size[:, None, None] * turned + result.translation.unsqueeze(1) - flat[..., :2] / depth)
            .square()
            .sum(-1)
        )
        trust = (1 + off / (2 * DOUBT**2 * spread * size.square().unsqueeze(1))).reciprocal().square()
    away = scale / size
    at = torch.cat((result.translation, torch.ones_like(size).unsqueeze(-1)), -1) * away.unsqueeze(-1)
    back = view.transpose(-1, -2)
    return PointFrame(
        back @ result.rotation, centre + (back @ at.unsqueeze(-1)).squeeze(-1), scale.expand_as(size)
    )


def nearest_on_rays(
    centre: Float[Tensor, '*#b 3'], rays: Float[Tensor, '*#b 3'], points: Float[Tensor, '*#b 3']
) -> Float[Tensor, '*#b 3']:
    """Find the point of each ray that is nearest to a point."""
    along = ((points - centre) * rays).sum(-1, keepdim=True)
    return centre + along * rays


def _size(points: Tensor, variance: Tensor, confidence: Tensor) -> Tensor:
    """Measure the extent of points, those of large variance counting less; it is 0 for a single point."""
    known = confidence > 0
    typical = torch.where(known, variance, torch.nan).nanmedian(1, keepdim=True).values
    typical = torch.where(typical > 0, typical, torch.ones_like(typical))
    weights = (confidence / (1 + variance / typical)).unsqueeze(-1)
    weights = weights / weights.sum(1, keepdim=True).clamp_min(1e-12)
    centre = (weights * points).sum(1, keepdim=True)
    return (weights * (points - centre).square()).sum((1, 2)).sqrt()


def _looking_along(ahead: Float[Tensor, 'B 3']) -> Float[Tensor, 'B 3 3']:
    """Make a rotation whose third row is a direction; which way is up does not matter."""
    axis = torch.eye(3, dtype=ahead.dtype, device=ahead.device)[ahead.abs().argmin(-1)]
    right = torch.linalg.cross(axis, ahead)
    right = right / right.norm(dim=-1, keepdim=True)
    return torch.stack((right, torch.linalg.cross(ahead, right), ahead), -2)
