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
        render: of the same N images.
        pixels: of the keypoints.
        depth: of the keypoints, world unit.
        margin: how deep each lies below the skin, and some, world unit.
    """
    n, height, width = render.depth.shape
    x = pixels[..., 0].round().clamp(0, width - 1).long()
    y = pixels[..., 1].round().clamp(0, height - 1).long()
    nearest = render.depth[torch.arange(n)[:, None], y, x]
    return nearest < depth - margin


def in_image(pixels: Float[Tensor, '*n 2'], size: Float[Tensor, '2']) -> Bool[Tensor, '*n']:
    """Return which pixels are inside the image; its first pixel's centre is 0."""
    return ((pixels >= -0.5) & (pixels < size - 0.5)).all(-1)


def draw_labels(
    xy: np.ndarray,
    seen: np.ndarray,
    hidden: np.ndarray,
    size: tuple[int, int],
    options: LabelOptions,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one camera's labels (frames, K, 2) px, NaN where missing, and their scores (frames, K).

    Args:
        xy: true pixels.
        seen: whether a keypoint has an image within the image.
        hidden: whether the animal hides it.
        size: width and height of the image, px.
        options: how labels differ from the truth.
        rng: source of all chance.
    """
    shape = xy.shape[:2]
    labels = xy + options.noise_px * rng.standard_normal(xy.shape)
    score = np.clip(rng.normal(0.93, 0.04, shape), 0.5, 1.0)
    score = np.where(hidden, np.clip(rng.normal(0.7, 0.07, shape), 0.5, 1.0), score)
    blunder = rng.random(shape) < options.outlier
    labels += blunder[..., None] * options.outlier_px * rng.standard_normal(xy.shape)
    score = np.where(blunder, np.clip(rng.normal(0.6, 0.08, shape), 0.5, 1.0), score)
    lost = (hidden & (rng.random(shape) < options.hidden)) | (rng.random(shape) < options.missing) | ~seen
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
    seen = valid & torch.stack([in_image(p, s) for p, s in zip(pixels, cameras.size)])

    def by_frame(x: Tensor) -> np.ndarray:
        return x.unflatten(1, (n_frames, n_points)).transpose(0, 1).numpy()

    return by_frame(pixels), by_frame(depth), by_frame(seen)


# k1, k2, p1, p2 of a lens at most; the fold stays far outside the image.
_LENS = np.array([0.12, 0.02, 1e-3, 1e-3])


def make_rig(
    n_cameras: int,
    arena_radius: float,
    rng: np.random.Generator,
    size: tuple[int, int] = (320, 256),
    unit: str | None = 'mm',
    lens: bool = True,
    principal_offset: float = 0.03,
) -> Cameras:
    """Place cameras on a dome around an arena: the first one above, the others around, all looking at its middle.

    Args:
        n_cameras: at least one.
        arena_radius: what every image shows, world unit; the floor is z = 0.
        rng: source of all chance.
        size: width and height of the images, px.
        unit: world unit.
        lens: with barrel and tangential distortion, of each camera another.
        principal_offset: how far the principal point is off the middle at most, as a share of the size.

    Returns:
        Float64 cameras `cam_top`, `cam_1`, `cam_2`, ….
    """
    if n_cameras < 1 or arena_radius <= 0:
        raise ValueError(
            f'make_rig: there must be a camera and an arena; got {n_cameras} cameras, radius {arena_radius}.'
        )
    K, R, t, dist, names = [], [], [], [], []
    width, height = size
    for c in range(n_cameras):
        azimuth = 2 * np.pi * (c + 0.3 * rng.random()) / max(n_cameras - 1, 1)
        elevation = np.deg2rad(rng.uniform(24, 48) if c else 84)
        distance = arena_radius * rng.uniform(4.0, 5.0)
        eye = distance * np.array(
            [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)]
        )
        target = arena_radius * 0.1 * rng.standard_normal(3) * [1, 1, 0.5]
        rotation = _look_at(eye, target)
        focal = 0.46 * min(size) * distance / arena_radius
        offset = principal_offset * rng.uniform(-1, 1, 2) * size
        K.append(
            [
                [focal, 0, (width - 1) / 2 + offset[0]],
                [0, focal * rng.uniform(0.995, 1.005), (height - 1) / 2 + offset[1]],
                [0, 0, 1],
            ]
        )
        R.append(rotation)
        t.append(-rotation @ eye)
        draw = rng.uniform([-1, 0, -1, -1], [-0.3, 1, 1, 1]) * _LENS
        dist.append([*draw, 0.0])
        names.append(f'cam_{c}' if c else 'cam_top')
    return Cameras(
        names=tuple(names),
        K=torch.tensor(K, dtype=torch.float64),
        R=torch.from_numpy(np.stack(R)),
        t=torch.from_numpy(np.stack(t)),
        size=torch.tensor([size] * n_cameras, dtype=torch.float64),
        dist=torch.tensor(dist, dtype=torch.float64) if lens else None,
        unit=unit,
    )


def _look_at(eye: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the world-to-camera rotation of a camera at `eye` that sees +z of the world upwards."""
    forward = target - eye
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    return np.stack((right, np.cross(forward, right), forward))
