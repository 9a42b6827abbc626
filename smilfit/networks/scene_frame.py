"""The scene frame: where the animal roughly is, in units of its size, found from the cameras alone.

A network that sees rays and positions in this frame is tied to no rig: cameras may be moved, added or taken
away. The axes stay the world's, so gravity keeps its direction.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from smilfit.structures import Cameras


@dataclass(frozen=True)
class SceneFrame:
    """World = origin + unit * scene. `unit` is a length in world units, such as the animal's mean size."""

    origin: Float[Tensor, 'B 3']
    unit: Float[Tensor, '']

    def to_world(self, points: Float[Tensor, 'B 3']) -> Float[Tensor, 'B 3']:
        """Move positions from the scene frame to the world."""
        return self.origin + self.unit * points

    def from_world(self, points: Float[Tensor, 'B 3']) -> Float[Tensor, 'B 3']:
        """Move positions from the world to the scene frame."""
        return (points - self.origin) / self.unit


class SceneRays(NamedTuple):
    """Where the scene is, its rays through the cells of a grid as `patch_rays` gives them, and which there are."""

    frame: SceneFrame
    rays: Float[Tensor, 'B C N 6']
    mask: Bool[Tensor, 'B C N']


def cameras_of(inputs: Mapping[str, Tensor]) -> Cameras:
    """Return a batch's cameras in float32; an absent view gets a unit camera, whatever its numbers were."""
    mask = inputs['view_mask']
    n_batch, n_views = mask.shape
    eye = torch.eye(3, device=mask.device).expand(n_batch, n_views, 3, 3)

    def present(name: str, otherwise: Tensor) -> Tensor:
        value = inputs[name].float()
        return torch.where(mask.reshape(*mask.shape, *(1,) * (value.ndim - 2)), value, otherwise)

    dist = inputs.get('dist')
    zero = eye.new_zeros(())
    return Cameras(
        names=tuple(f'view {i}' for i in range(n_views)),
        K=present('K', eye),
        R=present('R', eye),
        t=present('t', zero),
        size=present('size', zero + 2),
        dist=None if dist is None else present('dist', zero),
    )


def pixel_rays(
    cameras: Cameras, pixels: Float[Tensor, 'B C P 2']
) -> tuple[Float[Tensor, 'B C P 3'], Bool[Tensor, 'B C P']]:
    """Return the unit direction, in the world, in which each pixel looks; False beyond the lens's fold."""
    return cameras.rays(pixels)


def about_their_centre(cameras: Cameras, mask: Bool[Tensor, 'B C']) -> tuple[Cameras, Float[Tensor, 'B 3']]:
    """Move the world's origin between the cameras, so that large coordinates cost no digits.

    Returns:
        The moved cameras, unit cameras where a view is absent, and the new origin in the old world.
    """
    valid = mask[..., None]
    eye = torch.eye(3, dtype=cameras.K.dtype, device=cameras.K.device)
    R = torch.where(valid.unsqueeze(-1), cameras.R, eye)
    t = torch.where(valid, cameras.t, torch.zeros_like(cameras.t))
    centres = -(R.transpose(-1, -2) @ t.unsqueeze(-1)).squeeze(-1)
    origin = (centres * valid).sum(1) / valid.sum(1).clamp_min(1)
    return replace(
        cameras,
        K=torch.where(valid.unsqueeze(-1), cameras.K, eye),
        R=R,
        t=t + (R @ origin[:, None, :, None]).squeeze(-1),
        dist=None
        if cameras.dist is None
        else torch.where(valid, cameras.dist, torch.zeros_like(cameras.dist)),
        fold=None if cameras.fold is None else cameras.fold.masked_fill(~mask, torch.inf),
    ), origin


def locate_scene(
    cameras: Cameras,
    mask: Bool[Tensor, 'B C'],
    prior: Float[Tensor, '3'],
    pixels: Float[Tensor, 'B C 2'] | None = None,
    prior_weight: float = 1e-3,
) -> Float[Tensor, 'B 3']:
    """Find the point nearest to the rays through a pixel of each view, in the least-squares sense.

    Minimises sum_c |(I - d_c d_c^T)(x - o_c)|^2 + prior_weight |x - prior|^2 over the present views. The prior
    (a world position, such as the training set's mean) decides what the rays leave open: with one view, how
    far along its ray. The pixels are the images' centres where they are None.
    """
    pixels = (cameras.size - 1) / 2 if pixels is None else pixels
    directions, valid = cameras.rays(pixels.unsqueeze(2))
    d = directions.squeeze(2)
    weight = (mask & valid.squeeze(2)).to(d.dtype)[..., None, None]
    eye = torch.eye(3, dtype=d.dtype, device=d.device)
    across = weight * (eye - d.unsqueeze(-1) * d.unsqueeze(-2))
    # Measured from the prior, so that large world coordinates cost no digits.
    offset = (across @ (cameras.centres() - prior).unsqueeze(-1)).sum(1)
    return prior + torch.linalg.solve(across.sum(1) + prior_weight * eye, offset).squeeze(-1)


def patch_centres(size: Float[Tensor, 'B C 2'], grid: tuple[int, int]) -> Float[Tensor, 'B C N 2']:
    """Return the pixel at the centre of each cell of a feature map of `grid` (rows, columns), row by row."""
    rows, columns = grid
    y = (torch.arange(rows, device=size.device, dtype=size.dtype) + 0.5) / rows
    x = (torch.arange(columns, device=size.device, dtype=size.dtype) + 0.5) / columns
    share = torch.stack((x.repeat(rows), y.repeat_interleave(columns)), -1)
    return share * size.unsqueeze(2) - 0.5


def patch_rays(
    cameras: Cameras, grid: tuple[int, int], frame: SceneFrame
) -> tuple[Float[Tensor, 'B C N 6'], Bool[Tensor, 'B C N']]:
    """Return each patch's ray as Plücker coordinates in the scene frame: direction, and moment o x d.

    The moment does not depend on where along the ray the camera stands, and its length is the distance of
    the ray from the scene's origin in scene units.
    """
    directions, valid = cameras.rays(patch_centres(cameras.size, grid))
    start = (cameras.centres() - frame.origin.unsqueeze(1)) / frame.unit
    moments = torch.linalg.cross(start.unsqueeze(2).expand_as(directions), directions)
    return torch.cat((directions, moments), -1), valid
