"""What every renderer takes and gives."""

import logging
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields, replace
from importlib.util import find_spec

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from smilfit.structures import Cameras


@dataclass(frozen=True)
class RenderOutput:
    """N images of meshes; a silhouette alone has `alpha` and `n_cut`, and None for the rest.

    `alpha` is how much of a pixel the mesh covers (0 or 1 from a hard renderer). `n_cut` counts the faces of each
    image that were left out because only some of their corners have an image. `depth` is z in the camera's
    frame, world unit, inf where empty; `normals` are of unit length in the camera's frame and face the
    viewer, 0 where empty; `face_id` is -1 where empty; `barycentric` are the face's coordinates in space
    (perspective undone); `shading` is RGB in [0, 1], 0 where empty.
    """

    alpha: Float[Tensor, 'N H W']
    n_cut: Int[Tensor, 'N']
    depth: Float[Tensor, 'N H W'] | None = None
    normals: Float[Tensor, 'N H W 3'] | None = None
    face_id: Int[Tensor, 'N H W'] | None = None
    barycentric: Float[Tensor, 'N H W 3'] | None = None
    shading: Float[Tensor, 'N H W 3'] | None = None

    def __len__(self) -> int:
        return self.alpha.shape[0]

    def __getitem__(self, index: int | slice | Tensor) -> 'RenderOutput':
        """Select images; a number keeps the leading dimension."""
        rows = slice(index, index + 1 or None) if isinstance(index, int) else index
        layers = {f.name: getattr(self, f.name) for f in fields(self)[2:]}
        chosen = {name: None if x is None else x[rows] for name, x in layers.items()}
        return RenderOutput(self.alpha[rows], self.n_cut[rows], **chosen)

    def layer(self, name: str) -> Tensor:
        """Return one of the layers that a silhouette alone has not.

        Raises:
            ValueError: it was not rendered.
        """
        value = getattr(self, name)
        if value is None:
            raise ValueError(
                f'RenderOutput: {name} must be rendered; it is not. Use ZBufferRenderer, or give the silhouette a '
                'surface=ZBufferRenderer().'
            )
        return value

    def with_alpha(self, alpha: Float[Tensor, 'N H W']) -> 'RenderOutput':
        """Return the same images with another silhouette."""
        return replace(self, alpha=alpha)


class Renderer(nn.Module, ABC):
    """Turn meshes into images.

    A subclass gives `forward`; `differentiable` says whether gradients of `alpha` reach the vertices.
    """

    differentiable = False

    @abstractmethod
    def forward(
        self,
        vertices: Float[Tensor, 'N V 3'],
        faces: Int[Tensor, 'F 3'],
        cameras: Cameras,
        colour: Float[Tensor, 'V 3'] | Float[Tensor, '3'] | None = None,
    ) -> RenderOutput:
        """Render N meshes of the same faces.

        Args:
            vertices: world points.
            cameras: one camera a mesh, or one for all; all images of one size.
            colour: RGB in [0, 1], of each vertex or of all.
        """


def one_camera_a_mesh(cameras: Cameras, n_meshes: int) -> tuple[Cameras, int, int]:
    """Return cameras of batch N with one camera each, and the common image size (width, height).

    Raises:
        ValueError: neither one camera nor one a mesh, batched cameras, or images of different sizes.
    """
    if cameras.K.ndim != 3 or len(cameras) not in (1, n_meshes):
        raise ValueError(
            f'Renderer: cameras must be one, or one a mesh ({n_meshes}); got K of shape '
            f'{tuple(cameras.K.shape)}. Select cameras, or repeat the meshes.'
        )
    sizes = cameras.size.round().long().unique(dim=0)
    if len(sizes) != 1:
        raise ValueError(
            f'Renderer: all images of one call must have one size; got {sizes.tolist()} (width, height). '
            f'Render the cameras one after the other.'
        )
    width, height = (int(n) for n in sizes[0])
    if width < 1 or height < 1:
        raise ValueError(f'Renderer: the image must have at least one pixel; got {width} x {height}.')

    def spread(x: Tensor) -> Tensor:
        return x.expand(n_meshes, *x.shape[1:]).unsqueeze(1)

    single = replace(
        cameras,
        names=('camera',),
        K=spread(cameras.K),
        R=spread(cameras.R),
        t=spread(cameras.t),
        size=spread(cameras.size),
        dist=None if cameras.dist is None else spread(cameras.dist),
        fold=None if cameras.fold is None else spread(cameras.fold),
    )
    return single, width, height


def check_mesh(vertices: Tensor, faces: Tensor) -> None:
    """Refuse a mesh that no renderer can draw.

    Raises:
        ValueError: faces that name absent vertices, or vertices that are not finite.
    """
    n_vertices = vertices.shape[1]
    if faces.numel() and (int(faces.min()) < 0 or int(faces.max()) >= n_vertices):
        raise ValueError(
            f'Renderer: faces must name vertices 0 to {n_vertices - 1}; got {int(faces.min())} to '
            f'{int(faces.max())}.'
        )
    finite = torch.isfinite(vertices).all(-1).all(-1)
    if not bool(finite.all()):
        bad = (~finite).nonzero().flatten().tolist()
        raise ValueError(f'Renderer: vertices must be finite; meshes {bad[:10]} are not ({len(bad)} in all).')


BACKENDS = ('auto', 'warp', 'torch')


def choose_backend(backend: str, where: str) -> str:
    """Turn `'auto'` into what is installed, and tell if that is the slow one.

    Args:
        backend: `'auto'`, `'warp'` or `'torch'`.
        where: who asks, for messages.

    Raises:
        ValueError: another name.
        ImportError: `'warp'` where it is not installed.
    """
    if backend not in BACKENDS:
        raise ValueError(f'{where}: backend must be one of {BACKENDS}; got {backend!r}.')
    installed = find_spec('warp') is not None
    if backend == 'warp' and not installed:
        raise ImportError(f'{where}: warp must be installed; it is not. Run: pip install warp-lang')
    if backend == 'auto' and not installed:
        logging.getLogger('smilfit').warning(
            '%s: warp-lang is not installed, so tensor operations do the work, more slowly.', where
        )
    return backend if backend != 'auto' else ('warp' if installed else 'torch')
