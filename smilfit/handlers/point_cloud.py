"""Draw the body's surface to scanned points, and the points' region to the surface."""

import logging
import math

import torch
from torch import Tensor, nn

from smilfit.body_models import SMIL
from smilfit.geometry.surface_search import ClosestPoints, FacesAround, closest_on_surface, face_normals
from smilfit.handlers.bidirectional import BidirectionalDistanceHandler
from smilfit.handlers.inputs import BaseInput
from smilfit.handlers.point_cloud_input import PointCloudInput
from smilfit.handlers.state import BodyState
from smilfit.losses import PointDistanceLoss, PointSource, Stated
from smilfit.losses.residuals import from_source
from smilfit.registry import HANDLERS

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

    input_type: type[BaseInput] = PointCloudInput
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

    def cloud(self, related_input: BaseInput) -> PointCloudInput:
        """Give the points to fit to."""
        return related_input

    def forward_terms(self, state: BodyState, related_input: BaseInput) -> Stated:
        """Compare scan -> body.

        A closest point follows the corners of its triangle by its barycentric coordinates.
        """
        cloud, vertices = self.cloud(related_input), state.output.vertices
        closest = self._closest(cloud, vertices)
        found, weight = closest.on(vertices), cloud.confidence * closest.found
        difference = found - cloud.points
        if self.loss.limit is not None:
            # A point without a match pays like one that is too far.
            far = torch.full_like(difference, self.loss.limit)
            difference = torch.where(closest.found.unsqueeze(-1), difference, far)
            weight = cloud.confidence
        source = PointSource(found, None, index=closest.vertices, share=closest.shares)
        if self.metric == 'plane':
            along = self._directions(difference, closest, vertices)
            # Second order holds each closest point along one line alone.
            slope = along.unsqueeze(-1) * along.unsqueeze(-2)
            return from_source(self.loss.stated(difference, weight, slope), source)
        return from_source(self.loss.stated(difference, weight), source)

    def backward_terms(self, state: BodyState, related_input: BaseInput) -> Stated:
        """Compare body -> scan."""
        cloud, vertices = self.cloud(related_input), state.output.vertices
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
        """Give the unit vectors along which distances change: to the closest point, or the normal on the surface."""
        difference = difference.detach()
        length = difference.norm(dim=-1, keepdim=True)
        size = (vertices.amax(1) - vertices.amin(1)).amax(-1)[:, None, None]
        normals = face_normals(closest.corners(vertices.detach()))
        return torch.where(length > 1e-6 * size, difference / length.clamp_min(1e-30), normals)
