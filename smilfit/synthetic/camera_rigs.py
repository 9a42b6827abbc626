"""Cameras of made sessions: a rig on a dome, smaller images, and the volume that all cameras see."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from smilfit.structures import Cameras

# k1, k2, p1, p2 of a lens at most; the fold stays far outside the image.
_LENS = np.array([0.12, 0.02, 1e-3, 1e-3])
# Points that are tried, and how far from the middle of the cameras' axes, in distances to the cameras.
_TRIED, _REACH = 20_000, 0.6
# An animal may be no nearer to the rim of an image than this share of its shorter side.
RIM = 0.12


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


def resized(cameras: Cameras, factor: float) -> Cameras:
    """Return the cameras of images that are smaller by a factor: whole px, and K to fit exactly.

    Raises:
        ValueError: a factor below 1.
    """
    if not factor >= 1:
        raise ValueError(f'synthesize: --downscale must be at least 1; got {factor}.')
    size = (cameras.size / factor).round().clamp_min(1)
    share = size / cameras.size
    affine = torch.zeros(len(cameras), 2, 3, dtype=cameras.K.dtype)
    affine[:, 0, 0], affine[:, 1, 1] = share[:, 0], share[:, 1]
    affine[:, :, 2] = 0.5 * share - 0.5
    return cameras.transformed(affine, size)


@dataclass(frozen=True)
class SharedVolume:
    """The part of the world that cameras share: `places` (N, 3) at random in it, which way is up, a usual radius."""

    places: Float[np.ndarray, 'N 3']
    up: Float[np.ndarray, '3']

    @property
    def centre(self) -> Float[np.ndarray, '3']:
        """Return the middle."""
        return self.places.mean(0)

    @property
    def radius(self) -> float:
        """Return how far places are from the middle, world unit: nine of ten are nearer."""
        return float(np.quantile(np.linalg.norm(self.places - self.centre, axis=1), 0.9))


def shared_volume(
    cameras: Cameras, rng: np.random.Generator, up: Float[np.ndarray, '3'] | None = None
) -> SharedVolume:
    """Find the volume that all cameras see, away from the rims of their images.

    Args:
        cameras: unbatched.
        up: the world's; as the cameras are held (see `up_of`) if None.

    Raises:
        ValueError: there is no place that all cameras see.
    """
    cameras = cameras.to('cpu', torch.float64)
    centre, distance = _meeting_point(cameras)
    ball = rng.standard_normal((_TRIED, 3))
    ball *= (rng.random((_TRIED, 1)) ** (1 / 3)) / np.linalg.norm(ball, axis=1, keepdims=True)
    places = centre + _REACH * distance * ball
    pixels, depth, valid = (x.numpy() for x in cameras.project(torch.from_numpy(places)))
    size = cameras.size[:, None].numpy()
    rim = RIM * size.min(-1, keepdims=True)
    inside = ((pixels > rim) & (pixels < size - rim)).all(-1) & valid & (depth > 0)
    shared = inside.all(0)
    if not shared.any():
        visible = {name: int(n) for name, n in zip(cameras.names, inside.sum(1))}
        raise ValueError(
            f'synthesize: cameras must share a volume; of {_TRIED} places around the middle of their axes each sees '
            f'{visible}, and none is seen by all. Leave a camera out, or check the calibration.'
        )
    return SharedVolume(places[shared], up_of(cameras) if up is None else up / np.linalg.norm(up))


def up_of(cameras: Cameras) -> Float[np.ndarray, '3']:
    """Guess which way is up: upright cameras that look down, if at all, see it between up and backwards."""
    rotations = cameras.R.numpy()
    up = -(rotations[:, 1] + rotations[:, 2]).sum(0)
    length = np.linalg.norm(up)
    return up / length if length > 1e-3 else -rotations[0, 1]


def px_per_unit(cameras: Cameras, place: Float[np.ndarray, '3']) -> Float[np.ndarray, 'C']:
    """Return how many px a unit of the world is long at a place, in each camera."""
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
