"""Keypoints and rays as a network reads them: in the animal's own frame, found in closed form."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from smilfit.geometry.alignment import procrustes
from smilfit.geometry.projection import scaled_orthographic
from smilfit.networks.lifter.point_evidence import PointEvidence

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
        rotated = points @ self.rotation.transpose(-1, -2)
        return self.scale[:, None, None] * rotated + self.origin.unsqueeze(1)

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

    Seen along the central ray the body is flat; `scaled_orthographic` gives its turn, and its apparent size the depth
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
    length = centre_point.norm(dim=-1, keepdim=True)
    ahead = torch.where(
        length > 0, centre_point / length.clamp_min(1e-12), centre_point.new_tensor([0.0, 0.0, 1.0])
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
        rotated = (source @ result.rotation.transpose(-1, -2))[..., :2]
        off = (
            (size[:, None, None] * rotated + result.translation.unsqueeze(1) - flat[..., :2] / depth)
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


# Displacements of more standard deviations than this are no more than a direction.
MOST = 6.0
# Numbers of a point's token and of a ray's.
POINT_NUMBERS = 10
RAY_NUMBERS = 7
_UPPER = torch.triu_indices(3, 3)


class PointTokens(NamedTuple):
    """What a network reads, and the frame in which it stands."""

    frame: PointFrame
    points: Float[Tensor, 'B K n']
    rays: Float[Tensor, 'B C K M n']
    ray_mass: Float[Tensor, 'B C K M']
    single: Tensor
    few: Tensor


@torch.no_grad()
def frame_of(
    evidence: PointEvidence,
    reference: Float[Tensor, 'K 3'],
    spread: Float[Tensor, ' K'],
    scale: Float[Tensor, ''],
) -> PointFrame:
    """Find each frame's own axes: by its points, or by the rays of its only view."""
    single = evidence.n_views <= 1
    result = frame_of_points(evidence.xyz, evidence.covariance, evidence.confidence, reference, spread)
    rows = single.nonzero().flatten()
    if not len(rows):
        return result
    part = evidence[rows]
    centre, rays, mass = only_view(part)
    by_rays = frame_of_rays(centre, rays, mass * part.confidence, reference, spread, scale)
    return PointFrame(*(x.index_copy(0, rows, y) for x, y in zip(result, by_rays)))


def only_view(evidence: PointEvidence) -> tuple[Tensor, Tensor, Tensor]:
    """Return centre (B, 3), likeliest rays (B, K, 3) and their mass (B, K) of the view that saw most."""
    mass = evidence.ray_mass * evidence.view_mask[..., None, None]
    view = mass.sum((2, 3)).argmax(1)
    row = torch.arange(len(view), device=view.device)
    best = mass[row, view].argmax(-1, keepdim=True)
    rays = evidence.rays[row, view].gather(2, best.unsqueeze(-1).expand(-1, -1, 1, 3)).squeeze(2)
    return evidence.centres[row, view], rays, mass[row, view].gather(2, best).squeeze(2)


def tokens_of(
    evidence: PointEvidence,
    reference: Float[Tensor, 'K 3'],
    spread: Float[Tensor, ' K'],
    scale: Float[Tensor, ''],
    few_views: int = 2,
) -> PointTokens:
    """Write points and rays in the animal's frame.

    A point's token is its displacement from the mean pose, drawn towards it as its covariance asks (the posterior
    mean under the spread of poses), that drawing W = V (S + V)^-1, and its confidence. One view knows nothing along a
    ray: W is then the projection across it. A ray's token is its displacement from the mean pose, its direction and
    its mass; rays count where there are few views.

    Args:
        evidence: what was seen.
        reference: keypoints of the mean pose, model unit.
        spread: variance of each per axis, model unit^2.
        scale: the expected scale, for single views.
        few_views: up to how many views rays are read.
    """
    frame = frame_of(evidence, reference, spread, scale)
    n_views = evidence.n_views
    single, few = n_views <= 1, n_views <= few_views
    unit = spread.sqrt().unsqueeze(-1)
    eye = torch.eye(3, dtype=reference.dtype, device=reference.device)
    known = evidence.confidence > 0
    xyz = torch.where(known.unsqueeze(-1), evidence.xyz, torch.zeros_like(evidence.xyz))
    own = torch.where(known[..., None, None], evidence.covariance, torch.zeros_like(evidence.covariance))
    off = (frame.points_from_world(xyz) - reference) / unit
    rotation = frame.rotation.unsqueeze(1)
    covariance = rotation.transpose(-1, -2) @ own @ rotation / frame.scale.square()[:, None, None, None]
    # A covariance long along a ray asks for more digits than float32 has.
    shrink = torch.linalg.inv((covariance / spread[:, None, None] + eye).double()).to(eye)

    centre, ray, mass = only_view(evidence)
    centre = frame.points_from_world(centre.unsqueeze(1))
    ray = ray @ frame.rotation
    ray_off = (nearest_on_rays(centre, ray, reference) - reference) / unit
    only = single[:, None, None]
    off = torch.where(only, ray_off, off)
    shrink = torch.where(only.unsqueeze(-1), eye - ray.unsqueeze(-1) * ray.unsqueeze(-2), shrink)
    known = torch.where(single.unsqueeze(1), (mass > 0) & known, known)
    certainty = torch.where(known, evidence.confidence, torch.zeros_like(evidence.confidence)).unsqueeze(-1)
    drawn = _bounded((shrink @ off.unsqueeze(-1)).squeeze(-1))
    upper = shrink[..., _UPPER[0], _UPPER[1]]
    points = torch.cat((drawn, upper, certainty), -1) * known.unsqueeze(-1)
    rays, ray_mass = _ray_tokens(evidence, frame, reference, unit, few)
    return PointTokens(frame, points, rays, ray_mass, single, few)


def _ray_tokens(
    evidence: PointEvidence, frame: PointFrame, reference: Tensor, unit: Tensor, few: Tensor
) -> tuple[Tensor, Tensor]:
    centres = frame.points_from_world(evidence.centres)[:, :, None, None]
    rays = evidence.rays @ frame.rotation[:, None, None]
    off = (
        nearest_on_rays(centres.expand_as(rays), rays, reference[:, None].expand_as(rays))
        - reference[:, None]
    )
    mass = evidence.ray_mass * (evidence.view_mask & few.unsqueeze(1))[..., None, None]
    tokens = torch.cat((_bounded(off / unit.unsqueeze(1)), rays, mass.unsqueeze(-1)), -1)
    return torch.where((mass > 0).unsqueeze(-1), tokens, torch.zeros_like(tokens)), mass


def _bounded(offsets: Tensor) -> Tensor:
    return offsets / (1 + offsets.square().sum(-1, keepdim=True) / MOST**2).sqrt()


class RayReader(nn.Module):
    """Read each keypoint's rays, in any order of views and modes, and add up what they say.

    Args:
        n_points: K.
        dim: channels a keypoint.
    """

    def __init__(self, n_points: int, dim: int) -> None:
        super().__init__()
        self.embed = nn.Linear(RAY_NUMBERS, dim)
        self.of_point = nn.Parameter(0.02 * torch.randn(n_points, 1, dim))
        self.mix = nn.Linear(dim, dim)

    def forward(
        self, rays: Float[Tensor, 'B C K M n'], mass: Float[Tensor, 'B C K M']
    ) -> Float[Tensor, 'B K D']:
        """Read."""
        hidden = F.gelu(self.mix(F.gelu(self.embed(rays) + self.of_point)))
        return (mass.unsqueeze(-1) * hidden).sum((1, 3))


class FeatureReader(nn.Module):
    """Average what views showed of each keypoint, by their mass, and read all keypoints together.

    An untrained one says nothing, so that it can be added to a network that was trained without.

    Attributes:
        adds_nothing_untrained: a checkpoint without its weights is gone on with.

    Args:
        in_dim: F, channels of the image features.
        n_points: K.
        dim: channels a keypoint.
        out_dim: channels of the answer.
    """

    adds_nothing_untrained = True

    def __init__(self, in_dim: int, n_points: int, dim: int, out_dim: int) -> None:
        super().__init__()
        self.project = nn.Linear(in_dim, dim, bias=False)
        self.out = nn.Linear(n_points * dim, out_dim, bias=False)
        nn.init.zeros_(self.out.weight)

    def forward(self, evidence: PointEvidence) -> Float[Tensor, 'B E']:
        """Read; zero where no view showed a keypoint or there are no features."""
        if evidence.features is None:
            return self.out.weight.new_zeros(len(evidence.xyz), len(self.out.weight))
        weight = (evidence.ray_mass.sum(-1) * evidence.view_mask.unsqueeze(-1)).unsqueeze(-1)
        features = evidence.features.to(weight)
        features = torch.where(weight > 0, features, torch.zeros_like(features))
        mean = (weight * features).sum(1) / weight.sum(1).clamp_min(1e-6)
        return self.out(self.project(mean).flatten(1))
