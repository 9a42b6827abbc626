"""Keypoints and rays as a network reads them: in the animal's frame, in units of what poses leave open."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from smilfit.networks.point_evidence import PointEvidence
from smilfit.networks.point_frame import PointFrame, frame_of_points, frame_of_rays, nearest_on_rays

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
        in_dim: F, channels of the picture features.
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
