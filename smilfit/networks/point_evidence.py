"""What is known of an animal's keypoints in space: places, how sure they are, and the rays that saw them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from smilfit.networks.animals.scene_frame import pixel_rays
from smilfit.structures import Cameras


@runtime_checkable
class SeenPoints(Protocol):
    """What views agreed on, as `Consensus` gives it."""

    xyz: Tensor
    covariance: Tensor
    confidence: Tensor
    modes: Tensor
    mode_mass: Tensor


@dataclass(frozen=True)
class PointEvidence:
    """Keypoints of B frames in the world, and the rays of C views with M places (modes) each.

    Where `confidence` is 0 nothing is known and no number counts; a ray of mass 0, or of a view outside `view_mask`,
    does not count either. `features` are what the pictures showed where each view saw a keypoint.
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
        seen: SeenPoints,
        cameras: Cameras,
        view_mask: Bool[Tensor, 'B C'],
        features: Float[Tensor, 'B C K F'] | None = None,
    ) -> 'PointEvidence':
        """Take what views agreed on, with a ray for each mode.

        Args:
            seen: points and the px of each view's modes.
            cameras: that saw the px, with leading dimension B.
            view_mask: which views there are.
            features: sampled at each view's px.
        """
        rays, valid = pixel_rays(cameras, seen.modes.flatten(2, 3))
        shape = seen.mode_mass.shape
        mass = seen.mode_mass * valid.reshape(shape) * view_mask[..., None, None]
        rays = rays.reshape(*shape, 3)
        rays = torch.where((mass > 0).unsqueeze(-1), rays, torch.zeros_like(rays))
        return cls(
            *(seen.xyz, seen.covariance, seen.confidence, cameras.centres(), rays, mass, view_mask, features)
        )

    @property
    def n_views(self) -> Tensor:
        """How many views saw anything (B,)."""
        return (self.view_mask & (self.ray_mass.flatten(2) > 0).any(-1)).sum(1)

    def map(self, function: Callable[[Tensor], Tensor]) -> 'PointEvidence':
        """Apply a tensor function to everything that is present."""
        present: dict[str, Any] = {n: getattr(self, n) for n in self.__dataclass_fields__}
        return PointEvidence(**{n: None if x is None else function(x) for n, x in present.items()})

    def __getitem__(self, index: Any) -> 'PointEvidence':
        """Select frames."""
        return self.map(lambda x: x[index])

    def moved(
        self, rotation: Float[Tensor, '3 3'], translation: Float[Tensor, '3'], scale: float = 1.0
    ) -> 'PointEvidence':
        """Move the whole world, cameras and all: `x' = scale * rotation @ x + translation`."""
        turned = rotation.to(self.xyz)
        return PointEvidence(
            xyz=scale * self.xyz @ turned.T + translation,
            covariance=scale**2 * (turned @ self.covariance @ turned.T),
            confidence=self.confidence,
            centres=scale * self.centres @ turned.T + translation,
            rays=self.rays @ turned.T,
            ray_mass=self.ray_mass,
            view_mask=self.view_mask,
            features=self.features,
        )
