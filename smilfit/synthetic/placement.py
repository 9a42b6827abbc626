"""Where animals are: the part of the world that all cameras see, and ways through it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from smilfit.structures import Cameras

# Points that are tried, and how far from the middle of the cameras' axes, in distances to the cameras.
_TRIED, _REACH = 20_000, 0.6
# An animal may be no nearer to the rim of an image than this share of its shorter side.
RIM = 0.12
# Ways go between so many places at a time.
_ANCHORS = 5
# Ways that are tried to keep clear of other animals'.
_WAYS = 64


@dataclass(frozen=True)
class SharedVolume:
    """The part of the world that cameras share: `places` (N, 3) at random in it, which way is up, a usual radius."""

    places: Float[np.ndarray, 'N 3']
    up: Float[np.ndarray, '3']

    @property
    def centre(self) -> Float[np.ndarray, '3']:
        """Give the middle."""
        return self.places.mean(0)

    @property
    def radius(self) -> float:
        """Give how far places are from the middle, world unit: nine of ten are nearer."""
        return float(np.quantile(np.linalg.norm(self.places - self.centre, axis=1), 0.9))


def shared_volume(
    cameras: Cameras, rng: np.random.Generator, up: Float[np.ndarray, '3'] | None = None
) -> SharedVolume:
    """Find the volume that all cameras see, away from the rims of their images.

    Args:
        cameras: unbatched.
        rng: source of all chance.
        up: the world's; as the cameras are held (see `up_of`) if None.

    Raises:
        ValueError: there is no place that all cameras see.
    """
    cameras = cameras.to('cpu', torch.float64)
    middle, distance = _meeting_point(cameras)
    ball = rng.standard_normal((_TRIED, 3))
    ball *= (rng.random((_TRIED, 1)) ** (1 / 3)) / np.linalg.norm(ball, axis=1, keepdims=True)
    places = middle + _REACH * distance * ball
    pixels, depth, valid = (x.numpy() for x in cameras.project(torch.from_numpy(places)))
    size = cameras.size[:, None].numpy()
    rim = RIM * size.min(-1, keepdims=True)
    inside = ((pixels > rim) & (pixels < size - rim)).all(-1) & valid & (depth > 0)
    shared = inside.all(0)
    if not shared.any():
        seen = {name: int(n) for name, n in zip(cameras.names, inside.sum(1))}
        raise ValueError(
            f'synthesize: cameras must share a volume; of {_TRIED} places around the middle of their axes each sees '
            f'{seen}, and none is seen by all. Leave a camera out, or check the calibration.'
        )
    return SharedVolume(places[shared], up_of(cameras) if up is None else up / np.linalg.norm(up))


def up_of(cameras: Cameras) -> Float[np.ndarray, '3']:
    """Guess which way is up: upright cameras that look down, if at all, see it between up and backwards."""
    rotations = cameras.R.numpy()
    up = -(rotations[:, 1] + rotations[:, 2]).sum(0)
    length = np.linalg.norm(up)
    return up / length if length > 1e-3 else -rotations[0, 1]


def smooth_noise(
    n_frames: int, shape: tuple[int, ...], rng: np.random.Generator, memory: float
) -> Float[np.ndarray, 'T ...']:
    """Draw normal noise of variance 1 that is smooth over time.

    Args:
        n_frames: T.
        shape: of each frame.
        rng: source of all chance.
        memory: standard deviation of the smoothing, frames; 0 for none.
    """
    if memory <= 0:
        return rng.standard_normal((n_frames, *shape))
    from scipy.ndimage import gaussian_filter1d

    # Drawn longer than needed, so that the ends are as smooth and as wide as the middle.
    margin = int(4 * memory) + 1
    noise = rng.standard_normal((n_frames + 2 * margin, *shape))
    smooth = gaussian_filter1d(noise, memory, axis=0, mode='wrap')[margin : margin + n_frames]
    return smooth * np.sqrt(2 * np.sqrt(np.pi) * max(memory, 0.29))


def ways(
    volume: SharedVolume, n_frames: int, rng: np.random.Generator, memory: float
) -> Float[np.ndarray, 'T 3']:
    """Give a way through the volume: between a few of its places, and so never outside, as it is convex.

    Args:
        volume: where.
        n_frames: T.
        rng: source of all chance.
        memory: of the motion, frames; 0 for a place by chance in each frame.
    """
    if memory <= 0:
        return volume.places[rng.integers(len(volume.places), size=n_frames)]
    anchors = volume.places[rng.integers(len(volume.places), size=_ANCHORS)]
    weight = np.exp(2.0 * smooth_noise(n_frames, (_ANCHORS,), rng, memory))
    return (weight / weight.sum(1, keepdims=True)) @ anchors


def separate_way(
    volume: SharedVolume,
    n_frames: int,
    rng: np.random.Generator,
    memory: float,
    others: Sequence[Float[np.ndarray, 'T 3']],
    apart: float,
) -> Float[np.ndarray, 'T 3']:
    """Give a way that keeps clear of others: the first of a few that does, else the one that comes near least.

    Args:
        volume: where.
        n_frames: T.
        rng: source of all chance.
        memory: of the motion, frames; without any every frame is drawn by itself.
        others: ways of the other animals.
        apart: how far from these is far enough, world unit.
    """
    best, farthest = None, None
    for _ in range(_WAYS):
        way = ways(volume, n_frames, rng, memory)
        near = np.min([np.linalg.norm(way - other, axis=1) for other in others], 0)
        # A motion is good or bad as a whole, frames by themselves are each.
        far = near if memory <= 0 else np.full(n_frames, near.min())
        if best is None or farthest is None:
            best, farthest = way, far
        else:
            better = (far > farthest) & (farthest < apart)
            best = np.where(better[:, None], way, best)
            farthest = np.where(better, far, farthest)
        if (farthest >= apart).all():
            break
    return best


def px_per_unit(cameras: Cameras, place: Float[np.ndarray, '3']) -> Float[np.ndarray, 'C']:
    """Give how many px a unit of the world is long at a place, in each camera."""
    depth = cameras.project(torch.from_numpy(place)[None])[1][:, 0].numpy()
    return cameras.K[:, 0, 0].numpy() / depth


def _meeting_point(cameras: Cameras) -> tuple[np.ndarray, float]:
    """Find the point nearest to all optical axes, and how far the cameras are from it.

    Of cameras that look the same way, or of a single one, it is where their images would show ten times their own
    distance from one another, or one unit ahead.
    """
    centres, forward = cameras.centres().numpy(), cameras.R[:, 2].numpy()
    across = np.eye(3) - forward[:, :, None] * forward[:, None]
    normal = across.sum(0)
    spread = float(np.linalg.norm(centres - centres.mean(0), axis=1).max()) if len(centres) > 1 else 0.0
    if len(centres) > 1 and np.linalg.eigvalsh(normal)[0] > 1e-2:
        point = np.linalg.solve(normal, np.einsum('cij,cj->i', across, centres))
    else:
        point = centres.mean(0) + forward.mean(0) * (10 * spread or 1.0)
    distance = float(np.linalg.norm(point - centres, axis=1).mean())
    return point, distance
