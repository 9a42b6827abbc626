"""Draw the body's surface to scanned points, and the points' region to the surface."""

import logging
import math
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from smilfit.body_models import SMIL
from smilfit.geometry.surface_search import FacesAround, Feet, closest_on_surface, face_normals
from smilfit.handlers.base import BaseInput, BodyState
from smilfit.handlers.both_ways import BothWaysHandler
from smilfit.handlers.point_cloud_input import PointCloudInput
from smilfit.losses import PointDistanceLoss
from smilfit.registry import HANDLERS
from smilfit.structures import PointTerm
from smilfit.structures.quadratic import isotropic

METRICS = ('point', 'plane')


@HANDLERS.register_module()
class PointCloudHandler(BothWaysHandler):
    """Draws the body to a scan: each scanned point to the closest point of the surface.

    The distance is exact wherever the body stands, and so is its gradient, because the closest point is found
    anew at every evaluation (on the CPU, by k-d trees).

    Args:
        loss: scores squared distances, in the world's unit; `PointDistanceLoss()` if None.
        template_weight: factor on the other direction, each vertex to its nearest scanned point; 0 for scans that
            do not show the whole body.
        metric: what second order assumes: `'plane'` lets each foot slide along the surface (point-to-plane: a
            few times fewer steps), `'point'` holds it where it is. The loss is the same.
        neighbours: how many nearest vertices' triangles are compared.
        max_normal_angle_deg: a point with a normal looks only for surface whose normal differs by less, so that a
            thin part's two sides are told apart; None for any surface.
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

    def ways(self, state: BodyState, related_input: BaseInput) -> Iterator[tuple[Tensor, Tensor]]:
        """Compare scan -> body, then body -> scan."""
        cloud, vertices = self.cloud(related_input), state.output.vertices
        feet = self._feet(cloud, vertices)
        yield self._squared(feet.on(vertices), cloud.points, cloud.confidence, feet)
        target, present = self._targets(cloud, vertices)
        yield (vertices - target).square().sum(-1), present

    def _quadratic(
        self, state: BodyState, related_input: BaseInput | None, weight: float | None, reduction: str | None
    ) -> PointTerm:
        """Share every foot's gradient and curvature out to the corners of its triangle.

        `|sum_k b_k v_k|^2 <= sum_k b_k |v_k|^2`, so a corner with the share b_k of the foot takes that share of
        both, and the model never lies below the true one.
        """
        cloud, vertices = self.cloud(related_input), state.output.vertices.detach()
        feet = self._feet(cloud, vertices)
        foot = feet.on(vertices)
        terms, pull = self.loss.reweight(
            *self._squared(foot, cloud.points, cloud.confidence, feet), weight, reduction, state.robust_scale
        )
        difference = foot - cloud.points
        force = 2 * pull.unsqueeze(-1) * difference
        stiffness = self._stiffness(2 * pull, difference, feet, vertices)
        gradient = _share_out(force, feet, vertices.shape[1])
        curvature = _share_out(stiffness.flatten(2), feet, vertices.shape[1]).unflatten(2, (3, 3))
        energy = terms.sum(1)
        if self.other_weight:
            target, present = self._targets(cloud, vertices)
            away = vertices - target
            terms, pull = self.other_loss.reweight(
                away.square().sum(-1), present, self.weight_back(weight), reduction, state.robust_scale
            )
            energy = energy + terms.sum(1)
            gradient = gradient + 2 * pull.unsqueeze(-1) * away
            curvature = curvature + isotropic(2 * pull)
        return PointTerm(None, energy, gradient, curvature)

    def _feet(self, cloud: PointCloudInput, vertices: Tensor) -> Feet:
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

    def _squared(self, foot: Tensor, points: Tensor, confidence: Tensor, feet: Feet) -> tuple[Tensor, Tensor]:
        """Squared distances and their weights; a point without a foot counts as infinitely far, or not at all."""
        squared = (foot - points).square().sum(-1)
        limit = getattr(self.loss, 'max_distance', None)
        if limit is None:
            return squared, confidence * feet.found
        return torch.where(feet.found, squared, torch.full_like(squared, limit**2)), confidence

    def _targets(self, cloud: PointCloudInput, vertices: Tensor) -> tuple[Tensor, Tensor]:
        index = cloud.nearest(vertices)
        target = cloud.points.gather(1, index.unsqueeze(-1).expand(-1, -1, 3))
        present = cloud.present.any(1, keepdim=True).to(vertices)
        return target, present.expand(-1, vertices.shape[1])

    def _stiffness(self, weight: Tensor, difference: Tensor, feet: Feet, vertices: Tensor) -> Tensor:
        if self.metric == 'point':
            return isotropic(weight)
        # The distance's own derivative is along the line to the foot; on the surface itself, along its normal.
        length = difference.norm(dim=-1, keepdim=True)
        size = (vertices.amax(1) - vertices.amin(1)).amax(-1)[:, None, None]
        along = torch.where(
            length > 1e-6 * size, difference / length.clamp_min(1e-30), face_normals(feet.corners(vertices))
        )
        return weight[..., None, None] * along.unsqueeze(-1) * along.unsqueeze(-2)


def _share_out(values: Float[Tensor, 'B N n'], feet: Feet, n_vertices: int) -> Float[Tensor, 'B V n']:
    """Add up, at every vertex, its share of the feet's values."""
    shared = feet.shares.unsqueeze(-1) * values.unsqueeze(2)
    index = feet.vertices.flatten(1).unsqueeze(-1).expand(-1, -1, values.shape[2])
    return values.new_zeros(len(values), n_vertices, values.shape[2]).scatter_add(
        1, index, shared.flatten(1, 2)
    )
