"""Meshes as observations: of the body's own topology vertex by vertex, of any other as a surface."""

import logging
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from smilfit.body_models import SMIL
from smilfit.geometry.surface_search import ClosestPoints, FacesAround, closest_on_surface, face_normals
from smilfit.handlers.base import BaseHandler, BaseInput, BodyState, Index, rows_of
from smilfit.handlers.bidirectional import BidirectionalDistanceHandler
from smilfit.handlers.keypoints import without_gaps
from smilfit.losses import KeypointMSELoss, PointDistanceLoss, PointSource, Stated
from smilfit.losses.base import from_source
from smilfit.registry import HANDLERS, INPUTS

if TYPE_CHECKING:
    from scipy.spatial import cKDTree


@INPUTS.register_module()
class PointCloudInput(BaseInput):
    """Points of the body's surface, in the world's unit; as many a frame as there are.

    Args:
        points: (B, N, 3), or one (N, 3) a frame.
        mask: where there is a point, for padded points; None for all.
        normals: outward unit normals, in the form of the points.
        confidence: weights, in the form of the points; points that are no numbers take none and are counted.
        handler_key: the handler's.
    """

    rows = ('points', 'confidence', 'normals')

    def __init__(
        self,
        points: Float[Tensor, 'B N 3'] | Sequence[Float[Tensor, '_ 3']],
        mask: Bool[Tensor, 'B N'] | None = None,
        normals: Float[Tensor, 'B N 3'] | Sequence[Float[Tensor, '_ 3']] | None = None,
        confidence: Float[Tensor, 'B N'] | Sequence[Float[Tensor, ' _']] | None = None,
        handler_key: str = 'point_cloud',
    ) -> None:
        self.handler_key = handler_key
        counts = [len(p) for p in points]
        xyz = _padded(points)
        valid = (
            torch.arange(xyz.shape[1], device=xyz.device) < torch.tensor(counts, device=xyz.device)[:, None]
        )
        weight = valid.to(xyz)
        for name, value in (('normals', normals), ('confidence', confidence)):
            if value is not None and [len(v) for v in value] != counts:
                raise ValueError(
                    f'PointCloudInput: {name} must be as many as the points; got {[len(v) for v in value]} for '
                    f'{counts}.'
                )
        if mask is not None:
            weight = weight * mask
        if confidence is not None:
            weight = weight * _padded(confidence)
        weight, self._n_masked = without_gaps(xyz, weight)
        if bool((weight < 0).any()):
            raise ValueError('PointCloudInput: confidences must not be negative. Mask bad points.')
        self.confidence = weight
        self.points = torch.where((weight > 0).unsqueeze(-1), xyz, torch.zeros_like(xyz))
        self.normals = None if normals is None else torch.nn.functional.normalize(_padded(normals), dim=-1)
        self._trees: list[tuple[cKDTree, np.ndarray] | None] | None = None

    @property
    def n_masked(self) -> int:
        """How many points had coordinates that are no numbers."""
        return self._n_masked

    @property
    def present(self) -> Bool[Tensor, 'B N']:
        """Where there is a point."""
        return self.confidence > 0

    def observed(self) -> Bool[Tensor, ' B']:
        """Return which frames have a point."""
        return self.present.any(1)

    def to(self, *args: object, **kwargs: object) -> 'PointCloudInput':
        """Move or cast."""
        moved = super().to(*args, **kwargs)
        moved._trees = None
        return moved

    def __getitem__(self, index: Index) -> 'PointCloudInput':
        """Select frames."""
        chosen = super().__getitem__(index)
        if self._trees is not None:
            chosen._trees = [self._trees[i] for i in rows_of(index, len(self._trees))]
        return chosen

    @torch.no_grad()
    def nearest(self, vertices: Float[Tensor, 'B V 3']) -> Int[Tensor, 'B V']:
        """Find the nearest observed point of its frame to every vertex; 0 in a frame without points.

        The scan does not move, so its trees are built once.
        """
        if self._trees is None:
            self._trees = [_tree(p, o) for p, o in zip(self.points.cpu(), self.present.cpu())]
        result = np.zeros(vertices.shape[:2], dtype=np.int64)
        for row, rows, tree in zip(result, vertices.detach().cpu().numpy(), self._trees):
            if tree is not None:
                row[:] = tree[1][tree[0].query(rows)[1]]
        return torch.from_numpy(result).to(vertices.device)


def _tree(points: Tensor, observed: Tensor) -> tuple['cKDTree', np.ndarray] | None:
    # Imported late: scipy takes a third of a second, and few ask for this.
    from scipy.spatial import cKDTree

    index = observed.nonzero().squeeze(1).numpy()
    return (cKDTree(points.numpy()[index]), index) if len(index) else None


def _padded(values: Tensor | Sequence[Tensor]) -> Tensor:
    return values if isinstance(values, Tensor) else torch.nn.utils.rnn.pad_sequence(list(values), True)


METRICS = ('point', 'plane')


@HANDLERS.register_module()
class PointCloudHandler(BidirectionalDistanceHandler):
    """Draws the body to a scan: each scanned point to the closest point of the surface.

    The distance is exact wherever the body stands, and so is its gradient, because the closest point is found
    anew at every evaluation (on the CPU, by k-d trees).

    Args:
        loss: scores squared distances, in the world's unit; `PointDistanceLoss()` if None.
        template_weight: factor on the other direction, each vertex to its nearest scanned point; 0 for scans that
            do not show the whole body.
        metric: what second order assumes: `'plane'` lets each closest point slide along the surface (point-to-plane:
            a few times fewer steps), `'point'` holds it where it is. The loss is the same.
        neighbours: how many nearest vertices' triangles are compared.
        max_normal_angle_deg: a point with a normal looks only for surface whose normal differs by less, so that a
            thin part's two sides are distinguished; None for any surface.
        handler_key: names it in stages.
        device: where its constants live.
        logger: a logger or its name.
    """

    input_type: ClassVar[type[BaseInput]] = PointCloudInput
    default_key = 'point_cloud'

    def __init__(
        self,
        loss: nn.Module | None = None,
        template_weight: float = 0.0,
        metric: str = 'plane',
        neighbours: int = 3,
        max_normal_angle_deg: float | None = None,
        handler_key: str | None = None,
        device: torch.device | str | None = None,
        logger: logging.Logger | str | None = None,
    ) -> None:
        loss = PointDistanceLoss() if loss is None else loss
        super().__init__(handler_key or self.default_key, loss, template_weight, device, logger)
        if metric not in METRICS:
            raise ValueError(f'{type(self).__name__}: metric must be one of {METRICS}; got {metric!r}.')
        if template_weight < 0 or neighbours < 1:
            raise ValueError(
                f'{type(self).__name__}: template_weight must not be negative and neighbours must be at least 1; '
                f'got {template_weight} and {neighbours}.'
            )
        self.metric = metric
        self.neighbours = neighbours
        self.max_normal_angle_deg = max_normal_angle_deg
        self._around: FacesAround | None = None

    def bind(self, body: SMIL) -> None:
        """Take the surface's topology."""
        super().bind(body)
        self._around = FacesAround.of(body.faces, body.data.n_vertices)

    def cloud(self, related_input: Any) -> PointCloudInput:
        """Return the points to fit to."""
        return related_input

    def forward_terms(self, state: BodyState, related_input: Any) -> Stated:
        """Compare scan -> body.

        A closest point follows the corners of its triangle by its barycentric coordinates.
        """
        cloud, vertices = self.cloud(related_input), state.vertices
        closest = self._closest(cloud, vertices)
        result, weight = closest.on(vertices), cloud.confidence * closest.matched
        difference = result - cloud.points
        if self.loss.limit is not None:
            # A point without a match pays like one that is too far.
            far = torch.full_like(difference, self.loss.limit)
            difference = torch.where(closest.matched.unsqueeze(-1), difference, far)
            weight = cloud.confidence
        source = PointSource(result, None, index=closest.vertices, share=closest.shares)
        if self.metric == 'plane':
            along = self._directions(difference, closest, vertices)
            # Second order holds each closest point along one line alone.
            slope = along.unsqueeze(-1) * along.unsqueeze(-2)
            return from_source(self.loss.stated(difference, weight, slope), source)
        return from_source(self.loss.stated(difference, weight), source)

    def backward_terms(self, state: BodyState, related_input: Any) -> Stated:
        """Compare body -> scan."""
        cloud, vertices = self.cloud(related_input), state.vertices
        target, present = self._targets(cloud, vertices)
        return from_source(self.loss.stated(vertices - target, present), PointSource(vertices, None))

    def _closest(self, cloud: PointCloudInput, vertices: Tensor) -> ClosestPoints:
        if self._around is None:
            raise ValueError(f'{type(self).__name__}: call bind(body) first.')
        if self.max_normal_angle_deg is None:
            return closest_on_surface(cloud.points, cloud.present, vertices, self._around, self.neighbours)
        if cloud.normals is None:
            raise ValueError(
                f"{type(self).__name__}: max_normal_angle_deg needs the points' normals; the input has none. "
                'Give normals=..., or leave the angle out.'
            )
        cosine = math.cos(math.radians(self.max_normal_angle_deg))
        return closest_on_surface(
            cloud.points, cloud.present, vertices, self._around, self.neighbours, cloud.normals, cosine
        )

    def _targets(self, cloud: PointCloudInput, vertices: Tensor) -> tuple[Tensor, Tensor]:
        index = cloud.nearest(vertices)
        target = cloud.points.gather(1, index.unsqueeze(-1).expand(-1, -1, 3))
        present = cloud.present.any(1, keepdim=True).to(vertices)
        return target, present.expand(-1, vertices.shape[1])

    def _directions(self, difference: Tensor, closest: ClosestPoints, vertices: Tensor) -> Tensor:
        """Return the unit vectors along which distances change: to the closest point, or the normal on the
        surface."""
        difference = difference.detach()
        length = difference.norm(dim=-1, keepdim=True)
        size = (vertices.amax(1) - vertices.amin(1)).amax(-1)[:, None, None]
        normals = face_normals(closest.corners(vertices.detach()))
        return torch.where(length > 1e-6 * size, difference / length.clamp_min(1e-30), normals)


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
        """Return which frames have a vertex that counts."""
        return (self.confidence > 0).any(1)

    def to(self, *args: object, **kwargs: object) -> 'MeshInput':
        """Move or cast; faces stay integers, and points are drawn anew."""
        moved = super().to(*args, **kwargs)
        moved.faces, moved._clouds = self.faces.to(moved.vertices.device), {}
        return moved

    def __getitem__(self, index: Index) -> 'MeshInput':
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

    def need(self, related_input: MeshInput) -> tuple[str, ...]:
        """Ask for the vertices.

        Raises:
            ValueError: a mesh of another topology.
        """
        faces, own = related_input.faces, self._faces
        if own is None or faces.shape != own.shape or not bool((faces.to(own.device) == own).all()):
            raise ValueError(
                f'MeshVertexHandler: the mesh must have the faces of the body model; got {len(faces)} other ones. '
                'Use MeshSurfaceHandler for a mesh of another topology.'
            )
        return ('vertices',)

    def stated(self, state: BodyState, related_input: MeshInput) -> Stated:
        """Compare vertices."""
        vertices = state.vertices
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

    def cloud(self, related_input: MeshInput) -> PointCloudInput:
        """Return points of the mesh."""
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
