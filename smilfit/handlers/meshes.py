"""Meshes as observations: of the body's own topology vertex by vertex, of any other as a surface."""

import logging
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from smilfit.body_models import SMIL
from smilfit.geometry.surface_search import face_normals
from smilfit.handlers.base import BaseHandler
from smilfit.handlers.inputs import BaseInput
from smilfit.handlers.point_cloud import PointCloudHandler
from smilfit.handlers.point_cloud_input import PointCloudInput
from smilfit.handlers.state import BodyState
from smilfit.losses import KeypointMSELoss, PointSource, Stated
from smilfit.losses.residuals import from_source
from smilfit.registry import HANDLERS, INPUTS


@INPUTS.register_module()
class MeshInput(BaseInput):
    """One triangle mesh a frame, all of one topology, in the world's unit.

    Args:
        vertices: world points.
        faces: corners of each triangle.
        confidence: weight of each vertex, for comparison vertex by vertex; None for 1.
        handler_key: the handler's.
    """

    rows = ('vertices', 'confidence')

    def __init__(
        self,
        vertices: Float[Tensor, 'B v 3'],
        faces: Int[Tensor, 'f 3'],
        confidence: Float[Tensor, 'B v'] | None = None,
        handler_key: str = 'mesh',
    ) -> None:
        if not bool(vertices.isfinite().all()):
            raise ValueError('MeshInput: vertices must be finite; some are not. Leave such frames out.')
        if not len(faces):
            raise ValueError('MeshInput: a mesh must have faces; got none. Give points as PointCloudInput.')
        if int(faces.min()) < 0 or int(faces.max()) >= vertices.shape[1]:
            raise ValueError(
                f'MeshInput: faces must name vertices 0 to {vertices.shape[1] - 1}; got {int(faces.min())} to '
                f'{int(faces.max())}.'
            )
        self.vertices = vertices
        self.faces = faces.long()
        self.confidence = torch.ones_like(vertices[..., 0]) if confidence is None else confidence
        self.handler_key = handler_key
        self._clouds: dict[tuple[int, int], PointCloudInput] = {}

    def observed(self) -> Bool[Tensor, ' B']:
        """Say which frames have a vertex that counts."""
        return (self.confidence > 0).any(1)

    def to(self, *args: Any, **kwargs: Any) -> 'MeshInput':
        """Move or cast; faces stay integers, and points are drawn anew."""
        moved = super().to(*args, **kwargs)
        moved.faces, moved._clouds = self.faces.to(moved.vertices.device), {}
        return moved

    def __getitem__(self, index: Any) -> 'MeshInput':
        """Select frames; each keeps its points, whichever frames are left."""
        chosen = super().__getitem__(index)
        chosen._clouds = {key: cloud[index] for key, cloud in self._clouds.items()}
        return chosen

    def as_point_cloud(self, n: int = 5000, seed: int = 0) -> PointCloudInput:
        """Draw points evenly over each surface, with the triangles' normals; kept for the next call."""
        if (n, seed) not in self._clouds:
            points, normals = sample_surface(self.vertices, self.faces, n, seed)
            self._clouds[n, seed] = PointCloudInput(points, None, normals, None, self.handler_key)
        return self._clouds[n, seed]


@HANDLERS.register_module()
class MeshVertexHandler(BaseHandler):
    """Draws the body's vertices to a mesh's of the same topology, one by one.

    Args:
        loss: compares points; squared distance in the world's unit if None.
        handler_key: names it in stages.
        device: where its constants live.
        logger: a logger or its name.
    """

    input_type = MeshInput

    def __init__(
        self,
        loss: nn.Module | None = None,
        handler_key: str = 'mesh',
        device: torch.device | str | None = None,
        logger: logging.Logger | str | None = None,
    ) -> None:
        super().__init__(handler_key, KeypointMSELoss() if loss is None else loss, device, logger)
        self._faces: Tensor | None = None

    def bind(self, body: SMIL) -> None:
        """Take the body's topology."""
        super().bind(body)
        self._faces = body.faces

    def need(self, related_input: BaseInput | None) -> tuple[str, ...]:
        """Ask for the vertices.

        Raises:
            ValueError: a mesh of another topology.
        """
        faces = related_input.faces
        same = self._faces is not None and faces.shape == self._faces.shape
        if not same or not bool((faces.to(self._faces.device) == self._faces).all()):
            raise ValueError(
                f'MeshVertexHandler: the mesh must have the faces of the body model; got {len(faces)} other ones. '
                'Use MeshSurfaceHandler for a mesh of another topology.'
            )
        return ('vertices',)

    def stated(self, state: BodyState, related_input: BaseInput | None = None) -> Stated:
        """Compare vertices."""
        vertices = state.output.vertices
        stated = self.loss.stated(vertices, related_input.vertices, target_conf=related_input.confidence)
        return from_source(stated, PointSource(vertices, None))


@HANDLERS.register_module()
class MeshSurfaceHandler(PointCloudHandler):
    """Draws the body's surface to a mesh of any topology, by points drawn evenly over the mesh.

    Args:
        n_points: how many points a frame.
        seed: of the drawing.
        kwargs: as for `PointCloudHandler`.
    """

    input_type = MeshInput
    default_key = 'mesh'

    def __init__(self, n_points: int = 5000, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.n_points = n_points
        self.seed = seed

    def cloud(self, related_input: BaseInput) -> PointCloudInput:
        """Give points of the mesh."""
        return related_input.as_point_cloud(self.n_points, self.seed)


def sample_surface(
    vertices: Float[Tensor, 'B v 3'], faces: Int[Tensor, 'f 3'], n: int, seed: int = 0
) -> tuple[Float[Tensor, 'B n 3'], Float[Tensor, 'B n 3']]:
    """Draw points evenly over the area of meshes of one topology.

    Returns:
        Points and the unit normals of their triangles.
    """
    draw = torch.Generator().manual_seed(seed)
    corners = vertices[:, faces]
    sides = corners[:, :, 1:] - corners[:, :, :1]
    area = torch.linalg.cross(sides[:, :, 0], sides[:, :, 1]).norm(dim=-1)
    chosen = torch.multinomial(area.cpu().double(), n, replacement=True, generator=draw).to(vertices.device)
    uv = torch.rand(len(vertices), n, 2, generator=draw, dtype=torch.float64).to(vertices)
    # Osada et al. 2002: the root spreads points evenly over a triangle.
    root = uv[..., :1].sqrt()
    shares = torch.cat((1 - root, root * (1 - uv[..., 1:]), root * uv[..., 1:]), -1)
    picked = corners[torch.arange(len(vertices), device=vertices.device)[:, None], chosen]
    return (shares.unsqueeze(-1) * picked).sum(2), face_normals(picked)
