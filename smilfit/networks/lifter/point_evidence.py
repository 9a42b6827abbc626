"""What is known of keypoints in space, their rays with it, and what cameras that err make of true ones."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor, nn

from smilfit.networks.scene_frame import pixel_rays
from smilfit.registry import MODELS
from smilfit.structures import Cameras


@runtime_checkable
class AgreedPoints(Protocol):
    """What views agreed on, as `Consensus` gives it."""

    @property
    def xyz(self) -> Float[Tensor, 'B K 3']:
        """Points, world unit."""

    @property
    def covariance(self) -> Float[Tensor, 'B K 3 3']:
        """Of the points, world unit squared."""

    @property
    def confidence(self) -> Float[Tensor, 'B K']:
        """From 0 to 1."""

    @property
    def modes(self) -> Float[Tensor, 'B C K M 2']:
        """Places in the views, px."""

    @property
    def mode_mass(self) -> Float[Tensor, 'B C K M']:
        """Shares of the heat maps."""


@dataclass(frozen=True)
class PointEvidence:
    """Keypoints of B frames in the world, and the rays of C views with M places (modes) each.

    Where `confidence` is 0 nothing is known and no number counts; a ray of mass 0, or of a view outside `view_mask`,
    does not count either. `features` are what the images showed where each view saw a keypoint.
    """

    xyz: Float[Tensor, 'B K 3']
    covariance: Float[Tensor, 'B K 3 3']
    confidence: Float[Tensor, 'B K']
    centres: Float[Tensor, 'B C 3']
    rays: Float[Tensor, 'B C K M 3']
    ray_mass: Float[Tensor, 'B C K M']
    view_mask: Bool[Tensor, 'B C']
    features: Float[Tensor, 'B C K F'] | None = None

    @classmethod
    def of(
        cls,
        points: AgreedPoints,
        cameras: Cameras,
        view_mask: Bool[Tensor, 'B C'],
        features: Float[Tensor, 'B C K F'] | None = None,
    ) -> 'PointEvidence':
        """Take what views agreed on, with a ray for each mode.

        Args:
            points: points and the px of each view's modes.
            cameras: that saw the px, with leading dimension B.
            view_mask: which views there are.
            features: sampled at each view's px.
        """
        rays, valid = pixel_rays(cameras, points.modes.flatten(2, 3))
        shape = points.mode_mass.shape
        mass = points.mode_mass * valid.reshape(shape) * view_mask[..., None, None]
        rays = rays.reshape(*shape, 3)
        rays = torch.where((mass > 0).unsqueeze(-1), rays, torch.zeros_like(rays))
        return cls(
            *(
                points.xyz,
                points.covariance,
                points.confidence,
                cameras.centres(),
                rays,
                mass,
                view_mask,
                features,
            )
        )

    @property
    def n_views(self) -> Tensor:
        """How many views saw anything (B,)."""
        return (self.view_mask & (self.ray_mass.flatten(2) > 0).any(-1)).sum(1)

    def map(self, function: Callable[[Tensor], Tensor]) -> 'PointEvidence':
        """Apply a tensor function to everything that is present."""
        known = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{name: function(x) for name, x in known.items() if x is not None})

    def __getitem__(self, index: Tensor | slice) -> 'PointEvidence':
        """Select frames."""
        return self.map(lambda x: x[index])

    def moved(
        self, rotation: Float[Tensor, '3 3'], translation: Float[Tensor, '3'], scale: float = 1.0
    ) -> 'PointEvidence':
        """Move the whole world, cameras and all: `x' = scale * rotation @ x + translation`."""
        matrix = rotation.to(self.xyz)
        return PointEvidence(
            xyz=scale * self.xyz @ matrix.T + translation,
            covariance=scale**2 * (matrix @ self.covariance @ matrix.T),
            confidence=self.confidence,
            centres=scale * self.centres @ matrix.T + translation,
            rays=self.rays @ matrix.T,
            ray_mass=self.ray_mass,
            view_mask=self.view_mask,
            features=self.features,
        )


# Modes of a view: the place itself, and another that it is mistaken for.
N_MODES = 2
# How well a point along its only ray is known, as a share of the camera's distance.
DEPTH_SD = 0.3


@MODELS.register_module()
class PointCorruption(nn.Module):
    """See true keypoints by random cameras with errors, and triangulate what was seen.

    Lengths are shares of the body's length.

    Args:
        views: how often a frame has so many views.
        noise: least and greatest standard deviation of a seen place across its ray; its logarithm is drawn by frame,
            and varied by point.
        blunders: how often a point is somewhere else, in all views.
        swaps: how often a pair of left and right points is exchanged, in all views.
        mistaken: how often one of few views takes another point's place for the likelier mode.
        gaps: how often a view does not see a point.
        blunder_size: standard deviation of a blunder.
        distance: least and greatest distance of the cameras.
        lowest: the least elevation of a camera over the body's back and sides, as a sine; it counts where the model
            says what is up.
    """

    view_counts: Tensor
    view_shares: Tensor

    def __init__(
        self,
        views: Mapping[int, float] | None = None,
        noise: tuple[float, float] = (0.002, 0.03),
        blunders: float = 0.02,
        swaps: float = 0.02,
        mistaken: float = 0.1,
        gaps: float = 0.1,
        blunder_size: float = 0.15,
        distance: tuple[float, float] = (3.0, 15.0),
        lowest: float = -0.2,
    ) -> None:
        super().__init__()
        views = {1: 0.15, 2: 0.2, 3: 0.25, 4: 0.4} if views is None else dict(views)
        if not views or min(views) < 1 or min(views.values()) < 0:
            raise ValueError(f'PointCorruption: views must map numbers from 1 to shares; got {views}.')
        self.n_cameras = max(views)
        self.register_buffer('view_counts', torch.tensor(list(views)), persistent=False)
        self.register_buffer(
            'view_shares', torch.tensor([float(x) for x in views.values()]), persistent=False
        )
        self.noise, self.blunders, self.swaps, self.mistaken, self.gaps = (
            noise,
            blunders,
            swaps,
            mistaken,
            gaps,
        )
        self.blunder_size, self.distance, self.lowest = blunder_size, distance, lowest

    def forward(
        self,
        points: Float[Tensor, 'B K 3'],
        length: Float[Tensor, ' B'],
        partner: Tensor,
        up: Float[Tensor, '3'] | None = None,
        generator: Generator | None = None,
    ) -> PointEvidence:
        """See and triangulate.

        Args:
            points: the truth, world unit.
            length: of the bodies, world unit.
            partner: (K,) the keypoint of the other side, or itself.
            up: the direction in which a camera is above the body; None where all directions are alike.
            generator: of random numbers, on the module's device; None uses torch's own.
        """
        draw = _Draw(points, generator)
        n, k = points.shape[:2]
        size = length[:, None, None]
        which = torch.multinomial(self.view_shares, n, replacement=True, generator=generator)
        n_views = self.view_counts[which]
        mask = torch.arange(self.n_cameras, device=points.device) < n_views[:, None]
        centres = self._centres(points.mean(1), length, up, draw)
        shown, wrong = self._blundered(points, size, partner, draw)
        # (B, C, K): standard deviations across the ray, those of a frame alike.
        low, high = self.noise
        sd = length[:, None, None] * low * (high / low) ** draw.uniform(n, 1, 1)
        sd = sd * (0.4 * draw.normal(n, self.n_cameras, k)).exp()
        noisy = shown.unsqueeze(1) + sd.unsqueeze(-1) * draw.normal(n, self.n_cameras, k, 3)
        other = self._mistakable(shown, size, partner, draw).unsqueeze(1) + sd.unsqueeze(-1) * draw.normal(
            n, self.n_cameras, k, 3
        )
        rays = _unit(torch.stack((noisy, other), 3) - centres[:, :, None, None])
        mass = self._masses(draw.uniform(n, self.n_cameras, k), draw.uniform(n, self.n_cameras, k))
        swapped = (draw.uniform(n, self.n_cameras, k) < self.mistaken) & (n_views <= 2)[:, None, None]
        mass = torch.where(swapped.unsqueeze(-1), mass.flip(-1), mass)
        valid = mask.unsqueeze(-1) & (draw.uniform(n, self.n_cameras, k) > self.gaps)
        mass = mass * valid.unsqueeze(-1)
        # What is told of the noise is itself known by a quarter only.
        notes = sd * (0.25 * draw.normal(n, self.n_cameras, k)).exp()
        best = torch.where(swapped.unsqueeze(-1), rays[:, :, :, 1], rays[:, :, :, 0])
        xyz, covariance = triangulated(centres, best, notes, valid, points.mean(1))
        certainty = 0.4 + 0.6 * draw.uniform(n, k)
        confidence = torch.where(wrong, draw.uniform(n, k).clamp_min(0.05), certainty) * valid.any(1)
        return PointEvidence(xyz, covariance, confidence, centres, rays, mass, mask)

    def _centres(self, middle: Tensor, length: Tensor, up: Tensor | None, draw: '_Draw') -> Tensor:
        n = len(middle)
        direction = _unit(draw.normal(n, self.n_cameras, 3))
        if up is not None:
            above = (direction * up).sum(-1, keepdim=True)
            direction = torch.where(above < self.lowest, direction - 2 * above * up, direction)
        low, high = self.distance
        away = length[:, None, None] * (low + (high - low) * draw.uniform(n, 1, 1))
        return middle.unsqueeze(1) + away * (0.8 + 0.4 * draw.uniform(n, self.n_cameras, 1)) * direction

    def _blundered(
        self, points: Tensor, size: Tensor, partner: Tensor, draw: '_Draw'
    ) -> tuple[Tensor, Tensor]:
        n, k = points.shape[:2]
        # A pair is exchanged as a whole: the draw of the one with the smaller number decides.
        first = torch.minimum(partner, torch.arange(k, device=points.device))
        swap = (draw.uniform(n, k)[:, first] < self.swaps) & (
            partner != torch.arange(k, device=points.device)
        )
        shown = torch.where(swap.unsqueeze(-1), points[:, partner], points)
        lost = draw.uniform(n, k) < self.blunders
        shown = torch.where(
            lost.unsqueeze(-1), shown + self.blunder_size * size * draw.normal(n, k, 3), shown
        )
        return shown, swap | lost

    def _mistakable(self, points: Tensor, size: Tensor, partner: Tensor, draw: '_Draw') -> Tensor:
        n, k = points.shape[:2]
        alone = partner == torch.arange(k, device=points.device)
        elsewhere = points + self.blunder_size * size * draw.normal(n, k, 3)
        return torch.where(alone[:, None], elsewhere, points[:, partner])

    def _masses(self, heavy: Tensor, single: Tensor) -> Tensor:
        """Share each view's mass between its modes; half of the views have one mode."""
        first = torch.where(single < 0.5, torch.ones_like(heavy), 0.5 + 0.5 * heavy)
        return torch.stack((first, 1 - first), -1)


class _Draw:
    """Random numbers of one generator, on the device of a tensor."""

    def __init__(self, like: Tensor, generator: Generator | None) -> None:
        self.like, self.generator = like, generator

    def uniform(self, *shape: int) -> Tensor:
        return torch.rand(shape, generator=self.generator, device=self.like.device)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator, device=self.like.device)


def triangulated(
    centres: Float[Tensor, 'B C 3'],
    rays: Float[Tensor, 'B C K 3'],
    sd: Float[Tensor, 'B C K'],
    valid: Tensor,
    middle: Float[Tensor, 'B 3'],
) -> tuple[Float[Tensor, 'B K 3'], Float[Tensor, 'B K 3 3']]:
    """Meet rays in the least-squares sense, each as sure across as it says; a weak prior says a single one's depth.

    Rays that miss each other by more than they say widen the covariance.
    """
    dtype = rays.dtype
    # A single ray's covariance is long: float32 would lose what is known across it.
    centres, rays, sd, middle = (x.double() for x in (centres, rays, sd, middle))
    rays = _unit(rays)
    eye = torch.eye(3, dtype=rays.dtype, device=rays.device)
    across = eye - rays.unsqueeze(-1) * rays.unsqueeze(-2)
    weight = (valid / sd.square())[..., None, None]
    away = (centres - middle.unsqueeze(1)).norm(dim=-1).mean(1)
    prior = (DEPTH_SD * away).square().reciprocal()[:, None, None, None] * eye
    start = (centres - middle.unsqueeze(1))[:, :, None, :, None]
    information = (weight * across).sum(1) + prior
    covariance = torch.linalg.inv(information)
    point = covariance @ (weight * (across @ start)).sum(1)
    miss = (across @ (point.unsqueeze(1) - start)).squeeze(-1).square().sum(-1) * weight[..., 0, 0]
    freedom = (2 * valid.sum(1) - 3).clamp_min(1)
    wider = (miss.sum(1) / freedom).clamp_min(1)
    covariance = covariance * wider[..., None, None]
    return (point.squeeze(-1) + middle.unsqueeze(1)).to(dtype), covariance.to(dtype)


def _unit(vectors: Tensor) -> Tensor:
    return vectors / vectors.norm(dim=-1, keepdim=True).clamp_min(1e-12)
