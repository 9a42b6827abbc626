"""What an annotator would have clicked: true projections with noise, gaps, occlusion and a few blunders."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from smilfit.body_models import SMIL
from smilfit.renderers import RenderOutput
from smilfit.structures import BodyParams, Cameras

# A keypoint counts as hidden where the skin before it is this many times its depth below the skin away,
# and this share of the animal's size more.
_HIDDEN_DEPTHS, _HIDDEN_SIZE = 1.5, 0.015


@dataclass(frozen=True)
class LabelOptions:
    """How labels differ from the truth.

    `noise_px` is the standard deviation of x and y each. A hidden keypoint is dropped with probability `hidden`,
    any with `missing`; with `outlier` it is moved by about `outlier_px`. Each camera loses the animal `n_gaps`
    times for `gap_frames`.
    """

    noise_px: float = 0.7
    hidden: float = 0.5
    missing: float = 0.03
    outlier: float = 0.005
    outlier_px: float = 25.0
    n_gaps: int = 1
    gap_frames: int = 8

    def __post_init__(self) -> None:
        for name in ('hidden', 'missing', 'outlier'):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f'LabelOptions: {name} must be a probability; got {getattr(self, name)}.')
        for name in ('noise_px', 'outlier_px', 'n_gaps', 'gap_frames'):
            if getattr(self, name) < 0:
                raise ValueError(f'LabelOptions: {name} must not be negative; got {getattr(self, name)}.')


# Labels without any noise, gap or blunder.
EXACT_LABELS = LabelOptions(noise_px=0.0, hidden=0.0, missing=0.0, outlier=0.0, n_gaps=0)


def keypoint_depths(body: SMIL, names: list[str]) -> np.ndarray:
    """Find how deep each keypoint lies in the mean shape: its distance from the nearest vertex, model unit."""
    with torch.no_grad():
        output = body(body.zero_params(1), need=('vertices', *names))
    return torch.cdist(output.keypoints[0], output.vertices[0]).amin(1).cpu().double().numpy()


def hidden_margin(body: SMIL, params: BodyParams, names: list[str]) -> Float[Tensor, 'K']:
    """Return how far the skin may lie before a keypoint that is seen, world unit."""
    depths = torch.from_numpy(keypoint_depths(body, names))
    size = float(np.ptp(body.data.v_template, axis=0).max())
    return (_HIDDEN_DEPTHS * depths + _HIDDEN_SIZE * size) * params.scale.mean()


def hidden_keypoints(
    render: RenderOutput,
    pixels: Float[Tensor, 'N K 2'],
    depth: Float[Tensor, 'N K'],
    margin: Float[Tensor, 'K'],
) -> Bool[Tensor, 'N K']:
    """Return which keypoints the animal itself hides: the mesh at their pixel is nearer by more than a margin.

    Args:
        depth: of the keypoints, world unit.
        margin: how deep each lies below the skin, and some, world unit.
    """
    depths = render.layer('depth')
    n, height, width = depths.shape
    x = pixels[..., 0].round().clamp(0, width - 1).long()
    y = pixels[..., 1].round().clamp(0, height - 1).long()
    nearest = depths[torch.arange(n)[:, None], y, x]
    return nearest < depth - margin


def in_image(pixels: Float[Tensor, '*n 2'], size: Float[Tensor, '2']) -> Bool[Tensor, '*n']:
    """Return which pixels are inside the image; its first pixel's centre is 0."""
    return ((pixels >= -0.5) & (pixels < size - 0.5)).all(-1)


def draw_labels(
    xy: np.ndarray,
    visible: np.ndarray,
    hidden: np.ndarray,
    size: tuple[int, int],
    options: LabelOptions,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one camera's labels (frames, K, 2) px, NaN where missing, and their scores (frames, K).

    Args:
        visible: whether a keypoint has an image within the image.
        hidden: whether the animal hides it.
        size: width and height of the image, px.
        options: how labels differ from the truth.
    """
    shape = xy.shape[:2]
    labels = xy + options.noise_px * rng.standard_normal(xy.shape)
    score = np.clip(rng.normal(0.93, 0.04, shape), 0.5, 1.0)
    score = np.where(hidden, np.clip(rng.normal(0.7, 0.07, shape), 0.5, 1.0), score)
    blunder = rng.random(shape) < options.outlier
    labels += blunder[..., None] * options.outlier_px * rng.standard_normal(xy.shape)
    score = np.where(blunder, np.clip(rng.normal(0.6, 0.08, shape), 0.5, 1.0), score)
    lost = (hidden & (rng.random(shape) < options.hidden)) | (rng.random(shape) < options.missing) | ~visible
    # The last frame keeps its labels: labels that end early would be those of another video.
    room = shape[0] - 1 - options.gap_frames
    for start in rng.integers(0, max(room, 1), options.n_gaps if room > 0 else 0):
        lost[start : start + options.gap_frames] = True
    inside = ((labels >= -0.5) & (labels < np.array(size) - 0.5)).all(-1)
    lost |= ~inside
    return np.where(lost[..., None], np.nan, labels), np.where(lost, np.nan, score)


def project_keypoints(
    keypoints: Float[Tensor, 'T K 3'], cameras: Cameras
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Project keypoints into all cameras: pixels (T, C, K, 2), depth and whether each is in the image."""
    n_frames, n_points = keypoints.shape[:2]
    pixels, depth, valid = cameras.project(keypoints.reshape(-1, 3))
    visible = valid & torch.stack([in_image(p, s) for p, s in zip(pixels, cameras.size)])

    def by_frame(x: Tensor) -> np.ndarray:
        return x.unflatten(1, (n_frames, n_points)).transpose(0, 1).numpy()

    return by_frame(pixels), by_frame(depth), by_frame(visible)
