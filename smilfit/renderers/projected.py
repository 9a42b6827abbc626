"""Meshes as their cameras see them: what every renderer starts from."""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from smilfit.geometry.projection import project_points, world_to_camera
from smilfit.renderers.base import check_mesh, one_camera_a_mesh
from smilfit.structures import Cameras

# Triangles of a smaller area in the image, px^2, are seen edge-on.
LEAST_AREA_PX2 = 1e-10


@dataclass(frozen=True)
class ProjectedMeshes:
    """N meshes of the same faces in images of one size.

    `pixels` have their centres at integers; `in_camera` is in the world unit, z ahead. A vertex is `usable` if it has
    an image, and a face `drawable` if all of its corners have; `n_cut` counts those of which only some have.
    """

    faces: Int[Tensor, 'F 3']
    in_camera: Float[Tensor, 'N V 3']
    pixels: Float[Tensor, 'N V 2']
    usable: Bool[Tensor, 'N V']
    drawable: Bool[Tensor, 'N F']
    n_cut: Int[Tensor, ' N']
    width: int
    height: int

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def ndc_per_px(self) -> float:
        """One pixel in units of half the image's shorter side, which is PyTorch3D's NDC."""
        return 2 / min(self.width, self.height)

    def corners(self) -> Float[Tensor, 'N F 3 2']:
        """Return the pixels of every face's corners."""
        return self.pixels[:, self.faces]

    @cached_property
    def windings(self) -> Float[Tensor, 'N F']:
        """Return which way round every face is seen: 1, -1, or 0 where it is seen edge-on or not drawable."""
        a, b, c = self.corners().detach().unbind(2)
        area = cross(b - a, c - a)
        return torch.where(self.drawable & (area.abs() > LEAST_AREA_PX2), area.sign(), torch.zeros_like(area))


def project_meshes(
    vertices: Float[Tensor, 'N V 3'], faces: Int[Tensor, 'F 3'], cameras: Cameras, near: float = 0.0
) -> ProjectedMeshes:
    """Project meshes, each into its own camera or all into one, through the whole lens.

    Args:
        vertices: world points.
        cameras: one a mesh, or one for all.
        near: least depth of a corner, world unit.

    Raises:
        ValueError: a mesh or cameras that no renderer can draw.
    """
    check_mesh(vertices, faces)
    faces = faces.long()
    # Half precision knows a place in an image to about a pixel.
    vertices = vertices if vertices.dtype == torch.float64 else vertices.float()
    cameras, width, height = one_camera_a_mesh(cameras.to(vertices), len(vertices))
    pixels, depth, usable = project_points(
        vertices, cameras.K, cameras.R, cameras.t, cameras.dist, cameras.fold
    )
    usable = (usable & (depth > near)).squeeze(1)
    corners_usable = usable[:, faces]
    drawable = corners_usable.all(2)
    return ProjectedMeshes(
        faces=faces,
        in_camera=world_to_camera(vertices, cameras.R, cameras.t).squeeze(1),
        pixels=pixels.squeeze(1),
        usable=usable,
        drawable=drawable,
        n_cut=(corners_usable.any(2) & ~drawable).sum(1),
        width=width,
        height=height,
    )


def cross(u: Float[Tensor, '*n 2'], v: Float[Tensor, '*n 2']) -> Float[Tensor, '*n']:
    """Return the z of the cross product: twice the area of the triangle between two vectors."""
    return u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]
