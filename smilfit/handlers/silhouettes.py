"""Draw the body's silhouette to masks: through a renderer, or by distances in the picture without one."""

import logging
from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from scipy.spatial import cKDTree
from torch import Tensor, nn

from smilfit.handlers.base import BaseHandler, BaseInput, BodyState
from smilfit.handlers.both_ways import BothWaysHandler
from smilfit.handlers.picture_terms import picture_term
from smilfit.handlers.silhouette_input import SilhouetteInput
from smilfit.losses import PointDistanceLoss, SilhouetteL2Loss
from smilfit.registry import HANDLERS
from smilfit.renderers import Renderer, SilhouetteRenderer
from smilfit.structures import PointTerm


@HANDLERS.register_module()
class SilhouetteHandler(BaseHandler):
    """Compares rendered silhouettes with masks.

    Args:
        renderer: a differentiable one; `SilhouetteRenderer()` if None.
        loss: compares silhouettes; `SilhouetteL2Loss()` if None.
        handler_key: names it in stages.
        device: where its constants live.
        logger: a logger or its name.
    """

    input_type = SilhouetteInput

    def __init__(
        self,
        renderer: Renderer | None = None,
        loss: nn.Module | None = None,
        handler_key: str = 'silhouette',
        device: torch.device | str | None = None,
        logger: logging.Logger | str | None = None,
    ) -> None:
        super().__init__(handler_key, SilhouetteL2Loss() if loss is None else loss, device, logger)
        self.renderer = SilhouetteRenderer() if renderer is None else renderer
        if not self.renderer.differentiable:
            raise ValueError(
                f'SilhouetteHandler: the renderer must be differentiable; {type(self.renderer).__name__} is not. '
                'Use SilhouetteRenderer.'
            )

    def need(self, related_input: BaseInput | None) -> tuple[str, ...]:
        """Ask for the surface."""
        return ('vertices',)

    def forward(
        self,
        state: BodyState,
        related_input: BaseInput | None = None,
        loss_weight_override: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Render every frame in every view and compare."""
        n_views = related_input.masks.shape[1]
        vertices = state.output.vertices.repeat_interleave(n_views, 0)
        cameras = state.corrected(related_input.cameras)
        alpha = self.renderer(vertices, state.body.faces, related_input.flat_cameras(cameras)).alpha
        return self.loss(
            alpha.reshape(related_input.masks.shape),
            related_input.masks,
            related_input.view_weight,
            loss_weight_override=loss_weight_override,
            reduction_override=reduction_override,
        )


@HANDLERS.register_module()
class SilhouetteDistanceHandler(BothWaysHandler):
    """Draws projected vertices into the mask, and to every part of the mask some vertex; needs no renderer.

    A vertex outside pays its squared distance to the mask. A pixel of the mask pays the squared distance to the
    nearest projected vertex, so the mask is filled as finely as the mesh has vertices. What hides behind the
    body counts like what is seen.

    Args:
        loss: scores squared distances, px; `PointDistanceLoss()` if None.
        mask_weight: factor on the mask's pixels; 0 where masks may miss parts of the animal.
        n_mask_points: how many pixels of each mask are drawn, half of them of its outline.
        seed: of the drawing.
        handler_key: names it in stages.
        device: where its constants live.
        logger: a logger or its name.
    """

    input_type = SilhouetteInput

    def __init__(
        self,
        loss: nn.Module | None = None,
        mask_weight: float = 1.0,
        n_mask_points: int = 300,
        seed: int = 0,
        handler_key: str = 'silhouette',
        device: torch.device | str | None = None,
        logger: logging.Logger | str | None = None,
    ) -> None:
        super().__init__(
            handler_key, PointDistanceLoss() if loss is None else loss, mask_weight, device, logger
        )
        if mask_weight < 0 or n_mask_points < 1:
            raise ValueError(
                'SilhouetteDistanceHandler: mask_weight must not be negative and n_mask_points must be positive; '
                f'got {mask_weight} and {n_mask_points}.'
            )
        self.n_mask_points = n_mask_points
        self.seed = seed

    def ways(self, state: BodyState, related_input: BaseInput) -> Iterator[tuple[Tensor, Tensor]]:
        """Compare vertices -> mask, then mask -> vertices, in every picture."""
        pixels, _, _ = state.corrected(related_input.cameras).project(state.output.vertices)
        outside = sample_distance(related_input.distance_px(), pixels)
        yield outside.square(), self._vertex_weight(related_input, pixels)
        points, weight, nearest = self._pull(related_input, pixels)
        yield (_pick(pixels, nearest) - points).square().sum(-1), weight

    def _quadratic(
        self, state: BodyState, related_input: BaseInput | None, weight: float | None, reduction: str | None
    ) -> PointTerm:
        """Give every vertex's gradient and curvature; all views become one in the world's frame."""
        overrides = (reduction, state.robust_scale)
        cameras = state.corrected(related_input.cameras)
        pixels, slope = cameras.linearise(state.output.vertices.detach())
        with torch.enable_grad():
            leaf = pixels.detach().requires_grad_()
            outside = sample_distance(related_input.distance_px(), leaf)
            (uphill,) = torch.autograd.grad(outside.sum(), leaf)
        outside = outside.detach()
        vertex_weight = self._vertex_weight(related_input, pixels)
        terms, push = self.loss.reweight(outside.square(), vertex_weight, weight, *overrides)
        force = (2 * push * outside).unsqueeze(-1) * uphill
        stiffness = 2 * push[..., None, None] * uphill.unsqueeze(-1) * uphill.unsqueeze(-2)
        energy = terms.sum((1, 2))
        if self.other_weight:
            points, there, nearest = self._pull(related_input, pixels)
            away = _pick(pixels, nearest) - points
            squared = away.square().sum(-1)
            terms, pull = self.other_loss.reweight(squared, there, self.weight_back(weight), *overrides)
            energy = energy + terms.sum((1, 2))
            index = nearest.unsqueeze(-1).expand_as(away)
            force = force.scatter_add(2, index, 2 * pull.unsqueeze(-1) * away)
            total = torch.zeros_like(pixels[..., 0]).scatter_add(2, nearest, 2 * pull)
            eye = torch.eye(2, dtype=pixels.dtype, device=pixels.device)
            stiffness = stiffness + total[..., None, None] * eye
        return picture_term(None, energy, force, stiffness, slope, cameras, state)

    def _vertex_weight(self, related_input: SilhouetteInput, pixels: Tensor) -> Tensor:
        return related_input.view_weight.unsqueeze(-1).expand(pixels.shape[:-1])

    def _pull(self, related_input: SilhouetteInput, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        points, there = related_input.points_px(self.n_mask_points, self.seed)
        weight = there * related_input.view_weight.unsqueeze(-1)
        return points, weight, nearest_pixels(points, pixels)


@torch.no_grad()
def nearest_pixels(
    points: Float[Tensor, 'B C n 2'], pixels: Float[Tensor, 'B C V 2']
) -> Int[Tensor, 'B C n']:
    """Find the nearest projected vertex to each point of its picture."""
    pairs = zip(points.flatten(0, 1).cpu().numpy(), pixels.detach().flatten(0, 1).cpu().numpy())
    found = torch.stack([torch.as_tensor(cKDTree(there).query(wanted)[1]) for wanted, there in pairs])
    return found.reshape(points.shape[:-1]).to(pixels.device)


def sample_distance(
    distance_px: Float[Tensor, 'B C H W'], pixels: Float[Tensor, 'B C V 2']
) -> Float[Tensor, 'B C V']:
    """Read a distance map between its pixels, bilinearly; beyond the picture the way to it is added."""
    b, c, height, width = distance_px.shape
    limit = pixels.new_tensor([width - 1, height - 1])
    inside = torch.minimum(pixels.clamp_min(0), limit)
    grid = (2 * inside / limit.clamp_min(1) - 1).reshape(b * c, 1, -1, 2)
    read = torch.nn.functional.grid_sample(
        distance_px.reshape(b * c, 1, height, width), grid, align_corners=True, padding_mode='border'
    ).reshape(b, c, -1)
    beyond = pixels - inside
    out = beyond.square().sum(-1) > 0
    way = torch.where(out.unsqueeze(-1), beyond, torch.ones_like(beyond)).norm(dim=-1)
    return read + torch.where(out, way, torch.zeros_like(way))


def _pick(pixels: Tensor, index: Tensor) -> Tensor:
    return pixels.gather(2, index.unsqueeze(-1).expand(*index.shape, 2))
