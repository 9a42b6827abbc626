"""Draw the body's silhouette to masks: through a renderer, or by distances in the image without one."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from smilfit.handlers.base import (
    BaseHandler,
    BaseInput,
    BodyState,
    Index,
    MissingObservationError,
    several,
)
from smilfit.handlers.bidirectional import BidirectionalDistanceHandler
from smilfit.handlers.keypoints2d import pixels_of
from smilfit.losses import PointDistanceLoss, PointSource, SilhouetteL2Loss, Stated
from smilfit.losses.base import from_source
from smilfit.registry import HANDLERS, INPUTS
from smilfit.renderers import Renderer, SilhouetteRenderer
from smilfit.structures import Cameras, RecordedData


@INPUTS.register_module()
class SilhouetteInput(BaseInput):
    """Masks of B frames in C views, and the cameras that saw them.

    Args:
        masks: bool, or numbers in [0, 1]; uint8 counts as false at 0.
        cameras: of one set for all frames, or one a frame; their images are the masks.
        view_weight: (B, C), 0 where a view has no mask; None for 1.
        handler_key: the handler's.
    """

    rows = ('masks', '_cameras', 'view_weight', '_distance')

    def __init__(
        self,
        masks: Float[Tensor, 'B C H W'] | Bool[Tensor, 'B C H W'] | UInt8[Tensor, 'B C H W'],
        cameras: Cameras,
        view_weight: Float[Tensor, 'B C'] | None = None,
        handler_key: str = 'silhouette',
    ) -> None:
        if not masks.is_floating_point():
            masks = (masks > 0).to(cameras.K.dtype)
        height, width = masks.shape[2:]
        if masks.shape[1] != len(cameras):
            raise ValueError(
                f'SilhouetteInput: masks must have a view for each camera; got {masks.shape[1]} views and '
                f'{len(cameras)} cameras.'
            )
        sizes = cameras.size.round().long().reshape(-1, 2)
        if not bool((sizes == sizes.new_tensor([width, height])).all()):
            raise ValueError(
                f"SilhouetteInput: the cameras' images must be the masks ({width} x {height}); got "
                f'{sizes.unique(dim=0).tolist()}. Resize the cameras with Cameras.transformed.'
            )
        if not bool(((masks >= 0) & (masks <= 1)).all()):
            raise ValueError('SilhouetteInput: masks must be in [0, 1]. Divide 8-bit values by 255.')
        self.masks = masks
        self._cameras = cameras
        self.view_weight = masks.new_ones(masks.shape[:2]) if view_weight is None else view_weight
        self.handler_key = handler_key
        self._distance: Tensor | None = None
        self._points: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}

    @classmethod
    def from_dataset(cls, dataset: RecordedData, session: str, handler_key: str) -> 'SilhouetteInput':
        """Take a session's masks out of a dataset file, px of the stored crops, with the crops' cameras.

        Raises:
            MissingObservationError: the session has no mask.
        """
        masks, weight = dataset.masks(session)
        if not weight.any():
            raise MissingObservationError(
                f'{dataset.path}: session {session!r} must have a mask for the handler {handler_key!r}; it has none. '
                "Give the handler's weight 0, or make the file from annotations with masks."
            )
        cameras = dataset.stored_cameras(session)
        return cls(torch.from_numpy(masks), cameras, torch.from_numpy(weight), handler_key)

    @classmethod
    def from_observation(cls, observation: Any, names: Sequence[str], handler_key: str) -> 'SilhouetteInput':
        """Take the masks of a batch of training samples, with the cameras of their crops in the scene frame.

        Raises:
            ValueError: the samples have no masks.
        """
        if observation.masks is None:
            raise ValueError(
                f'SilhouetteInput: training samples must have masks for the handler {handler_key!r}; the dataset '
                'file has none. Take the handler away, or make the file from annotations with masks.'
            )
        return cls(observation.masks, observation.mask_cameras, observation.mask_weight, handler_key)

    @property
    def cameras(self) -> Cameras:
        """The cameras that observed."""
        return self._cameras

    def observed(self) -> Bool[Tensor, ' B']:
        """Return which frames have a mask that shows anything."""
        return ((self.masks > 0).flatten(2).any(2) & (self.view_weight > 0)).any(1)

    def to(self, *args: object, **kwargs: object) -> 'SilhouetteInput':
        """Move or cast."""
        moved = super().to(*args, **kwargs)
        moved._points = {}
        return moved

    def __getitem__(self, index: Index) -> 'SilhouetteInput':
        """Select frames; each keeps its points, whichever frames are left."""
        chosen, rows = super().__getitem__(index), several(index)
        chosen._points = {key: (xy[rows], valid[rows]) for key, (xy, valid) in self._points.items()}
        return chosen

    def resized(self, side: int) -> 'SilhouetteInput':
        """Reduce masks so that their longer side is at most `side` px, cameras exactly; smaller ones stay."""
        height, width = self.masks.shape[2:]
        if max(height, width) <= side:
            return self
        new = [max(1, round(n * side / max(height, width))) for n in (height, width)]
        masks = torch.nn.functional.interpolate(self.masks, new, mode='bilinear', antialias=True).clamp(0, 1)
        x, y = new[1] / width, new[0] / height
        # Pixel centres are at integers: the corner at -0.5 stays.
        affine = masks.new_tensor([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2]])
        size = masks.new_tensor([new[1], new[0]])
        lead = self.cameras.K.shape[:-2]
        cameras = self.cameras.transformed(affine.expand(*lead, 2, 3), size.expand(*lead, 2))
        return SilhouetteInput(masks, cameras, self.view_weight, self.handler_key)

    def flat_cameras(self, every: Cameras | None = None) -> Cameras:
        """Return one camera an image, frame by frame (B C of them), of the input's own or of corrected ones."""
        b, c = self.masks.shape[:2]
        every = self.cameras if every is None else every

        def spread(x: Tensor) -> Tensor:
            rest = x.shape[-1:] if x.ndim - every.K.ndim == -1 else x.shape[-2:]
            return x.expand(b, c, *rest).reshape(b * c, *rest)

        return Cameras(
            names=tuple(f'{frame}/{name}' for frame in range(b) for name in every.names),
            K=spread(every.K),
            R=spread(every.R),
            t=spread(every.t),
            size=spread(every.size),
            dist=None if every.dist is None else spread(every.dist),
            unit=every.unit,
        )

    def distance_px(self) -> Float[Tensor, 'B C H W']:
        """Return every pixel's distance to the mask, px; 0 inside and where a view has no mask at all."""
        # Imported late: scipy takes a third of a second, and few ask for this.
        from scipy.ndimage import distance_transform_edt

        if self._distance is None:
            inside = (self.masks > 0.5).cpu().numpy()
            result = [
                distance_transform_edt(~m) if m.any() else np.zeros(m.shape)
                for m in inside.reshape(-1, *inside.shape[2:])
            ]
            self._distance = torch.as_tensor(np.stack(result)).reshape(inside.shape).to(self.masks)
        return self._distance

    def points_px(self, n: int, seed: int = 0) -> tuple[Float[Tensor, 'B C n 2'], Bool[Tensor, 'B C n']]:
        """Draw pixels (x, y) of every mask, half of them of its outline; fewer where it has fewer.

        Returns:
            Pixels, and where there is one.
        """
        if (n, seed) not in self._points:
            draw = np.random.default_rng(seed)
            inside = (self.masks > 0.5).cpu().numpy()
            chosen = [_draw(m, n, draw) for m in inside.reshape(-1, *inside.shape[2:])]
            points = np.zeros((len(chosen), n, 2))
            valid = np.zeros((len(chosen), n), dtype=bool)
            for i, yx in enumerate(chosen):
                points[i, : len(yx)], valid[i, : len(yx)] = yx[:, ::-1], True
            shape = (*inside.shape[:2], n)
            xy = torch.as_tensor(points).reshape(*shape, 2).to(self.masks)
            self._points[n, seed] = xy, torch.as_tensor(valid).reshape(shape).to(self.masks.device)
        return self._points[n, seed]


def _draw(mask: np.ndarray, n: int, draw: np.random.Generator) -> np.ndarray:
    # Imported late: scipy takes a third of a second, and few ask for this.
    from scipy.ndimage import binary_erosion

    outline = np.argwhere(mask & ~binary_erosion(mask))
    rest = np.argwhere(mask & binary_erosion(mask))
    few = [p[draw.permutation(len(p))] for p in (outline, rest)]
    first = few[0][: max(n - n // 2, n - len(rest))]
    return np.concatenate((first, few[1][: n - len(first)]))


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

    def need(self, related_input: SilhouetteInput) -> tuple[str, ...]:
        """Ask for the surface."""
        return ('vertices',)

    def arguments(self, state: BodyState, related_input: SilhouetteInput) -> tuple[Tensor, ...]:
        """Render every frame in every view and compare."""
        n_views = related_input.masks.shape[1]
        vertices = state.vertices.repeat_interleave(n_views, 0)
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

    def forward_terms(self, state: BodyState, related_input: SilhouetteInput) -> Stated:
        """Compare vertices with the mask, in every image."""
        pixels, source = self._pixels(state, related_input)
        outside, uphill = distance_and_slope(related_input.distance_px(), pixels)
        weight = related_input.view_weight.unsqueeze(-1).expand(pixels.shape[:-1])
        stated = self.loss.stated(outside.unsqueeze(-1), weight, uphill.unsqueeze(-2))
        return from_source(stated, source)

    def backward_terms(self, state: BodyState, related_input: SilhouetteInput) -> Stated:
        """Compare the mask's pixels with the nearest vertices, in every image."""
        pixels, source = self._pixels(state, related_input)
        points, valid = related_input.points_px(self.n_mask_points, self.seed)
        nearest = nearest_pixels(points, pixels)
        weight = valid * related_input.view_weight.unsqueeze(-1)
        stated = self.loss.stated(_pick(pixels, nearest) - points, weight)
        return from_source(stated, replace(source, index=nearest.unsqueeze(-1)))

    def _pixels(self, state: BodyState, related_input: SilhouetteInput) -> tuple[Tensor, PointSource]:
        cameras, vertices = state.corrected(related_input.cameras), state.vertices
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
    result = torch.stack([torch.as_tensor(cKDTree(valid).query(wanted)[1]) for wanted, valid in pairs])
    return result.reshape(points.shape[:-1]).to(pixels.device)


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
