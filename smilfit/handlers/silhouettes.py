"""Draw the body's silhouette to masks: through a renderer, or by distances in the image without one."""

import logging
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from smilfit.handlers.base import BaseHandler
from smilfit.handlers.bidirectional import BidirectionalDistanceHandler
from smilfit.handlers.inputs import BaseInput
from smilfit.handlers.keypoints2d import pixels_of
from smilfit.handlers.silhouette_input import SilhouetteInput
from smilfit.handlers.state import BodyState
from smilfit.losses import PointDistanceLoss, PointSource, SilhouetteL2Loss, Stated
from smilfit.losses.residuals import from_source
from smilfit.registry import HANDLERS
from smilfit.renderers import Renderer, SilhouetteRenderer


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

    @property
    def first_order_only(self) -> str | None:
        """An energy's second derivative goes through the renderer, which has none."""
        reason = f'{type(self.renderer).__name__} has no second derivative'
        return None if self.loss.states_residual else reason

    def need(self, related_input: BaseInput | None) -> tuple[str, ...]:
        """Ask for the surface."""
        return ('vertices',)

    def arguments(self, state: BodyState, related_input: BaseInput | None) -> tuple[Tensor, ...]:
        """Render every frame in every view and compare."""
        n_views = related_input.masks.shape[1]
        vertices = state.output.vertices.repeat_interleave(n_views, 0)
        cameras = state.corrected(related_input.cameras)
        alpha = self.renderer(vertices, state.body.faces, related_input.flat_cameras(cameras)).alpha
        return alpha.reshape(related_input.masks.shape), related_input.masks, related_input.view_weight


@HANDLERS.register_module()
class SilhouetteDistanceHandler(BidirectionalDistanceHandler):
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

    def forward_terms(self, state: BodyState, related_input: BaseInput) -> Stated:
        """Compare vertices with the mask, in every image."""
        pixels, source = self._pixels(state, related_input)
        outside, uphill = distance_and_slope(related_input.distance_px(), pixels)
        weight = related_input.view_weight.unsqueeze(-1).expand(pixels.shape[:-1])
        stated = self.loss.stated(outside.unsqueeze(-1), weight, uphill.unsqueeze(-2))
        return from_source(stated, source)

    def backward_terms(self, state: BodyState, related_input: BaseInput) -> Stated:
        """Compare the mask's pixels with the nearest vertices, in every image."""
        pixels, source = self._pixels(state, related_input)
        points, there = related_input.points_px(self.n_mask_points, self.seed)
        nearest = nearest_pixels(points, pixels)
        weight = there * related_input.view_weight.unsqueeze(-1)
        stated = self.loss.stated(_pick(pixels, nearest) - points, weight)
        return from_source(stated, replace(source, index=nearest.unsqueeze(-1)))

    def _pixels(self, state: BodyState, related_input: BaseInput) -> tuple[Tensor, PointSource]:
        cameras, vertices = state.corrected(related_input.cameras), state.output.vertices
        pixels, _, _ = cameras.project(vertices)
        return pixels, pixels_of(pixels, None, cameras, vertices)


def distance_and_slope(
    distance_px: Float[Tensor, 'B C H W'], pixels: Float[Tensor, 'B C V 2']
) -> tuple[Float[Tensor, 'B C V'], Float[Tensor, 'B C V 2']]:
    """Read a distance map between its pixels, and give its derivative there."""
    with torch.enable_grad():
        leaf = pixels.detach().requires_grad_()
        (slope,) = torch.autograd.grad(sample_distance(distance_px, leaf).sum(), leaf)
    return sample_distance(distance_px, pixels), slope


@torch.no_grad()
def nearest_pixels(
    points: Float[Tensor, 'B C n 2'], pixels: Float[Tensor, 'B C V 2']
) -> Int[Tensor, 'B C n']:
    """Find the nearest projected vertex to each point of its image."""
    # Imported late: scipy takes a third of a second, and few ask for this.
    from scipy.spatial import cKDTree

    pairs = zip(points.flatten(0, 1).cpu().numpy(), pixels.detach().flatten(0, 1).cpu().numpy())
    found = torch.stack([torch.as_tensor(cKDTree(there).query(wanted)[1]) for wanted, there in pairs])
    return found.reshape(points.shape[:-1]).to(pixels.device)


def sample_distance(
    distance_px: Float[Tensor, 'B C H W'], pixels: Float[Tensor, 'B C V 2']
) -> Float[Tensor, 'B C V']:
    """Read a distance map between its pixels, bilinearly; beyond the image the way to it is added."""
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
